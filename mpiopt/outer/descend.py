"""Outer steps of training.

Descend(rule)     x <- x + rule(agreed)          one common point; agreed is a gradient, or how far workers came
Pull(strength)    x_i <- x_i + strength (agreed - x_i)          points of the workers' own
Stay()            x_i as they are
Downhill(), Falling()     x <- x - a step of a length that methods find, constant or falling
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

from mpiopt.arrays import Array, pull
from mpiopt.engine.forms import Taken
from mpiopt.engine.phase import Joint, Outer, PerWorker, Tree, told
from mpiopt.engine.placed import placed
from mpiopt.numerics.schedules import Switching
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.transforms.transform import State, Transform


class Descended(NamedTuple):
    """The common point (dim,), and what its rule keeps."""

    x: Array
    rule: State


@dataclass(frozen=True)
class Descend(Outer):
    """The common point moved by a rule, the same on every rank; workers see the point at which the rule looks.

    What an agreed vector holds beyond dim numbers is not for the point.
    """

    rule: Transform

    def init(self, x: Array, team: Team) -> Descended:
        """At x, before the first step."""
        return Descended(x.copy(), placed(self.rule, team.sites[0].loss, True).init(x))

    def __call__(self, agreed: Message | None, points: PerWorker, state: Descended, here: Joint) -> tuple[PerWorker, Descended]:
        """Not collective; spends ``agreed``."""
        x = state.x
        if agreed is None:
            return points, state
        rule = placed(self.rule, here.team.sites[0].loss, True)
        inner = rule.move(agreed.vector[: x.size], x, state.rule, here.round)
        look = Point(rule.look(x, inner))
        return PerWorker(look for _ in points), Descended(x, inner)

    def answer(self, points: PerWorker, state: Descended) -> Point:
        """The point itself, not where its rule looks."""
        return Point(state.x)

    def step_size(self, round: int) -> float:  # noqa: A002 - the field's word
        """The rule's."""
        return self.rule.step_size(round)


class Length(NamedTuple):
    """How far a step goes: what a method has found, 0 before."""

    step: float = 0.0


@dataclass(frozen=True)
class Downhill(Outer):
    """A gradient step; its method finds the length and keeps it as the state."""

    def init(self, x: Array, team: Team) -> Length:
        """No step yet."""
        return Length()

    def __call__(self, agreed: Message, points: PerWorker, state: Length, here: Joint) -> tuple[PerWorker, Length]:
        """Not collective."""
        at = Point(points[0].x - state.step * agreed.vector)
        return PerWorker(at for _ in points), state


class Falls(NamedTuple):
    """What `Switching` asks; 0 before a method has found it."""

    smoothness: float = 0.0
    mu: float = 0.0


class Chosen(NamedTuple):
    """The same, of steps whose rows a method counts out, again in the round ``again``. taken : what it has found."""

    smoothness: float = 0.0
    mu: float = 0.0
    again: int = 0
    taken: Taken = Taken("", "")


Steep = TypeVar("Steep", Falls, Chosen)


@dataclass(frozen=True)
class Falling(Outer):
    """A gradient step of a length that falls from some step on, see `Switching`."""

    def init(self, x: Array, team: Team) -> Falls:
        """Nothing is known yet."""
        return Falls()

    def __call__(self, agreed: Message, points: PerWorker, state: Steep, here: Joint) -> tuple[PerWorker, Steep]:
        """Not collective."""
        at = Point(points[0].x - Switching(state.smoothness, state.mu)(here.round) * agreed.vector)
        return PerWorker(at for _ in points), state


@dataclass(frozen=True)
class Relax(Outer):
    """Part of the way to the agreed point; its method finds how far and keeps it as the state."""

    def init(self, x: Array, team: Team) -> Length:
        """No relaxation yet."""
        return Length()

    def __call__(self, agreed: Message, points: PerWorker, state: Length, here: Joint) -> tuple[PerWorker, Length]:
        """Not collective."""
        at = Point(points[0].x + state.step * (agreed.vector - points[0].x))
        return PerWorker(at for _ in points), state


@dataclass(frozen=True)
class Pull(Outer):
    """Every worker's own point, part of the way to what was agreed; all of it for strength 1."""

    own: ClassVar[bool] = True
    strength: float = 1.0

    def __call__(
        self, agreed: Message | PerWorker | None, points: PerWorker, state: Tree, here: Joint
    ) -> tuple[PerWorker, Tree]:
        """Not collective; moves the points where they are."""
        for at, goal in zip(points, told(agreed, points), strict=True):
            if goal is not None:
                pull(at.x, goal.vector, self.strength)
        return points, state


@dataclass(frozen=True)
class Stay(Outer):
    """Every worker where its steps have led it."""

    own: ClassVar[bool] = True

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective."""
        return points, state
