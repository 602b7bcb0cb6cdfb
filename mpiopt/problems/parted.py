"""A problem of which each rank has the coordinates that its rows have, and some that nobody's have.

Where features are rare, workers have unlike ones: their vectors are shorter, and what a sum sends are the coordinates that
several have, to one of them, their owner, and back (`comm.parted`). Who has which is found by slices of the columns: each rank
learns of its slice who has what, and deals the columns out among those that have them, in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, TypeGuard, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.blocks import even
from mpiopt.comm.parted import HeldPart, PartedWorld
from mpiopt.errors import DataError
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host import reduction
from mpiopt.problems.problem import Team, offered
from mpiopt.problems.protocols import Columns
from mpiopt.problems.reduced import exact_for

LONG = 5000  # columns below which bytes do not matter
WORTH = 0.5  # of what a sum of whole vectors sends, in which every rank takes part in every coordinate


class OwnedPart(NamedTuple):
    """What one worker owns of a point: places (k,) int32 and values (k,)."""

    places: Array
    values: Array


@dataclass(frozen=True)
class PartedProblem:
    """A team of which each rank has a part of the coordinates.

    places : (n,) int32, where those that this rank has stand among all. dim : how many all are; most : n of all ranks, at most.
    """

    team: Team[Columns]
    places: Array
    dim: int
    most: int


def joined(parts: Sequence[OwnedPart], team: Team) -> Array:
    """The whole vector (dim,) of a team, of what its hosted workers own. Collective: one vector round.

    Raises DataError on every rank for places that the team does not have, which a file may say.
    """
    vectors = []
    with team.world.together("putting the point together"):
        for places, values in parts:
            if places.shape != values.shape or (places.size and not 0 <= int(places.min()) <= int(places.max()) < team.dim):
                raise DataError(f"its point is in coordinates of another problem, and this one has {team.dim:,}")
            vectors.append(np.zeros(team.dim))
            vectors[-1][places] = values
    return team.world.sum(vectors, "parts", out=vectors[0])


@dataclass(frozen=True)
class ColumnHolders:
    """Who has which columns of a team, of one worker a rank.

    held : (cols,) bool, whether this rank has a column, or sees to one that weighs nothing. who : (ranks, columns) bool, of the
    columns of its slice, which ranks do.
    """

    team: Team[Columns]
    held: Array
    who: Array

    @cached_property
    def problem(self) -> PartedProblem:
        """The problem in parts. Collective when first asked for."""
        return _made(self.team, self.held, self.who)


def holders(team: Team, always: bool = False) -> ColumnHolders | None:
    """Who has which columns; None where there can be no parts, or they send no less than whole vectors do. Collective.

    always : even if they send no less. Costs once two bits a column, and its problem 1 to 5 bytes a column that a rank has, and
    the numbers of its rows' columns anew.
    """
    if not can_part(team) or (team.sites[0].loss.features < LONG and not always):
        return None
    world, matrix = team.world, team.sites[0].loss.matrix
    counts = np.zeros(matrix.shape[1], np.int32)
    reduction.occurrences(matrix.indptr, matrix.indices, counts)
    held = counts > 0
    del counts  # a long vector
    who = _told(team, held)
    others = float(world.total([np.array([float(who.sum()) - who.shape[1]])], "holders")[0])
    return ColumnHolders(team, held, who) if always or others <= WORTH * held.size * (world.size - 1) else None


def can_part(team: Team) -> TypeGuard[Team[Columns]]:
    """Whether each of several ranks has one worker, with sparse rows and a penalty that is the same in every coordinate, and
    nobody asks for sums that do not depend on the ranks."""
    world = team.world
    if world.deterministic or world.size == 1 or world.workers != world.size:
        return False
    return offered(team, Columns) and isinstance(team.sites[0].loss.matrix, CSR) and exact_for(team.penalty)


def _told(team: Team[Columns], held: Array) -> Array:
    """Which ranks have the columns of this rank's slice, (ranks, columns) bool. Collective.

    held : (cols,) bool, which columns this rank has. Those that no rows have that weigh anything are seen to by ranks with
    rows that do, in turn, and set there.
    """
    world, bounds = team.world, even(held.size, team.world.size)
    told = world.alltoall([np.packbits(held[a:b]) for a, b in pairwise(bounds)], "holders")
    lo, hi = bounds[world.rank : world.rank + 2]
    who = np.stack([np.unpackbits(bits, count=hi - lo) for bits in told]).astype(bool)
    weighing = np.flatnonzero(np.concatenate(world.gather(np.array([team.sites[0].share > 0]), "holders")))
    nobodys = np.flatnonzero(~who[weighing].any(axis=0))
    who[weighing[(lo + nobodys) % weighing.size], nobodys] = True
    for (a, b), bits in zip(pairwise(bounds), world.alltoall([np.packbits(has) for has in who], "holders"), strict=True):
        held[a:b] = np.unpackbits(bits, count=b - a)
    return who


def _dealt(who: Array, first: int) -> Array:
    """An owner for each column of a slice that begins with ``first``, (columns,): one of those that have it, in turn."""
    turns = np.arange(first, first + who.shape[1]) % who.sum(axis=0, dtype=np.int64)
    owner = np.zeros(who.shape[1], np.min_scalar_type(len(who)))
    for rank, has in enumerate(who):
        owner[has & (turns == 0)] = rank
        turns -= has
    return owner


def _made(team: Team[Columns], held: Array, who: Array) -> PartedProblem:
    """Collective."""
    world, (site,) = team.world, team.sites
    owner = _dealt(who, int(even(held.size, world.size)[world.rank]))
    owners = np.concatenate(world.alltoall([owner[has] for has in who], "owners")).astype(np.int64)
    owners[owners == world.rank] = world.size  # what is its own comes last
    ends = np.cumsum(np.bincount(owners, minlength=world.size + 1))
    columns = np.flatnonzero(held)[np.argsort(owners, kind="stable")].astype(np.int32)
    *lent, own = (slice(int(end - more), int(end)) for end, more in zip(ends, np.diff(ends, prepend=0), strict=True))
    asked = world.alltoall([columns[cut] for cut in lent], "owners")
    shared = tuple(np.searchsorted(columns[own], numbers) + own.start for numbers in asked)
    free = team.dim - held.size
    parts = HeldPart(team.dim, own, tuple(lent), shared)
    numbers = np.empty(held.size, np.int32)
    numbers[columns] = np.arange(columns.size, dtype=np.int32)
    matrix = cast(CSR, site.loss.matrix).renumbered(numbers, columns.size)
    apart = replace(site, loss=replace(site.loss, matrix=matrix), world=PartedWorld(world, parts))
    places = np.append(columns, np.arange(held.size, held.size + free, dtype=np.int32))
    most = int(world.total([np.bincount([world.rank], [places.size], world.size)], "parts").max())
    return PartedProblem(replace(team, sites=(apart,)), places, team.dim, most)
