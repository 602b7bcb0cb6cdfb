"""The solvers of others, each fitted to the same rows: mean logistic loss, lambda as its own constant, no intercept.

fit(rows, tolerance)    coefficients (d,), to a tolerance of its own kind
Skipped                 where it cannot: not installed, or the wrong kind of problem
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from math import log
from typing import Any

import numpy as np

from mpiopt.io.dataset.labels import binary_labels
from mpiopt.io.dataset.source import Source
from mpiopt.jobs.machine.environment import threads

LADDER = tuple(10.0**-k for k in range(1, 13))  # tolerances from loose to tight
DENSE = 5000  # features, of which a dense Hessian is made


class Skipped(Exception):
    """Why a peer is left out."""


@dataclass(frozen=True)
class AllRows:
    """Rows as scipy has them, labels -1 and +1, and both lambdas. threads : that a peer may use."""

    a: Any  # csr_matrix (n, d) float64
    y: np.ndarray
    l1: float
    l2: float
    threads: int

    @property
    def cost(self) -> float:
        """C of a sum of losses, for whichever lambda there is."""
        return 1 / ((self.l1 or self.l2) * len(self.y))

    @cached_property
    def problem(self) -> Any:
        """As LIBLINEAR takes it: made once, so that only training is timed."""
        from liblinear.liblinearutil import problem

        return problem(self.y, self.a)


@dataclass(frozen=True)
class Peer:
    """A solver. package : as installed. sparse : for an l1 penalty, else for l2. several : uses all threads it is given."""

    name: str
    package: str
    fit: Callable[[AllRows, float], np.ndarray]
    sparse: bool = False
    several: bool = False
    widest: float = float("inf")

    @property
    def version(self) -> str:
        """As installed. Raises Skipped."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            raise Skipped(f"not installed: pip install {self.package}") from None

    def check(self, rows: AllRows) -> None:
        """Raises Skipped where it cannot be run on these rows."""
        _ = self.version
        if rows.a.shape[1] > self.widest:
            raise Skipped(f"makes a dense matrix of {rows.a.shape[1]:,} x {rows.a.shape[1]:,}")

    def __call__(self, rows: AllRows, tolerance: float) -> np.ndarray:
        """The coefficients (d,) at a tolerance; quietly, whatever it thinks of its own convergence. Raises Skipped."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.fit(rows, tolerance)


def liblinear(solver: int) -> Callable[[AllRows, float], np.ndarray]:
    """Solver -s of LIBLINEAR."""

    def fit(rows: AllRows, tolerance: float) -> np.ndarray:
        from liblinear.liblinearutil import parameter, train

        model = train(rows.problem, parameter(f"-s {solver} -c {rows.cost!r} -e {tolerance!r} -B -1 -q"))
        found = np.zeros(rows.a.shape[1])
        sign = 1.0 if model.label[0] == 1 else -1.0
        found[: model.nr_feature] = sign * np.ctypeslib.as_array(model.w, (model.nr_feature,))
        return found

    return fit


def _scikit(solver: str) -> Callable[[AllRows, float], np.ndarray]:
    """Of whichever lambda there is."""

    def fit(rows: AllRows, tolerance: float) -> np.ndarray:
        model = import_module("sklearn.linear_model").LogisticRegression(
            C=rows.cost, l1_ratio=float(rows.l1 > 0), solver=solver, tol=tolerance, max_iter=20_000, fit_intercept=False
        )
        return model.fit(rows.a, rows.y).coef_.ravel()

    return fit


def _skglm(rows: AllRows, tolerance: float) -> np.ndarray:
    model = import_module("skglm").SparseLogisticRegression(alpha=rows.l1, tol=tolerance, max_iter=1000, fit_intercept=False)
    return model.fit(rows.a.tocsc(), rows.y).coef_.ravel()


def _celer(rows: AllRows, tolerance: float) -> np.ndarray:
    model = import_module("celer").LogisticRegression(C=rows.cost, tol=tolerance, max_iter=1000, fit_intercept=False)
    return model.fit(rows.a.tocsc(), rows.y).coef_.ravel()


def _snap(rows: AllRows, tolerance: float) -> np.ndarray:
    model = import_module("snapml").LogisticRegression(
        regularizer=1 / rows.cost,
        penalty="l1" if rows.l1 else "l2",
        fit_intercept=False,
        tol=tolerance,
        max_iter=20_000,
        n_jobs=rows.threads,
        dual=not rows.l1,
    )
    return np.asarray(model.fit(rows.a.astype(np.float32), rows.y).coef_, float).ravel()


def _wabbit(rows: AllRows, tolerance: float) -> np.ndarray:
    raise Skipped("reads its rows from a file in every pass: nothing to compare with rows in memory")


PEERS = (
    Peer("LIBLINEAR -s 7", "liblinear-official", liblinear(7)),
    Peer("LIBLINEAR -s 0", "liblinear-official", liblinear(0)),
    Peer("LIBLINEAR -s 6", "liblinear-official", liblinear(6), sparse=True),
    Peer("scikit-learn lbfgs", "scikit-learn", _scikit("lbfgs")),
    Peer("scikit-learn newton-cholesky", "scikit-learn", _scikit("newton-cholesky"), widest=DENSE),
    Peer("scikit-learn saga", "scikit-learn", _scikit("saga")),
    Peer("scikit-learn saga, l1", "scikit-learn", _scikit("saga"), sparse=True),
    Peer("Snap ML", "snapml", _snap, several=True),
    Peer("Vowpal Wabbit", "vowpalwabbit", _wabbit),
    Peer("skglm", "skglm", _skglm, sparse=True),
    Peer("celer", "celer", _celer, sparse=True),
)


def peers(sparse: bool) -> list[Peer]:
    """Those for an l1 penalty, or for l2."""
    return [peer for peer in PEERS if peer.sparse == sparse]


def fitted(source: Source, l1: float, l2: float) -> AllRows:
    """All rows of a source as peers take them."""
    from scipy.sparse import csr_matrix

    matrix, raw, *_ = source.read(0, source.rows)
    a = csr_matrix((matrix.data.astype(np.float64), matrix.indices, matrix.indptr), shape=matrix.shape)
    return AllRows(a, binary_labels(raw, source.labels).astype(np.float64), l1, l2, threads())


@dataclass(frozen=True)
class Judge:
    """F, the mean logistic loss and both penalties, and how far x is from its optimum."""

    rows: AllRows
    least: float = 0.0

    def value(self, x: np.ndarray) -> float:
        """F at x (d,)."""
        loss = float(np.logaddexp(0, -self.rows.y * (self.rows.a @ x)).mean())
        return loss + self.rows.l2 / 2 * float(x @ x) + self.rows.l1 * float(abs(x).sum())

    def __call__(self, x: np.ndarray) -> float:
        """(F(x) - F*) / (F(0) - F*)."""
        return (self.value(x) - self.least) / (log(2) - self.least)
