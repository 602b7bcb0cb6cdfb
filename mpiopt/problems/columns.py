"""A problem restricted to some of its features: the other coefficients are 0."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.csr import CSR, PAD
from mpiopt.kernels.device.csr import DeviceCSR
from mpiopt.kernels.host.rows import kept_entries
from mpiopt.problems.per_feature import PerFeature
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Columns

C = TypeVar("C", bound=Columns)
BLOCK = 1 << 16  # rows treated at once, which bounds the memory on the way


def restricted(team: Team[Columns], features: Array) -> Team[Columns]:
    """The team with the columns ``features`` (k,) int64, ascending, and the intercept, if any. Not collective."""
    sites = (replace(site, loss=replace(site.loss, matrix=columns(site.loss.matrix, features))) for site in team.sites)
    return replace(team, sites=tuple(sites))


class _FeaturePart(NamedTuple):
    """A team on some of the features of another one: (k,), ascending."""

    of: Team[Columns]
    kept: Array
    team: Team[Columns]

    def places(self, kept: Array) -> Array | None:
        """Where features (n,), ascending, stand among these; None where some do not."""
        at = np.searchsorted(self.kept, kept)
        return at if kept.size <= self.kept.size and (self.kept[np.minimum(at, self.kept.size - 1)] == kept).all() else None


@dataclass
class FeatureParts:
    """Teams on some features, of which one follows from another where it has them all. parts : the last one of each name."""

    parts: dict[str, _FeaturePart] = field(default_factory=dict)

    def team(self, name: str, team: Team[Columns], kept: Array) -> Team[Columns]:
        """The team on the features ``kept`` (k,), ascending, and the penalty on these; itself where they are all.

        Not collective.
        """
        if kept.size == team.sites[0].loss.features:
            return team
        if name in self.parts and self.parts[name].of is team and self.parts[name].kept is kept:
            return self.parts[name].team
        known = sorted((part for part in self.parts.values() if part.of is team), key=lambda part: part.kept.size)
        found = ((part, part.places(kept)) for part in known)
        part, at = next(((part, at) for part, at in found if at is not None), (_FeaturePart(team, kept, team), kept))
        made = part.team if at.size == part.kept.size and part.team is not team else _penalised(restricted(part.team, at), at)
        self.parts[name] = _FeaturePart(team, kept, made)
        return made


def _penalised(team: Team[Columns], kept: Array) -> Team[Columns]:
    """The team with the penalty on the features ``kept`` (k,) of what it has, where they differ in theirs."""
    if not isinstance(team.penalty, PerFeature):
        return team
    penalty = team.penalty.of(kept)
    return replace(team, sites=tuple(replace(site, penalty=penalty) for site in team.sites))


def column(team: Team[Columns], feature: int) -> tuple[Array, ...]:
    """The values of a feature, (rows,) per hosted worker. Not collective."""
    unit = np.zeros(team.sites[0].loss.features)
    unit[feature] = 1
    return tuple(site.loss.matrix.dot(unit) for site in team.sites)


def without(team: Team[C], feature: int) -> Team[C]:
    """The team with 0 throughout in the column of a feature, so that its coefficient says nothing. Not collective."""
    sites = []
    for site in team.sites:
        matrix = site.loss.matrix
        copy = CSR.empty(matrix.shape[0], len(matrix.data), matrix.shape[1], matrix.data.dtype)
        copy.indptr[:], copy.indices[:] = matrix.indptr, matrix.indices
        copy.data[:] = np.where(matrix.indices == feature, 0, matrix.data)
        sites.append(replace(site, loss=replace(site.loss, matrix=copy)))
    return replace(team, sites=tuple(sites))


def working_set(held: Array, score: Array, most: int) -> Array:
    """What is ``held`` (n,) bool, and ``most`` others of the largest score (n,) above 0: numbers (k,), ascending."""
    outside = np.flatnonzero(~held & (score > 0))
    if most < outside.size:
        found = score[outside]
        least = np.partition(found, found.size - most)[found.size - most] if most else np.inf
        equal = outside[found == least]
        outside = outside[found > least]
        outside = np.append(outside, equal[: most - outside.size])  # of equal ones the first, on every CPU
    chosen = held.copy()
    chosen[outside] = True
    return np.flatnonzero(chosen)


def working_groups(held: Array, score: Array, groups: Array, most: int) -> Array:
    """As `working_set`, of whole groups: ``most`` others at most, those of the longest scores; groups : (n,)."""
    sizes, chosen = np.bincount(groups), np.bincount(groups, held) > 0
    worst = np.where(chosen, 0.0, np.sqrt(np.bincount(groups, score * score)))
    order = np.argsort(-worst, kind="stable")
    order = order[worst[order] > 0]
    chosen[order[np.cumsum(sizes[order]) <= most]] = True
    return np.flatnonzero(chosen[groups])


def coordinates(loss: Columns, features: Array) -> Array:
    """Where the restricted problem's coefficients stand in x: ``features``, and the intercept last, if any; int64."""
    return np.append(features, loss.features) if loss.intercept else features


def columns(matrix: CSR | DeviceCSR, kept: Array) -> CSR:
    """The columns ``kept`` (k,), ascending, of a matrix: shape (rows, k). One pass over the nonzeros."""
    place = np.full(matrix.shape[1], -1, np.int32)
    place[kept] = np.arange(kept.size, dtype=np.int32)
    if isinstance(matrix, CSR):
        return _columns(matrix, place, kept.size)
    ends, found, data = [np.zeros(1, np.int64)], [], []
    for lo in range(0, matrix.shape[0], BLOCK):
        indptr = matrix.indptr[lo : lo + BLOCK + 1]
        span = slice(int(indptr[0]), int(indptr[-1]))
        index = place[matrix.indices[span]]
        chosen = np.flatnonzero(index >= 0)
        ends.append(ends[-1][-1] + np.searchsorted(chosen, indptr[1:] - indptr[0]))
        found.append(index[chosen])
        data.append(matrix.data[span][chosen])
    indices = np.concatenate(found) if found else np.empty(0, np.int32)
    values = np.concatenate(data) if data else np.empty(0, matrix.data.dtype)
    return CSR.of(np.concatenate(ends), indices, values, (matrix.shape[0], kept.size))


def _columns(matrix: CSR, place: Array, count: int) -> CSR:
    """The same on the CPU; place : (cols,) int32, -1 for what is left out."""
    room = CSR.empty(matrix.shape[0], matrix.nnz, count, matrix.data.dtype)  # of which memory is taken as it is written
    indices, data = (cast(np.ndarray, each.base) for each in (room.indices, room.data))
    kept_entries(matrix.indptr, matrix.indices, matrix.data, place, room.indptr, indices, data)
    end = int(room.indptr[-1])
    indices[end : end + PAD] = 0
    data[end : end + PAD] = 0
    return replace(room, indices=indices[:end], data=data[:end])
