"""Compressed methods against a few lines of plain numpy: whole trajectories with the same random numbers, on any number of
ranks; and where the step sizes of theory lead them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytest

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.phase import Outer, Phase
from mpiopt.engine.stop import Reason, Stop
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.shifted import Shifted
from mpiopt.methods import find as method_named
from mpiopt.methods.averaging import local_sgd, sgd
from mpiopt.methods.compression import dcgd, diana, ef, ef21, gdci, marina, rand_diana, vr_gdci
from mpiopt.methods.curvature import constants
from mpiopt.methods.federated import scaffold
from mpiopt.methods.linked import linked
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Constant, Inverse, Piecewise
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import Landscape
from mpiopt.problems.model import Block
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.training.method import Training
from mpiopt.transforms import rules
from mpiopt.work.log import Log
from mpiopt.work.steps import Minibatch
from tests.problem_sets import Data
from tests.training_sets import SEED, Shared, path

SIZES = pytest.mark.ranks(1, 3)
WORKERS, N = 4, 15
RANDOM = ("randk:0.4", "qsgd:4", "randk:0.4,shared=yes", "permk", "natural")
CONTRACTIONS = ("topk:0.4", "scaled_sign", "shrunk:qsgd:4", "topk:0.6+two_means")
UNBIASED = pytest.mark.parametrize("text", RANDOM)
BIASED = pytest.mark.parametrize("text", CONTRACTIONS)


@pytest.fixture
def data() -> Shared:
    """Ridge regression, the workers' shares a little different."""
    return Shared(workers=WORKERS, rows=43, size=None, l2=0.1)


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def taken(step: Callable, x: np.ndarray, n: int = N) -> np.ndarray:
    """x and what n steps (x, k) -> x make of it."""
    out = [x]
    for k in range(n):
        out.append(step(out[-1], k))
    return np.array(out)


def passed(text: str, v: np.ndarray, k: int, worker: int, purpose="compress") -> np.ndarray:
    """What the others get of a worker's vector in round k."""
    c, key = find(text).among(WORKERS), Stream.of(Streams(SEED), purpose, k, worker, WORKERS)
    return c.decode(c.encode(v, key), v, key)


def through(text: str, rows, k: int) -> np.ndarray:
    """The same for the vectors of all workers, (workers, d)."""
    return np.array([passed(text, v, k, w) for w, v in enumerate(rows)])


def gradients(data: Shared, x: np.ndarray, step: int = 0) -> np.ndarray:
    return np.array([data.gradient(w, x, step) for w in range(data.workers)])


def coin(k: int, p: float) -> bool:
    return Streams(SEED)("refresh", k).random() < p


# ---------------------------------------------------------------------------------------------- gradients
@SIZES
@UNBIASED
def test_dcgd(worlds, data, text):
    expected = taken(lambda x, k: x - 0.05 * data.mean(through(text, gradients(data, x), k)), data.start)
    close(path(dcgd(text, 0.05), data.team(worlds(workers=WORKERS)), data.start, N), expected)


@SIZES
@BIASED
def test_error_feedback(worlds, data, text):
    """As Karimireddy et al. write it: p = gamma g + e, sent C(p), e = p - C(p)."""
    gamma, e = 0.05, np.zeros((WORKERS, 5))

    def step(x, k):
        nonlocal e
        p = gamma * gradients(data, x) + e
        q = through(text, p, k)
        e = p - q
        return x - data.mean(q)

    close(path(ef(text, gamma), data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
@pytest.mark.parametrize("text", CONTRACTIONS)
def test_with_the_rate_of_the_rule_the_memory_is_in_units_of_steps(worlds, data, text):
    """Where the step size changes, what was not sent earlier keeps the size that it had then."""
    lr, e = Inverse(0.4, 2.0), np.zeros((WORKERS, 5))

    def step(x, k):
        nonlocal e
        p = lr(k) * gradients(data, x) + e
        q = through(text, p, k)
        e = p - q
        return x - data.mean(q)

    expected, world = taken(step, data.start), worlds(workers=WORKERS)
    phase = Phase(Minibatch(), ErrorFeedback(Compressed(find(text)), lr))
    for method in (replace(sgd(rules.sgd(lr)), phases=(phase,)), linked(sgd(rules.sgd(lr)), "sgd", text, "ef")):
        close(path(method, data.team(world), data.start, N), expected)


@SIZES
@pytest.mark.parametrize("back", [None, "topk:0.5"])
def test_what_a_memory_holds_when_the_step_shrinks_is_still_owed(worlds, data, back):
    """x0 - x, the mean of the memories and that of the way back add up to all steps that gradients were worth at their time."""
    lr = Piecewise((0.1, 0.02, 0.0, 0.05), (4, 8, 10))
    method, world = linked(sgd(rules.sgd(lr)), "sgd", "topk:0.4", "ef", back), worlds(workers=WORKERS)
    owed = np.zeros(5)
    for run in islice(rounds(method, data.team(world), data.start.copy()), 15):
        sent = run.states.exchanges[0]
        returning, sent = (0.0, sent) if back is None else (sent.memory, sent.inner)
        own = world.sum([data.shares[w] * e for w, e in zip(world.hosted, sent.memory, strict=True)]) if run.round else 0.0
        close(data.start - run.points[0].x, owed - lr(0) * (own + returning))
        owed = owed + lr(run.round) * data.mean_gradient(run.points[0].x, run.round)


class Summed(NamedTuple):
    log: Log
    total: np.ndarray


class Start(NamedTuple):
    x: np.ndarray


@dataclass(frozen=True)
class Cumulative(Minibatch):
    """Says the sum of all its steps so far."""

    gamma: float = 0.05

    def init(self, x, site):
        return Summed(super().init(x, site).log, np.zeros_like(x))

    def __call__(self, at, agreed, state, here):
        at, message, state = super().__call__(at, agreed, state, here)
        total = state.total + self.gamma * message.vector
        return at, message._replace(vector=total), state._replace(total=total)


@dataclass(frozen=True)
class From(Outer):
    """x0 less what was agreed."""

    def init(self, x, team):
        return Start(x.copy())

    def __call__(self, agreed, points, state, here):
        at = Point(state.x - agreed.vector)
        return type(points)(at for _ in points), state


@SIZES
@BIASED
def test_error_feedback_is_learning_the_cumulative_steps_as_shifts(worlds, data, text):
    """With alpha 1, where what is remembered is what the shift still lacks."""
    team = data.team(worlds(workers=WORKERS))
    composed = Training(None, (Phase(Cumulative(), Shifted(Compressed(find(text)), 1.0)),), From())
    close(path(composed, team, data.start, N), path(ef(text, 0.05), team, data.start, N))


def shifted(data, text, gamma, alpha, h):
    """DCGD-SHIFT, DIANA and EF21: h_i <- h_i + alpha m_i, and the server tracks the mean from the messages."""
    h, common = h.copy(), data.mean(h)

    def step(x, k):
        nonlocal common
        m = through(text, gradients(data, x) - h, k)
        g = common + data.mean(m)
        h[:] += alpha * m
        common = common + alpha * data.mean(m)
        return x - gamma * g

    return step


@SIZES
@UNBIASED
@pytest.mark.parametrize("alpha", [None, 0.15])
def test_diana(worlds, data, text, alpha):
    rate = 1 / (1 + find(text).among(WORKERS).omega(5)) if alpha is None else alpha
    expected = taken(shifted(data, text, 0.05, rate, np.zeros((WORKERS, 5))), data.start)
    close(path(diana(text, 0.05, alpha), data.team(worlds(workers=WORKERS)), data.start, N), expected)


@SIZES
@BIASED
def test_ef21(worlds, data, text):
    """g_i = the gradient at the start, whole; then g_i <- g_i + C(gradient - g_i) at every new point."""
    own = gradients(data, data.start)
    mean = data.mean(own)

    def step(x, k):
        nonlocal own, mean
        if k:
            c = through(text, gradients(data, x) - own, k)
            own, mean = own + c, mean + data.mean(c)
        return x - 0.05 * mean

    close(path(ef21(text, 0.05), data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
@UNBIASED
def test_fixed_shifts(worlds, data, text):
    """DCGD-SHIFT with any, DCGD-STAR with those at the optimum."""
    best, team = data.optimum(), data.team(worlds(workers=WORKERS))
    anything = np.random.default_rng(0).standard_normal((WORKERS, 5))
    for h in (anything, gradients(data, best)):
        exchange = Shifted(Compressed(find(text)), 0.0, lambda site, x, h=h: h[site.worker])
        method = replace(dcgd(text, 0.05), phases=(Phase(Minibatch(), exchange),))
        close(path(method, team, data.start, N), taken(shifted(data, text, 0.05, 0.0, h), data.start))


@SIZES
def test_diana_ef21_and_fixed_shifts_are_arguments_of_one_class(worlds, data):
    one, other = diana("topk:0.4", 0.05, 1.0, force=True), ef21("topk:0.4", 0.05)
    exchange = one.phases[0].exchange
    assert type(exchange) is Shifted and replace(exchange, first="message") == other.phases[0].exchange
    team = data.team(worlds(workers=WORKERS))
    same = replace(one, phases=(Phase(Minibatch(), replace(exchange, first="message")),))
    np.testing.assert_array_equal(path(same, team, data.start, 9), path(other, team, data.start, 9))
    zero = dcgd("qsgd:4", 0.05)
    none = replace(zero, phases=(Phase(Minibatch(), Shifted(Compressed(find("qsgd:4")), 0.0)),))
    np.testing.assert_array_equal(path(none, team, data.start, 9), path(zero, team, data.start, 9))


@SIZES
@UNBIASED
@pytest.mark.parametrize("p", [None, 0.3])
def test_rand_diana(worlds, data, text, p):
    chance = 1 / (1 + find(text).among(WORKERS).omega(5)) if p is None else p
    h = np.zeros((WORKERS, 5))

    def step(x, k):
        nonlocal h
        g = gradients(data, x)
        agreed = data.mean(h + through(text, g - h, k))
        h = g if coin(k, chance) else h
        return x - 0.05 * agreed

    close(path(rand_diana(text, 0.05, p), data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
@UNBIASED
@pytest.mark.parametrize("p", [None, 0.3])
def test_marina(worlds, data, text, p):
    chance = 1 / (1 + find(text).among(WORKERS).omega(5)) if p is None else p
    before, agreed = None, None

    def step(x, k):
        nonlocal before, agreed
        g = gradients(data, x)
        if k == 0 or coin(k, chance):
            agreed = data.mean(g)
        else:
            agreed = agreed + data.mean(through(text, g - before, k))
        before = g
        return x - 0.05 * agreed

    close(path(marina(text, 0.05, p), data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


# ---------------------------------------------------------------------------------------------- images of points
@SIZES
@UNBIASED
def test_gdci(worlds, data, text):
    gamma, eta = 0.3, 0.2

    def step(x, k):
        return (1 - eta) * x + eta * data.mean(through(text, x - gamma * gradients(data, x), k))

    close(path(gdci(text, gamma, eta), data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
@UNBIASED
def test_vr_gdci(worlds, data, text):
    gamma, eta, alpha = 0.3, 0.2, 0.25
    h = np.zeros((WORKERS, 5))

    def step(x, k):
        nonlocal h
        d = through(text, x - gamma * gradients(data, x) - h, k)
        image = data.mean(h + d)
        h = h + alpha * d
        return (1 - eta) * x + eta * image

    team = data.team(worlds(workers=WORKERS))
    close(path(vr_gdci(text, gamma, eta, alpha), team, data.start, N), taken(step, data.start))


# ---------------------------------------------------------------------------------------------- training
@SIZES
@pytest.mark.parametrize("clients", [EVERYONE, Clients(2), Clients(dead=(1,))], ids=["all", "some", "dead"])
@pytest.mark.parametrize("text", ["topk:0.4", "topk:0.6+natural", "randk:0.4,shared=yes,scaled=no"])
def test_qsparse_local_sgd(worlds, clients, text):
    """Local steps, compressed with what was not sent before; those that are absent keep their memory."""
    data, lr, period = Shared(rows=43), 0.1, 3
    e, steps = np.zeros((WORKERS, 5)), np.zeros(WORKERS, int)

    def step(x, k):
        present = clients(WORKERS, Streams(SEED), k)
        sent = np.zeros((WORKERS, 5))
        for w in np.flatnonzero(present).tolist():
            y = x
            for _ in range(period):
                y = y - lr * data.gradient(w, y, int(steps[w]))
                steps[w] += 1
            sent[w] = passed(text, x - y + e[w], k, w)
            e[w] += x - y - sent[w]
        weights = data.shares * present
        return x - weights @ sent / weights.sum()

    method = linked(local_sgd(rules.sgd(lr), period, clients), "local_sgd", text, "ef")
    close(path(method, data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
@pytest.mark.parametrize("link", ["ef", "ef21"])
def test_momentum_is_of_what_was_agreed(worlds, link):
    """Velocities are the same everywhere, and no worker has one of its own."""
    data, memory, v, lr = Shared(), np.zeros((WORKERS, 5)), 0.0, 0.05

    def step(x, k):
        nonlocal memory, v
        g = gradients(data, x, k)
        sent = through("topk:0.4", g + memory if link == "ef" else g - memory, k)
        agreed = data.mean(sent if link == "ef" else memory + sent)
        memory = g + memory - sent if link == "ef" else memory + sent
        v = 0.8 * v - lr * agreed
        return x + v

    method = linked(sgd(rules.momentum(lr, 0.8)), "sgd", "topk:0.4", link)
    close(path(method, data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
def test_both_ways(worlds):
    """dist-EF of Zheng et al.: the server compresses the mean with a memory of its own."""
    data, e, server = Shared(), np.zeros((WORKERS, 5)), np.zeros(5)

    def step(x, k):
        nonlocal e, server
        p = gradients(data, x, k) + e
        q = through("topk:0.4", p, k)
        e = p - q
        wanted = data.mean(q) + server
        key = Stream.of(Streams(SEED), "two-way", k)
        c = find("scaled_sign")
        back = c.decode(c.encode(wanted, key), wanted, key)
        server = wanted - back
        return x - 0.05 * back

    method = linked(sgd(rules.sgd(0.05)), "sgd", "topk:0.4", "ef", "scaled_sign")
    close(path(method, data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@SIZES
def test_votes(worlds):
    data = Shared(rows=43)

    def step(x, k):
        return x - 0.05 * np.sign(np.sign(gradients(data, x, k)).sum(axis=0))

    method = linked(sgd(rules.sgd(0.05)), "sgd", "vote")
    close(path(method, data.team(worlds(workers=WORKERS)), data.start, N), taken(step, data.start))


@dataclass(frozen=True)
class Maps(Landscape):
    """|A M - B|^2 / 2 + |v - c|^2 / 2 for a matrix M (5, 4) and a vector v (3,)."""

    worker: int
    dim: int = 23
    weight: float = 1.0
    blocks: tuple[Block, ...] = (Block("m", (5, 4)), Block("v", (3,)))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.worker)
        self.__dict__.update(a=rng.standard_normal((6, 5)), b=rng.standard_normal((6, 4)), c=rng.standard_normal(3))

    def value_grad(self, at, rows=None):
        r, s = self.a @ at.x[:20].reshape(5, 4) - self.b, at.x[20:] - self.c
        return float((r * r).sum() + s @ s) / 2, np.append(self.a.T @ r, s)


@SIZES
@pytest.mark.parametrize("rank", [1, 2])
def test_powersgd(worlds, rank):
    """As its authors write it: Gram-Schmidt and all, with error feedback, warm start and momentum afterwards."""
    world = worlds(workers=WORKERS)
    team = Team.of(world, [Maps(w) for w in world.hosted], Zero(), SEED)
    losses, lr = [Maps(w) for w in range(WORKERS)], 0.02
    q = Streams(SEED)("powersgd").standard_normal(4 * rank).reshape(4, rank)
    e, v = np.zeros((WORKERS, 5, 4)), 0.0

    def step(x, k):
        nonlocal q, e, v
        g = np.array([loss.value_grad(Point(x))[1] for loss in losses])
        m = g[:, :20].reshape(-1, 5, 4) + e
        p = (m @ q).mean(axis=0)
        for j in range(rank):
            for i in range(j):
                p[:, j] -= (p[:, i] @ p[:, j]) * p[:, i]
            p[:, j] /= np.linalg.norm(p[:, j])
        q = (m.transpose(0, 2, 1) @ p).mean(axis=0)
        e = m - p @ q.T
        v = 0.5 * v - lr * np.append(p @ q.T, g[:, 20:].mean(axis=0))
        return x + v

    method = linked(sgd(rules.momentum(lr, 0.5)), "sgd", f"powersgd:rank={rank}", "ef")
    start = np.random.default_rng(9).standard_normal(23)
    close(path(method, team, start, N), taken(step, start), 1e-9)


@SIZES
@pytest.mark.parametrize("link", ["plain", "ef", "ef21", "diana"])
def test_messages_longer_than_the_point_are_compressed_as_a_whole(worlds, link):
    """SCAFFOLD sends its control variates beside; with nothing left unsent it is what it was."""
    data = Shared(rows=40)
    team = data.team(worlds(workers=WORKERS))
    expected = path(scaffold(Constant(0.05), 3), team, data.start, 8)
    found = linked(scaffold(Constant(0.05), 3), "scaffold", "identity", link, "identity")
    close(path(found, team, data.start, 8), expected)


# ---------------------------------------------------------------------------------------------- where they come to
EXACT = {
    "diana": (diana("randk:0.4"), 500),
    "rand_diana": (rand_diana("randk:0.4"), 600),
    "marina": (marina("randk:0.4"), 300),
    "vr_gdci": (vr_gdci("randk:0.4"), 500),
    "ef21": (ef21("topk:0.4"), 600),
    "diana-qsgd": (diana("qsgd:3"), 400),
    "vr_gdci-permk": (vr_gdci("permk"), 500),
}


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", EXACT)
def test_steps_of_theory_lead_to_the_optimum(worlds, data, name):
    method, rounds = EXACT[name]
    found = path(method, data.team(worlds(workers=WORKERS)), data.start, rounds)[-1]
    assert abs(found - data.optimum()).max() < 1e-6


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", ["dcgd", "gdci"])
def test_without_shifts_a_floor_remains_that_the_theory_bounds(worlds, data, name):
    team, text, best = data.team(worlds(workers=WORKERS)), "randk:0.4", data.optimum()
    k = constants(team, np.zeros(5))
    noise = theory.independent(1.5, WORKERS)  # two of five coordinates, drawn by every worker for itself
    squares = lambda v: np.mean([(each**2).sum() for each in v])  # noqa: E731
    h = WORKERS * data.shares[:, None] * gradients(data, best)  # of n share_i f_i, whose plain mean f is
    if name == "dcgd":
        method, bound = dcgd(text), 2 * theory.dcgd(k, noise) / k.mu * noise.mean * squares(h)
    else:
        gamma, eta = theory.gdci(k, noise)
        image = WORKERS * data.shares[:, None] * (best - gamma * gradients(data, best))
        method, bound = gdci(text), 2 * eta * noise.mean * squares(image)
    found = path(method, team, data.start, 500)[200:]
    floor = ((found - best) ** 2).sum(axis=1).mean()
    assert 1e-6 < floor < bound


@pytest.mark.ranks(1)
def test_shifts_at_the_optimum_leave_no_floor(worlds, data):
    team, best = data.team(worlds(workers=WORKERS)), data.optimum()
    exchange = Shifted(Compressed(find("randk:0.4")), 0.0, lambda site, x: data.gradient(site.worker, best))
    gamma = theory.dcgd_star(constants(team, np.zeros(5)), theory.independent(1.5, WORKERS))
    method = replace(dcgd("randk:0.4", gamma), phases=(Phase(Minibatch(), exchange),))
    assert abs(path(method, team, data.start, 500)[-1] - best).max() < 1e-8


@pytest.mark.ranks(1)
@pytest.mark.parametrize("text", ["topk:0.3", "scaled_sign", "shrunk:qsgd:4", "natural"])
def test_spcg_with_error_feedback_on_its_directions_converges(worlds, text):
    team = Data(rows=90, features=14, seed=3).team(worlds(workers=3), L2(1e-2))
    plain = solve(method_named("spcg").make(), team, np.zeros(14), Stop(rounds=60, gap=1e-10))
    link = linked(method_named("spcg").make(), "spcg", text, "ef")
    found = solve(link, team, np.zeros(14), Stop(rounds=60, gap=1e-10))
    assert plain.reason is Reason.GAP is found.reason
    np.testing.assert_allclose(found.x, plain.x, rtol=0, atol=1e-4)
