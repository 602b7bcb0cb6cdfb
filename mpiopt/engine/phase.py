"""The seams of a method: what a worker computes, how the ranks agree, and what they do with the result.

    Work       one worker computes, without communication:   (at, agreed) -> (point, message)
    Exchange   the ranks agree:                               messages -> agreed, the same for all or each worker's own
    Outer      the agreed message moves the points:           (agreed, points) -> points

State is plain data: NamedTuples of arrays and numbers, and sequences of such. What differs from worker to worker is wrapped
in PerWorker or, with one entry per row of the worker, in PerRow; everything else is replicated; margins and slopes of a Point
can be derived. What holds for all blocks of a method is said once, by the method, and found in ``here``.

The blocks of this package are subclasses of these protocols, and say only what is not as here.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol

from mpiopt.arrays import Array
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.errors import CapabilityError
from mpiopt.graphs.mixing import Spectrum
from mpiopt.problems.problem import L, Message, Point, Site, Team
from mpiopt.problems.protocols import Loss, Owned
from mpiopt.sampling.clients import EVERYONE, Clients

Tree = Any  # NamedTuples and sequences of arrays, numbers and further trees
Agreed = Any  # a Message, or PerWorker ones; None before the first agreement, and where workers go on alone


class PerWorker(tuple):
    """One leaf per hosted worker, in worker order."""


class PerRow(tuple):
    """One array per hosted worker, with one entry per row of its share."""


def told(agreed: Agreed, points: PerWorker) -> Sequence[Agreed]:
    """What each of the workers that have ``points`` finds as agreed: the same, or its own."""
    return agreed if isinstance(agreed, PerWorker) else [agreed] * len(points)


def each(agreed: Agreed, change: Callable[[Message], Message]) -> Agreed:
    """What was agreed, changed: the one message, or every worker's."""
    return PerWorker(map(change, agreed)) if isinstance(agreed, PerWorker) else change(agreed)


class Local(NamedTuple, Generic[L]):
    """Where a Work runs.

    own : whether every worker has a point of its own; else all share one, and work on copies. clients : who takes part.
    """

    site: Site[L]
    round: int
    own: bool = False
    clients: Clients = EVERYONE

    @property
    def present(self) -> bool:
        """Whether this worker takes part in the round."""
        site = self.site
        return self.clients.all or bool(self.clients(site.world.workers, site.streams, self.round)[site.worker])


class Joint(NamedTuple, Generic[L]):
    """Where an Exchange or an Outer runs. clients : who takes part."""

    team: Team[L]
    round: int
    clients: Clients = EVERYONE

    @property
    def present(self) -> Array:
        """Which of all workers take part in the round, (workers,) bool, the same on every rank."""
        return self.clients(self.team.world.workers, self.team.sites[0].streams, self.round)


class Work(Protocol):
    """One worker's computation between two agreements. Not collective but for `begin`. It keeps nothing unless it says so."""

    @property
    def needs(self) -> type:
        """What it asks of a loss, one of `problems.protocols`; a class attribute."""
        return Loss

    @property
    def most(self) -> int | None:
        """Coordinates that it takes at most, where what it says grows faster than their number."""
        return None

    def init(self, x: Array, site: Site[Any]) -> Tree:
        """The state of one worker before the first round; nothing unless said otherwise."""
        return ()

    def begin(self, x: Array, team: Team[Any]) -> PerWorker:
        """The states of the hosted workers: of each for itself, unless it first has to know of the others. Collective."""
        with team.world.together("setting up the method"):
            return PerWorker(self.init(x, site) for site in team.sites)

    def __call__(self, at: Point, agreed: Agreed, state: Tree, here: Local[Any], /) -> tuple[Point, Message, Tree]:
        """Compute at a point, given what was agreed last."""

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """How many steps over samples it is expected to make in a round, where it makes any."""
        return 1.0


class Exchange(Protocol):
    """How the ranks agree. Collective. It keeps nothing unless it says otherwise."""

    @property
    def needs(self) -> type:
        """See `Work.needs`."""
        return Owned

    @property
    def needs_all(self) -> bool:
        """Whether all workers have to take part in every round."""
        return True

    @property
    def parted(self) -> bool:
        """Whether it takes vectors of which ranks have unlike parts (`comm.parted`)."""
        return False

    def init(self, x: Array, team: Team[Any]) -> Tree:
        """The state of this rank before the first round; nothing unless said otherwise."""
        return ()

    def __call__(
        self, messages: Sequence[Message], state: Tree, here: Joint[Any], /
    ) -> tuple[Agreed, Sequence[Array | float], Tree]:
        """The agreed message, and what was not sent of each worker's vector (the number 0 where all was).

        PerWorker messages where each worker hears something else; the works then find their own as what was agreed.

        Where only some take part (``here.clients``) their share of all weights is one more scalar at the end.
        """

    def traffic(self, shape: Shape, here: Joint[Any], /) -> Traffic:
        """What one call sends of messages of this shape. Not collective; after `init`, which may make groups.

        Raises UsageError for vectors of a length that cannot be compressed, CapabilityError where it does not say.
        """
        raise CapabilityError(f"{type(self).__name__} does not say what it sends, which a forecast asks: give it a traffic")

    def spectrum(self, dim: int, workers: int) -> Spectrum:
        """What decides how fast vectors (dim,) of so many workers come together: at once, unless it is said otherwise."""
        return Spectrum(1.0, 1.0, 0.0)

    def omega(self, dim: int, workers: int) -> float | None:
        """The variance constant of what it does to vectors (dim,); None where there is none."""
        return None


class Outer(Protocol):
    """What the agreed message does to the points. May be collective. It keeps nothing unless it says otherwise."""

    @property
    def needs(self) -> type:
        """See `Work.needs`."""
        return Owned

    @property
    def own(self) -> bool:
        """Whether it is for points of the workers' own; else for one that all share."""
        return False

    def init(self, x: Array, team: Team[Any]) -> Tree:
        """The state of this rank before the first round; nothing unless said otherwise."""
        return ()

    def __call__(self, agreed: Agreed, points: PerWorker, state: Tree, here: Joint[Any], /) -> tuple[PerWorker, Tree]:
        """The next point of every hosted worker: the point itself, since replicas that add differences drift apart."""

    def answer(self, points: PerWorker, state: Tree) -> Point:
        """The point to answer with, where all share one."""
        return points[0]

    def step_size(self, round: int) -> float:  # noqa: A002 - the field's word
        """What it multiplies an agreement by, whatever that is: the part of a step that schedules change."""
        return 1.0


class Phase(NamedTuple):
    """Compute here, then agree."""

    work: Work
    exchange: Exchange
