"""Methods without a centre: every worker is a node of a graph, has a point of its own, and hears its neighbours alone.

    d_psgd, dgd            Walk(Mixed) -> Neighbours                        x_i <- sum_j W_ij x_j - gamma grad_i(x_i)
    choco_sgd, choco       Walk -> Remembered(Neighbours(c))                x_i <- x_i + gain sum_j W_ij (h_j - h_i)
    gt_sgd, diging         Tracking -> Neighbours                           x_i <- sum_j W_ij x_j - y_i
    adom                   DualOracle -> Repeated(Neighbours)               x_i = argmax_x z_i.x - phi_i(x)

The first of two trains, the second and adom solve. ``graph`` says which workers are neighbours: ring, torus:rows=3,
geometric:radius=0.3,seed=1, ... (`graphs.topology`); ``graph_every`` after how many agreements the graph changes, 0 for never.
The answer is the plain mean of the points; what it costs to look at it is no part of the method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor
from mpiopt.engine.method import Measured, Run, measured
from mpiopt.engine.phase import Exchange, Outer, PerWorker, Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.gossip import Remembered, Repeated
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs.mixing import Spectrum
from mpiopt.graphs.topology import Topology
from mpiopt.methods.compression import contraction
from mpiopt.methods.curvature import constants
from mpiopt.methods.entry import Entry
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.numerics.theory import Constants
from mpiopt.outer.descend import Pull, Stay
from mpiopt.problems.problem import Message, Point, Team, gradient, mean
from mpiopt.problems.protocols import Curvature
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.transform import Transform
from mpiopt.work.dual_oracle import DualOracle
from mpiopt.work.node import Mixed, Stepped, Tracking, Walk

KOLOSKOVA = "Koloskova, Stich, Jaggi, Decentralized stochastic optimization and gossip algorithms, ICML 2019"
Found = float | theory.Adom
Law = Callable[[Constants, Spectrum], Found]  # of the losses and of what is heard of neighbours -> the step, or all parameters


def _dual(c: Constants, s: Spectrum) -> theory.Adom:
    return theory.adom(c.mu, c.Lmax, s.lambda_min, s.lambda_max)


def _consensus(c: Constants, s: Spectrum) -> float:
    return theory.consensus(1 / c.Lmax, s.lambda_max)


def _tracking(c: Constants, s: Spectrum) -> float:
    return theory.tracking(1 / c.Lmax, s.lambda_max)


@dataclass(frozen=True)
class Decentralised(Training):
    """A method of nodes. Its one work takes the step that is given, that ``law`` finds where it is None.

    What is heard of neighbours has a spectrum, as the exchange says.
    """

    length: float | None = field(default=1.0, kw_only=True)
    law: Law = field(default=_consensus, kw_only=True)
    needs: ClassVar[type] = Curvature  # where a step is to be found

    def init(self, x: Array, team: Team[Curvature]) -> Run:
        """All workers at x. Collective: 60 vector rounds where a step is to be found.

        Raises in one sentence on every rank where the graph is none for the method, or a worker has no rows.
        """
        with team.world.together("looking at the workers"):
            for site in team.sites:
                if not site.share > 0:
                    raise UsageError(
                        f"worker {site.worker} of {team.world.workers} has no rows, and every node of a graph "
                        "needs some: take fewer workers"
                    )
        run = super().init(x, team)
        found = self._found(x, team) if self.length is None else self.length
        work = cast(Stepped, self.phases[0].work)
        nodes = PerWorker(work.stepped(state, found) for state in run.states.works[0])
        return run._replace(states=run.states._replace(works=(nodes,)))

    def _found(self, x: Array, team: Team[Curvature]) -> Found:
        """What ``law`` says of the losses at 0 and the graphs, the same on every rank. Collective."""
        self.check(team, self)
        world, known = team.world, constants(team, np.zeros_like(x))
        least = world.extremes(np.array([min(site.share for site in team.sites)]))[0][0]
        known = known._replace(mu=known.mu * world.workers * float(least))  # of every worker
        found = self.law(known, self.phases[0].exchange.spectrum(x.size, world.workers))
        alike = world.bcast(np.atleast_1d(np.array(found, np.float64))).tolist()  # whatever the law's arithmetic was
        return type(found)(*alike)

    def measure(self, run: Run, team: Team) -> Measured:
        """F and its gradient at the answer, by a pass over all rows. Collective."""
        x = self.answer(run, team).x
        return measured(team, x, gradient(team, [site.loss.point(x) for site in team.sites]))

    def answer(self, run: Run, team: Team) -> Point:
        """The plain mean of the workers' points. Collective."""
        even = [1 / team.world.workers] * len(run.points)
        return Point(mean(team, [Message(at.x, np.zeros(0)) for at in run.points], even, "average").vector)


def d_psgd(
    rule: Transform, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis", period: int = 1
) -> Decentralised:
    """Decentralised SGD: steps from where a worker is, added to the mean of its neighbours' points."""
    return _walk(Walk(rule, Period(period), Mixed()), _near(graph, graph_every, weights), Stay())


def choco_sgd(
    rule: Transform,
    compress: str = "topk:0.1",
    gain: float | None = None,
    graph: str = "ring",
    weights: str = "metropolis",
    period: int = 1,
) -> Decentralised:
    """Decentralised SGD whose neighbours send compressed differences from what they know of each other."""
    near = Remembered(_near(graph, 0, weights, contraction(compress)), gain)
    return _walk(Walk(rule, Period(period)), near, Pull())


def gt_sgd(lr: Schedule, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Gradient tracking with stochastic gradients: two vectors a neighbour; needs a constant step size."""
    step = lr(0)
    demand(all(lr(k) == step for k in (1, 1000)), "the step size of gt_sgd", "one that changes", "a constant one")
    return diging(step, graph, graph_every, weights)


def dgd(gamma: float | None = None, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Decentralised gradient descent: to a neighbourhood of the optimum as large as the step and the workers' differences."""
    return replace(d_psgd(plain(1.0), graph, graph_every, weights), length=gamma, law=_consensus, dvectors=15)


def choco(
    gamma: float | None = None,
    compress: str = "topk:0.1",
    gain: float | None = None,
    graph: str = "ring",
    weights: str = "metropolis",
) -> Decentralised:
    """Decentralised gradient descent whose neighbours send compressed differences."""
    return replace(choco_sgd(plain(1.0), compress, gain, graph, weights), length=gamma, law=_consensus)


def diging(gamma: float | None = None, graph: str = "ring", graph_every: int = 0, weights: str = "metropolis") -> Decentralised:
    """Gradient tracking: exact whatever the workers' losses are; two vectors a neighbour."""
    made = _walk(Tracking(), _near(graph, graph_every, weights), Stay())
    return replace(made, length=gamma, law=_tracking, dvectors=18)


def adom(
    graph: str = "ring", graph_every: int = 0, weights: str = "laplacian", times: int = 1, accuracy: float = 1e-6
) -> Decentralised:
    """Accelerated dual descent over graphs that may change all the time; neighbours hear each other ``times`` a round."""
    near = replace(_near(graph, graph_every, weights), each=True)
    return replace(_walk(DualOracle(accuracy), Repeated(near, times), Stay()), length=None, law=_dual, dvectors=28)


def _near(graph: str, every: int, weights: str, compressor: Compressor | None = None) -> Neighbours:
    return Neighbours(Topology.of(graph, every, weights), compressor)


def _walk(work: Walk | Tracking | DualOracle, exchange: Exchange, outer: Outer) -> Decentralised:
    return Decentralised(None, (Phase(work, exchange),), outer)


TRAINERS = (
    Entry(
        d_psgd, "Lian, Zhang, Zhang, Hsieh, Zhang, Liu, Can decentralized algorithms outperform centralized ones?, NIPS 2017"
    ),
    Entry(choco_sgd, KOLOSKOVA),
    Entry(gt_sgd, "Pu, Nedic, Distributed stochastic gradient tracking methods, 2018", rule="sgd", steady=True),
)
SOLVERS = (
    Entry(dgd, "Nedic, Ozdaglar, Distributed subgradient methods for multi-agent optimization, 2009"),
    Entry(choco, KOLOSKOVA),
    Entry(adom, "Kovalev, Shulgin, Richtarik, Rogozin, Gasnikov, ADOM: accelerated decentralized optimization, ICML 2021"),
    Entry(diging, "Nedic, Olshevsky, Shi, Achieving geometric convergence for distributed optimization, 2017"),
)
