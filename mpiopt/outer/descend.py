"""Outer steps of training.

Descend(rule)     x <- x + rule(agreed)          one common point; agreed is a gradient, or how far workers came
Pull(strength)    x_i <- x_i + strength (agreed - x_i)          points of the workers' own
Stay()            x_i as they are
"""

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.arrays import Array, pull
from mpiopt.engine.phase import Joint, PerWorker, Tree
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.problems.protocols import Loss
from mpiopt.transforms.transform import Transform


@dataclass(frozen=True)
class Descend:
    """The common point moved by a rule, the same on every rank; workers see the point at which the rule looks.

    What an agreed vector holds beyond dim numbers is not for the point.
    """

    needs: ClassVar[type] = Loss
    rule: Transform

    def init(self, x: Array, team: Team) -> Tree:
        """(x, the rule's state)."""
        return x.copy(), self.rule.init(x)

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective; spends ``agreed``."""
        x, inner = state
        if agreed is None:
            return points, state
        inner = self.rule.move(agreed.vector[: x.size], x, inner, here.round)
        look = Point(self.rule.look(x, inner))
        return PerWorker(look for _ in points), (x, inner)

    def answer(self, points: PerWorker, state: Tree) -> Point:
        """The point itself, not where its rule looks."""
        return Point(state[0])


@dataclass(frozen=True)
class Downhill:
    """A gradient step; its method finds the length and keeps it as the state."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, team: Team) -> Tree:
        """No step yet."""
        return (0.0,)

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective."""
        at = Point(points[0].x - state[0] * agreed.vector)
        return PerWorker(at for _ in points), state


@dataclass(frozen=True)
class Relax:
    """Part of the way to the agreed point; its method finds how far and keeps it as the state."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, team: Team) -> Tree:
        """No relaxation yet."""
        return (0.0,)

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective."""
        at = Point(points[0].x + state[0] * (agreed.vector - points[0].x))
        return PerWorker(at for _ in points), state


@dataclass(frozen=True)
class Pull:
    """Every worker's own point, part of the way to what was agreed; all of it for strength 1."""

    needs: ClassVar[type] = Loss
    strength: float = 1.0

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective; moves the points where they are."""
        for at in points if agreed is not None else ():
            pull(at.x, agreed.vector, self.strength)
        return points, state


@dataclass(frozen=True)
class Stay:
    """Every worker where its steps have led it."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, agreed: Message | None, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Not collective."""
        return points, state
