"""The same problem in fewer, renumbered coordinates, for penalties for which that is exact: none, and l2.

A feature with one entry in all rows, x_j, only ever stands with the others of its row: the best values of those of row i are in
proportion to their entries, x_j = a_ij xi / s, s^2 the sum of the row's such a_ij^2, and then their part of the margin is s xi,
and of |x|^2 it is xi^2. So one column of value s stands for all of them. Features that occur nowhere are 0 at any optimum.
Text in words and pairs of words has most of its features in one row. The others are numbered by how often they occur, so that
what is looked up most lies together. Nothing of this depends on ranks, workers or lambda. Of several classes each has margins
and coefficients of its own, and all that is said here holds for each.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.csr import CSR, PAD, FewerColumns
from mpiopt.kernels.host import reduction
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team, offered
from mpiopt.problems.protocols import OfRows, Penalty

WORTH = 0.4  # of all features: so many at least have to go, for the rows are held twice then
MANY = 5000  # features below which long vectors do not matter
SAMPLE = 4096  # columns at least, where there are so many, that tell beforehand whether it is worth it
CHUNK = 1 << 18  # entries that are looked at together
FIRST = 4 * CHUNK  # entries that a glance takes in


@dataclass(frozen=True)
class Reduced:
    """The reduced team and the way back, the same on every rank but for the team.

    features : the user's, and ``free`` coordinates more. columns : (kept,) int32, theirs of the first reduced coordinates.
    singles, sources : (merged,) int32, the user's columns that were merged and the reduced ones that stand for them, of which a
    part ``factors`` (merged,) is theirs.
    """

    team: Team[OfRows]
    features: int
    free: int
    columns: Array
    singles: Array
    sources: Array
    factors: Array

    @property
    def _lines(self) -> int:
        """Reduced coordinates of a class."""
        return self.team.sites[0].loss.features + self.free

    def inward(self, x: Array) -> Array:
        """The shortest reduced point with the margins of x (dim,), to the digits of what is stored of the merged columns."""
        x, out = _beside(x, self.features + self.free), _beside(np.zeros(self.team.dim), self._lines)
        if x.any():
            out[: self.columns.size] = x[self.columns]
            np.add.at(out, self.sources, self._parts(x) * x[self.singles])
            out[len(out) - self.free :] = x[self.features :]
        return out.reshape(-1)

    def outward(self, x: Array) -> Array:
        """The user's coefficients (dim,) of a reduced point."""
        x = _beside(x, self._lines)
        out = np.zeros((self.features + self.free, *x.shape[1:]))
        out[self.columns] = x[: self.columns.size]
        out[self.singles] = self._parts(x) * x[self.sources]
        out[self.features :] = x[len(x) - self.free :]
        return out.reshape(-1)

    def _parts(self, x: Array) -> Array:
        return self.factors if x.ndim == 1 else self.factors[:, None]


def _beside(x: Array, lines: int) -> Array:
    """x (dim,), or with a column for each class where there are several."""
    return x if x.size == lines else x.reshape(lines, -1)


def reduced(team: Team) -> Reduced | None:
    """The problem in fewer coordinates; None where that is not exact or not worth it. Collective.

    Where all rows came with such (`CSR.fewer`) it costs next to nothing; else a look at the indices, and where that is
    promising two passes over the rows and, between several workers, half a vector round and 12 bytes for each merged feature.
    """
    if not (offered(team, OfRows) and exact_for(team.penalty) and reducible(team.sites[0].loss)):
        return None
    bring, sample = _looked_at(team)
    if bring:
        return _brought(team)
    found = numbered(_counts(team)) if _hopeful(sample) else None
    return None if found is None else _made(team, *found)


def exact_for(penalty: Penalty) -> bool:
    """Whether a penalty is one for which it is exact."""
    return isinstance(penalty, ElasticNet) and penalty.smooth


class NewColumns(NamedTuple):
    """places : (features,) int32, as `reduction.popularity` numbers them. kept, singles : of several entries, of one."""

    places: Array
    kept: int
    singles: int


def worthwhile(counts: Array) -> NewColumns | None:
    """As a solve finds it by all rows' counts (features,) int32; None where it would not look for fewer coordinates."""
    shift, blocks = _shift(counts.size), np.arange(counts.size >> _shift(counts.size))
    sample = counts[(blocks << shift) | (blocks & ((1 << shift) - 1))]
    return numbered(counts) if many(counts.size) and _hopeful(sample) else None


def numbered(counts: Array) -> NewColumns | None:
    """Where the columns go that occur so often, (features,) int32; None where too many occur more than once."""
    places = np.empty(counts.size, np.int32)
    kept = int(reduction.popularity(counts, places))
    # a merged column for each row that has single entries: at most one for each
    if counts.size - kept < WORTH * counts.size:
        return None
    return NewColumns(places, kept, int(np.count_nonzero(counts == 1)))


def reducible(loss: OfRows) -> bool:
    """Whether fewer coordinates are looked for."""
    return isinstance(loss.matrix, CSR) and many(loss.features)


def many(features: int) -> bool:
    """Whether there are so many that long vectors matter."""
    return features >= MANY


def promising(loss: OfRows) -> bool:
    """Whether it may be worth making them, by a worker's first rows, which hold no more of a column than all do.

    Not collective.
    """
    if not reducible(loss) or _beside_rows(loss) is not None:
        return False
    shift = _shift(loss.features)
    return float(np.mean(_sampled(loss, shift, FIRST) <= 1)) >= WORTH


def brings(team: Team) -> bool:
    """Whether the rows of this rank came in fewer columns, too. Not collective."""
    return offered(team, OfRows) and all(_beside_rows(site.loss) is not None for site in team.sites)


def _beside_rows(loss: OfRows) -> FewerColumns | None:
    """What a worker's rows came with."""
    return loss.matrix.fewer if isinstance(loss.matrix, CSR) else None


def _looked_at(team: Team[OfRows]) -> tuple[bool, Array]:
    """Whether the rows of all ranks came so, and how many entries columns of a sample have in the others.

    Collective: one small sum of at most 2 `SAMPLE` numbers.
    """
    here, shift = brings(team), _shift(team.sites[0].loss.features)
    size = team.sites[0].loss.features >> shift
    most = None if team.world.workers > 1 else FIRST  # one worker counts all as soon
    parts = [np.append(np.zeros(size) if here else _sampled(site.loss, shift, most), here) for site in team.sites]
    counts = team.world.total(parts, "sample")
    return bool(counts[-1] == team.world.workers), counts[:-1]


def _brought(team: Team[OfRows]) -> Reduced:
    """What the rows came with."""
    fewer = [cast(FewerColumns, _beside_rows(site.loss)) for site in team.sites]
    sites = [replace(site, loss=replace(site.loss, matrix=each.rows)) for site, each in zip(team.sites, fewer, strict=True)]
    loss, back = team.sites[0].loss, fewer[0]
    way = back.columns, back.singles, back.sources, back.factors
    return Reduced(replace(team, sites=tuple(sites)), loss.features, int(loss.intercept), *way)


def _counts(team: Team[OfRows]) -> Array:
    """How many entries every column has in all rows, (features,) int32. Collective."""
    own = []
    for site in team.sites:
        matrix = site.loss.matrix
        counts = np.zeros(matrix.shape[1], np.int32)
        reduction.occurrences(matrix.indptr, matrix.indices, counts)
        own.append(counts)
    return own[0] if team.world.workers == 1 else team.world.sum(own, "features", out=own[0])


def _hopeful(counts: Array) -> bool:
    """Whether enough columns of a sample have at most one entry."""
    return float(np.mean(counts <= 1)) >= WORTH


def _shift(features: int) -> int:
    return max((features // SAMPLE).bit_length() - 1, 0)


def _sampled(loss: OfRows, shift: int, most: int | None = None) -> Array:
    """Entries of a column in each whole block of 2^shift, (blocks,), at another place in each, should there be a pattern.

    most : entries that are looked at, None for all.
    """
    matrix, counts = loss.matrix, np.zeros(loss.features >> shift)
    indices = matrix.indices[matrix.indptr[0] : matrix.indptr[-1]][:most]
    for first in range(0, indices.size, CHUNK):
        columns = indices[first : first + CHUNK]
        blocks = columns >> shift
        held = blocks[((blocks ^ columns) & ((1 << shift) - 1)) == 0]
        counts += np.bincount(held, minlength=counts.size)[: counts.size]
    return counts


class FewerRows(NamedTuple):
    """Some rows reduced, each merged column the last of its row, and their part of the way back: see `Reduced`."""

    starts: Array
    indices: Array
    data: Array
    merged: int
    columns: Array
    sources: Array
    factors: Array


def _made(team: Team[OfRows], places: Array, kept: int, singles: int) -> Reduced:
    """What is made of the rows. Collective."""
    world = team.world
    found = [fewer_rows(cast(CSR, site.loss.matrix), places, kept, singles) for site in team.sites]
    merged = np.array([rows.merged for rows in found], np.int64)
    everyone = np.concatenate(world.gather(merged)) if world.workers > 1 else merged
    before = np.cumsum(everyone) - everyone
    cols = kept + int(everyone.sum())
    for rows, more in zip(found, before[world.hosted.start : world.hosted.stop].tolist(), strict=True):
        _renumber(rows, kept, more)
    sites = [
        replace(site, loss=replace(site.loss, matrix=CSR(rows.starts, rows.indices, rows.data, (site.loss.rows, cols))))
        for site, rows in zip(team.sites, found, strict=True)
    ]
    columns, sources, factors = (np.concatenate(parts) for parts in zip(*(rows[4:] for rows in found), strict=True))
    if world.workers > 1:
        columns, sources, factors = (np.concatenate(world.gather(part, "merged")) for part in (columns, sources, factors))
    loss, back = team.sites[0].loss, (in_order(places, kept), columns, sources, factors)
    return Reduced(replace(team, sites=tuple(sites)), loss.features, int(loss.intercept), *back)


def in_order(places: Array, kept: int) -> Array:
    """The columns (kept,) int32 that have the ``places`` 0, 1, ..."""
    columns, held = np.empty(kept, np.int32), np.flatnonzero(places >= 0)
    columns[places[held]] = held
    return columns


def fewer_rows(matrix: CSR, places: Array, first: int, singles: int) -> FewerRows:
    """Some rows reduced. Not collective.

    places : (columns,), of `NewColumns`; first : the number of the first merged column; singles : at least those of these rows.
    Rows do not become longer: what they leave of the room is not touched.
    """
    room = CSR.empty(matrix.shape[0], matrix.nnz, matrix.shape[1], matrix.data.dtype)
    most = min(singles, matrix.nnz)
    columns, sources, factors = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, matrix.data.dtype)
    back = columns, sources, factors
    rows = matrix.indptr, matrix.indices, matrix.data, places, np.int64(first)
    count, merged = reduction.reduce_rows(*rows, room.indptr, room.indices, room.data, *back)
    entries = int(room.indptr[-1])
    room.indices[entries : entries + PAD] = 0  # which kernels that look ahead may see
    return FewerRows(room.indptr, room.indices[:entries], room.data[:entries], int(merged), *(part[:count] for part in back))


def _renumber(rows: FewerRows, kept: int, more: int) -> None:
    """Merged columns, the last of their rows, by so much more, in place."""
    if more:
        last = rows.starts[1:][np.diff(rows.starts) > 0] - 1
        rows.indices[last] += (more * (rows.indices[last] >= kept)).astype(np.int32)
        rows.sources[:] += np.int32(more)


def touch(loss: OfRows) -> None:
    """Call every kernel once, on a few rows, so that it is compiled. Not collective."""
    matrix, counts, places = loss.matrix, np.zeros(loss.features, np.int32), np.empty(loss.features, np.int32)
    reduction.occurrences(matrix.indptr, matrix.indices, counts)
    kept = reduction.popularity(counts, places)
    fewer_rows(cast(CSR, matrix), places, int(kept), loss.features)
