"""How well scores rank the rows of two classes: exact over all ranks, ties included, without bringing the rows together.

Samples of all ranks' scores divide the line into one stretch a rank, equal scores in one; every rank sends each row to its
stretch and sorts what it is sent, either class by itself (Li, Lu, Schaeffer, Shillington, Wong, Shi, On the versatility of
parallel sorting by regular sampling, 1993). What lies beyond a stretch is two numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.kernels.ranking import deal, rank_sums, stretches

SAMPLES = 1024  # that a rank contributes for every rank: stretches differ by a few percent
FEW = 64  # samples of few rows, up to an eighth of which are sent


class Side(NamedTuple):
    """The rows of one class in a stretch. scores : (k,) ascending; weights : (k,) beside them, None for all 1."""

    scores: Array
    weights: Array | None

    @staticmethod
    def of(scores: Array, weights: Array | None) -> "Side":
        """Rows in any order, sorted in place where they have no weights."""
        if weights is None:
            scores.sort()
            return Side(scores, weights)
        order = np.argsort(scores)
        return Side(scores[order], weights[order])

    @property
    def total(self) -> float:
        """Their weight."""
        return float(self.scores.size if self.weights is None else self.weights.sum())

    def least(self, thresholds: Array) -> Array:
        """The weight of the rows with at least each threshold, (thresholds,)."""
        at = np.searchsorted(self.scores, thresholds)
        if self.weights is None:
            return (self.scores.size - at).astype(float)
        return np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)[at]


@dataclass(frozen=True)
class Ranking:
    """This rank's stretch of all rows by score, class +1 and the others, and the weight of either beyond and altogether."""

    positive: Side
    negative: Side
    above: Array  # (2,)
    totals: Array  # (2,)

    @staticmethod
    def of(world: World, scores: Array, positive: Array, weights: Array | None = None) -> "Ranking":
        """Rank the rows of all ranks; each brings its own, or none. Collective.

        scores : (rows,) finite; positive : (rows,) bool; weights : (rows,) of at least 0, None for all 1, on all ranks alike.
        """
        up, down = _dealt(world, np.ascontiguousarray(scores, float), np.ascontiguousarray(positive, bool), weights)
        each = np.stack(world.gather(np.array([up.total, down.total]), "ranking"))
        return Ranking(up, down, each[world.rank + 1 :].sum(axis=0), each.sum(axis=0))

    def areas(self, world: World) -> tuple[float, float]:
        """Area under the ROC curve and average precision; NaN where a class is missing. Collective.

        The area is the probability that a row of class +1 has the larger score than one of the others, ties counting
        half; the average precision is the sum of precision times the gain in recall over the distinct scores.
        """
        (up, w), (down, v) = self.positive, self.negative
        none = np.empty(0)
        sums = rank_sums(up, down, none if w is None else w, none if v is None else v, self.above)
        below, gained = world.total([np.array(sums)], "ranking")
        ups, downs = self.totals
        return (float(1 - below / (ups * downs)) if ups * downs > 0 else np.nan, float(gained / ups) if ups > 0 else np.nan)

    def curve(self, world: World, points: int = 1000) -> Array:
        """Weight of class +1 and of the others with at least a score, for some ``points`` scores and more. Collective.

        Returns (k, 2) from (0, 0) to the totals, the same on every rank.
        """
        mine = np.concatenate([self.positive.scores, self.negative.scores])
        (rows,) = world.total([np.array([float(mine.size)])], "curve")
        levels = np.linspace(0, 1, int(np.ceil(points * mine.size / max(rows, 1))) + 1)
        thresholds = np.unique(np.quantile(mine, levels, method="nearest"))[::-1] if mine.size else mine
        counted = np.stack([self.positive.least(thresholds), self.negative.least(thresholds)], axis=1) + self.above
        return np.concatenate([np.zeros((1, 2)), *world.gather(counted, "curve")[::-1]])


def areas_apart(world: World, sets: Sequence[tuple[Array, Array, Array | None]]) -> Array:
    """Areas under the ROC curves of sets of rows, (sets,), of each so few that one rank has room for them: as `Ranking.areas`,
    with one message for all sets, each of which is brought to one of the ranks. Collective.

    sets : scores, class +1 and weights of each, as `Ranking.of` takes them.
    """
    parts: list[list[Array]] = [[np.empty(0)] for _ in range(world.size)]
    for k, (scores, positive, weights) in enumerate(sets):
        columns = [scores, positive] if weights is None else [scores, positive, weights]
        parts[k % world.size] += [np.array([float(len(columns)), float(scores.size)]), *(np.asarray(c, float) for c in columns)]
    mine, areas = [np.concatenate(part) for part in parts], np.zeros(len(sets))
    arrived = mine if world.size == 1 else world.alltoall(mine, "ranking")
    for k in range(world.rank, len(sets), world.size):
        blocks, rest = zip(*(_block(each) for each in arrived), strict=True)
        arrived = list(rest)
        areas[k] = _area(np.concatenate(blocks, axis=1))
    return world.total([areas], "ranking")


def _block(numbers: Array) -> tuple[Array, Array]:
    """The first set of what a rank has sent, (columns, rows), and the rest."""
    columns, rows = int(numbers[0]), int(numbers[1])
    end = 2 + columns * rows
    return numbers[2:end].reshape(columns, rows), numbers[end:]


def _area(rows: Array) -> float:
    """Area under the ROC curve of scores, class +1 and weights, if any, (2 or 3, rows); NaN where a class is missing."""
    up, weights = rows[1] > 0, rows[2] if len(rows) > 2 else None
    sides = [Side.of(rows[0][mask], None if weights is None else weights[mask]) for mask in (up, ~up)]
    (ups, w), (downs, v) = sides
    none, both = np.empty(0), sides[0].total * sides[1].total
    below = rank_sums(ups, downs, none if w is None else w, none if v is None else v, np.zeros(2))[0]
    return float(1 - below / both) if both > 0 else np.nan


def _dealt(world: World, scores: Array, positive: Array, weights: Array | None) -> tuple[Side, Side]:
    """The rows of this rank's stretch, from all ranks: class +1, the others."""
    bounds = _bounds(world, scores)
    counts = np.empty(2 * world.size, np.int64)
    stretch = stretches(scores, positive, bounds, counts)
    columns = []
    for column in [scores] if weights is None else [scores, np.ascontiguousarray(weights, float)]:
        ends, out = np.cumsum(counts) - counts, np.empty(column.size)
        parts = ends[1:].copy()
        deal(column, stretch, ends, out)
        columns.append(_exchanged(world, np.split(out, parts)))
    (down, up), (down_weights, up_weights) = columns if weights is not None else (columns[0], (None, None))
    return Side.of(up, up_weights), Side.of(down, down_weights)


def _exchanged(world: World, parts: list[Array]) -> list[Array]:
    """What all ranks send this one of either class. parts : of either class, rank after rank."""
    if world.size == 1:
        return parts
    return [np.concatenate(world.alltoall(parts[side::2], "ranking")) for side in (0, 1)]


def _bounds(world: World, scores: Array) -> Array:
    """The largest score of every rank's stretch but the last, (ranks - 1,): quantiles of all ranks' samples.

    A sample stands for as many rows as lie between it and the next of its rank, so that ranks of few rows have little to say.
    """
    if world.size == 1:
        return np.empty(0)
    some = scores[:: max(1, scores.size // (SAMPLES * world.size), min(8, scores.size // FEW))]
    each = np.full(some.size, scores.size / max(some.size, 1))
    samples, stands = np.concatenate(world.gather(np.stack([some, each], axis=1), "ranking")).T
    if not samples.size:
        return np.zeros(world.size - 1)
    order = np.argsort(samples)
    reached = np.cumsum(stands[order])
    wanted = reached[-1] * np.arange(1, world.size) / world.size
    return samples[order][np.minimum(np.searchsorted(reached, wanted), samples.size - 1)]
