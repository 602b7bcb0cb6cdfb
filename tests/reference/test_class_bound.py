"""The certificate of several classes holds wherever it is asked for, and shrinks with the gap: l2, l1, free intercepts."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, log_softmax, softmax

from mpiopt.comm.blocks import even
from mpiopt.kernels.csr import CSR
from mpiopt.problems.certificate import certify
from mpiopt.problems.multinomial import Multinomial
from mpiopt.problems.one_against_rest import OneAgainstRest
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team

FAR = (1e-6, 1e-4, 1e-2, 1.0, 30.0)  # from the optimum


class Drawn:
    """A small problem: dense rows, classes of which one may have no row that counts, weights, a penalty."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.classes, rows, features = rng.integers(2, 6), rng.integers(5, 60), rng.integers(1, 6)
        self.a = rng.standard_normal((rows, features)) * (rng.random((rows, features)) < 0.6)
        self.y = rng.integers(0, self.classes - (rng.random() < 0.3), rows)
        self.w = rng.integers(0, 3, rows).astype(float) + (np.arange(rows) == 0)
        self.intercept = bool(rng.integers(2))
        self.kind = OneAgainstRest if seed // 4 % 2 else Multinomial
        l1, l2 = 10.0 ** rng.uniform(-3, -1, 2)
        self.l1, self.l2 = ((0.0, l2), (l1, 0.0), (l1, l2), (0.0, l2))[seed % 4]

    def team(self, world) -> Team[Multinomial | OneAgainstRest]:
        bounds, penalty = even(len(self.y), world.workers), ElasticNet(self.l1, self.l2, self.classes * self.intercept)
        losses = []
        for k in world.hosted:
            cut = slice(bounds[k], bounds[k + 1])
            part = sparse.csr_array(self.a[cut])
            matrix = CSR.of(part.indptr, part.indices, part.data, part.shape)
            losses.append(self.kind(matrix, self.y[cut], self.classes, self.w[cut], self.intercept))
        return Team.of(world, losses, penalty)

    def parts(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The smooth part and its gradient, straight from the definition."""
        table = x.reshape(-1, self.classes)
        a = np.hstack([self.a, np.ones((len(self.a), 1))]) if self.intercept else self.a
        ridge = np.full(table.shape, self.l2)
        ridge[len(table) - self.intercept :] = 0
        m, share = a @ table, self.w / self.w.sum()
        own = np.eye(self.classes)[self.y]
        if self.kind is Multinomial:
            value, slopes = -float(share @ log_softmax(m, axis=1)[np.arange(len(m)), self.y]), softmax(m, axis=1) - own
        else:
            value, slopes = float(share @ np.logaddexp(0, (1 - 2 * own) * m).sum(1)), expit(m) - own
        slope = a.T @ (share[:, None] * slopes) + ridge * table
        return value + 0.5 * float((ridge * table**2).sum()), slope.reshape(-1)

    def objective(self, x: np.ndarray) -> float:
        inner = x[: len(x) - self.classes * self.intercept]
        return self.parts(x)[0] + self.l1 * float(abs(inner).sum())

    def optimum(self, dim: int, rounds: int = 3000) -> np.ndarray:
        """By accelerated proximal gradients with restarts."""
        a = np.hstack([self.a, np.ones((len(self.a), 1))])
        step = 1 / (0.5 * float((a**2).sum(1).max()) + self.l2)
        threshold = np.full(dim, step * self.l1)
        threshold[dim - self.classes * self.intercept :] = 0
        x, z, t = np.zeros(dim), np.zeros(dim), 1.0
        for _ in range(rounds):
            to = z - step * self.parts(z)[1]
            after = np.sign(to) * np.maximum(abs(to) - threshold, 0)
            t = 1.0 if (z - after) @ (after - x) > 0 else (1 + np.sqrt(1 + 4 * t * t)) / 2
            z, x = after + (t - 1) / ((1 + np.sqrt(1 + 4 * t * t)) / 2) * (after - x), after
        return x


def held(drawn: Drawn, world) -> None:
    """The bounds at points about the optimum."""
    team = drawn.team(world)
    best = drawn.optimum(team.dim)
    least = drawn.objective(best)
    for far in FAR:
        x = best + far * drawn.rng.standard_normal(best.size)
        found, true = certify(team, x, 30), drawn.objective(x) - least
        assert found.objective == pytest.approx(drawn.objective(x), rel=1e-12)
        assert true <= found.tight_gap * (1 + 1e-6) + 1e-14
        assert found.tight_gap <= found.gap < np.inf


@pytest.mark.parametrize("seed", range(10))
def test_it_holds_at_fifty_points(worlds, seed):
    held(Drawn(seed), worlds(workers=1 + seed % 3))


@pytest.mark.study
@pytest.mark.parametrize("seed", range(10, 410))
def test_it_holds_at_two_thousand_points(worlds, seed):
    held(Drawn(seed), worlds(workers=1 + seed % 3))


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("seed", [1, 2, 6, 8])
def test_it_vanishes_at_the_optimum(world, seed):
    drawn = Drawn(seed)
    team = drawn.team(world)
    best = drawn.optimum(team.dim)
    assert certify(team, best, 30).gap <= 1e-8
    assert certify(team, np.zeros(team.dim), 30).gap > 1e-3
