"""Six small problems on which compressed gradients go wrong, and error feedback and EF21 do not.

The first three after Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD, ICML 2019.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest

from mpiopt.methods.averaging import sgd
from mpiopt.methods.linked import linked
from mpiopt.numerics.schedules import Constant, Cosine
from mpiopt.problems.landscapes import Landscape
from mpiopt.problems.penalties import Box, Zero
from mpiopt.problems.problem import Team
from mpiopt.transforms import rules
from mpiopt.transforms.bounds import Prox
from tests.training_sets import SEED, path


@dataclass(frozen=True)
class Sum(Landscape):
    """sum_j (a_j.x - b_j)^2 / 2 + l2 |x|^2 / 2."""

    a: np.ndarray
    b: np.ndarray
    l2: float = 0.0

    @property
    def dim(self):
        return self.a.shape[1]

    @property
    def rows(self):
        return len(self.a)

    def value_grad(self, at, rows=None):
        a, b = (self.a, self.b) if rows is None else (self.a[rows] * len(self.a), self.b[rows] * len(self.b))
        r = self.a @ at.x - self.b
        slope = a.T @ (a @ at.x - b) / (1 if rows is None else len(self.a))
        return float(r @ r) / 2 + self.l2 / 2 * float(at.x @ at.x), slope + self.l2 * at.x


@dataclass(frozen=True)
class Slope(Landscape):
    """c x, c = 4 in a quarter of all steps and -1 in the others; or epsilon |x + y| + |x - y|."""

    dim: int

    def value_grad(self, at, rows=None):
        if self.dim == 1:
            return 0.25 * float(at.x[0]), np.array([0.25 if rows is None else float(rows[0])])
        x, y = at.x
        one, two = (0.5 if x + y >= 0 else -0.5), (1.0 if x >= y else -1.0)
        return 0.5 * abs(x + y) + abs(x - y), np.array([one + two, one - two])


def trained(worlds, losses, compress, link, start, lr, rounds, sample=None, project=None):
    """The answers of SGD with compressed gradients, (rounds + 1, d)."""
    world = worlds(workers=len(losses))
    samples = None if sample is None else [sample] * len(world.hosted)
    team = Team.of(world, [losses[w] for w in world.hosted], Zero(), SEED, samples)
    rule = rules.sgd(lr) if project is None else rules.chain(rules.sgd(lr), project)
    method = sgd(rule) if compress is None else linked(sgd(rule), "sgd", compress, link, force=True)
    return path(method, team, np.asarray(start, float), rounds)


@pytest.mark.ranks(1)
def test_the_sign_of_a_skewed_gradient_leads_to_the_worst_point(worlds):
    """min x / 4 on [-1, 1], gradient 4 with probability 1/4, else -1."""
    box, lr = Box(-1.0, 1.0), Constant(0.004)

    def sample(step):
        return np.array([4.0 if np.random.default_rng(step).random() < 0.25 else -1.0])

    found = {}
    for name, how in {"sgd": (None, "plain"), "sign": ("sign", "plain"), "ef": ("sign", "ef")}.items():
        x = trained(worlds, [Slope(1)], *how, [0.0], lr, 2000, sample, Prox(box.prox, lr))
        found[name] = x[1500:].mean()
    assert found["sign"] > 0.99 and found["sgd"] < -0.9 and found["ef"] < -0.9


@pytest.mark.ranks(1)
def test_signs_never_leave_the_diagonal(worlds):
    """|x + y| / 2 + |x - y| from (1, 1), and <a1, x>^2 + <a2, x>^2 with one of the two on each of two workers."""
    f = lambda x: 0.5 * abs(x.sum()) + abs(x[0] - x[1])  # noqa: E731
    for how, good in ((("sign", "plain"), False), (("scaled_sign", "ef"), True), (("scaled_sign", "ef21"), True)):
        x = trained(worlds, [Slope(2)], *how, [1, 1], Cosine(0.05, 400), 400)[-1]
        assert (f(x) < 2.8e-3) if good else abs(x.sum() - 2) < 1e-12 and f(x) > 0.99
        rows = np.array([[1.5, -0.5], [-0.5, 1.5]])
        losses = [Sum(2 * row[None], np.zeros(1)) for row in rows]
        x = trained(worlds, losses, *how, [1, 1], 0.05, 400)[-1]
        value = ((rows @ x) ** 2).sum()
        assert value < 1e-13 if good else abs(x.sum() - 2) < 1e-12 and value >= 1.99


@pytest.mark.ranks(1)
def test_the_largest_entry_alone_makes_three_quadratics_diverge(worlds):
    """By 1 + 11 eta / 6 a round; error feedback and EF21 cure it. Beznosikov et al., 2020, example 1."""
    eta, a = 0.01, np.array([[-3.0, 2, 2], [2, -3, 2], [2, 2, -3]])
    losses = [Sum(sqrt(2) * row[None], np.zeros(1), 0.5) for row in a]
    grown = trained(worlds, losses, "topk:k=1", "plain", [1, 1, 1], eta, 120)
    np.testing.assert_allclose(grown[1:] / grown[:-1], 1 + 11 * eta / 6, rtol=0, atol=1e-6)
    for link in ("ef", "ef21"):
        assert np.linalg.norm(trained(worlds, losses, "topk:k=1", link, [1, 1, 1], eta, 1200)[-1]) < 1e-4


@pytest.mark.ranks(1)
def test_a_majority_may_be_wrong(worlds):
    """Gradients -1, -1, 3 at 0: their mean is positive, the vote is not."""
    losses = [Sum(np.ones((1, 1)), np.array([c])) for c in (1.0, 1.0, -3.0)]
    vote = trained(worlds, losses, "vote", "plain", [0.0], 0.05, 400)
    assert vote[1, 0] > 0 and vote[-1, 0] == pytest.approx(1.0, abs=0.051)
    for link in ("ef", "ef21"):
        assert trained(worlds, losses, "scaled_sign", link, [0.0], 0.05, 400)[-1, 0] == pytest.approx(-1 / 3, abs=1e-8)


@dataclass(frozen=True)
class Noisy(Sum):
    """A quadratic whose gradient in a step has noise of its own."""

    worker: int = 0

    def value_grad(self, at, rows=None):
        value, g = super().value_grad(at)
        noise = 0.0 if rows is None else 0.2 * np.random.default_rng([int(rows[0]), self.worker]).standard_normal(g.size)
        return value, g + noise


@pytest.mark.ranks(1)
def test_error_feedback_comes_as_near_as_no_compression_where_workers_differ(worlds):
    """d = 10, with noise: top-1 alone stays a thousand times farther away."""
    rng = np.random.default_rng(5)
    scales, centres = rng.uniform(1, 2, (4, 10)), 0.55 * rng.standard_normal((4, 10))
    losses = [Noisy(np.diag(np.sqrt(s)), np.sqrt(s) * c, 0.0, w) for w, (s, c) in enumerate(zip(scales, centres, strict=True))]
    best = (scales * centres).sum(axis=0) / scales.sum(axis=0)
    error = {}
    for name, how in {"none": (None, ""), "top-1": ("topk:k=1", "plain"), "ef": ("topk:k=1", "ef")}.items():
        x = trained(worlds, losses, *how, np.zeros(10), 0.01, 1000, lambda step: np.array([step]))[500:]
        error[name] = ((x - best) ** 2).sum(axis=1).mean()
    assert error["top-1"] > 100 * error["ef"] and error["ef"] < 4 * error["none"] and error["ef"] < 3e-3
