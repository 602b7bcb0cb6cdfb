"""Methods that train: compositions without an opening, whose record is what the workers' own steps have seen."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array, pull
from mpiopt.engine.method import Composed, Measured, Run
from mpiopt.engine.phase import PerWorker, Tree
from mpiopt.errors import CapabilityError, NumericalError
from mpiopt.problems.buffers import Buffer, held, put
from mpiopt.problems.optional import Seated
from mpiopt.problems.problem import Message, Point, Site, Team, mean
from mpiopt.problems.protocols import offers
from mpiopt.work.drift import Elastic
from mpiopt.work.log import Log, Logging


class Progress(NamedTuple):
    """How far all workers have come together."""

    steps: int
    rows: int
    loss: float  # mean of the workers' running losses, weighted as their messages are; NaN before the first step


class WithBuffers(NamedTuple):
    """What a checkpoint keeps of a training: the state, and per worker what its model holds beside x."""

    states: Tree
    buffers: PerWorker  # a tuple of Buffers each


@dataclass(frozen=True)
class Training(Composed):
    """Phases and an outer step; the first phase's work counts what it looks at, in a state with a `Log` as ``log``."""

    def init(self, x: Array, team: Team[Any]) -> Run:
        """All workers at x. Collective. Raises CapabilityError for penalties with a kink: steps follow gradients."""
        if not team.penalty.smooth:
            raise CapabilityError(
                "training follows gradients, and the penalty has none everywhere: leave the l1 part or the "
                "box out, or solve with fista"
            )
        common = None if self.own else Point(x.copy())  # x may be the memory of a model, in which its worker moves
        points = PerWorker(Point(_settled(site, x)) if self.own else common for site in team.sites)
        return Run(points, None, self._states(x, team))

    def kept(self, run: Run, team: Team) -> Run:
        """The run as a checkpoint keeps it: with what models hold beside x. Not collective."""
        buffers = PerWorker(tuple(Buffer(*item) for item in held(site.loss).items()) for site in team.sites)
        return run._replace(states=WithBuffers(run.states, buffers))

    def taken_up(self, run: Run, team: Team) -> Run:
        """A run out of a checkpoint, its points and statistics back in the models. Not collective."""
        for site, buffers in zip(team.sites, run.states.buffers, strict=True):
            put(site.loss, {buffer.name: buffer.value for buffer in buffers})
        points = run.points
        if self.own:
            points = PerWorker(at._replace(x=_settled(site, at.x)) for site, at in zip(team.sites, points, strict=True))
        return run._replace(points=points, states=run.states.states)

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """Steps that a worker is expected to make in a round."""
        return self.phases[0].work.steps_in(round)

    def logs(self, run: Run) -> list[Log]:
        """The logs of the workers of this rank. Raises CapabilityError where the first work keeps none."""
        states = run.states.works[0] if run.states.works else ()
        if not (states and all(isinstance(state, Logging) and isinstance(state.log, Log) for state in states)):
            first = f"its {type(self.walked[0].work).__name__}" if self.walked else "without a phase it"
            raise CapabilityError(
                f"{self.name} cannot train: {first} keeps no log of steps, rows and losses, which a training's record "
                "is made of; begin with Steps, Minibatch or a work whose state has a Log (mpiopt.work.log) as its log"
            )
        return [state.log for state in states]

    def progress(self, run: Run, team: Team) -> Progress:
        """Over all workers. Collective. Raises NumericalError on every rank where a loss was not finite."""
        return progress(self.logs(run), team)

    def measure(self, run: Run, team: Team) -> Measured:
        """The running loss as objective. Collective."""
        return Measured(self.progress(run, team).loss, float("nan"), float("inf"))

    def answer(self, run: Run, team: Team) -> Point:
        """The common point, or the mean of the workers' own. Collective."""
        return Point(average(run, team)) if self.own else self.outer.answer(run.points, run.states.outer)


@dataclass(frozen=True)
class Centred(Training):
    """Elastic averaging: the answer is the centre. drift : of the first phase's work."""

    drift: Elastic = field(kw_only=True)

    def answer(self, run: Run, team: Team) -> Point:
        """The centre after the last agreement. Not collective."""
        centre = run.states.works[0][0].drift.centre.copy()
        return Point(centre if run.agreed is None else self.drift.moved(centre, run.agreed))


def average(run: Run, team: Team) -> Array:
    """The mean of the workers' points (dim,), weighted by their shares. Collective."""
    return mean(team, [Message(at.x, np.zeros(0)) for at in run.points], name="average").vector


def spread(run: Run, team: Team, centre: Array) -> float:
    """Root mean square of the workers' distances from a point (dim,). Collective."""
    squares = [site.share * float(((at.x - centre) ** 2).sum()) for site, at in zip(team.sites, run.points, strict=True)]
    return float(team.world.total([np.array([square]) for square in squares])[0]) ** 0.5


def progress(logs: list[Log], team: Team) -> Progress:
    """What the logs of all workers add up to. Collective. Raises NumericalError on every rank."""
    started = [log.steps > 0 for log in logs]
    shares = [site.share * begun for site, begun in zip(team.sites, started, strict=True)]
    parts = [
        np.array([log.steps, log.rows, share, share * log.loss if share else 0.0, log.bad >= 0])
        for log, share in zip(logs, shares, strict=True)
    ]
    steps, rows, weight, loss, bad = team.world.total(parts)
    if bad:
        _blame(logs, team)
    return Progress(int(steps), int(rows), float(loss / weight) if weight else float("nan"))


def _blame(logs: list[Log], team: Team) -> None:
    """Name the first worker and step whose loss was not finite. Collective. Raises NumericalError on every rank."""
    told = [(log.bad, site.worker, team.world.rank) for log, site in zip(logs, team.sites, strict=True) if log.bad >= 0]
    step, worker, rank = min(one for many in team.world.tell_all(told) for one in many)
    raise NumericalError(
        f"the loss of worker {worker} (rank {rank}) is no longer a finite number at its step {step + 1}: the iteration has "
        "diverged; take a smaller step size"
    )


def _settled(site: Site, x: Array) -> Array:
    """A worker's own array, holding x: the model's memory where it has one."""
    if not offers(site.loss, Seated):
        return x.copy()
    pull(site.loss.x, x, 1)
    return site.loss.x
