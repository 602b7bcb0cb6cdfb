"""Falling penalties, as text says them.

1e-1,1e-2,1e-3      these
1e-1:1e-6:50        50 of them, from the first to the second in equal ratios
max:0.01:50         the same, from the least at which l1 leaves no coefficient to 0.01 of that
"""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Method
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import UsageError
from mpiopt.outer.intercept import centred
from mpiopt.paths.null_model import demand_penalised, unpenalised
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team, gradient
from mpiopt.problems.protocols import Columns

MAX = "max"
MANY = 1000  # penalties that a path has at most


class Lambdas(NamedTuple):
    """What a text says: numbers, which are shares of the largest for ``relative``."""

    values: tuple[float, ...]
    relative: bool = False


def lambdas(text: str) -> Lambdas:
    """Raises UsageError for a text that is none of the above, and for penalties that do not fall."""
    try:
        found = _range(*text.split(":")) if ":" in text else Lambdas(tuple(map(float, text.split(","))))
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"the penalties {text!r} cannot be read: give 1e-1,1e-2, or 1e-1:1e-6:50, or max:0.01:50") from error
    values = np.array(found.values)
    if not (np.isfinite(values).all() and (values > 0).all() and len(values) <= MANY):
        raise UsageError(f"the penalties {text!r} are not 1 to {MANY:,} finite numbers above 0")
    if (np.diff(values) >= 0).any():
        raise UsageError(
            f"the penalties {text!r} ascend: give them from the largest to the smallest, each is begun at the one before"
        )
    return found


def _range(first: str, last: str, count: str) -> Lambdas:
    relative = first.strip() == MAX
    start, end, many = 1.0 if relative else float(first), float(last), int(count)
    if many < 1 or (many == 1 and start != end):
        raise ValueError(count)
    values = [start * (end / start) ** (k / max(many - 1, 1)) for k in range(many)]
    return Lambdas((*values[:-1], end), relative)


def ratios(text: str) -> tuple[float, ...]:
    """Shares of l1 in a penalty. Raises UsageError for numbers beyond 0 to 1."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = (np.nan,)
    if not all(0 <= ratio <= 1 for ratio in found):
        raise UsageError(f"the shares of l1 {text!r} are not numbers from 0 to 1: give 0 for l2, 1 for l1, or 0.1,0.5,1")
    return found


def steepest(team: Team[Columns], factors: Array | None = None, inner: Method | None = None) -> float:
    """The least l1 that leaves no coefficient but the intercept and those without a penalty.

    factors : (features,), what the penalty of each is multiplied by. Collective: a vector round and a few small sums, and where
    some are 0, a solve of these by ``inner``, which is asked for then. Raises UsageError on every rank where that has no end,
    or all are 0.
    """
    p = np.ones(team.sites[0].loss.features) if factors is None else factors
    demand_penalised(factors)
    x = team.zeros() if p.all() or inner is None else unpenalised(team, np.flatnonzero(p == 0), inner)
    points = centred(team, PerWorker(site.loss.point(x) for site in team.sites))
    slope = gradient(team, points).vector[: p.size]
    return float((abs(slope[p > 0]) / p[p > 0]).max()) if slope.size else 0.0


def penalties(given: Lambdas, shares: tuple[float, ...], free: int, largest: float) -> tuple[tuple[ElasticNet, ...], ...]:
    """For every share r of l1 the path of penalties r lambda |x|_1 + (1 - r) lambda |x|^2 / 2. Raises UsageError."""
    if given.relative and 0 in shares:
        raise UsageError(
            f"`{MAX}` is for penalties with l1, and l2 alone leaves coefficients at any lambda: give numbers, or shares of l1"
        )
    if given.relative and not largest > 0:
        raise UsageError("no feature says anything about the labels: there is no l1 to begin a path at")
    paths = []
    for share in shares:
        unit = largest / share if given.relative else 1.0
        paths.append(tuple(ElasticNet(share * unit * each, (1 - share) * unit * each, free=free) for each in given.values))
    return tuple(paths)
