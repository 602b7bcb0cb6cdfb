"""Methods without a centre against the same methods written out with dense matrices, and against what theory says of them."""

from dataclasses import dataclass
from functools import reduce
from itertools import cycle, islice

import numpy as np
import pytest

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.engine.drive import solve
from mpiopt.engine.phase import Joint
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.gossip import PART, Remembered, Repeated
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs.topology import PUSH, Topology
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import decentralised, exact_decentralised
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Constant, Inverse
from mpiopt.numerics.streams import Streams
from mpiopt.problems.lifted import lifted
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.transforms import rules
from mpiopt.work import dual_oracle
from tests.exchange_sets import DIM, said, team_of
from tests.training_sets import SEED as BATCHES
from tests.training_sets import Shared, paths

SIZES = pytest.mark.ranks(1, 2, 3)
ROUNDS = 8


def ws(text: str, n: int, every: int, count: int, weights="metropolis") -> list[np.ndarray]:
    """The mixing matrices of the first exchanges."""
    topology = Topology.of(text, every, weights)
    return [topology.at(n, time).dense for time in range(count)]


def gradients(data: Shared, x: np.ndarray, step: int) -> np.ndarray:
    """Every worker's gradient at its point, times n times its share."""
    n = data.workers
    return np.array([n * data.shares[i] * data.gradient(i, x[i], step) for i in range(n)])


def d_psgd(data, w, lr, x):
    for k, mix in enumerate(w):
        x = mix @ x - lr * gradients(data, x, k) if k else x - lr * gradients(data, x, k)  # alike at first
        yield x


def diging(data, w, lr, x):
    slope = lr * gradients(data, x, 0)
    y = slope
    yield x
    for k, mix in enumerate(w[:-1], 1):
        x = mix @ x - y
        ahead = lr * gradients(data, x, k)
        y, slope = mix @ y + ahead - slope, ahead
        yield x


def choco(data, w, lr, x, compressor, gain, purpose="neighbours"):
    n, known = len(x), np.zeros_like(x)
    for k, mix in enumerate(w):
        x = x - lr * gradients(data, x, k)
        for i in range(n):
            stream = Stream.of(Streams(BATCHES), purpose, k, i, n)._replace(worker=i)
            known[i] += compressor.decode(compressor.encode(x[i] - known[i], stream), x[i], stream)
        x = x + gain * (mix @ known - known)
        yield x


@SIZES
@pytest.mark.parametrize(("text", "every", "rows"), [("ring", 0, 42), ("geometric:radius=0.8", 1, 43), ("star", 2, 43)])
def test_decentralised_sgd_is_what_its_equation_says(worlds, text, every, rows):
    data = Shared(workers=6, rows=rows)
    method = decentralised.d_psgd(rules.sgd(0.05), text, every)
    found = paths(method, data.team(worlds(workers=6)), data.start, ROUNDS)[1:]
    mixing = ws(text, 6, every, ROUNDS)
    # the graph of a round is that by which its outcome is heard, at the start of the next
    wanted = list(d_psgd(data, [np.eye(6), *mixing[:-1]], 0.05, np.tile(data.start, (6, 1))))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@SIZES
@pytest.mark.parametrize(("text", "every"), [("ring", 0), ("erdos_renyi:0.5", 1)])
def test_gradient_tracking_is_what_its_equations_say(worlds, text, every):
    data = Shared(workers=6, rows=43)
    method = exact_decentralised.gt_sgd(Constant(0.05), text, every)
    found = paths(method, data.team(worlds(workers=6)), data.start, ROUNDS)[1:]
    wanted = list(diging(data, ws(text, 6, every, ROUNDS), 0.05, np.tile(data.start, (6, 1))))
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


def extra(data, w, lr, x):
    """As in the paper, two matrices and all."""
    w, half = w[0], (np.eye(len(x)) + w[0]) / 2
    before, x = x, w @ x - lr * gradients(data, x, 0)
    yield x
    for k in range(1, ROUNDS):
        change = gradients(data, x, k) - gradients(data, before, k - 1)
        before, x = x, (np.eye(len(x)) + w) @ x - half @ before - lr * change
        yield x


def d2(data, w, lr, x):
    w, slope = w[0], gradients(data, x, 0)
    yield x
    before, x, last = x, w @ (x - lr * slope), slope
    for k in range(1, ROUNDS):
        yield x
        slope = gradients(data, x, k)
        before, x, last = x, w @ (2 * x - before - lr * (slope - last)), slope


@SIZES
@pytest.mark.parametrize(("name", "wanted", "size"), [("extra", extra, None), ("d2", d2, None), ("d2_sgd", d2, 3)])
def test_exact_methods_of_one_vector_are_what_their_equations_say(worlds, name, wanted, size):
    data = Shared(workers=6, rows=43, size=size)
    method = getattr(exact_decentralised, name)(Constant(0.05) if name == "d2_sgd" else 0.05, weights="lazy")
    found = paths(method, data.team(worlds(workers=6)), data.start, ROUNDS)[1:]
    mixing = ws("ring", 6, 0, 1, "lazy")
    np.testing.assert_allclose(found, list(wanted(data, mixing, 0.05, np.tile(data.start, (6, 1)))), rtol=1e-11, atol=1e-12)


def sgp(data, p, lr, x):
    """x and w are pushed along; points are their ratios."""
    w = np.ones(len(x))
    for k, push in enumerate([np.eye(len(x)), *p[:-1]]):
        x, w = push @ x, push @ w
        z = x / w[:, None]
        yield z
        x = x - lr * gradients(data, z, k)


@SIZES
@pytest.mark.parametrize(("text", "every"), [("arrows:0.4,seed=2", 0), ("directed_one_peer", 1), ("star", 0)])
def test_gradient_push_is_what_its_equations_say(worlds, text, every):
    data = Shared(workers=6, rows=42)
    found = paths(decentralised.sgp(rules.sgd(0.05), text, every), data.team(worlds(workers=6)), data.start, ROUNDS)[1:]
    pushing = [Topology.of(text, every, PUSH).at(6, time).dense for time in range(ROUNDS)]
    assert all(abs(p.sum(axis=0) - 1).max() < 1e-15 for p in pushing)
    np.testing.assert_allclose(found, list(sgp(data, pushing, 0.05, np.tile(data.start, (6, 1)))), rtol=1e-11, atol=1e-12)


@SIZES
def test_what_is_pushed_comes_together_at_the_mean_and_edges_of_one_way_are_for_that_alone(worlds):
    world, x = worlds(workers=7), spoken(7, 5)
    near = Neighbours(Topology.of("arrows:0.4,seed=1", 0, PUSH))
    found = walk(near, world, np.column_stack([x, np.ones(7)]), 60)
    np.testing.assert_allclose(found[:, :-1] / found[:, -1:], np.tile(x.mean(axis=0), (len(found), 1)), atol=1e-9)
    assert all(a != b for a, b in world.tally.by_edge)
    with pytest.raises(UsageError, match="go one way, so that no mixing matrix of it is symmetric, which this method needs"):
        decentralised.dgd(0.1, "directed_ring").init(np.zeros(5), Shared(workers=7).team(world))
    with pytest.raises(UsageError, match="there are no mixing weights 'push'"):
        decentralised.dgd(weights="push")


def noloco(data, w, lr, x, period, momentum, rate, pull):
    speed, slow = np.zeros_like(x), x
    for k, mix in enumerate([None, *w[:-1]]):
        if mix is not None:
            speed = momentum * speed + rate * (mix @ went) - pull * (slow - mix @ slow)  # noqa: F821 - of the round before
            slow = slow + speed
        x = slow
        for step in range(k * period, (k + 1) * period):
            x = x - lr * gradients(data, x, step)
        went = x - slow  # noqa: F841
        yield x


@SIZES
def test_noloco_is_what_its_equations_say(worlds):
    data, given = Shared(workers=5, rows=42), {"period": 3, "momentum": 0.4, "pull": 0.8}
    method = decentralised.noloco(rules.sgd(0.05), **given, outer_lr=0.6)
    found = paths(method, data.team(worlds(workers=5)), data.start, 5)[1:]
    wanted = noloco(data, ws("matching", 5, 1, 5), 0.05, np.tile(data.start, (5, 1)), 3, 0.4, 0.6, 0.8)
    np.testing.assert_allclose(found, list(wanted), rtol=1e-11, atol=1e-12)


@SIZES
@pytest.mark.parametrize(("compress", "gain"), [("topk:0.4", 0.2), ("qsgd:4", None), ("identity", 1.0)])
def test_choco_sgd_is_what_its_equations_say(worlds, compress, gain):
    data, compressor = Shared(workers=5), find(compress)
    method = decentralised.choco_sgd(rules.sgd(0.05), compress, gain)
    found = paths(method, data.team(worlds(workers=5)), data.start, ROUNDS)[1:]
    gain = PART * compressor.delta(5) if gain is None else gain
    wanted = list(choco(data, ws("ring", 5, 0, ROUNDS), 0.05, np.tile(data.start, (5, 1)), compressor, gain))
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


# ---------------------------------------------------------------------------------------------- ADOM
class Bowls:
    """Quadratics, one for each of n nodes, whose Hessians, the penalty's 1 with them, have eigenvalues from 1 to kappa."""

    def __init__(self, n: int, d: int, kappa: float, seed: int = 0):
        rng = np.random.default_rng(seed)
        turns = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(n)]
        self.h = np.array([q @ np.diag(np.geomspace(1, kappa, d)) @ q.T for q in turns])
        self.b = rng.standard_normal((n, d))
        self.inverse = np.linalg.inv(self.h)

    def team(self, world) -> Team:
        return lifted(Team.of(world, [Bowl(self.h[w] - np.eye(len(self.b[w])), self.b[w]) for w in world.hosted], L2(1.0)))

    @property
    def best(self) -> np.ndarray:
        return np.linalg.solve(self.h.sum(axis=0), self.b.sum(axis=0))


@dataclass
class Bowl:
    """x.h.x / 2 - b.x."""

    h: np.ndarray
    b: np.ndarray
    rows: int = 1
    weight: float = 1.0

    @property
    def dim(self) -> int:
        return len(self.b)

    def point(self, x):
        return Point(x)

    def value_grad(self, at):
        return 0.5 * float(at.x @ self.h @ at.x) - float(self.b @ at.x), self.h @ at.x - self.b

    def hessian(self, at):
        return lambda v: self.h @ v

    def diagonal(self, at):
        return np.diag(self.h).copy()


def adom(data: Bowls, steps, mixing):
    """The points of all nodes, round by round, as the paper has them: w v with w = I - W."""
    z = behind = memory = np.zeros_like(data.b)
    for mix in mixing:
        w = np.eye(len(mix)) - mix
        ahead = steps.tau * z + (1 - steps.tau) * behind
        g = np.einsum("nij,nj->ni", data.inverse, ahead + data.b)
        yield g
        delta = steps.sigma * w @ (memory - steps.eta * g)
        memory = memory - steps.eta * g - delta
        z = z + steps.eta * steps.alpha * (ahead - z) + delta
        behind = ahead - steps.theta * w @ g


def products(topology: Topology, n: int, times: int, count: int) -> list[np.ndarray]:
    each = [topology.at(n, time).dense for time in range(times * count)]
    return [reduce(lambda done, w: w @ done, each[k * times : (k + 1) * times]) for k in range(count)]


@SIZES
@pytest.mark.parametrize("times", [1, 3])
def test_adom_is_what_its_equations_say(worlds, times):
    data, method = Bowls(5, 4, 20.0), exact_decentralised.adom("ring:seed=1", 1, times=times, accuracy=1e-13)
    world = worlds(workers=5)
    found = paths(method, data.team(world), np.zeros(4), ROUNDS)[1:]
    run = method.init(np.zeros(4), data.team(world))
    wanted = list(
        adom(data, run.states.works[0][0].steps, products(Topology.of("ring:seed=1", 1, "laplacian"), 5, times, ROUNDS))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("times", "guaranteed", "seen", "count"), [(1, 1.364e-3, 2.16e-3, 13400), (8, 7.885e-3, 1.75e-2, 1200)]
)
def test_adom_is_faster_than_it_promises_on_rings_that_change(times, guaranteed, seen, count):
    """What is guaranteed is of squared distances; what an implementation apart has seen, over a whole run, of distances."""
    data, topology = Bowls(10, 5, 100.0), Topology.of("ring:seed=3", 1, "laplacian")
    found = Repeated(Neighbours(topology), times).spectrum(5, 10)
    steps = theory.adom(1.0, 100.0, found.lambda_min, found.lambda_max)
    assert topology.spectrum(10).chi == pytest.approx(10.47, abs=0.01)
    assert steps.tau == pytest.approx(guaranteed, rel=1e-3)
    mixing = islice(cycle(products(topology, 10, times, 64)), count)
    far = [((g - data.best) ** 2).sum(axis=1).max() for g in adom(data, steps, mixing)]
    rate = np.log(far[count // 3] / far[-1]) / (count - 1 - count // 3)
    assert guaranteed < rate < 4 * guaranteed
    assert far[-1] < far[0] * (1 - steps.tau) ** count
    assert np.log(far[0] / far[-1]) / 2 / count == pytest.approx(seen, rel=0.1)


def adom_plus(data: Bowls, k, mixing):
    """x of all nodes, round by round, the two implicit lines of the paper solved as a system; w v with w = I - W."""
    x = x_f = y = y_f = z = z_f = m = np.zeros_like(data.b)
    for mix in mixing:
        w = (np.eye(len(mix)) - mix) * k.scale
        x_g, y_g, z_g = k.tau * x + (1 - k.tau) * x_f, k.sigma * y + (1 - k.sigma) * y_f, k.sigma * z + (1 - k.sigma) * z_f
        slope = np.einsum("nij,nj->ni", data.h, x_g) - data.b - k.nu * x_g
        system = np.array([[1 + k.eta * k.alpha, -k.eta], [k.theta, 1 + k.theta * k.beta]])
        right = [x + k.eta * (k.alpha * x_g - slope), y + k.theta * (k.beta * slope - (y_g + z_g) / k.nu)]
        ahead = np.linalg.solve(system, np.reshape(right, (2, -1))).reshape(2, *x.shape)
        x_f, y_f = x_g + k.tau_behind * (ahead[0] - x), y_g + k.sigma_behind * (ahead[1] - y)
        x, y = ahead
        pull = k.gamma / k.nu * (y_g + z_g) + m
        z, m, z_f = z + k.gamma * k.delta * (z_g - z) - w @ pull, pull - w @ pull, z_g - k.zeta * w @ (y_g + z_g)
        yield x


@SIZES
@pytest.mark.parametrize("times", [1, 3])
def test_adom_plus_is_what_its_equations_say(worlds, times):
    data, method = Bowls(5, 4, 20.0), exact_decentralised.adom_plus("ring:seed=1", 1, times=times)
    world = worlds(workers=5)
    found = paths(method, data.team(world), np.zeros(4), ROUNDS)[1:]
    steps = method.init(np.zeros(4), data.team(world)).states.works[0][0].steps
    wanted = adom_plus(data, steps, products(Topology.of("ring:seed=1", 1, "laplacian"), 5, times, ROUNDS))
    np.testing.assert_allclose(found, list(wanted), rtol=1e-8, atol=1e-10)


def test_adom_plus_converges_over_rings_that_change():
    data, topology = Bowls(8, 4, 10.0), Topology.of("ring:seed=3", 1, "laplacian")
    steps = theory.adom_plus(1.0, 10.0, *Repeated(Neighbours(topology), 5).spectrum(4, 8)[:2])
    mixing = islice(cycle(products(topology, 8, 5, 20)), 600)
    far = [((x - data.best) ** 2).sum(axis=1).max() for x in adom_plus(data, steps, mixing)]
    assert far[-1] < 1e-7 * far[0]


def test_a_dual_oracle_asks_for_strong_convexity_and_for_connected_graphs(worlds):
    data = Shared(workers=4, size=None, l2=0.0)
    with pytest.raises(CapabilityError, match="a dual oracle needs losses that are strongly convex in every coordinate: give"):
        exact_decentralised.adom().init(data.start, data.team(worlds(workers=4)))
    with pytest.raises(UsageError, match="every graph has to be connected here"):
        exact_decentralised.adom("one_peer", 1).init(data.start, Shared(workers=4, size=None, l2=0.1).team(worlds(workers=4)))


# ---------------------------------------------------------------------------------------------- agreements
def walk(exchange, world, x: np.ndarray, count: int) -> np.ndarray:
    """Vectors of the workers of this rank after so many agreements on them, x (workers, dim) at first."""
    team = team_of(world)
    x = x[world.hosted.start : world.hosted.stop]
    state = exchange.init(np.zeros(x.shape[1]), team)
    for k in range(count):
        heard, _, state = exchange([Message(v, np.zeros(0)) for v in x], state, Joint(team, k))
        x = np.array([m.vector for m in heard])
    return x


def spoken(workers: int, dim: int = 24) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((workers, dim))


@SIZES
def test_hearing_several_times_is_a_product_of_matrices(worlds):
    x, topology = spoken(6), Topology.of("ring", 2)
    world = worlds(workers=6)
    found = walk(Repeated(Neighbours(topology), 3), world, x, 2)
    for time in range(6):
        x = topology.at(6, time).dense @ x
    np.testing.assert_allclose(found, x[world.hosted.start : world.hosted.stop], rtol=1e-12, atol=1e-14)


def test_what_is_heard_several_times_has_a_spectrum_within_what_is_said(worlds):
    for text, weights, times in (("ring", "laplacian", 5), ("path", "metropolis", 3), ("star", "best", 2), ("ring", "lazy", 1)):
        topology = Topology.of(text, 0, weights)
        said = Repeated(Neighbours(topology), times).spectrum(3, 8)
        values = np.linalg.eigvalsh(np.linalg.matrix_power(topology.at(8, 0).dense, times))
        assert said.lambda_min <= 1 - values[-2] + 1e-8 and said.lambda_max >= 1 - values[0] - 1e-8
        assert said.second >= max(values[-2], -values[0]) - 1e-8


@SIZES
def test_remembered_differences_keep_the_mean_and_find_it_where_compressed_vectors_do_not(worlds):
    world, x = worlds(workers=9), spoken(9)
    mine, mean = slice(world.hosted.start, world.hosted.stop), x.mean(axis=0)

    def far(found: np.ndarray) -> float:
        return float(np.sqrt(world.total([np.array([((found - mean) ** 2).sum()])])[0] / 9))

    near = Neighbours(Topology.of("ring"), find("qsgd:4"))
    naive = walk(near, world, x, 200)
    assert 1e-3 < far(naive)  # stalls
    found = walk(Remembered(near), world, x, 400)
    assert far(found) < 1e-9
    top = walk(Remembered(Neighbours(Topology.of("ring"), find("topk:0.2")), 0.3), world, x, 40)
    total = world.total([top.sum(axis=0) / 9])
    np.testing.assert_allclose(total, mean, atol=1e-12)
    assert far(top) < far(x[mine]) / 10


def test_a_gain_is_given_or_follows_from_the_compressor(worlds):
    world = worlds(workers=4)
    near = Neighbours(Topology.of("ring"), find("randk:0.5"))
    with pytest.raises(CapabilityError, match="is no contraction, from which the gain would follow: take one that is, such as"):
        Remembered(near).init(np.zeros(8), team_of(world))
    assert Remembered(near, 0.1).init(np.zeros(8), team_of(world)).gain == 0.1
    assert Remembered(Neighbours(near.topology)).init(np.zeros(8), team_of(world)).gain == PART
    with pytest.raises(CapabilityError, match="needs the same neighbours throughout"):
        Remembered(Neighbours(Topology.of("ring", 1))).init(np.zeros(8), team_of(world))
    with pytest.raises(UsageError, match="cannot hear each other 0 times"):
        Repeated(near, 0)


@SIZES
def test_error_feedback_goes_around_neighbours(worlds):
    world, compressor = worlds(workers=5), find("topk:0.2")
    team, exchange = team_of(world), ErrorFeedback(Neighbours(Topology.of("ring"), compressor), Inverse(0.5, 3.0))
    state, rests = exchange.init(np.zeros(DIM), team), np.zeros((5, DIM))
    for k in range(4):
        heard, _, state = exchange([said(w, k) for w in world.hosted], state, Joint(team, k))
        rate = Inverse(0.5, 3.0)(k)
        wanted = rate * np.array([said(w, k).vector for w in range(5)]) + rests
        sent = np.array([compressor.decode(compressor.encode(v, None), v, None) for v in wanted])
        rests = wanted - sent
        total = exchange.inner.topology.at(5, k).dense @ sent / rate
        np.testing.assert_allclose([m.vector for m in heard], total[world.hosted.start : world.hosted.stop], atol=1e-12)


# ---------------------------------------------------------------------------------------------- what they solve
@pytest.mark.parametrize("rows", [40, 43])
def test_gradient_tracking_finds_the_optimum_and_descent_a_place_near_it(worlds, rows):
    world, data = worlds(workers=4), Shared(workers=4, rows=rows, size=None, l2=1.0)
    team, best = data.team(world), data.optimum()
    for given in ({}, {"graph": "geometric:radius=0.9", "graph_every": 1}):
        found = solve(exact_decentralised.diging(**given), team, data.start, Stop(rounds=300, gap=1e-12))
        assert found.reason is Reason.GAP
        np.testing.assert_allclose(found.x, best, atol=1e-5)
    far = [
        np.linalg.norm(solve(decentralised.dgd(gamma), team, data.start, Stop(rounds=200)).x - best) for gamma in (0.1, 0.02)
    ]
    assert far[1] < far[0] / 2 < 0.2


@SIZES
def test_a_solve_goes_on_where_it_stopped_bit_for_bit(worlds, shared_tmp):
    data = Shared(workers=5, size=None, l2=0.1)
    for name, method in (("d", exact_decentralised.diging(0.1)), ("c", decentralised.choco(0.1, "topk:0.4"))):
        whole = solve(method, data.team(worlds(workers=5)), data.start, Stop(rounds=6))
        team = data.team(world := worlds(workers=5))
        store = Store(shared_tmp / f"{name}.h5", world, "run")
        solve(method, team, data.start, Stop(rounds=3), keep=[lambda at, _, store=store, team=team: store.save(at, {}, team)])
        again = Store(store.path, world, "")
        later = solve(method, team, again.load(again.find(), team), Stop(rounds=6))
        assert [r.objective for r in later.history] == [r.objective for r in whole.history]
        np.testing.assert_array_equal(later.x, whole.x)
        assert later.final.bytes_sent == whole.final.bytes_sent


@pytest.mark.parametrize("name", ["extra", "d2"])
def test_exact_methods_of_one_vector_find_the_optimum_and_say_what_they_need(worlds, name):
    world, data = worlds(workers=4), Shared(workers=4, rows=43, size=None, l2=1.0)
    found = solve(getattr(exact_decentralised, name)(), data.team(world), data.start, Stop(rounds=300, gap=1e-12))
    assert found.reason is Reason.GAP
    np.testing.assert_allclose(found.x, data.optimum(), atol=1e-5)


def test_d2_needs_eigenvalues_that_are_not_far_below_0(worlds):
    data = Shared(workers=4, size=None, l2=1.0)
    with pytest.raises(UsageError, match=r"has the eigenvalue -0.6, .*needs all above -0.333: take `weights=lazy`"):
        exact_decentralised.d2(graph="star", weights="best").init(data.start, data.team(worlds(workers=4)))


def test_a_node_without_rows_is_refused(worlds):
    data = Shared(workers=3, rows=2, size=None)
    with pytest.raises(UsageError, match="worker 2 of 3 has no rows, and every node of a graph needs some: take fewer workers"):
        exact_decentralised.diging(0.1).init(data.start, data.team(worlds(workers=3)))


@pytest.mark.ranks(3)
@pytest.mark.parametrize(("text", "neighbours"), [("ring", (2, 2, 2)), ("path", (1, 2, 1)), ("star", (2, 1, 1))])
def test_what_is_sent_goes_to_neighbours_alone(worlds, text, neighbours):
    world, data = worlds(workers=3), Shared(workers=3, size=None, l2=0.1)
    paths(decentralised.dgd(0.1, text), data.team(world), data.start, 4)
    assert world.tally.by_name["neighbours", "bytes"] == 4 * 8 * (5 + 1) * neighbours[world.rank]


def test_the_closed_form_of_quadratics_is_where_the_local_solve_leads(worlds, monkeypatch):
    data = Shared(workers=4, rows=43, size=None, l2=0.5)
    team, found = data.team(worlds(workers=4)), []
    for most in (dual_oracle.FACTORED, 0):
        monkeypatch.setattr(dual_oracle, "FACTORED", most)
        assert (dual_oracle.factored(team.sites[0]) is None) is (most == 0)
        found.append(paths(exact_decentralised.adom(accuracy=1e-12), team, np.zeros(5), 6))
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-11)
