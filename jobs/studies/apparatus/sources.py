"""The works that this package began with, what each is about, the command that shows it, and what that showed."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

from mpiopt.jobs.cli.console import WIDTH


class Shown(NamedTuple):
    """One system of a source: what the source says of it, which command tries that, and what came out."""

    system: str
    claim: str
    command: str
    found: str


SOURCES: Mapping[str, Sequence[Shown]] = {
    "Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient, ICML 2020": (
        Shown(
            "SPAG, DANE, heavy-ball DANE",
            "about 15 rounds on KDD2010 with 100,000 server rows, DANE and its momentum more",
            "mpiopt solve kdd2010 --l2 1e-7 --method spag",
            "IMDB, 4 ranks, 1e-6: spag 11 rounds, hb_dane 14, dane 17, spcg 5 (guide of the library)",
        ),
        Shown(
            "SPAG, DANE, heavy-ball DANE from a local minimiser",
            "at lambda 1e-7 SPAG before HB before DANE, at 1e-5 all alike",
            "mpiopt reproduce spag-rcv1 --quick",
            "the same problem with 8,000 rows, to 1e-6: SPAG 58 iterations, HB 73, DANE more than 75, SPCG 4; at 1e-5 all 4",
        ),
        Shown(
            "relative condition number",
            "kappa falls with the server's rows n, as 1/n for quadratics, 1/sqrt(n) otherwise",
            "mpiopt reproduce relative-condition",
            "both slopes within their tolerances, the best mu below the one proved",
        ),
    ),
    "Teng, Gao, Chalus, Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019": (
        Shown(
            "LGD, EASGD",
            "the leader rests at stationary points alone, the centre of EASGD elsewhere too",
            "mpiopt reproduce leader-escapes",
            "EASGD's centre at f = 1 between two wells, LGD's leader at 0; LGD (lsgd, period 1, all rows) lower in most seeds",
        ),
        Shown(
            "LSGD, async and multi-leader; EASGD, EAMSGD, DOWNPOUR, data-parallel",
            "lower test error than the others after the same seconds on CIFAR-10",
            "mpiopt reproduce lsgd-cifar --data train.h5 --test test.h5",
            "figures without digits; the table says which order a run of equal seconds has",
        ),
    ),
    "Haddadpour, Kamani, Mahdavi, Cadambe, Trading redundancy for communication (RI-SGD), ICML 2019": (
        Shown(
            "RI-SGD: periods and redundancy",
            "redundant rows keep long periods near the optimum",
            "mpiopt reproduce ri-sgd",
            "residuals fall with every step of q, at tau 100 from 0.36 (q 1) to 8e-4 (q 8)",
        ),
        Shown(
            "unlike batches",
            "fast workers take more rows, and count for more",
            "mpiopt train --batch 32,64 --workers 2 --method ri_sgd --redundancy 2",
            "shares of 1/3 and 2/3 in what is agreed on",
        ),
        Shown(
            "dead workers",
            "the others hold copies of what is lost",
            "mpiopt reproduce ri-sgd",
            "with 4 of 8 dead, q 4 stays within 3 times the residual of all alive, q 1 does not",
        ),
        Shown(
            "gradient diversity",
            "falls with redundancy",
            "mpiopt train --method ri_sgd --redundancy 2 --workers 4",
            "column diversity of the history: less with redundancy",
        ),
    ),
    "Jaggi, Optimization for machine learning in practice (lectures)": (
        Shown(
            "update rules",
            "adaptive rules leave a saddle quickly, momentum overshoots and comes back",
            "mpiopt reproduce optimizer-animation",
            "steps to leave a saddle: SGD 233, momentum 49, Adagrad 2",
        ),
        Shown(
            "error feedback",
            "1/sqrt(nT) + 1/(delta^2 T)",
            "mpiopt reproduce ef-rate",
            "exponents -0.5 and -1 within their tolerances",
        ),
        Shown(
            "compressors without it",
            "signs and top-k alone go wrong",
            "mpiopt reproduce ef-counterexamples",
            "all six examples go wrong without, and are right with EF and EF21",
        ),
        Shown(
            "PowerSGD",
            "over 100 times fewer bytes by rank 1, the same accuracy",
            "mpiopt reproduce powersgd --data mnist.h5 --test mnist.t.h5",
            "small CNN: rank 1 56 times fewer, 99.03 % against 99.08 %",
        ),
        Shown(
            "pruning with feedback",
            "keeps accuracy at high sparsity",
            "mpiopt reproduce pruning-feedback",
            "above one-shot and incremental pruning at the highest sparsity",
        ),
        Shown(
            "weights of few bits with feedback",
            "trains where rounding alone stalls",
            "mpiopt train --method rounded_sgd --set model_bits=3",
            "blobs, 3 bits: loss 0.418 with feedback, 0.420 with all bits; without (--set feedback=false) one worker diverges",
        ),
        Shown(
            "one-shot averaging",
            "does not work for networks",
            "mpiopt reproduce one-shot-fails",
            "fine on a quadratic, far off with few rows, meaningless for two equal nets",
        ),
        Shown(
            "local SGD",
            "as good as all rounds for H up to sqrt(T/K)",
            "mpiopt reproduce local-sgd-speedup",
            "errors alike for H = 1 to 64, and smaller with 8 workers",
        ),
        Shown(
            "federated averaging and its corrections",
            "unlike rows bias it; SCAFFOLD does not mind",
            "mpiopt reproduce fedavg-heterogeneous",
            "FedAvg stalls at 1.6e-2, SCAFFOLD and Scaffnew below 1e-26",
        ),
        Shown(
            "CoCoA: local work against the price of a round",
            "local work in place of rounds where messages are dear",
            "mpiopt reproduce local-work",
            "a third of the rounds with 16 local epochs; the best number grows from 1 to 4 with the price",
        ),
        Shown(
            "larger batches against local steps",
            "of as many samples and agreements local steps lead further",
            "mpiopt reproduce local-work",
            "F - F* 71 times lower (+- 41, five seeds) after 30 rounds of 16 steps",
        ),
        Shown(
            "slow networks",
            "compression pays where bytes are dear",
            "mpiopt reproduce slow-network",
            "100 Mbit/s: 6 times sooner; 1 Gbit/s: 1.3 times",
        ),
        Shown(
            "decentralised and collaborative",
            "neighbours alone are enough; medians bear faulty workers",
            "mpiopt reproduce choco",
            "the mean is kept to 1e-12 where plain quantised gossip stalls; 0.13 of the bytes of D-PSGD",
        ),
        Shown(
            "push-sum (SGP)",
            "neighbours that hear and do not answer are enough, with the steps of SGD",
            "mpiopt train --method sgp --workers 8 --split classes:2",
            "blobs, two classes a worker, 4 epochs: loss 0.442 on held-out rows, sgd 0.441, d_psgd on a ring 0.444",
        ),
        Shown(
            "unlike rows without a centre",
            "gradient tracking, EXTRA and D^2 are exact, descent is not",
            "mpiopt reproduce decentralised-logistic --data a9a.h5",
            "a9a, one label a node: descent stops at 5e-2 of the start, EXTRA reaches 4e-10, D^2 1e-13 in 600 rounds",
        ),
    ),
    "Shulgin, Richtarik and others, a collection of papers": (
        Shown(
            "SGD with any sampling",
            "its constants predict the best minibatch and when steps should fall",
            "mpiopt reproduce sgd-sampling",
            "least work where predicted, and sgd_as finds that number of rows by itself; switching beats the constant step",
        ),
        Shown(
            "shifted compression, GDCI",
            "shifts make compressed descent exact",
            "mpiopt reproduce shifted-compression",
            "DCGD and GDCI stop at 1.5e-4 and 1.9e-4, STAR and VR-GDCI go on",
        ),
        Shown(
            "Kashin compression",
            "variance independent of the dimension",
            "mpiopt reproduce kashin",
            "omega about 3 with 2 bits, for any input; no compressor beats the bound",
        ),
        Shown(
            "stochastic extragradient",
            "the same sample twice converges where fresh ones do not",
            "mpiopt reproduce extragradient --data mnist.h5",
            "below 1e-12 over 20 seeds, Mirror-Prox beyond 10^6; negative momentum is best; a GAN on MNIST: ahead by rounds "
            "(distance 0.81 of that of Adam alone), behind by gradients (1.43)",
        ),
        Shown(
            "ADOM",
            "sqrt(kappa) over graphs that change",
            "mpiopt reproduce adom",
            "faster than promised on every kappa and graph; distances 2.2e-3 a round on ten rings",
        ),
        Shown(
            "MAST",
            "solutions bear being pruned",
            "mpiopt reproduce mast-pruning --data a9a.h5 --test a9a.t.h5",
            "half pruned: 2.5 points of accuracy above the solution's, 80 %: 4 points",
        ),
        Shown(
            "IST and its theory",
            "fewer bytes and seconds than data-parallel; a biased fixed point",
            "mpiopt reproduce ist --data mnist.h5 --test mnist.t.h5",
            "MNIST: 0.03 of the bytes, but 2.9 points below local SGD after 8 epochs; fixed point within 1 %",
        ),
        Shown(
            "model parallel, the baseline of IST",
            "two sums of activations a layer and step",
            "mpiopt train --method model_parallel --model mlp:256,256",
            "the steps of sgd; on made-up rows and layers of 256 it sends 1.6 times what data-parallel sends",
        ),
        Shown(
            "certified federated learning",
            "federated above local, personal above both",
            "mpiopt reproduce certified-fl --data mnist.h5 --test mnist.t.h5",
            "MNIST, 100 rows a client: radius 1.3 times local's; of two classes each personal 1.25 times federated, as local",
        ),
    ),
}


def table_of_sources() -> str:
    """All of it for a terminal."""
    lines = []
    for source, shown in SOURCES.items():
        lines.append(fill(source, WIDTH))
        for one in shown:
            lines.append(fill(f"{one.system}: {one.claim}", WIDTH, initial_indent="  ", subsequent_indent="    "))
            lines.append(f"      {one.command}")
            lines.append(fill(one.found, WIDTH, initial_indent="      ", subsequent_indent="      "))
        lines.append("")
    return "\n".join(lines).rstrip()


def facts_of_sources() -> dict[str, list[dict[str, str]]]:
    """The same as JSON has it."""
    return {source: [one._asdict() for one in shown] for source, shown in SOURCES.items()}
