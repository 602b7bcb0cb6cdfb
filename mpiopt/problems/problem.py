"""What a rank holds of a problem, and the objective over the world.

    F(x) = f(x) + penalty(x),   f(x) = sum_w share_w f_w(x),   share_w = weight_w / sum of all weights

f_w is the mean loss over worker w's own rows (weighted by their sample weights), so that f is the mean over all rows
and "mean" means divided by the sum of sample weights everywhere. lambda multiplies the penalty of the mean loss; the
constant C of LIBLINEAR and scikit-learn is 1 / (lambda * sum of sample weights).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np

from mpiopt.arrays import Array, namespace, on_host
from mpiopt.comm.sums import Pair
from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.problems.optional import Examined
from mpiopt.problems.penalties import portion
from mpiopt.problems.protocols import Loss, Owned, Penalty, offers
from mpiopt.problems.protocols import Point as Point

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default: a Team is one of any Loss, a Team[Margins] one of such

    L = TypeVar("L", bound=Owned, covariant=True, default=Loss)
else:
    from typing import TypeVar

    L = TypeVar("L", bound=Owned, covariant=True)
M = TypeVar("M", bound=Owned)


class RowSample(NamedTuple):
    """Rows of a step that count for unlike much: its gradient is the sum of weights_i grad f_i."""

    rows: Array  # (b,) int64
    weights: Array  # (b,) float64, each 1 / b where it is a mean

    @property
    def groups(self) -> Iterator[tuple[Array, float]]:
        """Rows that count alike, and what the mean over them counts for."""
        for weight in np.unique(self.weights) if self.rows.size else (0.0,):
            rows = self.rows[self.weights == weight]
            yield rows, float(weight) * rows.size


# a worker's step, from 0 on -> the rows that it looks at, None for all
Sample = Callable[[int], "Array | RowSample | None"]


@runtime_checkable
class Ordered(Protocol):
    """A sample that draws from rows as they lie, and says how many there are."""

    @property
    def rows(self) -> int:
        """Rows to draw from."""


def everything(step: int) -> None:
    """The sample of every step that is all rows."""


@dataclass(frozen=True)
class Site(Generic[L]):
    """One hosted worker's share of the problem."""

    loss: L
    penalty: Penalty
    world: World
    streams: Streams
    worker: int
    share: float  # this worker's weight over the sum of all
    sample: Sample = everything


@dataclass(frozen=True)
class Team(Generic[L]):
    """The sites of the workers that one rank hosts: what a Method runs on."""

    sites: tuple[Site[L], ...]
    rows: int  # over all workers
    weight: float  # sum of all sample weights

    @property
    def world(self) -> World:
        """The ranks."""
        return self.sites[0].world

    @property
    def penalty(self) -> Penalty:
        """The penalty, the same on all sites."""
        return self.sites[0].penalty

    @property
    def dim(self) -> int:
        """The length of x."""
        return self.sites[0].loss.dim

    def zeros(self) -> Array:
        """The point 0 (dim,): a start from which every convex problem can be solved."""
        return np.zeros(self.dim)

    @staticmethod
    def of(
        world: World,
        losses: Sequence[L],
        penalty: Penalty,
        seed: int = 0,
        samples: Sequence[Sample] | None = None,
        weights: Sequence[float] | None = None,
    ) -> "Team[L]":
        """Team up the losses of the workers that this rank hosts, in worker order. Collective.

        samples : what each looks at in every step, all rows unless given. weights : what each counts for in means, the
        weight of its rows unless given. Raises DataError where no worker holds a row of positive weight, and UsageError where
        a loss says that something beside its rows cannot be; on every rank.
        """
        with world.together("looking at the rows"):
            for worker, loss in zip(world.hosted, losses, strict=True):
                if offers(loss, Examined) and (wrong := loss.unsound()):
                    raise UsageError(f"the loss of worker {worker} cannot be used: {wrong}")
        samples = [everything] * len(losses) if samples is None else samples
        weights = [loss.weight for loss in losses] if weights is None else weights
        counts = zip(losses, weights, strict=True)
        rows, weight = world.total([np.array([loss.rows, each], np.float64) for loss, each in counts])
        if not weight > 0:
            raise DataError("the sample weights add up to 0: there is nothing to fit; give at least one row of positive weight")
        streams = Streams(seed)
        sites = [
            Site(loss, penalty, world, streams, worker, each / float(weight), sample)
            for worker, loss, each, sample in zip(world.hosted, losses, weights, samples, strict=True)
        ]
        return Team(tuple(sites), int(rows), float(weight))


class Message(NamedTuple):
    """What a worker says in an exchange; the scalars ride in the same collective and are never compressed."""

    vector: Array  # (dim,)
    scalars: Array  # (k,) float64


def offered(team: Team, kind: type[M]) -> TypeGuard[Team[M]]:
    """Whether the losses of a team, which are all of one kind, have a capability. Not collective."""
    return offers(team.sites[0].loss, kind)


def mean(team: Team, messages: Sequence[Message], shares: Sequence[float] | None = None, name: str = "mean") -> Message:
    """The share-weighted mean of the workers' messages, in one collective; counts a vector round. Collective.

    Scalars travel in the type of the vectors.
    shares : one weight per hosted worker, adding up to 1 over all workers; None for the sites' own.
    """
    shares = [site.share for site in team.sites] if shares is None else shares
    parts = []
    for share, message in zip(shares, messages, strict=True):
        xp, size = namespace(message.vector), message.vector.size
        part = xp.empty(size + message.scalars.size, message.vector.dtype)
        xp.multiply(message.vector, share, out=part[:size])
        part[size:] = xp.asarray(message.scalars * share)
        parts.append(part)
    agreed = team.world.sum(parts, name, out=parts[0])
    return Message(agreed[: messages[0].vector.size], on_host(agreed[messages[0].vector.size :]))


def gradient(team: Team, points: Sequence[Point], name: str = "gradient") -> Message:
    """The gradient of f at the common point, (dim,), and f as its scalar. Collective: one vector round."""
    found = [site.loss.value_grad(at) for site, at in zip(team.sites, points, strict=True)]
    return mean(team, [Message(slope, np.array([value])) for value, slope in found], name=name)


def mean_scalars(team: Team, parts: Sequence[Array], name: str = "scalars", pairs: Sequence[Pair] = ()) -> Array:
    """The share-weighted mean of a few numbers per worker; not a vector round. Collective.

    pairs : of vectors that all ranks hold; their inner products (`World.dots`) follow in the same sum.
    """
    weighed = [site.share * part for site, part in zip(team.sites, parts, strict=True)]
    if pairs:
        weighed = [np.concatenate(both) for both in zip(weighed, team.world.shares(pairs), strict=True)]
    return team.world.total(weighed, name)


def measures(team: Team, x: Array, g: Array) -> tuple[float, float]:
    """The length of F's (sub)gradient and the penalty at x (dim,), with g (dim,) of f. Collective: one small sum.

    Every worker sees to its slice of the coordinates.
    """
    residual, parts = team.penalty.residual(x, g), []
    for cut in team.world.slices(x.size):
        part = residual[cut]
        parts.append(np.array([float(part @ part), portion(team.penalty, x, cut)]))
    squares, value = team.world.total(parts, "measures").tolist()
    return sqrt(squares), value
