"""A linear fit of arrays, of sparse matrices or of a data set on disk, in one call on all ranks; of several classes at once."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from scipy import sparse

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import Solution, solve, undisturbed
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.estimators.here import here
from mpiopt.io.dataset.class_weight import weighed
from mpiopt.io.dataset.index import WIDEST
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.kernels.csr import CSR
from mpiopt.losses.registry import find as loss_of
from mpiopt.methods import find
from mpiopt.methods.reducing import Reducing
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.linear import Linear
from mpiopt.problems.multinomial import Multinomial
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.per_feature import Net, PerFeature, with_factors
from mpiopt.problems.problem import Team

Place = Literal["same", "mine"]


@dataclass(frozen=True)
class LinearSolution:
    """What a fit found. coef : (features,); solution : with reason, history and certificate."""

    coef: np.ndarray
    intercept: float
    solution: Solution


def fit(
    X: Any,
    y: Any = None,
    *,
    loss: str = "logistic",
    l2: float = 0.0,
    l1: float = 0.0,
    per_weight: bool = False,
    intercept: bool = True,
    sample_weight: Any = None,
    offset: Any = None,
    class_weight: str | None = None,
    solver: str | None = None,
    tol: float = 1e-16,
    max_iter: int = 1000,
    rows: Place = "same",
    start: np.ndarray | None = None,
    world: World | None = None,
    each: Callable[[np.ndarray], None] | None = None,
    interruption: Callable[[], str] = undisturbed,
    penalty_factors: Any = None,
    group_l1: float = 0.0,
    groups: Any = None,
) -> LinearSolution:
    """Minimise the weighted mean of the rows' losses plus l2/2 |x|^2 + l1 |x|_1. Collective: all ranks get the same.

    X : (rows, features), an array, a scipy.sparse matrix, or the path of a data set, which has its own labels, weights and
    offsets. y : (rows,) labels; -1 and +1 for losses of two classes. sample_weight, offset : (rows,), if any.
    per_weight : divide l2, l1, group_l1 by the sum of the weights, as where losses are added up. class_weight : "balanced" or
    "NEG:POS". solver : a method of `mpiopt.catalogue`; by default spcg, in the form that serves the problem best.
    tol : the gap F - F* that is to be certified, as a share of the mean loss at 0; the norm of the gradient where no gap can
    be. rows : "same" where every rank has all rows and takes its share, "mine" where each brings its own. start : (features,),
    or one more for the intercept. world : by default all ranks. each : called on every rank with the point (dim,) of every
    round, the start first; interruption : asked after that for what ends the fit, in a few words, or for "". penalty_factors :
    (features,), what the penalty of each is multiplied by; where one is 0, tol is the norm of the subgradient, too. groups :
    (features,) labels, with ``group_l1`` lambda of the sum over groups of sqrt(|g|) |x_g|, as in `GroupLasso`.

    Raises UsageError, DataError, CapabilityError on every rank.
    """
    world = here() if world is None else world
    method = find(solver or "spcg").make()
    fewer = isinstance(method, Reducing) and not (l1 or group_l1) and penalty_factors is None
    losses = linear_losses(world, rows, X, (y, sample_weight, offset), loss, intercept, class_weight, fewer)
    zeros = np.zeros(losses[0].dim)
    weight, sums = world.total([np.array([one.weight, one.weight * one.value(one.point(zeros))]) for one in losses])
    scale = float(weight) if per_weight else 1.0
    features, free, kinked = losses[0].features, int(intercept), (l1 / scale, group_l1 / scale)
    penalty = _penalty(*kinked, l2 / scale, free, penalty_factors, groups, features)
    team = Team.of(world, losses, penalty)
    gap = tol * float(sums / weight) if weight > 0 else tol
    proved = (l1 or group_l1 or l2) and not (isinstance(penalty, PerFeature) and penalty.factors.min(initial=1.0) <= 0)
    stop = Stop(rounds=max_iter, gap=gap, gradient=None if proved else tol)
    x = team.zeros()
    if start is not None:
        x[: len(start)] = start
    found = watched(method, team, x, stop, each, interruption)
    coef, b = (found.x[:-1], float(found.x[-1])) if intercept else (found.x, 0.0)
    return LinearSolution(coef, b, found)


def _penalty(l1: float, group_l1: float, l2: float, free: int, factors: Any, groups: Any, features: int) -> Net | GroupLasso:
    """Raises UsageError for factors or groups that do not fit."""
    if groups is not None or group_l1:
        if groups is None or not group_l1 or l1 or factors is not None:
            raise UsageError("`group_l1` above 0 and `groups` go together, with l2, but neither l1 nor penalty_factors")
        if np.shape(groups) != (features,):
            raise UsageError(f"groups have the shape {np.shape(groups)}, and X {features:,} features: give one a feature")
        return GroupLasso.of(group_l1, groups, l2, free)
    return with_factors(ElasticNet(l1, l2, free=free), None if factors is None else factors_given(factors, features))


def factors_given(factors: Any, features: int) -> np.ndarray:
    """(features,) float64. Raises UsageError for factors that do not fit."""
    p = np.asarray(factors, np.float64)
    if p.shape != (features,):
        raise UsageError(f"penalty_factors has the shape {p.shape}, and X {features:,} features: give one a feature")
    PerFeature(0.0, 0.0, p)
    return p


def linear_losses(
    world: World,
    rows: Place,
    X: Any,
    columns: tuple[Any, Any, Any],
    loss: str,
    intercept: bool,
    class_weight: str | None = None,
    fewer: bool = False,
) -> list[Linear]:
    """The losses of this rank's workers. Collective: as `fit`. columns : labels, weights, offsets. fewer : as for `team_of`."""
    if isinstance(X, str | Path):
        for name, given in zip(COLUMNS, columns, strict=True):
            if given is not None:
                raise UsageError(f"{X} has its own {name}: leave it out, or give arrays")
        free = ElasticNet(free=int(intercept))
        team = team_of(open_source(str(X), world), world, free, loss=loss, class_weight=class_weight, fewer=fewer)
        return [site.loss for site in team.sites]
    family = loss_of(loss)

    def linear(matrix: CSR, y: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> Linear:
        return Linear(matrix, y, family, weights, intercept, offset)

    losses = _losses(world, rows, X, columns, linear)
    return losses if class_weight is None else weighed(world, losses, class_weight)


@dataclass(frozen=True)
class ClassesSolution:
    """What a fit of several classes found. coef : (classes, features); intercept : (classes,)."""

    coef: np.ndarray
    intercept: np.ndarray
    solution: Solution


def fit_classes(
    X: Any,
    y: Any,
    classes: int,
    *,
    l2: float = 0.0,
    per_weight: bool = False,
    intercept: bool = True,
    sample_weight: Any = None,
    solver: str | None = None,
    tol: float = 1e-16,
    max_iter: int = 1000,
    rows: Place = "same",
    start: np.ndarray | None = None,
    world: World | None = None,
    each: Callable[[np.ndarray], None] | None = None,
    interruption: Callable[[], str] = undisturbed,
) -> ClassesSolution:
    """Minimise the weighted mean of log sum_c exp(m_c) - m_y plus l2/2 |W|^2 over all classes. Collective: as `fit`.

    y : (rows,) classes from 0 on. start : (classes, features), with one more column for the intercepts, if any. tol : as for
    `fit`.
    """
    world = here() if world is None else world

    def multinomial(matrix: CSR, y: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> Multinomial:
        return Multinomial(matrix, y.astype(np.int64), classes, weights, intercept)

    losses = _losses(world, rows, X, (y, sample_weight, None), multinomial)
    weight = float(world.total([np.array([one.weight]) for one in losses])[0])
    ridge = l2 / weight if per_weight and weight > 0 else l2
    team = Team.of(world, losses, ElasticNet(0.0, ridge, free=classes * intercept))
    gap = tol * float(np.log(classes))
    stop = Stop(rounds=max_iter, gap=gap, gradient=None if ridge else tol)
    x = team.zeros() if start is None else np.ascontiguousarray(start.T).reshape(-1)
    found = watched(find(solver or "spcg").make(), team, x, stop, each, interruption)
    return ClassesSolution(*of_classes(found.x, classes, intercept), found)


def of_classes(x: np.ndarray, classes: int, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients (classes, features) and intercepts (classes,) in a point x (dim,) of `fit_classes`."""
    table = x.reshape(-1, classes)
    coef, b = (table[:-1], table[-1]) if intercept else (table, np.zeros(classes))
    return np.ascontiguousarray(coef.T), b.copy()


def watched(
    method: Method,
    team: Team,
    x: np.ndarray,
    stop: Stop,
    each: Callable[[np.ndarray], None] | None,
    interruption: Callable[[], str],
) -> Solution:
    """Solve, with ``each`` told of the answer of every round."""
    keep = [] if each is None else [lambda at, reason: each(method.answer(at.begun, team).x)]
    return solve(method, team, x, stop, keep=keep, interruption=interruption)


Made = TypeVar("Made")


def _losses(
    world: World,
    rows: Place,
    X: Any,
    columns: tuple[Any, Any, Any],
    make: Callable[[CSR, np.ndarray, np.ndarray, np.ndarray], Made],
) -> list[Made]:
    """The losses of this rank's workers, of rows, labels, weights and offsets. Collective. Raises UsageError on every rank."""
    with world.together("looking at the rows"):
        matrix = _csr(X)
        y, weight, offset = (_column(name, each, matrix.shape[0]) for name, each in zip(COLUMNS, columns, strict=True))
        if y is None:
            raise UsageError("y is missing: give the labels of the rows")
    _demand_alike(world, rows, matrix, (y, weight, offset))
    workers = world.workers if rows == "same" else len(world.hosted)
    bounds = even(matrix.shape[0], workers)
    turns = world.hosted if rows == "same" else range(workers)
    return [
        make(
            _part(matrix, int(bounds[w]), int(bounds[w + 1])),
            y[bounds[w] : bounds[w + 1]],
            np.empty(0) if weight is None else weight[bounds[w] : bounds[w + 1]],
            np.empty(0) if offset is None else offset[bounds[w] : bounds[w + 1]],
        )
        for w in turns
    ]


COLUMNS = ("y", "sample_weight", "offset")


def _csr(X: Any) -> sparse.csr_array:
    """Rows with ascending columns, float32 or float64."""
    matrix = sparse.csr_array(X)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    if matrix.shape[1] > WIDEST:
        raise UsageError(f"X has {matrix.shape[1]:,} features: at most {WIDEST:,} are possible")
    if not np.isfinite(matrix.data).all():
        raise UsageError("X has values that are not finite: take such rows out, or fill in what is missing")
    return matrix


def _column(name: str, values: Any, rows: int) -> np.ndarray | None:
    if values is None:
        return None
    column = np.asarray(values, np.float64).reshape(-1)
    if len(column) != rows:
        raise UsageError(f"{name} has {len(column):,} entries, and X {rows:,} rows: give one a row")
    if not np.isfinite(column).all() or (name == "sample_weight" and (column < 0).any()):
        raise UsageError(f"{name} has values that are not finite{' or negative' * (name == 'sample_weight')}")
    return column


def _part(matrix: sparse.csr_array, lo: int, hi: int) -> CSR:
    part = matrix[lo:hi]
    return CSR.of(part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data, part.shape)


def _demand_alike(world: World, rows: Place, matrix: sparse.csr_array, columns: tuple[np.ndarray | None, ...]) -> None:
    """Raise UsageError on every rank where ranks have not brought what ``rows`` says. Collective."""
    if rows not in ("same", "mine"):
        raise UsageError(f'rows={rows!r}: give "same", where every rank has all rows, or "mine", where each brings its own')
    digest = blake2b(digest_size=16)
    if rows == "same" and world.size > 1:
        for part in (matrix.indptr, matrix.indices, matrix.data, *columns):
            digest.update(b"none" if part is None else np.ascontiguousarray(part).view(np.uint8).data)
    told = world.tell_all((matrix.shape[1], *(column is not None for column in columns), digest.hexdigest()))
    if len({each[:-1] for each in told}) > 1:
        raise UsageError("ranks have rows of other features, or some have weights or offsets and others none")
    if len({each[-1] for each in told}) > 1:
        raise UsageError(
            'ranks were given other rows: give every rank all of them, or say by rows="mine" that they are its own'
        )
