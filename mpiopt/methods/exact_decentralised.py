"""Methods without a centre that are exact whatever the nodes' losses are: the step may stay long.

    gt_sgd, diging   Tracking -> Neighbours                 x_i <- sum_j W_ij x_j - y_i, y_i a track of the mean gradient
    d2_sgd, d2       Doubled -> Neighbours                  x_i <- sum_j W_ij (2 x_j - last x_j - gamma change of grad_j)
    extra            Extra -> Neighbours                    x_i <- x_i + sum_j W_ij x_j - rest_i - gamma grad_i
    adom             DualOracle -> Repeated(Neighbours)     x_i = argmax_x z_i.x - phi_i(x)
    adom_plus        PrimalOracle -> Repeated(Neighbours)   the same with gradients alone

Nodes of d2 and extra say one vector to a neighbour, those of the others two. Names in _sgd train, with steps of constant
length; the others solve. Graphs as in `methods.decentralised`.
"""

from dataclasses import replace

from mpiopt.exchange.gossip import Repeated
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs.mixing import Spectrum
from mpiopt.methods.entry import Entry
from mpiopt.methods.nodes import Decentralised, Law, near, nodes
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.numerics.theory import Constants
from mpiopt.work.dual_oracle import DualOracle
from mpiopt.work.node import Tracking
from mpiopt.work.primal_oracle import PrimalOracle
from mpiopt.work.recalled import Doubled, Extra

TANG = "Tang, Lian, Yan, Zhang, Liu, D2: decentralized training over decentralized data, ICML 2018"
THIRD = -1 / 3  # an eigenvalue of W below which D^2 diverges


def gt_sgd(lr: Schedule, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Gradient tracking with stochastic gradients: two vectors a neighbour; needs a constant step size."""
    return diging(_constant(lr, "gt_sgd"), graph, graph_every, weights)


def d2_sgd(lr: Schedule, graph: str = "ring", weights: str = "lazy") -> Decentralised:
    """D^2 with stochastic gradients: exact on unlike rows at one vector a neighbour; needs a constant step size."""
    return d2(_constant(lr, "d2_sgd"), graph, weights)


def diging(gamma: float | None = None, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Gradient tracking: exact whatever the workers' losses are; two vectors a neighbour."""
    return replace(nodes(Tracking(), near(graph, graph_every, weights)), length=gamma, law=_tracking, dvectors=15)


def d2(gamma: float | None = None, graph: str = "ring", weights: str = "lazy") -> Decentralised:
    """D^2: exact at one vector a neighbour; W needs eigenvalues above -1/3, as lazy weights have."""
    heard = replace(near(graph, 0, weights), least=THIRD)
    return replace(nodes(Doubled(), heard), length=gamma, law=_half, dvectors=13)


def extra(gamma: float | None = None, graph: str = "ring", weights: str = "metropolis") -> Decentralised:
    """EXTRA: exact at one vector a neighbour."""
    return replace(nodes(Extra(), replace(near(graph, 0, weights), fixed=True)), length=gamma, dvectors=13)


def adom(
    graph: str = "ring", graph_every: int = 0, weights: str = "laplacian", times: int = 1, accuracy: float = 1e-6
) -> Decentralised:
    """Accelerated dual descent over graphs that may change all the time; neighbours hear each other ``times`` a round."""
    return _accelerated(DualOracle(accuracy), near(graph, graph_every, weights), times, _dual, 28)


def adom_plus(graph: str = "ring", graph_every: int = 0, weights: str = "laplacian", times: int = 1) -> Decentralised:
    """Accelerated primal descent over graphs that may change all the time: one gradient a round, and no local solve."""
    return _accelerated(PrimalOracle(), near(graph, graph_every, weights), times, _primal, 32)


def _accelerated(work: DualOracle | PrimalOracle, heard: Neighbours, times: int, law: Law, held: int) -> Decentralised:
    made = nodes(work, Repeated(replace(heard, each=True), times))
    return replace(made, length=None, law=law, dvectors=held, times=times)


def _constant(lr: Schedule, name: str) -> float:
    step = lr(0)
    demand(all(lr(k) == step for k in (1, 1000)), f"the step size of {name}", "one that changes", "a constant one")
    return step


def _tracking(c: Constants, s: Spectrum) -> float:
    return theory.tracking(1 / c.Lmax, s.lambda_max)


def _half(c: Constants, s: Spectrum) -> float:
    return 1 / (2 * c.Lmax)  # a quarter of what is stable, with any eigenvalues of W above -1/3


def _dual(c: Constants, s: Spectrum) -> theory.Adom:
    return theory.adom(c.mu, c.Lmax, s.lambda_min, s.lambda_max)


def _primal(c: Constants, s: Spectrum) -> theory.AdomPlus:
    return theory.adom_plus(c.mu, c.Lmax, s.lambda_min, s.lambda_max)


TRAINERS = (
    Entry(gt_sgd, "Pu, Nedic, Distributed stochastic gradient tracking methods, 2018", rule="sgd", steady=True),
    Entry(d2_sgd, TANG, rule="sgd", steady=True),
)
SOLVERS = (
    Entry(adom, "Kovalev, Shulgin, Richtarik, Rogozin, Gasnikov, ADOM: accelerated decentralized optimization, ICML 2021"),
    Entry(
        adom_plus, "Kovalev, Gasanov, Gasnikov, Richtarik, Lower bounds and optimal algorithms over time-varying networks, 2021"
    ),
    Entry(diging, "Nedic, Olshevsky, Shi, Achieving geometric convergence for distributed optimization, 2017"),
    Entry(extra, "Shi, Ling, Wu, Yin, EXTRA: an exact first-order algorithm for decentralized consensus optimization, 2015"),
    Entry(d2, TANG),
)
