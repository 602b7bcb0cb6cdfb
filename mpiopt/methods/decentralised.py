"""Methods without a centre: every worker is a node of a graph, has a point of its own, and hears its neighbours alone.

    d_psgd, dgd            Walk(Mixed) -> Neighbours                        x_i <- sum_j W_ij x_j - gamma grad_i(x_i)
    sgp                    Push -> Neighbours(directed)                     x_i <- sum_j P_ij (x_j - gamma grad_j(x_j / w_j))
    noloco                 PairedSteps -> Neighbours(matching)              phi_i <- phi_i + delta_i, between local steps
    choco_sgd, choco       Walk -> Remembered(Neighbours(c))                x_i <- x_i + gain sum_j W_ij (h_j - h_i)

The first of two trains, the second solves, and sgp and noloco train. ``graph`` says which workers are neighbours: ring,
torus:rows=3, geometric:radius=0.3,seed=1, ... (`graphs.topology`); ``graph_every`` after how many agreements the graph changes,
0 for never. The answer is the plain mean of the points; what it costs to look at it is no part of the method. Those that are
exact whatever the nodes' rows are stand in `methods.exact_decentralised`.
"""

from dataclasses import replace

from mpiopt.exchange.gossip import Remembered
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs.topology import PUSH, Topology
from mpiopt.methods.compressors_taken import contraction
from mpiopt.methods.entry import Entry
from mpiopt.methods.nodes import Decentralised, near, nodes
from mpiopt.outer.descend import Pull
from mpiopt.sampling.pace import Period
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.transform import Transform
from mpiopt.work.node import Mixed, Walk
from mpiopt.work.paired import PairedSteps
from mpiopt.work.push import Push

KOLOSKOVA = "Koloskova, Stich, Jaggi, Decentralized stochastic optimization and gossip algorithms, ICML 2019"


def d_psgd(
    rule: Transform, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis", period: int = 1
) -> Decentralised:
    """Decentralised SGD: steps from where a worker is, added to the mean of its neighbours' points."""
    return nodes(Walk(rule, Period(period), Mixed()), near(graph, graph_every, weights))


def choco_sgd(
    rule: Transform,
    compress: str = "topk:0.1",
    gain: float | None = None,
    graph: str = "ring",
    weights: str = "metropolis",
    period: int = 1,
) -> Decentralised:
    """Decentralised SGD whose neighbours send compressed differences from what they know of each other."""
    known = Remembered(near(graph, 0, weights, contraction(compress)), gain)
    return nodes(Walk(rule, Period(period)), known, Pull())


def sgp(rule: Transform, graph: str = "directed_exponential", graph_every: int = 0) -> Decentralised:
    """Stochastic gradient push: edges may go one way, and each node divides what it has among those that hear it."""
    return nodes(Push(rule), Neighbours(Topology.of(graph, graph_every, PUSH)))


def noloco(
    rule: Transform, period: int = 50, momentum: float = 0.5, outer_lr: float = 0.7, pull: float = 1.0, graph: str = "matching"
) -> Decentralised:
    """Pairs of workers, drawn anew after every ``period`` steps, average points and the momentum of what the steps did."""
    work = PairedSteps(rule, Period(period), momentum=momentum, rate=outer_lr, pull=pull)
    return nodes(work, near(graph, 1, "metropolis"))


def dgd(gamma: float | None = None, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Decentralised gradient descent: to a neighbourhood of the optimum as large as the step and the workers' differences."""
    return replace(d_psgd(plain(1.0), graph, graph_every, weights), length=gamma, dvectors=13)


def choco(
    gamma: float | None = None,
    compress: str = "topk:0.1",
    gain: float | None = None,
    graph: str = "ring",
    weights: str = "metropolis",
) -> Decentralised:
    """Decentralised gradient descent whose neighbours send compressed differences."""
    return replace(choco_sgd(plain(1.0), compress, gain, graph, weights), length=gamma, dvectors=14)


TRAINERS = (
    Entry(
        d_psgd, "Lian, Zhang, Zhang, Hsieh, Zhang, Liu, Can decentralized algorithms outperform centralized ones?, NIPS 2017"
    ),
    Entry(choco_sgd, KOLOSKOVA),
    Entry(sgp, "Assran, Loizou, Ballas, Rabbat, Stochastic gradient push for distributed deep learning, ICML 2019"),
    Entry(noloco, "Kolehmainen, Blagoev, Donaghy, Ersoy, Nies, NoLoCo: no-all-reduce low communication training method, 2025"),
)
SOLVERS = (
    Entry(dgd, "Nedic, Ozdaglar, Distributed subgradient methods for multi-agent optimization, 2009"),
    Entry(choco, KOLOSKOVA),
)
