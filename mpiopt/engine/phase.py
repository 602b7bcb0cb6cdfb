"""The seams of a method: what a worker computes, how the ranks agree, and what they do with the result.

    Work       one worker computes, without communication:   (at, agreed) -> (point, message)
    Exchange   the ranks agree:                               messages -> agreed
    Outer      the agreed message moves the points:           (agreed, points) -> points

State is plain data: tuples of arrays and numbers. What differs from worker to worker is wrapped in PerWorker or, with
one entry per row of the worker, in PerRow; everything else is replicated; margins and slopes of a Point can be derived.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mpiopt.arrays import Array
from mpiopt.problems.problem import Message, Point, Site, Team

Tree = Any  # tuples of arrays, numbers and further trees


class PerWorker(tuple):
    """One leaf per hosted worker, in worker order."""


class PerRow(tuple):
    """One array per hosted worker, with one entry per row of its share."""


class Local(NamedTuple):
    """Where a Work runs."""

    site: Site
    round: int


class Joint(NamedTuple):
    """Where an Exchange or an Outer runs."""

    team: Team
    round: int


class Work(Protocol):
    """One worker's computation between two agreements. Not collective."""

    @property
    def needs(self) -> type:
        """What it asks of a loss, one of `problems.protocols`; a class attribute."""

    def init(self, x: Array, site: Site) -> Tree:
        """The state of one worker before the first round."""

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """Compute at a point, given what was agreed last."""


class Exchange(Protocol):
    """How the ranks agree. Collective."""

    @property
    def needs(self) -> type:
        """See `Work.needs`."""

    def init(self, x: Array, team: Team) -> Tree:
        """The state of this rank before the first round."""

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[Array | float], Tree]:
        """The agreed message, and what was not sent of each worker's vector (the number 0 where all was)."""


class Outer(Protocol):
    """What the agreed message does to the points. May be collective."""

    @property
    def needs(self) -> type:
        """See `Work.needs`."""

    def init(self, x: Array, team: Team) -> Tree:
        """The state of this rank before the first round."""

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """The next point of every hosted worker: the point itself, since replicas that add differences drift apart."""


class Phase(NamedTuple):
    """Compute here, then agree."""

    work: Work
    exchange: Exchange
