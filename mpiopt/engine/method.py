"""Methods: a short list of Phases closed by one Outer step, or a class with the same three verbs.

The ``opening`` phase is walked once at the start and then at the *end* of every step, so that a step ends knowing the
objective and the gradient at the point it has made: nothing is evaluated only to be recorded, and the first phase of
the next step finds that gradient as its ``agreed``. Training has no opening: its first phase finds what the round before
agreed on. Methods whose mathematics does not fit (SPAG, truncated Newton) implement `Method` themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Self, cast, runtime_checkable

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.aim import aimed
from mpiopt.engine.phase import Agreed, Exchange, Joint, Local, Outer, PerWorker, Phase, Tree, Work, told
from mpiopt.errors import CapabilityError
from mpiopt.numerics.krylov import Map
from mpiopt.problems.certificate import gradient_bound
from mpiopt.problems.demand import Asking, demand
from mpiopt.problems.problem import Message, Point, Team, measures
from mpiopt.sampling.clients import EVERYONE, Clients


class Measured(NamedTuple):
    """What a method knows of the point it would answer with, for the record and the stopping rules."""

    objective: float
    gradient_norm: float  # of F; of the shortest subgradient where F has a kink
    gap: float  # certified upper bound on F - F*, infinity where none is known
    fresh: bool = True  # whether the answer may have changed since the last round


class Run(NamedTuple):
    """A method under way."""

    points: PerWorker  # a Point per hosted worker; x is one shared array where they agree
    agreed: Agreed
    states: Tree
    round: int = 0


class States(NamedTuple):
    """What the blocks of a method keep: works and exchanges by phase, the opening first, works by worker; the outer step."""

    works: tuple[PerWorker, ...]
    exchanges: tuple[Tree, ...]
    outer: Tree


class Method(Protocol):
    """Everything the driver loop needs."""

    @property
    def own(self) -> bool:
        """Whether every worker has a point of its own; else all share one."""

    @property
    def dvectors(self) -> int:
        """d-vectors that a rank with one worker holds at most in a solve, the certificate at its end included."""

    def init(self, x: Array, team: Team[Any]) -> Run:
        """The run before the first round. Collective."""

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round; spends ``run``. Collective."""

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """Objective, gradient norm and certified gap of the answer. Collective."""

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The point to record, stop on and save."""


@runtime_checkable
class Bounding(Protocol):
    """A method that keeps what proves a lower bound of F, such as dual variables."""

    def lower(self, run: Run, team: Team[Any], /) -> float:
        """What F is nowhere below, computed afresh; -infinity where nothing is known. Collective."""


def proved_above(method: Method, run: Run | None, team: Team[Any]) -> float:
    """The lower bound of F that a method proves, -infinity for most. Collective."""
    return method.lower(run, team) if isinstance(method, Bounding) and run is not None else -np.inf


@runtime_checkable
class Keeping(Method, Protocol):
    """A method whose ranks may have parts of the point, which are put together only when somebody asks."""

    def kept(self, run: Run, team: Team[Any], /) -> Array | PerWorker:
        """The answer's x (dim,), or what each hosted worker owns of it; arrays that no round changes. Not collective."""

    def whole(self, kept: Array | PerWorker, team: Team[Any], /) -> Array:
        """x (dim,), of what was kept. Collective."""


@runtime_checkable
class Parting(Keeping, Protocol):
    """One that is a form of another."""

    def parting(self, team: Team[Any], /) -> bool:
        """Whether ranks will have parts of the point. Collective."""

    def leaving(self, run: Run, team: Team[Any], /) -> Run:
        """The run as another form can go on with it, points and agreement whole. Collective."""


def kept(method: Method, run: Run, team: Team[Any]) -> Array | PerWorker:
    """The answer's x, or the parts of it that hosted workers own. Not collective."""
    return method.kept(run, team) if isinstance(method, Keeping) else method.answer(run, team).x


def whole(method: Method, kept: Array | PerWorker, team: Team[Any]) -> Array:
    """x (dim,), of what was kept. Collective."""
    return method.whole(kept, team) if isinstance(method, Keeping) else cast(Array, kept)


class HessianAtHand(NamedTuple):
    """A Hessian in factors, of the answer's point or of one near it, the same on all ranks.

    decrement : about g.H^-1 g, twice what F lies above its minimum if it is small. inverse : r -> about H^-1 r.
    """

    decrement: float
    inverse: Map


@runtime_checkable
class Inverting(Protocol):
    """A method that may have a Hessian at hand."""

    def at_hand(self, run: Run, team: Team[Any], /) -> HessianAtHand | None:
        """It, None where there is none. Not collective."""


def at_hand(method: Method, run: Run | None, team: Team[Any]) -> HessianAtHand | None:
    """The Hessian that a method has at hand, if it has one. Not collective."""
    return method.at_hand(run, team) if isinstance(method, Inverting) and run is not None else None


@runtime_checkable
class Limited(Protocol):
    """A method whose messages, such as Hessians, grow faster than vectors do."""

    @property
    def most(self) -> int | None:
        """Coordinates that it takes at most; None for any number."""


def limit(method: Method) -> int | None:
    """Coordinates that a method takes at most; None for any number, as most do."""
    return method.most if isinstance(method, Limited) else None


@dataclass(frozen=True)
class Named:
    """What a method is called where it refuses a problem; workers share a point unless it says otherwise."""

    name: str = field(default="this method", kw_only=True, compare=False)

    @property
    def own(self) -> bool:
        """See `Method.own`."""
        return False

    def check(self, team: Team, *blocks: Asking) -> None:
        """Hold the losses against what the blocks need, once. Collective. Raises CapabilityError on every rank."""
        with team.world.together("setting up the method"):
            demand(self.name, [site.loss for site in team.sites], blocks)


@dataclass(frozen=True)
class Composed(Named):
    """The Method made of phases and an outer step, which says whether workers share a point or have their own.

    dvectors : d-vectors that a rank with one worker holds at most in a solve, the certificate at its end included. clients :
    who takes part in which rounds. All blocks find both in ``here``.
    """

    opening: Phase | None
    phases: tuple[Phase, ...]
    outer: Outer
    dvectors: int = field(default=16, compare=False)
    clients: Clients = field(default=EVERYONE, kw_only=True)

    @property
    def own(self) -> bool:
        """As the outer step is for."""
        return self.outer.own

    @property
    def walked(self) -> tuple[Phase, ...]:
        """All phases; the opening, if there is one, first."""
        return self.phases if self.opening is None else (self.opening, *self.phases)

    @property
    def blocks(self) -> tuple[Work | Exchange | Outer, ...]:
        """All works, exchanges and the outer step."""
        return (*(block for phase in self.walked for block in phase), self.outer)

    @property
    def most(self) -> int | None:
        """Coordinates that it takes at most; None for any number."""
        return min((phase.work.most for phase in self.walked if phase.work.most is not None), default=None)

    def aiming(self, gap: float) -> Self:
        """See `Aiming`: works that go on to an end go no further than that."""
        return replace(self, phases=tuple(phase._replace(work=aimed(phase.work, gap)) for phase in self.phases))

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Evaluate at x, the same array on every rank. Collective. Raises CapabilityError on every rank."""
        if self.most is not None and x.size > self.most:
            raise CapabilityError(
                f"{self.name} is for up to {self.most:,} coefficients, and here are {x.size:,}: use `method=spcg`"
            )
        states = self._states(x, team)
        return self._opened(Run(PerWorker(site.loss.point(x) for site in team.sites), None, states), team)

    def onward(self, run: Run, team: Team[Any]) -> Run:
        """``run`` of another method with the same opening, to be gone on with by this one. Collective.

        Raises CapabilityError on every rank.
        """
        return run._replace(states=self._states(run.points[0].x, team))

    def _states(self, x: Array, team: Team) -> States:
        self.check(team, *self.blocks)
        with team.world.together("setting up the method"):
            self._demand_all()
        works = tuple(phase.work.begin(x, team) for phase in self.walked)
        return States(works, tuple(phase.exchange.init(x, team) for phase in self.walked), self.outer.init(x, team))

    def _demand_all(self) -> None:
        """Raises CapabilityError where only some take part and an exchange needs all."""
        for phase in () if self.clients.all else self.walked:
            if phase.exchange.needs_all:
                kind = type(phase.exchange).__name__
                raise CapabilityError(
                    f"{self.name} needs all workers in every round, for its {kind}: leave clients and dead out"
                )

    def step(self, run: Run, team: Team) -> Run:
        """The phases, the outer step, then the opening at the new point. Collective."""
        run = self._walk(run, range(len(self.walked) - len(self.phases), len(self.walked)), team)
        points, outer = self.outer(run.agreed, run.points, run.states.outer, Joint(team, run.round, self.clients))
        return self._opened(Run(points, run.agreed, run.states._replace(outer=outer), run.round + 1), team)

    def _opened(self, run: Run, team: Team) -> Run:
        return run if self.opening is None else self._walk(run, (0,), team)

    def _walk(self, run: Run, which: Iterable[int], team: Team) -> Run:
        points, agreed, states, k = run
        works, exchanges = list(states.works), list(states.exchanges)
        own, clients = self.own, self.clients
        for i in which:
            work, exchange = self.walked[i]
            done = [
                work(at, heard, state, Local(site, k, own, clients))
                for at, heard, state, site in zip(points, told(agreed, points), works[i], team.sites, strict=True)
            ]
            points, messages, works[i] = (PerWorker(column) for column in zip(*done, strict=True))
            agreed, _, exchanges[i] = exchange(messages, exchanges[i], Joint(team, k, clients))
        return Run(points, agreed, States(tuple(works), tuple(exchanges), states.outer), k)

    def measure(self, run: Run, team: Team) -> Measured:
        """From the opening's agreement. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team) -> Point:
        """The common point."""
        return run.points[0]


def measured(team: Team, x: Array, agreed: Message) -> Measured:
    """Objective, gradient norm and gradient bound at x (dim,), from the gradient agreed there. Collective: one small sum."""
    size, value = measures(team, x, agreed.vector)
    return Measured(float(agreed.scalars[0]) + value, size, gradient_bound(team, size))
