"""Rules and outer steps of recent years against their papers' lines, written down once more in plain numpy: 20 parameters."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import Mean
from mpiopt.methods.federated import fedavg
from mpiopt.methods.server_rules import fedadam, fednova, fedyogi
from mpiopt.numerics.schedules import Constant, Cosine, WarmUp
from mpiopt.numerics.streams import Streams
from mpiopt.problems.model import Block
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import ByRows
from mpiopt.transforms.muon import NewtonSchulz
from mpiopt.transforms.rules import lion, momentum, muon, schedule_free, sgd
from mpiopt.work.steps import Steps
from tests.training_sets import SEED, Shared, averaged, path, plainly, taken

SIZES = pytest.mark.ranks(1, 3)
D = 20
LR = 0.1
FALLING = WarmUp(Cosine(0.2, 30, 0.01), 5)
PUSHES = np.random.default_rng(7).normal(size=(40, D)) * np.logspace(-3, 2, D)


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=tolerance)


EVEN = np.random.default_rng(7).normal(size=(40, D))  # what makes a matrix orthogonal magnifies what is small


def slope(x, step, pushes=PUSHES):
    return pushes[step] + x


def walked(rule, pushes=PUSHES):
    """The points of a rule from 1 under slopes that depend on where it looks."""
    x, out = np.ones(D), []
    state = rule.init(x)
    for step in range(len(PUSHES)):
        state = rule.move(slope(rule.look(x, state), step, pushes), x, state, step)
        out.append(x.copy())
    return np.array(out)


# ---------------------------------------------------------------------------------------------- local rules
@pytest.mark.parametrize("schedule", [Constant(0.03), FALLING], ids=["constant", "falling"])
def test_lion(schedule):
    x, m, expected = np.ones(D), np.zeros(D), []
    for step in range(len(PUSHES)):
        g = slope(x, step)
        c = 0.9 * m + 0.1 * g
        x = x - schedule(step) * (np.sign(c) + 0.3 * x)
        m = 0.99 * m + 0.01 * g
        expected.append(x)
    close(walked(lion(schedule, decay=0.3)), expected)


@pytest.mark.parametrize("schedule", [Constant(0.03), FALLING], ids=["constant", "falling"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_schedule_free_adamw(schedule, decay):
    x = y = z = np.ones(D)
    s, peak, total, expected = np.zeros(D), -1.0, 0.0, []
    for k in range(len(PUSHES)):
        g = slope(y, k)
        lr = schedule(k) * np.sqrt(1 - 0.999 ** (k + 1))
        peak = max(lr, peak)
        total += peak**2
        s = 0.999 * s + 0.001 * g * g
        z = z - lr * decay * y - lr * g / (np.sqrt(s) + 1e-8)
        x = x + peak**2 / total * (z - x)
        y = 0.9 * x + 0.1 * z
        expected.append(x)
    close(walked(schedule_free(schedule, decay=decay)), expected)


def orthogonal(u):
    """Jordan et al.: five steps from a matrix of length 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    y = u if u.shape[0] <= u.shape[1] else u.T
    y = y / (np.linalg.norm(y) + 1e-7)
    for _ in range(5):
        s = y @ y.T
        y = a * y + (b * s + c * s @ s) @ y
    return (y if u.shape[0] <= u.shape[1] else y.T) * max(1, u.shape[0] / u.shape[1]) ** 0.5


MODEL = (Block("hidden", (4, 3)), Block("bias", (3,)), Block("head.weight", (5, 1)))  # 20 parameters


@pytest.mark.parametrize("replicated", [False, True], ids=["local", "replicated"])
@pytest.mark.parametrize("schedule", [Constant(0.03), FALLING], ids=["constant", "falling"])
def test_muon(schedule, replicated):
    x, m, s, b, expected = np.ones(D), np.zeros(D), np.zeros(D), np.zeros((4, 3)), []
    for k in range(len(PUSHES)):
        g, lr = slope(x, k, EVEN), schedule(k)
        m, s = 0.9 * m + 0.1 * g, 0.95 * s + 0.05 * g * g
        u = m / (1 - 0.9 ** (k + 1)) / (np.sqrt(s / (1 - 0.95 ** (k + 1))) + 1e-10)
        moved = x - 0.015 * lr * (u + 0.3 * x)
        h = g[:12].reshape(4, 3)
        b = 0.95 * b + 0.05 * h
        moved[:12] = x[:12] - lr * (orthogonal(0.05 * h + 0.95 * b).ravel() + 0.3 * x[:12])
        x = moved
        expected.append(x)
    close(walked(muon(schedule, decay=0.3).on(MODEL, replicated), EVEN), expected)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)], ids=str)
def test_singular_values_of_a_step_are_near_one(shape):
    g = np.random.default_rng(0).standard_normal(shape)
    u, _ = NewtonSchulz(shape[0])(g.ravel().copy(), g.ravel(), (), 0)
    values = np.linalg.svd(u.reshape(shape), compute_uv=False) / max(1, shape[0] / shape[1]) ** 0.5
    assert 0.3 < values.min() and values.max() < 1.3


def test_schedule_free_goes_with_a_point_that_is_moved():
    """What is kept does not know where the point is: as with other rules, an agreement moves both."""
    rule, away = schedule_free(0.1), np.arange(D, dtype=float)
    one, other = np.ones(D), np.ones(D) + away
    states = [rule.init(one), rule.init(other)]
    for step in range(5):
        states = [rule.move(PUSHES[step].copy(), x, state, step) for x, state in zip((one, other), states, strict=True)]
    close(other - one, away, 1e-11)


# ---------------------------------------------------------------------------------------------- servers
def adaptive(learn, lr):
    """An outer step of Reddi et al. 2021, algorithm 2. learn : (v, square) -> v."""
    m, v = np.zeros(D), np.full(D, 1e-6)

    def outer(x, far, k):
        nonlocal m, v
        m = 0.9 * m + 0.1 * far
        v = learn(v, far * far)
        return x + lr * m / (np.sqrt(v) + 1e-3)

    return outer


SERVERS = {
    "fedadam": (fedadam, 0.1, lambda v, square: 0.99 * v + 0.01 * square),
    "fedyogi": (fedyogi, 0.01, lambda v, square: v - 0.01 * square * np.sign(v - square)),
}


@SIZES
@pytest.mark.parametrize("clients", [EVERYONE, Clients(2)], ids=["all", "some"])
@pytest.mark.parametrize("name", SERVERS)
def test_adaptive_servers(worlds, name, clients):
    method, lr, learn = SERVERS[name]
    data = Shared(rows=43, features=D)
    found = path(method(sgd(LR), 5, clients=clients), data.team(worlds(workers=4)), data.start, 12)
    close(found, taken(averaged(data, 5, plainly(data, LR), adaptive(learn, lr), clients=clients), 12))


def normalised(data, period, gamma, clients, lr=LR, server=1.0):
    """FedNova with momentum begun anew: x after every round. Wang et al. 2020, eqs. 4 to 7."""
    x, made, k = data.start, [0] * data.workers, 0
    tau = [max(1, int(period * share * data.workers + 0.5)) for share in data.shares]
    while True:
        yield x
        present = clients(data.workers, Streams(SEED), k)
        p = data.shares * present / (data.shares * present).sum()
        d, a = np.zeros((data.workers, x.size)), np.zeros(data.workers)
        for w in np.flatnonzero(present):
            y, v = x, np.zeros_like(x)
            for j in range(tau[w]):
                v = gamma * v + data.gradient(w, y, made[w] + j)
                y = y - lr * v
            made[w] += tau[w]
            a[w] = sum((1 - gamma ** (j + 1)) / (1 - gamma) for j in range(tau[w]))
            d[w] = (x - y) / (lr * a[w])
        x = x - server * lr * (p @ a) * (p @ d)
        k += 1


@SIZES
@pytest.mark.parametrize("clients", [EVERYONE, Clients(2)], ids=["all", "some"])
@pytest.mark.parametrize("gamma", [0.0, 0.8])
def test_fednova(worlds, gamma, clients):
    data = Shared(rows=46, features=D, bounds=[0, 4, 14, 38, 46])
    rule = momentum(LR, gamma) if gamma else sgd(LR)
    found = path(fednova(rule, 6, 0.9, clients), data.team(worlds(workers=4)), data.start, 10)
    close(found, taken(normalised(data, 6, gamma, clients, server=0.9), 10))


@pytest.mark.ranks(1)
def test_fednova_finds_the_optimum_of_all_rows_where_averages_of_unequal_epochs_do_not(worlds):
    data = Shared(rows=46, features=D, size=None, l2=0.3, bounds=[0, 4, 14, 38, 46])
    team, best = data.team(worlds(workers=4)), data.optimum()
    ends = [path(method, team, data.start, 400)[-1] for method in (fednova(sgd(2e-3), 40), _by_rows(sgd(2e-3), 40))]
    near, far = (np.linalg.norm(x - best) for x in ends)
    assert near < 0.5 * far, (near, far)


def _by_rows(rule, period):
    """The same steps of every worker, without FedNova's division."""
    return replace(fedavg(rule), phases=(Phase(Steps(rule, ByRows(period), reset=True), Mean()),))


def test_muon_makes_the_hidden_matrices_of_our_transformer_orthogonal_and_nothing_else():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
    from mpiopt.training.torch.gpt import gpt

    torch.manual_seed(0)
    blocks = [Block(name, tuple(p.shape)) for name, p in gpt(11, 8, layers=1, width=8, heads=2).named_parameters()]
    rule = muon()
    apart = [block.name for block in blocks if rule.pick(block, False) is not rule.rest]
    assert apart == [f"layers.0.{name}.weight" for name in ("attention.all", "attention.out", "wide", "out")]
