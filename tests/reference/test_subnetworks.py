"""Independent subnet training: parts of networks, who holds what, and whole trajectories against plain numpy."""

from itertools import islice, pairwise

import numpy as np
import pytest

from mpiopt.engine.drive import rounds
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods.averaging import local_sgd
from mpiopt.methods.subnetworks import ist
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.optional import Divisible
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron, Relu, Tanh
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import offers
from mpiopt.problems.subnetworks import divided
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.clients import Clients
from mpiopt.sampling.neurons import neurons
from mpiopt.training.drive import Goal, answered, train
from mpiopt.transforms import rules
from mpiopt.transforms.rules import sgd
from tests.training_sets import Shared, built, path

SIZES = pytest.mark.ranks(1, 3)
WORKERS, WIDTHS, SEED, LR = 3, (4, 7, 6, 3), 2, 0.1


def rows(worker: int, count: int = 12) -> Dense:
    rng = np.random.default_rng(worker)
    return Dense(rng.standard_normal((count, WIDTHS[0])), rng.integers(0, WIDTHS[-1], count))


def model(worker: int = 0, activation=Tanh()) -> Perceptron:  # noqa: B008
    return Perceptron(rows(worker), WIDTHS, activation)


def team(world) -> Team:
    samples = [Batches(12, 4, Streams(SEED), w) for w in world.hosted]
    return Team.of(world, [model(w) for w in world.hosted], Zero(), SEED, samples)


def start() -> np.ndarray:
    rng = np.random.default_rng(9)
    return model().initial(rng) + 0.1 * rng.standard_normal(model().dim)


@pytest.mark.parametrize("activation", [Relu(), Tanh()])
def test_a_part_is_the_whole_with_the_other_neurons_switched_off(activation):
    """Zeros in place of the weights of other neurons, and those that leave hidden layers times the number of parts."""
    whole, x = model(0, activation), start()
    for kept in neurons(WIDTHS[1:-1], WORKERS, Streams(SEED), 5):
        part, places, _ = whole.part(kept, float(WORKERS))
        masked = np.zeros_like(x)
        masked[places] = x[places]
        for layer in (2, 3):
            at = sum((i + 1) * o for i, o in pairwise(WIDTHS[:layer]))
            masked[at : at + WIDTHS[layer - 1] * WIDTHS[layer]] *= WORKERS
        value, g = part.value_grad(Point(x[places]))
        wanted, slope = whole.value_grad(Point(masked))
        assert value == pytest.approx(wanted, rel=1e-12)
        d = 1e-6
        for i in range(0, places.size, 7):
            e = d * (np.arange(places.size) == i)
            ahead, behind = (part.value_grad(Point(x[places] + s * e))[0] for s in (1, -1))
            assert g[i] == pytest.approx((ahead - behind) / (2 * d), rel=1e-5, abs=1e-7)
        assert slope.shape == x.shape


def test_parts_have_the_neurons_of_one_worker_each_and_the_last_bias_of_all():
    found = divided(model(), neurons(WIDTHS[1:-1], WORKERS, Streams(SEED), 0))
    assert found.common.sum() == WIDTHS[-1] and found.common[-WIDTHS[-1] :].all()
    times = np.bincount(np.concatenate(found.own), minlength=model().dim)
    assert times.max() == 1 and (times + found.common == 0).sum() == 7 * 6 - sum(
        a * b for a, b in ((len(k[0]), len(k[1])) for k in neurons(WIDTHS[1:-1], WORKERS, Streams(SEED), 0))
    )


def plain(n: int, period: int, clients: Clients = Clients()) -> list[np.ndarray]:  # noqa: B008
    """On one array: whose neurons they are takes the steps, in parts of the whole that nobody else writes."""
    x, streams, out, steps = start(), Streams(SEED), [start()], [0] * WORKERS
    losses = [model(w) for w in range(WORKERS)]
    for k in range(n):
        kept, present = neurons(WIDTHS[1:-1], WORKERS, streams, k), clients(WORKERS, streams, k)
        common, bias = divided(losses[0], kept).common, []
        after = x.copy()
        for w in np.flatnonzero(present):
            part, places, _ = losses[w].part(kept[w], float(WORKERS))
            y, batches = x[places], Batches(12, 4, streams, int(w))
            for _ in range(period):
                y = y - LR * part.value_grad(Point(y), batches(steps[w]))[1]
                steps[w] += 1
            after[places] = y
            bias.append(after[common].copy())
        after[common] = np.mean(bias, axis=0)
        x = after
        out.append(x)
    return out


@SIZES
@pytest.mark.parametrize(
    "clients", [Clients(), Clients(2), Clients(dead=(1,), since=2)], ids=["all", "two of three", "one dies"]
)
def test_the_path_is_that_of_one_array(worlds, clients):
    found = path(ist(sgd(LR), 3, clients), team(worlds(workers=WORKERS, deterministic=True)), start(), 7)
    np.testing.assert_allclose(found, plain(7, 3, clients), rtol=0, atol=1e-12)


@pytest.mark.ranks(3)
def test_slices_alone_are_sent(worlds):
    """A worker sends what others will train, fewer numbers than the network has, and the last bias."""
    world, n = worlds(workers=WORKERS), 6
    *_, end = islice(rounds(ist(sgd(LR), 2), team(world), start()), n + 1)
    sent, dim = sum(world.tell_all(world.tally.bytes)), model().dim
    held = sum(map(len, divided(model(), neurons(WIDTHS[1:-1], WORKERS, Streams(SEED), 0)).own))
    assert end.round == n and sent < 0.9 * n * 8 * held + 8 * 200 and sent < 0.5 * n * 8 * dim * WORKERS
    assert world.tally.by_name["handed out", "messages"] == n


@pytest.mark.ranks(1, 2)
def test_without_hidden_layers_it_is_local_sgd(worlds):
    data = Shared(workers=4)
    wanted = path(local_sgd(sgd(LR), 3), data.team(worlds(workers=4)), data.start, 4)
    np.testing.assert_allclose(path(ist(sgd(LR), 3), data.team(worlds(workers=4)), data.start, 4), wanted, rtol=0, atol=1e-13)


def test_layers_too_narrow_are_refused(worlds):
    world = worlds(workers=7)
    with pytest.raises(UsageError, match="a hidden layer of 6 neurons cannot be divided among 7 workers: make it wider, or"):
        next(rounds(ist(sgd(LR)), team(world), start()))


# ---------------------------------------------------------------------------------------------- torch
def network(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(4, 7),
        nn.BatchNorm1d(7),
        nn.ReLU(),
        nn.Linear(7, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Linear(6, 3),
    )


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def made(torch, worker: int = 0):
    from mpiopt.training.torch.model import TorchModel

    data = rows(worker)
    return TorchModel(lambda: network(torch), Dense(data.x.astype(np.float32), data.y))


def test_dense_layers_of_torch_are_divided_as_those_of_perceptrons(torch):
    """Without batch normalisation a part gives what the perceptron's part gives; with it, its own places and statistics."""
    from mpiopt.training.torch.model import TorchModel

    nn, data = torch.nn, rows(0)
    plain = TorchModel(
        lambda: nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)).double(), data
    )
    x, whole = start(), made(torch)
    layers = [x[:35], x[35:83], x[83:]]
    flat = [  # torch keeps weights (outputs, inputs)
        part
        for layer, (i, o) in zip(layers, pairwise(WIDTHS), strict=True)
        for part in (layer[: i * o].reshape(i, o).T.ravel(), layer[i * o :])
    ]
    point = np.concatenate(flat)
    assert offers(plain, Divisible) and plain.hidden == whole.hidden == (7, 6)
    for kept in neurons((7, 6), WORKERS, Streams(SEED), 1):
        mine, theirs = plain.part(kept, 3.0), model().part(kept, 3.0)
        found = mine.loss.value_grad(Point(point[mine.places]))[0]
        assert found == pytest.approx(theirs.loss.value_grad(Point(x[theirs.places]))[0], rel=1e-12)
        normed = whole.part(kept, 3.0)
        names = dict(normed.loss.module.named_parameters())
        assert [tuple(p.shape) for p in names.values()][:2] == [(len(kept[0]), 4), (len(kept[0]),)]
        normed.loss.value_grad(normed.loss.point(normed.loss.x))
        normed.returned()
        statistics = whole.buffers["1.running_mean"]
        assert statistics[kept[0]].any() and np.array_equal(statistics[kept[0]], normed.loss.buffers["1.running_mean"])


def test_convolutions_in_front_are_in_every_part(torch):
    from mpiopt.training.torch.model import TorchModel
    from mpiopt.training.torch.networks import resnet20, small_cnn

    x = np.zeros((2, 28, 28), np.float32)
    cnn = TorchModel(lambda: small_cnn(), Dense(x, np.array([0, 1])))
    found = divided(cnn, neurons(cnn.hidden, 4, Streams(0), 0))
    shared = sum(p.numel() for p in list(cnn.module.parameters())[:4]) + 10
    assert cnn.hidden == (128,) and found.common.sum() == shared and len(found.own[0]) == 32 * (512 + 1 + 10)
    assert TorchModel(lambda: resnet20(), Dense(np.zeros((2, 32, 32, 3), np.float32), np.array([0, 1]))).hidden == ()


@pytest.mark.ranks(2)
def test_a_network_with_batch_normalisation_learns_in_parts(worlds, torch):
    world = worlds(workers=2)
    models = [made(torch, w) for w in world.hosted]
    x = models[0].initial(np.random.default_rng(0))
    method, group = ist(sgd(0.05), 5), Team.of(world, models, Zero(), 0)
    *_, end = islice(rounds(method, group, world.bcast(x.copy())), 21)
    assert method.progress(end, group).loss < 1.0 < np.log(3)  # three classes at random
    assert answered(method, end, group).buffers["1.running_mean"].all()  # of the whole network, taken anew


# ---------------------------------------------------------------------------------------------- layers divided over workers
@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("widths", [(6, 7, 5, 3), (6, 3)])
def test_model_parallel_steps_are_those_of_sgd_on_all_minibatches(worlds, widths):
    world, rng = worlds(workers=3), np.random.default_rng(0)
    shares = [(rng.standard_normal((12, 6)), rng.integers(3, size=12)) for _ in range(3)]

    def team():
        models = [Perceptron(Dense(*shares[w]), widths) for w in world.hosted]
        return Team.of(world, models, Zero(), 1, [Batches(12, 4, Streams(1), w) for w in world.hosted])

    x = 0.5 * rng.standard_normal(team().dim)
    apart, whole = (path(built(name, rule=rules.momentum(0.05)), team(), x, 5) for name in ("model_parallel", "sgd"))
    np.testing.assert_allclose(apart, whole, rtol=1e-9, atol=1e-11)
    before = world.tally.by_name["activations", "bytes"]
    list(islice(rounds(built("model_parallel", rule=rules.sgd(0.1)), team(), x.copy()), 2))
    sent = world.tally.by_name["activations", "bytes"] - before
    assert sent == world.summands * 8 * 12 * sum(widths[1:])


@pytest.mark.ranks(1, 2)
def test_a_model_parallel_training_goes_on_bit_for_bit(worlds, shared_tmp):
    world, rng = worlds(workers=3, deterministic=True), np.random.default_rng(0)
    shares = [(rng.standard_normal((12, 6)), rng.integers(3, size=12)) for _ in range(3)]
    models = [Perceptron(Dense(*shares[w]), (6, 5, 3)) for w in world.hosted]
    team = Team.of(world, models, Zero(), 1, [Batches(12, 4, Streams(1), w) for w in world.hosted])
    method, x, store = (
        built("model_parallel", rule=rules.nag(0.05)),
        np.full(team.dim, 0.1),
        Store(shared_tmp / "c.h5", world, "r"),
    )
    whole = train(method, team, x.copy(), Goal(rounds=6))
    train(method, team, x.copy(), Goal(rounds=3), keep=[lambda at, _: store.save(at, {}, team)])
    later = train(method, team, (again := Store(store.path, world, "")).load(again.find(), team), Goal(rounds=6))
    np.testing.assert_array_equal(later.x, whole.x)
    assert later.final.objective == whole.final.objective and later.final.steps == 18


def test_model_parallel_is_for_perceptrons(worlds):
    data = Shared(workers=2)
    with pytest.raises(CapabilityError, match="divides the layers of perceptrons, on the CPU: use sgd for other models"):
        built("model_parallel").init(data.start, data.team(worlds(workers=2)))
