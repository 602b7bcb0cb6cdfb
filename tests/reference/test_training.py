"""Every synchronous method of training against itself in other words, and against a few lines of plain numpy.

All trajectories are whole, with the same random streams, on any number of ranks.
"""

from collections import deque
from itertools import count

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.methods import find, training
from mpiopt.methods.averaging import hierarchical_sgd, local_sgd, one_shot, post_local_sgd, ri_sgd, sgd
from mpiopt.methods.diloco import diloco
from mpiopt.methods.elastic import eamsgd, easgd
from mpiopt.methods.federated import fedavg, fedprox, scaffnew, scaffold, slowmo
from mpiopt.methods.leader import lsgd, multi_leader_lsgd
from mpiopt.numerics.schedules import Constant, Cosine, Inverse
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import DoubleWell, Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches, redundant
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.transforms import rules
from mpiopt.transforms.bounds import ClipNorm, Decay
from mpiopt.transforms.transform import chain
from tests.training_sets import GENERAL, LR, SEED, Shared, averaged, built, path, paths, plainly, points, taken

SIZES = pytest.mark.ranks(1, 3)
PLAIN = rules.sgd(LR)
FADING = Inverse(0.9, 8.0)


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def last(method, team: Team, x: np.ndarray, n: int) -> np.ndarray:
    """The answer after n rounds."""
    run = method.init(x, team)
    for _ in range(n):
        run = method.step(run, team)
    return method.answer(run, team).x


# ---------------------------------------------------------------------------------------------- averages
@SIZES
@pytest.mark.parametrize("rows", [40, 43])
def test_minibatch_sgd_is_the_mean_gradient(worlds, rows):
    data = Shared(rows=rows, l2=0.05)
    x, expected = data.start, [data.start]
    for step in range(20):
        x = x - FADING(step) * data.mean_gradient(x, step)
        expected.append(x)
    close(path(sgd(rules.sgd(FADING)), data.team(worlds(workers=4)), data.start, 20), expected)


@SIZES
@pytest.mark.parametrize("method", [local_sgd, ri_sgd, fedavg, post_local_sgd])
def test_one_local_step_is_minibatch_sgd(worlds, method):
    data, rule = Shared(rows=43), rules.sgd(FADING)
    more = {"total_steps": 100} if method is post_local_sgd else {}
    found = path(method(rule, period=1, **more), data.team(worlds(workers=4)), data.start, 25)
    close(found, path(sgd(rule), data.team(worlds(workers=4)), data.start, 25))


@SIZES
@pytest.mark.parametrize("rows", [40, 43])
def test_local_sgd(worlds, rows):
    data = Shared(rows=rows)
    found = path(local_sgd(rules.sgd(FADING), 5), data.team(worlds(workers=4)), data.start, 8)
    close(found, taken(averaged(data, 5, plainly(data, FADING)), 8))


@SIZES
def test_post_local_sgd_changes_its_period_at_the_start_it_is_given(worlds):
    data, world = Shared(), worlds(workers=4)
    expected = taken(averaged(data, lambda k: 1 if k < 6 else 4, plainly(data, FADING)), 12)
    close(path(post_local_sgd(rules.sgd(FADING), 12, period=4), data.team(world), data.start, 12), expected)
    close(path(post_local_sgd(rules.sgd(FADING), 99, period=4, start=6), data.team(world), data.start, 12), expected)
    from_0 = path(post_local_sgd(PLAIN, 99, period=4, start=0), data.team(world), data.start, 6)
    np.testing.assert_array_equal(from_0, path(local_sgd(PLAIN, 4), data.team(world), data.start, 6))


@SIZES
def test_hierarchical_sgd_with_one_level_is_local_sgd(worlds, ranks):
    data, world = Shared(), worlds(workers=4)
    expected = path(local_sgd(PLAIN, 3), data.team(world), data.start, 8)
    for groups in (None, ranks):
        close(path(hierarchical_sgd(PLAIN, 3, rounds=1, groups=groups), data.team(world), data.start, 8), expected)
    # all ranks one group: near means are the means of all
    found = path(hierarchical_sgd(PLAIN, 3, rounds=4, groups=1), data.team(world), data.start, 8)
    close(found, expected)


@pytest.mark.ranks(2, 3)
def test_hierarchical_sgd_means_within_groups_first(worlds, ranks):
    data, world = Shared(rows=43), worlds(workers=4)
    found = paths(hierarchical_sgd(PLAIN, 2, rounds=3, groups=2), data.team(world), data.start, 7)
    group = np.array([world.host_of(w) for w in range(4)]) >= (1 if ranks == 2 else 2)
    x, expected = np.tile(data.start, (4, 1)), []
    for k in range(8):
        expected.append(x.copy())
        for w in range(4):
            for j in range(2):
                x[w] -= LR * data.gradient(w, x[w], 2 * k + j)
        for members in (np.flatnonzero(group), np.flatnonzero(~group)):
            x[members] = data.shares[members] @ x[members] / data.shares[members].sum()
        if (k + 1) % 3 == 0:
            x[:] = data.shares @ x
    close(found, expected)


@SIZES
def test_one_shot_averaging_is_independent_sgd_and_a_mean_at_the_end(worlds):
    data, world = Shared(), worlds(workers=4)
    method = one_shot(PLAIN, total_steps=22, period=5)  # 5 rounds
    found, answers = (walk(method, data.team(world), data.start, 5) for walk in (paths, path))
    alone = np.tile(data.start, (4, 1))
    for k in range(5):
        close(found[k], alone)
        close(answers[k], data.mean(alone))
        for w in range(4):
            for j in range(5):
                alone[w] -= LR * data.gradient(w, alone[w], 5 * k + j)
    close(found[5], np.tile(data.mean(alone), (4, 1)))


# ---------------------------------------------------------------------------------------------- redundancy
def redundant_team(data: Shared, world, redundancy: int, size: int | None) -> Team:
    """Every hosted worker with its own rows and those of the next."""
    import scipy.sparse

    from mpiopt.kernels.csr import CSR
    from mpiopt.losses.least_squares import LeastSquares
    from mpiopt.problems.linear import Linear

    losses, samples = [], []
    for worker in world.hosted:
        rows = held(data, worker, redundancy)
        a = scipy.sparse.csr_array(data.a[rows])
        losses.append(Linear(CSR.of(a.indptr, a.indices, a.data, a.shape), data.y[rows], LeastSquares()))
        samples.append(redundant(len(data.y), data.workers, redundancy, worker, size or 10, Streams(SEED)))
    return Team.of(world, losses, Zero(), SEED, samples)


def held(data: Shared, worker: int, redundancy: int) -> np.ndarray:
    chunks = [(worker + k) % data.workers for k in range(redundancy)]
    return np.concatenate([np.arange(*data.bounds[c : c + 2]) for c in chunks])


@SIZES
@pytest.mark.parametrize("tau", [1, 6])
def test_ri_sgd_with_all_chunks_everywhere_is_full_data_sgd(worlds, tau):
    data = Shared(size=None)
    found = path(ri_sgd(PLAIN, tau), redundant_team(data, worlds(workers=4), 4, None), data.start, 10)
    x, expected = data.start, [data.start]
    for _ in range(10):
        for _ in range(tau):
            x = x - LR * data.a.T @ (data.a @ x - data.y) / len(data.y)
        expected.append(x)
    close(found, expected)


@SIZES
def test_ri_sgd_takes_the_mean_over_a_workers_chunks(worlds):
    """And goes on without the workers that died, whose chunks live on elsewhere."""
    data, q, clients = Shared(workers=5, rows=53), 2, Clients(dead=(1, 3), since=2)

    def move(w, y, step, memory, x):
        chunks = [(w + k) % 5 for k in range(q)]
        sizes = np.diff(data.bounds)
        orders = [Batches(int(sizes[c]), 3, Streams(SEED), w + k * 5) for k, c in enumerate(chunks)]
        rows = [data.bounds[c] + order(step) for c, order in zip(chunks, orders, strict=True)]
        slopes = [data.a[r].T @ (data.a[r] @ y - data.y[r]) / 3 for r in rows]
        return y - LR * np.mean(slopes, axis=0)

    team = redundant_team(data, worlds(workers=5), q, 3)
    data.shares = np.array([len(held(data, w, q)) for w in range(5)]) / (q * 53)
    close(path(ri_sgd(PLAIN, 4, clients), team, data.start, 8), taken(averaged(data, 4, move, clients=clients), 8))


def test_one_chunk_is_a_plain_share_and_impossible_redundancy_is_refused():
    plain = Batches(11, 4, Streams(SEED), 1)
    chunks = redundant(43, 4, 1, 1, 4, Streams(SEED))
    for step in range(7):
        np.testing.assert_array_equal(chunks(step), plain(step))
    for redundancy in (0, 5):
        with pytest.raises(UsageError, match=f"redundancy of {redundancy} .* 4 workers.* give 1 to 4"):
            redundant(43, 4, redundancy, 1, 4, Streams(SEED))
    with pytest.raises(UsageError, match="batch of 11 rows is larger than the 10 rows"):
        redundant(43, 4, 4, 1, 11, Streams(SEED))


# ---------------------------------------------------------------------------------------------- leaders
def led(data: Shared, n: int, period: int, pull: float):
    """LSGD: all points after every round, and who has ever led."""
    x, recent, out, leaders = np.tile(data.start, (data.workers, 1)), [deque(maxlen=10) for _ in range(data.workers)], [], set()
    for k in range(n + 1):
        out.append(x.copy())
        for w in range(data.workers):
            for j in range(period):
                recent[w].append(data.value(w, x[w], period * k + j))
                x[w] -= LR * data.gradient(w, x[w], period * k + j)
        leaders.add(leader := int(np.argmin([np.mean(losses) for losses in recent])))
        x -= pull * (x - x[leader])
    return np.array(out), leaders


@SIZES
@pytest.mark.parametrize("pull", [0.0, 0.3, 1.0])
def test_lsgd(worlds, pull):
    data, world = Shared(apart=0.0), worlds(workers=4)
    expected, leaders = led(data, 12, 3, pull)
    assert len(leaders) > 1 or pull == 1  # who has lost the lead can win it back
    found = paths(lsgd(PLAIN, 3, pull), data.team(world), data.start, 12)
    close(found, expected)
    close(path(lsgd(PLAIN, 3, pull), data.team(world), data.start, 12), [data.mean(x) for x in expected])


@SIZES
def test_lsgd_without_pull_is_independent_sgd(worlds):
    data, world = Shared(), worlds(workers=4)
    found = paths(lsgd(rules.momentum(LR), 3, 0.0), data.team(world), data.start, 8)
    for w in range(4):
        x, v = data.start, np.zeros_like(data.start)
        for step in range(24):
            v = 0.9 * v - LR * data.gradient(w, x, step)
            x = x + v
        close(found[8, w], x)


@SIZES
def test_multi_leader_lsgd_with_one_level_switched_off_is_lsgd(worlds):
    data, world = Shared(apart=0.0), worlds(workers=4)
    above = paths(multi_leader_lsgd(PLAIN, 2, rounds=3, pull=0.0, global_pull=0.4, groups=1), data.team(world), data.start, 12)
    close(above[::3], paths(lsgd(PLAIN, 6, 0.4), data.team(world), data.start, 4))
    below = paths(multi_leader_lsgd(PLAIN, 2, rounds=3, pull=0.4, global_pull=0.0, groups=1), data.team(world), data.start, 12)
    close(below, paths(lsgd(PLAIN, 2, 0.4), data.team(world), data.start, 12))


@pytest.mark.ranks(2, 3)
def test_multi_leader_lsgd(worlds, ranks):
    data, world = Shared(apart=0.0), worlds(workers=4)
    found = paths(multi_leader_lsgd(PLAIN, 2, 3, 0.5, 0.25, groups=ranks), data.team(world), data.start, 9)
    group = np.array([world.host_of(w) for w in range(4)])
    x, recent = np.tile(data.start, (4, 1)), [deque(maxlen=10) for _ in range(4)]
    for k in range(10):
        close(found[k], x)
        for w in range(4):
            for j in range(2):
                recent[w].append(data.value(w, x[w], 2 * k + j))
                x[w] -= LR * data.gradient(w, x[w], 2 * k + j)
        loss = np.array([np.mean(losses) for losses in recent])
        for g in range(ranks):
            members = np.flatnonzero(group == g)
            x[members] -= 0.5 * (x[members] - x[members[np.argmin(loss[members])]])
        if (k + 1) % 3 == 0:
            x -= 0.25 * (x - x[np.argmin(loss)])


def placed(method, team: Team, places: np.ndarray):
    """The run whose workers stand at ``places`` (workers, dim)."""
    run = method.init(places[0].copy(), team)
    for at, site in zip(run.points, team.sites, strict=True):
        at.x[:] = places[site.worker]
    return run


@SIZES
def test_a_leader_at_a_minimum_stays_there_and_an_elastic_worker_does_not(worlds):
    world = worlds(workers=3)
    team = Team.of(world, [DoubleWell()] * len(world.hosted), Zero())
    places = np.array([[0.3, 0.5], [1.0, 0.0], [-0.7, 0.4]])
    rule = rules.sgd(0.02)
    for method, stays in ((lsgd(rule, 2, 0.2), True), (easgd(rule, 3, 2, 0.6), False)):
        run = placed(method, team, places)
        for _ in range(6):
            run = method.step(run, team)
        moved = abs(points(run, world)[1] - places[1]).max()
        assert (moved == 0) if stays else (moved > 0.05)
        assert abs(points(run, world)[0] - places[0]).max() > 0.01


# ---------------------------------------------------------------------------------------------- elastic
@SIZES
@pytest.mark.parametrize("period", [1, 3])
def test_easgd_is_gossip_on_a_star(worlds, period):
    n, beta = 4, 0.7
    data, world, method = Shared(), worlds(workers=4), easgd(PLAIN, n, period, beta)
    a = beta / n
    m = np.block([[(1 - a) * np.eye(n), np.full((n, 1), a)], [np.full((1, n), a), np.array([[1 - n * a]])]])
    assert (m == m.T).all() and np.allclose(m.sum(axis=0), 1)
    x = np.tile(data.start, (n + 1, 1))
    found, centres = (walk(method, data.team(world), data.start, 15) for walk in (paths, path))
    for k in range(16):
        close(found[k], x[:n], 1e-14)
        for j in range(period):
            g = [data.gradient(w, x[w], period * k + j) for w in range(n)] + [np.zeros_like(data.start)]
            x = (m @ x if j == 0 else x) - LR * np.array(g)
        close(centres[k], x[n], 1e-14)  # the answer knows what was agreed last: it is one agreement ahead


@SIZES
def test_eamsgd(worlds):
    n, beta, delta, lr = 4, 0.5, 0.8, 0.05
    data, world, method = Shared(), worlds(workers=4), eamsgd(Constant(lr), n, 3, beta, delta)
    found = paths(method, data.team(world), data.start, 10)
    x, v, c = np.tile(data.start, (n, 1)), np.zeros((n, data.start.size)), data.start.copy()
    for k in range(11):
        close(found[k], x)
        pull, c = beta / n * (x - c), c + beta * (x.mean(axis=0) - c)
        for j in range(3):
            for w in range(n):
                v[w] = delta * v[w] - lr * data.gradient(w, x[w] + delta * v[w], 3 * k + j)
            x = x + v
            if j == 0:
                x = x - pull


@pytest.mark.ranks(1)
@pytest.mark.parametrize("p", [1, 3])
def test_the_stability_region_of_easgd(worlds, p):
    """On f = x^2/2 it is 2 lr + 2 a + 2 p a - p a lr <= 4, for one worker a <= (4 - 2 lr) / (4 - lr)."""
    world = worlds(workers=p)
    team = Team.of(world, [Quadratic((0.5,), (1.0,))] * len(world.hosted), Zero())
    tried = set()
    for lr in (0.5, 1.2, 1.8):
        edge = (4 - 2 * lr) / (2 + 2 * p - p * lr)  # of a
        for a in (0.8 * edge, 1.2 * edge):
            if p * a > 1:
                continue
            method = easgd(rules.sgd(lr), p, 1, p * a)
            run = placed(method, team, np.arange(1.0, p + 1)[:, None])
            for _ in range(120):
                run = method.step(run, team)
            size = abs(points(run, world)).max()
            assert size < 0.1 if a < edge else size > 30, (lr, a, size)
            tried.add(a < edge)
    assert tried == {True, False}


# ---------------------------------------------------------------------------------------------- federated
SOME = Clients(count=2)
GONE = Clients(dead=(2,), since=3)
WHO = pytest.mark.parametrize("clients", [EVERYONE, SOME, GONE, Clients(2, (0,), 2)], ids=["all", "some", "dead", "both"])


@SIZES
@WHO
def test_local_sgd_with_clients(worlds, clients):
    """Those that are absent make no step, are not in the mean, and the weights of the others add up to 1."""
    data = Shared(rows=43)
    found = path(local_sgd(rules.sgd(FADING), 3, clients), data.team(worlds(workers=4)), data.start, 10)
    close(found, taken(averaged(data, 3, plainly(data, FADING), clients=clients), 10))


@SIZES
def test_fedavg_begins_its_rule_anew_and_steps_as_far_as_the_server_says(worlds):
    def move(w, y, step, memory, x):
        memory["v"] = 0.9 * memory.get("v", 0) - FADING(step) * data.gradient(w, y, step)
        return y + memory["v"]

    data, rule = Shared(), rules.momentum(FADING)
    method = fedavg(rule, 4, 0.5, SOME)
    expected = averaged(data, 4, move, lambda x, far, k: x + 0.5 * far, SOME, reset=True)
    close(path(method, data.team(worlds(workers=4)), data.start, 10), taken(expected, 10))


@SIZES
@pytest.mark.parametrize("mu", [0.0, 0.8])
def test_fedprox(worlds, mu):
    data, world = Shared(), worlds(workers=4)
    found = path(fedprox(PLAIN, 4, mu, clients=SOME), data.team(world), data.start, 10)
    move = lambda w, y, step, memory, x: y - LR * (data.gradient(w, y, step) + mu * (y - x))  # noqa: E731
    close(found, taken(averaged(data, 4, move, clients=SOME), 10))
    if not mu:
        np.testing.assert_array_equal(found, path(fedavg(PLAIN, 4, clients=SOME), data.team(world), data.start, 10))


def variates(data: Shared, lr, period: int, server_lr: float, clients: Clients):
    """SCAFFOLD with option II for workers of equal weight, as its authors write it."""
    x, c, own, steps = data.start, np.zeros_like(data.start), np.zeros((data.workers, data.start.size)), [0] * data.workers
    for k in count():
        yield x
        chosen = np.flatnonzero(clients(data.workers, Streams(SEED), k)).tolist()
        far, change = [], []
        for w in chosen:
            y, lengths = x, 0.0
            for _ in range(period):
                y = y - lr(steps[w]) * (data.gradient(w, y, steps[w]) - own[w] + c)
                lengths += lr(steps[w])
                steps[w] += 1
            following = own[w] - c + (x - y) / lengths
            far.append(y - x)
            change.append(following - own[w])
            own[w] = following
        x = x + server_lr * np.mean(far, axis=0)
        c = c + len(chosen) / data.workers * np.mean(change, axis=0)


@SIZES
@WHO
@pytest.mark.parametrize("lr", [Constant(LR), FADING], ids=["constant", "fading"])
def test_scaffold(worlds, clients, lr):
    data = Shared()
    found = path(scaffold(lr, 4, 0.8, clients), data.team(worlds(workers=4)), data.start, 12)
    close(found, taken(variates(data, lr, 4, 0.8, clients), 12))


@pytest.mark.ranks(2)
@pytest.mark.parametrize("clients", [EVERYONE, SOME], ids=["all", "some"])
def test_scaffold_is_exact_for_workers_of_any_weight_where_fedavg_is_not(worlds, clients):
    data, world = Shared(rows=30, size=None, l2=0.3), worlds(workers=4)
    data.bounds = np.array([0, 12, 15, 20, 30])
    data.shares = np.diff(data.bounds) / 30
    best = data.optimum()
    found = [
        last(method, data.team(world), data.start, 250)
        for method in (scaffold(Constant(0.06), 8, clients=clients), fedavg(rules.sgd(0.06), 8))
    ]
    close(found[0], best, 1e-8)
    assert abs(found[1] - best).max() > 1e-2


@SIZES
@pytest.mark.parametrize("rows", [40, 43])
def test_scaffnew(worlds, rows):
    """Iteration by iteration: the coin falls where the engine's rounds end."""
    data, p, n = Shared(rows=rows), 0.3, 15
    found = path(scaffnew(Constant(LR), p), data.team(worlds(workers=4)), data.start, n)
    heads = set(np.cumsum([Streams(SEED)("coin", k).geometric(p) for k in range(n)]).tolist())
    x, h, expected = np.tile(data.start, (4, 1)), np.zeros((4, data.start.size)), [data.start]
    for t in range(max(heads)):
        ahead = np.array([x[w] - LR * (data.gradient(w, x[w], t) - h[w]) for w in range(4)])
        x = np.tile(data.mean(ahead - LR / p * h), (4, 1)) if t + 1 in heads else ahead
        h = h + p / LR * (x - ahead)
        if t + 1 in heads:
            expected.append(x[0])
    close(found, expected)


@pytest.mark.ranks(2)
def test_scaffnew_is_exact(worlds):
    data, world = Shared(size=None, l2=0.3), worlds(workers=4)
    close(last(scaffnew(Constant(0.1), 0.3), data.team(world), data.start, 250), data.optimum(), 1e-8)


def test_scaffnew_needs_a_constant_step():
    with pytest.raises(UsageError, match="step size of scaffnew"):
        scaffnew(Cosine(0.1, 100))


@SIZES
def test_slowmo(worlds):
    data, period, beta, alpha, u = Shared(), 4, 0.6, 0.9, 0.0

    def outer(x, far, k):
        nonlocal u
        u = beta * u - far / FADING(period * k)
        return x - alpha * FADING(period * k) * u

    found = path(slowmo(rules.sgd(FADING), FADING, period, beta, alpha), data.team(worlds(workers=4)), data.start, 10)
    close(found, taken(averaged(data, period, plainly(data, FADING), outer), 10))


@SIZES
def test_slowmo_without_momentum_is_local_sgd(worlds):
    data, world, rule = Shared(), worlds(workers=4), rules.nag(FADING)
    found = path(slowmo(rule, FADING, 4, beta=0.0), data.team(world), data.start, 10)
    close(found, path(local_sgd(rule, 4), data.team(world), data.start, 10))


@pytest.mark.ranks(1)
def test_slowmo_stands_still_when_its_step_has_faded_to_nothing(worlds_of_one):
    data, lr = Shared(), Cosine(0.1, 12)
    found = path(slowmo(rules.sgd(lr), lr, 4), data.team(worlds_of_one(4)), data.start, 6)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[4], found[3])
    found = path(scaffold(lr, 4), data.team(worlds_of_one(4)), data.start, 6)
    np.testing.assert_array_equal(found[4], found[3])


@SIZES
def test_diloco(worlds):
    data, v = Shared(), 0.0

    def outer(x, far, k):
        nonlocal v
        v = 0.9 * v - far
        return x - 0.7 * (-far + 0.9 * v)

    found = path(diloco(PLAIN, 5), data.team(worlds(workers=4)), data.start, 10)
    close(found, taken(averaged(data, 5, plainly(data), outer), 10))


# ---------------------------------------------------------------------------------------------- rules
EXACT = {
    "momentum": (rules.momentum(LR, 0.8), lambda g, x, s, k: s.update(v=0.8 * s.get("v", 0) - LR * g(x, k)) or x + s["v"]),
    "nag": (
        rules.nag(FADING, 0.8),
        lambda g, x, s, k: s.update(v=0.8 * s.get("v", 0) - FADING(k) * g(x + 0.8 * s.get("v", 0), k)) or x + s["v"],
    ),
}


@SIZES
@pytest.mark.parametrize("name", EXACT)
def test_momentum_in_every_step_and_in_local_ones(worlds, name):
    data, world = Shared(), worlds(workers=4)
    rule, step = EXACT[name]
    x, state, expected = data.start, {}, [data.start]
    for k in range(20):
        x = step(data.mean_gradient, x, state, k)
        expected.append(x)
    close(path(sgd(rule), data.team(world), data.start, 20), expected)

    def move(w, y, k, memory, start):
        return step(lambda z, k: data.gradient(w, z, k), y, memory, k)

    close(path(local_sgd(rule, 3), data.team(world), data.start, 8), taken(averaged(data, 3, move), 8))


@SIZES
@pytest.mark.parametrize(
    "rule",
    [
        rules.adam(0.05),
        rules.adamw(0.05),
        rules.torch_nag(FADING),
        rules.adagrad(),
        rules.adadelta(),
        chain(ClipNorm(0.7), Decay(0.1), rules.rmsprop()),
    ],
    ids=repr,
)
def test_rules_are_the_transforms_used_by_hand(worlds, rule):
    data = Shared()
    x, state, expected = data.start.copy(), rule.init(data.start), [data.start]
    for k in range(20):
        u, state = rule(data.mean_gradient(rule.look(x, state), k), x, state, k)
        x = x + u
        expected.append(x)
    close(path(sgd(rule), data.team(worlds(workers=4)), data.start, 20), expected)


@pytest.mark.ranks(1, 2)
def test_lgd_is_leader_sgd_with_all_rows_and_an_agreement_a_step(worlds):
    """x_i <- x_i - lr grad f(x_i), then pull of the way to the one that had the lowest loss; Teng et al. 2019, eq. 2."""
    data = Shared(workers=4, size=None)
    found = paths(lsgd(rules.sgd(0.05), 1, pull=0.3), data.team(worlds(workers=4)), data.start, 6)[1:]
    x, losses = np.tile(data.start, (4, 1)), [[] for _ in range(4)]
    for step in found:
        for w in range(4):
            losses[w].append(data.value(w, x[w]))
            x[w] = x[w] - 0.05 * data.gradient(w, x[w])
        leader = x[int(np.argmin([np.mean(some[-10:]) for some in losses]))].copy()  # by running losses
        x = x + 0.3 * (leader - x)
        np.testing.assert_allclose(step, x, rtol=1e-11, atol=1e-12)


# ---------------------------------------------------------------------------------------------- any number of ranks
WORKERS = 5
ASYNCHRONOUS = {"async_lsgd", "async_easgd", "async_eamsgd", "downpour", "async_sgd"}
SYNCHRONOUS = sorted({*GENERAL} - ASYNCHRONOUS)


def made(name: str, **more):
    """A method of the catalogue with what every training knows."""
    known = {
        "workers": WORKERS,
        "rule": rules.nag(LR, 0.7),
        "lr": Constant(LR),
        "total_steps": 24,
        "period": 4,
        "groups": 1,
        "meeting": 8,
    }
    return built(name, **(known | more))


@pytest.fixture
def worlds_of_one(request):
    """Worlds of this rank alone that host all workers."""
    from mpi4py import MPI

    from mpiopt.comm.world import World

    made = []

    def make(workers: int, **options):
        made.append(World(MPI.COMM_SELF, workers=workers, **options))
        return made[-1]

    yield make
    for world in made:
        world.free()


@pytest.mark.ranks(3)
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_the_number_of_ranks_does_not_matter(worlds, worlds_of_one, name):
    data = Shared(workers=WORKERS, rows=57)
    for clients in (EVERYONE, Clients(3)) if "clients" in find(name, training()).parameters else (EVERYONE,):
        method = made(name, clients=clients)
        for exact in (False, True):
            found = paths(method, data.team(worlds(workers=WORKERS, deterministic=exact)), data.start, 6)
            alone = paths(method, data.team(worlds_of_one(WORKERS, deterministic=exact)), data.start, 6)
            close(found, alone, 0 if exact else 1e-12)
            assert np.isfinite(found).all() and abs(found[6] - found[0]).max() > 1e-3


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", sorted(ASYNCHRONOUS))
def test_asynchronous_methods_of_one_worker_are_sgd(worlds, name):
    """Nobody is ahead and nothing is stale. A lone elastic worker still has its centre to pull at."""
    data, rule = Shared(workers=1, rows=30), rules.nag(LR, 0.7)
    x, state, steps = data.start.copy(), rule.init(data.start), [data.start]
    for k in range(40):
        u, state = rule(data.gradient(0, rule.look(x, state), k), x, state, k)
        x = x + u
        steps.append(x)
    method = made(name, workers=1, delta=0.7, **({"beta": 0.0} if "easgd" in name or "eamsgd" in name else {}))
    found = paths(method, data.team(worlds()), data.start, 5)[:, 0]
    close(found, steps[::8][:6] if name != "async_lsgd" else steps[::4][:6])
    if name in ("downpour", "async_sgd"):
        close(path(method, data.team(worlds()), data.start, 5), steps[::8])
