"""Methods of similar workers against the papers' formulas on dense matrices, written apart: the same point in every round."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pytest

from mpiopt.engine.drive import rounds
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data, balanced

ROWS, DIM, L2_WEIGHT, WORKERS, SERVER = 90, 8, 2e-2, 3, 25


@dataclass
class Part:
    """f(x) = sum w_i loss_i / sum w_i + l2/2 |x|^2 on dense rows."""

    a: np.ndarray
    y: np.ndarray
    w: np.ndarray
    logistic: bool

    @cached_property
    def weight(self):
        return self.w.sum()

    def value(self, x):
        m = self.a @ x
        losses = np.logaddexp(0, -self.y * m) if self.logistic else (m - self.y) ** 2 / 2
        return self.w @ losses / self.weight + L2_WEIGHT / 2 * x @ x

    def grad(self, x):
        m = self.a @ x
        slopes = -self.y / (1 + np.exp(self.y * m)) if self.logistic else m - self.y
        return self.a.T @ (self.w * slopes) / self.weight + L2_WEIGHT * x

    def hessian(self, x):
        p = 1 / (1 + np.exp(-self.a @ x)) if self.logistic else 0.5
        h = self.w * (p * (1 - p) if self.logistic else 1.0) / self.weight
        return (self.a.T * h) @ self.a + L2_WEIGHT * np.eye(x.size)

    def prox(self, linear, mu, at):
        """argmin f(z) + linear.z + mu/2 |z - at|^2."""
        z = at.copy()
        for _ in range(60):
            step = np.linalg.solve(self.hessian(z) + mu * np.eye(z.size), self.grad(z) + linear + mu * (z - at))
            z -= step
            if abs(step).max() <= 1e-15 * abs(z).max():
                break
        return z

    def bregman(self, x, y, mu):
        return self.value(x) - self.value(y) - self.grad(y) @ (x - y) + mu / 2 * (x - y) @ (x - y)


class Dense:
    """The whole, the workers' parts and what they count for, the server's sample."""

    def __init__(self, loss):
        self.data = Data(ROWS, DIM, loss=loss, weighted=True, density=0.6)
        rows, y, w, kind = self.data.a.toarray(), self.data.y, self.data.w, loss == "logistic"
        ends = balanced(self.data.a.indptr, WORKERS)
        self.f = Part(rows, y, w, kind)
        self.parts = [Part(rows[a:b], y[a:b], w[a:b], kind) for a, b in pairwise(ends)]
        self.shares = np.array([part.weight for part in self.parts]) / w.sum()
        self.server = Part(rows[:SERVER], y[:SERVER], w[:SERVER], kind)

    def mean(self, vectors):
        return sum(share * each for share, each in zip(self.shares, vectors, strict=True))

    def pulled(self, part, y, mu):
        """The local minimiser with centre y."""
        return part.prox(self.f.grad(y) - part.grad(y), mu, y)


def dane(on, mu, x):
    while True:
        x = on.mean([on.pulled(part, x, mu) for part in on.parts])
        yield x


def hb_dane(on, mu, x):
    beta, last = (1 - (1 + 2 * mu / L2_WEIGHT) ** -0.5) ** 2, x
    while True:
        x, last = on.pulled(on.server, x, mu) + beta * (x - last), x
        yield x


def spag(on, mu, x, search=False):
    """Algorithm 1 of Hendrikx et al. with L = 1, A and B themselves; one trial after the other."""
    sigma, v, big_a, big_b, gain = L2_WEIGHT / (L2_WEIGHT + 2 * mu), x, 0.0, 1.0, 1.0
    phi = on.server
    while True:
        a = max(np.roots([gain - sigma, -(big_b + big_a * sigma), -big_a * big_b]).real)
        alpha, beta, eta = a / (big_a + a), a * sigma / (big_b + a * sigma), a / (big_b + a * sigma)
        y = ((1 - alpha) * x + alpha * (1 - beta) * v) / (1 - alpha * beta)
        # argmin eta grad F(y).z + (1 - beta) D(z, v) + beta D(z, y), D with the pull mu about 0
        linear = eta * on.f.grad(y) - (1 - beta) * (phi.grad(v) + mu * v) - beta * (phi.grad(y) + mu * y)
        ahead = phi.prox(linear, mu, np.zeros_like(y))
        end = (1 - alpha) * x + alpha * ahead
        room = (1 - beta) * phi.bregman(ahead, v, mu) + beta * phi.bregman(ahead, y, mu)
        if search and phi.bregman(end, y, mu) > alpha**2 * gain * room * (1 + 1e-9):
            gain *= 2
        else:
            x, v, big_a, big_b = end, ahead, big_a + a, big_b + a * sigma
            gain = max(1.0, gain / 2) if search else gain
        yield x


def stabilised(on, mu, x, accelerated, server, search):
    """Algorithms 1 and 2 of Jiang et al. and their searches, A and B themselves; one trial after the other."""
    v, big_a, big_b = x, 0.0, 1.0
    while True:
        a = (big_b + np.sqrt(big_b**2 + 4 * mu * big_a * big_b)) / (2 * mu) if accelerated else 1 / mu
        y = (big_a * x + a * v) / (big_a + a) if accelerated else v
        if server:
            z = on.pulled(on.server, y, mu)
            slope = on.f.grad(z)
            promised = slope @ (y - z)
        else:
            own = [on.pulled(part, y, mu) for part in on.parts]
            z, slope = on.mean(own), on.mean([part.grad(each) for part, each in zip(on.parts, own, strict=True)])
            whole = zip(on.parts, own, strict=True)
            promised = on.mean([(part.grad(each) - part.grad(z) + on.f.grad(z)) @ (y - each) for part, each in whole])
        if search and promised < slope @ slope / (2 * mu):
            mu *= 2
        else:
            x, v = z, (L2_WEIGHT * a * z + big_b * v - a * slope) / (L2_WEIGHT * a + big_b)
            if accelerated:
                big_a, big_b = big_a + a, big_b + L2_WEIGHT * a
            mu = mu / 2 if search else mu
        yield x


def aeg(on, mu, x):
    """Algorithm 1 of Kovalev et al. with the parameters of theorem 1; p = F - f_0 is mu/2-smooth."""
    smooth, fast, slow = mu / 2, x, x
    tau, theta = min(1, np.sqrt(L2_WEIGHT) / (2 * np.sqrt(smooth))), 1 / (2 * smooth)
    eta = min(1 / (2 * L2_WEIGHT), 1 / (2 * np.sqrt(L2_WEIGHT * smooth)))
    while True:
        x_g = tau * slow + (1 - tau) * fast
        fast = on.server.prox(on.f.grad(x_g) - on.server.grad(x_g), 1 / theta, x_g)
        slow = slow + eta * L2_WEIGHT * (fast - slow) - eta * on.f.grad(fast)
        yield fast


KINDS = [(accelerated, server, search) for accelerated in (False, True) for server in (False, True) for search in (False, True)]
CASES = {
    "dane": ("dane", {}, dane),
    "hb_dane": ("hb_dane", {"server_rows": SERVER}, hb_dane),
    "spag": ("spag", {"server_rows": SERVER}, spag),
    "spag, search": ("spag", {"server_rows": SERVER, "line_search": True}, lambda *given: spag(*given, search=True)),
    "aeg": ("aeg", {"server_rows": SERVER}, aeg),
    **{
        f"{'acc_' * acc}s_dane{', server' * server}{', search' * search}": (
            "acc_s_dane" if acc else "s_dane",
            {"server": server, "search": search, "server_rows": SERVER if server else None},
            lambda *given, kind=(acc, server, search): stabilised(*given, *kind),
        )
        for acc, server, search in KINDS
    },
}


@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("case", list(CASES))
def test_every_round_leads_where_the_paper_says(worlds, case, loss):
    name, given, formulas = CASES[case]
    on = Dense(loss)
    team = on.data.team(worlds(workers=WORKERS), L2(L2_WEIGHT))
    method = find(name).make(mu=0.3, accuracy=1e-14, **given)
    start = np.linspace(-0.5, 0.5, DIM)
    walk, paper = rounds(method, team, start.copy()), formulas(on, 0.3, start.copy())
    next(walk)
    for _ in range(12):
        expected = next(paper)
        np.testing.assert_allclose(method.answer(next(walk), team).x, expected, rtol=0, atol=1e-10 * abs(expected).max())
    assert abs(expected - start).max() > 0.1


def test_searches_reject_some_trials_and_accept_others():
    on = Dense("logistic")
    walk = stabilised(on, 0.3, np.linspace(-0.5, 0.5, DIM), True, False, True)
    seen = [next(walk) for _ in range(12)]
    assert 2 <= sum(a is b for a, b in pairwise(seen)) <= 9
