"""Small regression problems that are hard in one way each, and their true optima by dense Newton in extended precision."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team

SCALES = (1e-150, 1e-100, 1e-30, 1e-10, 1e10, 1e30, 1e100, 1e150)
LOGISTIC, SQUARES = "logistic", "least_squares"
Long = np.longdouble


@dataclass(frozen=True)
class Case:
    """Rows a (n, d), labels, weights; ``bounded`` says whether the loss alone has a minimum."""

    name: str
    a: np.ndarray
    y: np.ndarray
    loss: str = LOGISTIC
    intercept: bool = False
    bounded: bool = True
    w: np.ndarray = field(default_factory=lambda: np.empty(0))
    l2: float = 1e-2

    def team(self, world: World, l1: float, l2: float) -> Team:
        """The rows shared out evenly over the workers."""
        bounds = even(len(self.y), world.workers)
        losses = [self._linear(slice(bounds[w], bounds[w + 1])) for w in world.hosted]
        return Team.of(world, losses, ElasticNet(l1, l2, free=int(self.intercept)))

    def _linear(self, rows: slice) -> Linear:
        a = self.a[rows]
        counts = np.concatenate([[0], np.cumsum((a != 0).sum(1))])
        matrix = CSR.of(counts, np.nonzero(a)[1], a[a != 0], a.shape)
        family = Logistic() if self.loss == LOGISTIC else LeastSquares()
        return Linear(matrix, self.y[rows], family, self.w[rows] if self.w.size else self.w, self.intercept)

    @property
    def steepest(self) -> float:
        """The largest slope at 0 of a penalised coefficient: from this l1 on all of them are 0. Rounding counts as 0."""
        truth = Extended(self, 0.0, 0.0)
        slopes = abs(truth.value_grad(truth.zero)[1])
        slopes[slopes < 1e-15 * abs(self.y).max()] = 0
        return float((slopes * truth.size)[: self.a.shape[1]].max())


class Extended:
    """F, its gradient and Hessian in extended precision, straight from the definition, in columns scaled to at most 1."""

    def __init__(self, case: Case, l1: float, l2: float) -> None:
        a = case.a.astype(Long)
        if case.intercept:
            a = np.hstack([a, np.ones((len(a), 1), Long)])
        self.size = abs(a).max(0)
        self.size[self.size == 0] = 1
        self.a, self.y, self.logistic = a / self.size, case.y.astype(Long), case.loss == LOGISTIC
        w = (case.w if case.w.size else np.ones(len(a))).astype(Long)
        self.w = w / w.sum()
        held = np.ones(a.shape[1], Long)
        held[a.shape[1] - case.intercept :] = 0
        self.l1, self.l2 = Long(l1) * held / self.size, Long(l2) * held / self.size**2
        self.zero = np.zeros(a.shape[1], Long)

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """A point of the problem as it was given, in the scaled coordinates."""
        return x.astype(Long) * self.size

    def value_grad(self, z: np.ndarray) -> tuple[Long, np.ndarray]:
        """F and the gradient of its smooth part, in the scaled coordinates."""
        m = self.a @ z
        if self.logistic:
            losses, slopes = np.logaddexp(Long(0), -self.y * m), -self.y / (1 + np.exp(self.y * m))
        else:
            losses, slopes = (m - self.y) ** 2 / 2, m - self.y
        value = self.w @ losses + (self.l1 * abs(z)).sum() + (self.l2 * z * z).sum() / 2
        return value, self.a.T @ (self.w * slopes) + self.l2 * z

    def hessian(self, z: np.ndarray) -> np.ndarray:
        """Of the smooth part."""
        m = self.a @ z
        p = 1 / (1 + np.exp(-abs(m)))
        bends = p * (1 - p) if self.logistic else np.ones(len(m), Long)
        return (self.a.T * (self.w * bends)) @ self.a + np.diag(self.l2)

    def minimum(self) -> Long:
        """min F, by Newton's method on the face of the signs, features joining it by the worst violation."""
        z, face = self.zero, self.l1 == 0
        for _ in range(400):
            value, g = self.value_grad(z)
            g = g + self.l1 * np.sign(z)
            if not face.any() or (step := self._step(z, g, face)) is None:
                outside = np.where(face, 0, abs(g) - self.l1)
                worst = int(np.argmax(outside))
                if not outside[worst] > 1e-15 * abs(self.w @ abs(self.a)).max():
                    break
                face[worst] = True
                z = z.copy()
                z[worst] = -np.sign(g[worst]) * Long(1e-300)
                continue
            z, face = step
        return value

    def _step(self, z: np.ndarray, g: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Damped, and stopped where a coefficient reaches 0, which then leaves the face; None where nothing falls."""
        h = self.hessian(z)[np.ix_(face, face)]
        scale = 1 / np.sqrt(np.maximum(np.diag(h), Long(1e-4000)))
        scale[np.diag(h) == 0] = 1
        values, vectors = eigen(h * scale[:, None] * scale)
        along = vectors.T @ (scale * g[face])
        flat = values <= 1e-16 * max(values.max(), 1e-300)
        bent = -along / np.where(flat, 1, values)
        noise = 1e-14 * max(float(abs(scale * (self.w @ abs(self.a))[face]).max()), 1e-300)
        bent[flat] = np.where(abs(along[flat]) > noise, -np.sign(along[flat]) * Long(1e6), 0)
        if not -(along @ bent) > 1e-17 * self.value_grad(z)[0] and not flat.any():
            return None
        p = self.zero.copy()
        p[face] = scale * (vectors @ bent)
        kinked = face & (self.l1 > 0)
        start = self.value_grad(z)[0]
        for halving in range(60):
            t = Long(0.5) ** halving
            crossing = kinked & (z * (z + t * p) <= 0)
            if crossing.any():
                reach = np.where(crossing, -z / np.where(p == 0, 1, p), np.inf)
                first = int(np.argmin(reach))
                trial = z + reach[first] * p
                trial[first] = 0
                if self.value_grad(trial)[0] <= start:
                    left = face.copy()
                    left[first] = False
                    return trial, left
            elif self.value_grad(z + t * p)[0] < start:
                return z + t * p, face
        return None


def eigen(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of a small symmetric matrix: double precision's, corrected to extended once."""
    v = np.linalg.eigh(h.astype(float))[1].astype(Long)
    v = v @ (3 * np.eye(len(v)) - v.T @ v) / 2  # orthogonal to the square of what they were
    return np.diag(v.T @ h @ v), v


def _labels(rng: np.random.Generator, m: np.ndarray, loss: str) -> np.ndarray:
    """Labels that no direction separates: planted, with noise."""
    if loss == SQUARES:
        return m + 0.3 * rng.standard_normal(len(m))
    return np.where(m + 1.5 * rng.standard_normal(len(m)) > 0, 1.0, -1.0)


def dense(name: str, seed: int, n: int = 40, d: int = 5, loss: str = LOGISTIC, **given) -> Case:
    """Gaussian rows with noisy labels."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, d))
    return Case(name, a, _labels(rng, a @ rng.standard_normal(d), loss), loss, **given)


def one_hot(name: str, seed: int, levels: tuple[int, ...] = (3, 4), n: int = 40, loss: str = LOGISTIC, **given) -> Case:
    """Dummies of every level, so that those of a factor add up to 1; every pair of labels occurs at every level."""
    rng = np.random.default_rng(seed)
    blocks = [np.eye(k)[np.concatenate([np.arange(n) % k, np.arange(n) // 2 % k])] for k in levels]
    y = np.concatenate([np.where(rng.random(n) < 0.6, 1.0, -1.0), np.where(rng.random(n) < 0.3, 1.0, -1.0)])
    both = np.hstack(blocks)
    a, y = np.vstack([both, both]), np.concatenate([y, -y[::-1]]) if loss == LOGISTIC else np.concatenate([y, y + 0.5])
    return Case(name, a, y, loss, intercept=True, **given)


def cases() -> list[Case]:
    """All of them, the same each time."""
    found = [*_collinear(), *_separable(), *_scaled(), *_shapes(), *_weights(), *_labelled(), *_penalised(), *_far()]
    assert len({case.name for case in found}) == len(found)
    return found


def _collinear() -> Iterator[Case]:
    for seed in range(12):
        yield one_hot(f"one-hot {seed}", seed, levels=((3, 4), (2, 3, 5), (6,), (2, 2, 2))[seed % 4])
    yield one_hot("one-hot squares", 4, loss=SQUARES)
    for loss in (LOGISTIC, SQUARES):
        base = dense(f"constant column {loss}", 10, loss=loss, intercept=True)
        yield replace(base, a=np.hstack([base.a, np.full((40, 1), 3.0)]))
        base = dense(f"same column twice {loss}", 11, loss=loss)
        yield replace(base, a=np.hstack([base.a, base.a[:, :2]]))
        base = dense(f"sum of columns {loss}", 12, loss=loss, intercept=True)
        yield replace(base, a=np.hstack([base.a, base.a.sum(1, keepdims=True), 1e3 * base.a[:, :1]]))
        base = dense(f"nearly collinear {loss}", 13, loss=loss)
        yield replace(base, a=np.hstack([base.a, base.a[:, :1] + 1e-6 * base.a[:, 1:2] * base.a[:, 2:3]]))
        yield replace(base, name=f"hilbert {loss}", a=1 / (1.0 + np.add.outer(np.arange(40) % 7, np.arange(5))))
    rows = np.array([[1, 1], [1, 2], [1, 3], [1, 4], [1, 4]], float)
    yield Case("constant column and five rows", rows, np.array([1.0, -1, 1, -1, 1]), intercept=True)
    yield Case(
        "one-hot of eight rows", np.eye(3)[[0, 0, 0, 1, 1, 1, 2, 2]], np.array([1.0, 1, -1, -1, -1, 1, 1, -1]), intercept=True
    )


def _separable() -> Iterator[Case]:
    base = dense("separable", 20)
    yield replace(base, y=np.where(base.a @ np.arange(1.0, 6) > 0, 1.0, -1.0), bounded=False)
    base = one_hot("one pure level", 21, levels=(4,))
    yield replace(base, y=np.where(base.a[:, 0] > 0, 1.0, base.y), bounded=False)
    yield replace(dense("one class", 22, intercept=True), y=np.ones(40), bounded=False)
    wide = dense("more features than rows", 23, n=8, d=40)
    yield replace(wide, bounded=False)
    yield dense("more features than rows squares", 23, n=8, d=40, loss=SQUARES)
    base = dense("separable but for one row", 24)
    y = np.where(base.a @ np.arange(1.0, 6) > 0, 1.0, -1.0)
    yield replace(
        base, a=np.vstack([base.a, -base.a.sum(0, keepdims=True), base.a[:1]]), y=np.append(y, [1.0, -y[0]]), bounded=False
    )


def _scaled() -> Iterator[Case]:
    for scale in SCALES:
        for loss in (LOGISTIC, SQUARES):
            base = dense(f"times {scale:.0e} {loss}", 30, d=3, loss=loss)
            yield replace(base, a=scale * (base.a / abs(base.a).max()), l2=1e-2 * scale**2)
    for spread in (3.0, 8.0):
        for loss in (LOGISTIC, SQUARES):
            base = dense(f"columns from 1e-{spread:.0f} to 1e{spread:.0f} {loss}", 31, loss=loss)
            yield replace(base, a=base.a * 10.0 ** np.linspace(-spread, spread, 5))
    base = dense("one row a million times longer", 32)
    yield replace(base, a=base.a * np.where(np.arange(40) == 7, 1e6, 1.0)[:, None])


def _shapes() -> Iterator[Case]:
    yield Case("one row", np.array([[1.0, -2.0]]), np.ones(1), bounded=False)
    yield Case("one row squares", np.array([[1.0, -2.0]]), np.array([3.0]), SQUARES)
    yield dense("one column", 40, d=1)
    yield dense("one column squares", 40, d=1, loss=SQUARES)
    yield dense("one column and intercept", 41, d=1, intercept=True)
    for intercept in (False, True):
        base = dense(f"empty rows {intercept}", 42, intercept=intercept)
        yield replace(base, a=base.a * (np.arange(40) % 3 > 0)[:, None])
    base = dense("empty columns", 43)
    yield replace(base, a=base.a * [1, 0, 1, 0, 1])
    yield replace(base, name="nothing but empty rows", a=0 * base.a)
    yield replace(base, name="nothing but an intercept", a=0 * base.a, intercept=True)
    yield dense("two rows for three ranks squares", 44, n=2, d=2, loss=SQUARES)
    yield dense("two columns of many rows", 45, n=300, d=2)


def _weights() -> Iterator[Case]:
    for loss in (LOGISTIC, SQUARES):
        base = dense(f"weights of 0 {loss}", 50, n=60, loss=loss)
        yield replace(base, w=(np.arange(60) % 3 > 0) * 1.0)
        yield replace(base, name=f"weights from 1e-3 to 1e3 {loss}", w=10.0 ** np.linspace(-3, 3, 60))
    base = dense("a rank without weight", 51, n=60)
    yield replace(base, w=(np.arange(60) >= 20) * 1.0)
    base = dense("rows three times", 56, n=20)
    yield replace(base, a=np.vstack([base.a] * 3), y=np.tile(base.y, 3))
    base = dense("every row with both labels", 53, n=20)
    yield replace(base, a=np.vstack([base.a] * 2), y=np.append(base.y, -base.y))


def _labelled() -> Iterator[Case]:
    rng = np.random.default_rng(60)
    a = rng.standard_normal((300, 3))
    rare = np.where(np.isin(np.arange(300), [5, 100, 222]), 1.0, -1.0)
    yield Case("labels rare", a, rare, intercept=True)
    yield Case("labels rare, no intercept", a, rare)
    yield Case("labels sorted", a, np.sort(_labels(rng, a[:, 0], LOGISTIC)), intercept=True)
    yield Case("targets of 0", a, np.zeros(300), SQUARES)
    yield Case("targets all alike", a, np.full(300, 7.0), SQUARES, intercept=True)
    yield Case("targets of 1e8", a, 1e8 + a[:, 0], SQUARES, intercept=True)
    yield Case("targets of 1e-8", a, 1e-8 * a[:, 0] + 1e-9 * a[:, 1] ** 2, SQUARES)


def _penalised() -> Iterator[Case]:
    for l2 in (1e-14, 1e-7, 1e3, 1e8):
        for loss in (LOGISTIC, SQUARES):
            yield dense(f"lambda {l2:.0e} {loss}", 71, loss=loss, l2=l2)


def _far() -> Iterator[Case]:
    for loss in (LOGISTIC, SQUARES):
        rng = np.random.default_rng(80)
        years = 2000 + rng.integers(-9, 9, (60, 1)).astype(float)
        yield Case(
            f"years {loss}",
            np.hstack([years, rng.standard_normal((60, 1))]),
            _labels(rng, (years[:, 0] - 2000) / 9, loss),
            loss,
            intercept=True,
        )
