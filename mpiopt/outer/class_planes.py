"""Plane searches of several classes at once, each in a plane of its own: F_k(x_k + sum_j c_kj d_kj) is least in c_k.

As `outer.plane_search`, of problems that have nothing in common but the rows and the messages: one small sum holds the sums of
all classes, and there are as many as the slowest search needs.
"""

from collections.abc import Sequence

import numpy as np

from mpiopt.arrays import Array
from mpiopt.numerics.newton import inner
from mpiopt.numerics.newton_many import minima
from mpiopt.problems.problem import Team, mean_scalars
from mpiopt.problems.rows_by_class import RowsByClass


def searched(
    team: Team,
    rows: Sequence[RowsByClass],
    which: Array,
    point: Array,
    directions: Sequence[Array],
    margins: Sequence[Array],
    images: Sequence[Array],
) -> Array:
    """c, (k, directions). Collective: a few small sums.

    point, directions : (lines, k), of the classes ``which`` (k,); margins : (k, rows) and images : (k, directions, rows) for
    each hosted worker.
    """
    products = _products(team, point, directions)  # (k, directions, 1 + directions)
    n, l2 = len(directions), team.penalty.l2
    upper = np.triu_indices(n)

    def evaluate(some: Array, c: Array) -> tuple[Array, Array, Array]:
        parts = [
            each.plane(which[some], m[some], p[some], c).reshape(-1) for each, m, p in zip(rows, margins, images, strict=True)
        ]
        sums = mean_scalars(team, parts, "search").reshape(len(some), -1)
        value, slope, bent = sums[:, 0].copy(), sums[:, 1 : 1 + n].copy(), np.zeros((len(some), n, n))
        bent[:, upper[0], upper[1]] = bent[:, upper[1], upper[0]] = sums[:, 1 + n :]
        for at, (k, own) in enumerate(zip(some, c, strict=True)):
            line, square = l2 * products[k, :, 0], l2 * products[k, :, 1:]
            curved = np.array([inner(each, own) for each in square])
            value[at] += inner(line, own) + 0.5 * inner(own, curved)
            slope[at] += line + curved
            bent[at] += square
        return value, slope, bent

    start = np.zeros((len(which), n))
    start[:, 0] = 1.0
    return minima(evaluate, start)[0]


def _products(team: Team, point: Array, directions: Sequence[Array]) -> Array:
    """x.d_i in the first column, d_i.d_j behind it, of the penalised coordinates of each class. Collective: one small sum."""
    n, penalised = len(directions), len(point) - bool(team.penalty.free)
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    parts = []
    for cut in team.world.slices(penalised):
        own = [each[cut] for each in directions]
        found = [np.einsum("ij,ij->j", point[cut], one) for one in own]
        found += [np.einsum("ij,ij->j", own[i], own[j]) for i, j in pairs]
        parts.append(np.array(found))
    sums = team.world.total(parts, "products")
    out = np.empty((point.shape[1], n, 1 + n))
    out[:, :, 0] = sums[:n].T
    for (i, j), each in zip(pairs, sums[n:], strict=True):
        out[:, i, 1 + j] = out[:, j, 1 + i] = each
    return out
