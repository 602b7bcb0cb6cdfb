"""What methods without a centre have in common: nodes with points of their own, and how their step is found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor
from mpiopt.engine.method import Measured, Run, measured
from mpiopt.engine.phase import Exchange, Outer, PerWorker, Phase, Work
from mpiopt.errors import UsageError
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs import mixing
from mpiopt.graphs.mixing import Spectrum
from mpiopt.graphs.topology import Topology
from mpiopt.methods.curvature import constants
from mpiopt.numerics import theory
from mpiopt.numerics.theory import Constants
from mpiopt.outer.descend import Stay
from mpiopt.problems.problem import Message, Point, Team, gradient, mean
from mpiopt.problems.protocols import Curvature
from mpiopt.training.method import Training
from mpiopt.work.log import Logging
from mpiopt.work.node import Stepped

Found = float | theory.Adom | theory.AdomPlus
Law = Callable[[Constants, Spectrum], Found]  # of the losses and of what is heard of neighbours -> the step, or all parameters


def consensus(c: Constants, s: Spectrum) -> float:
    """See `theory.consensus`."""
    return theory.consensus(1 / c.Lmax, s.lambda_max)


class Done(NamedTuple):
    """What a node has done so far."""

    gradients: int  # of its loss or of that's conjugate, over all or some of its rows
    exchanges: int  # times that it has heard its neighbours


@dataclass(frozen=True)
class Decentralised(Training):
    """A method of nodes. Its one work takes the step that is given, that ``law`` finds where it is None.

    What is heard of neighbours has a spectrum, as the exchange says. times : exchanges of a round.
    """

    length: float | None = field(default=1.0, kw_only=True)
    law: Law = field(default=consensus, kw_only=True)
    times: int = field(default=1, kw_only=True)
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

    def done(self, run: Run) -> Done:
        """By the first node of this rank, as by all. Not collective."""
        first = run.states.works[0][0]
        return Done(first.log.steps if isinstance(first, Logging) else run.round, self.times * run.round)

    def answer(self, run: Run, team: Team) -> Point:
        """The plain mean of the workers' points. Collective."""
        even = [1 / team.world.workers] * len(run.points)
        return Point(mean(team, [Message(at.x, np.zeros(0)) for at in run.points], even, "average").vector)


def near(graph: str, every: int, weights: str, compressor: Compressor | None = None) -> Neighbours:
    """Neighbours of a graph by its text. Raises UsageError for weights that do not make a symmetric matrix."""
    mixing.law(weights)
    return Neighbours(Topology.of(graph, every, weights), compressor)


def nodes(work: Work, exchange: Exchange, outer: Outer = Stay()) -> Decentralised:  # noqa: B008 - it has no state
    """The method of one phase."""
    return Decentralised(None, (Phase(work, exchange),), outer)
