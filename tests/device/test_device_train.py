"""Training with rows, points and states on the GPU: models, rules and methods do what they do on the CPU."""

from dataclasses import replace
from inspect import signature
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mpiopt.arrays import on_host
from mpiopt.comm.blocks import even
from mpiopt.comm.window import Window
from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds
from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running import gpu_training
from mpiopt.jobs.running.training import training
from mpiopt.jobs.train import complete
from mpiopt.kernels import device
from mpiopt.kernels.device import launch as launch_of_kernels
from mpiopt.methods import training as catalogue
from mpiopt.methods.one_sided import OneSided
from mpiopt.numerics.schedules import Constant
from mpiopt.numerics.streams import Streams
from mpiopt.problems import device_rows
from mpiopt.problems.device_rows import Sent, on_device
from mpiopt.problems.examples import Dense
from mpiopt.problems.heads import CrossEntropy, Squares
from mpiopt.problems.penalties import L2
from mpiopt.problems.perceptron import Perceptron, Relu, Tanh
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.softmax import Softmax
from mpiopt.sampling.batches import Batches
from mpiopt.training.drive import Exam, Goal, train
from mpiopt.transforms import rules
from mpiopt.transforms.bounds import ClipNorm, Decay, Prox
from mpiopt.transforms.momentum import Divide
from mpiopt.transforms.transform import chain
from tests.training_sets import GENERAL

ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------------------------------------- models
def rows_of(rows=40, features=5, classes=3, seed=0, real=False):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((rows, classes)) if real else rng.integers(0, classes, rows)
    return Dense(rng.standard_normal((rows, features)), y)


def moved(data, xp):
    return Dense(xp.asarray(data.x), xp.asarray(data.y))


MODELS = {
    "softmax": lambda data: Softmax(data, 3),
    "perceptron": lambda data: Perceptron(data, (5, 7, 4, 3), Relu(), CrossEntropy()),
    "regression": lambda data: Perceptron(data, (5, 6, 3), Tanh(), Squares()),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MODELS)
def test_values_gradients_and_scores_are_the_cpus(xp, name, dtype, monkeypatch):
    for chunk in ("WIDE", "CHUNK"):  # more than one chunk on both
        monkeypatch.setattr(f"mpiopt.problems.perceptron.{chunk}", 17)
    data = rows_of(real=name == "regression")
    cpu, gpu = MODELS[name](data), MODELS[name](moved(data, xp))
    x = np.random.default_rng(1).normal(0, 0.7, cpu.dim).astype(dtype)
    on, tolerance = xp.asarray(x), 1e-12 if dtype == np.float64 else 3e-6
    for rows in (None, np.array([3, 39, 3, 0]), np.arange(40), np.zeros(0, int)):
        theirs, ours = cpu.value_grad(Point(x), rows), gpu.value_grad(Point(on), rows)
        assert isinstance(ours[0], float) and isinstance(ours[1], xp.ndarray) and ours[1].dtype == dtype
        np.testing.assert_allclose(ours[0], theirs[0], rtol=tolerance)
        np.testing.assert_allclose(ours[1].get(), theirs[1], rtol=tolerance, atol=tolerance)
        theirs, ours = cpu.evaluate(x, rows), gpu.evaluate(on, rows)
        assert tuple(map(type, ours))[:3] == (float, float, int) and ours[1:] == theirs[1:]
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=tolerance)


def test_a_gpu_takes_more_rows_at_once(xp):
    """As many launches for 3,000 rows as for 3: the card is not fed in portions made for a cache."""
    data, seen = rows_of(3000), []
    model = Softmax(moved(data, xp), 3)
    object.__setattr__(model, "data", Watched(model.data, seen))
    model.value_grad(Point(xp.zeros(model.dim)))
    assert seen == [3000]


class Watched:
    def __init__(self, data, seen):
        self.data, self.seen = data, seen
        self.rows, self.features, self.y = data.rows, data.features, data.y

    def flat(self, rows, dtype):
        x, y = self.data.flat(rows, dtype)
        self.seen.append(len(x))
        return x, y


# ---------------------------------------------------------------------------------------------- rows
def pixels(x, dtype):
    return np.divide(x, 255, dtype=dtype)


@pytest.mark.parametrize("piece", [1, 100, 1 << 26])
def test_rows_are_scaled_on_their_way(xp, monkeypatch, piece):
    monkeypatch.setattr(device_rows, "PIECE", piece)
    rng = np.random.default_rng(0)
    data = Dense(rng.integers(0, 256, (9, 2, 3)).astype(np.uint8), rng.integers(0, 4, 9), pixels)
    (kept,) = on_device([data])
    assert isinstance(kept.x, xp.ndarray) and kept.features == 6 and kept.rows == 9
    for rows in (slice(2, 5), np.array([8, 0, 8])):
        for found, wanted in zip(kept.flat(rows, np.dtype("f4")), data.flat(rows, np.dtype("f4")), strict=True):
            assert isinstance(found, xp.ndarray) and found.dtype == wanted.dtype
            np.testing.assert_array_equal(found.get(), wanted)


def test_rows_that_workers_have_in_common_are_kept_once(xp):
    data = rows_of()
    one, other, third = on_device([data, Dense(data.x, data.y), rows_of(seed=1)])
    assert one is other and third is not one


@pytest.mark.parametrize("sharing", [1, 4])
def test_rows_without_room_are_sent_batch_by_batch(xp, monkeypatch, sharing):
    data = rows_of()
    needed = 4 * data.x.size + data.y.nbytes
    monkeypatch.setattr(device_rows, "free_bytes", lambda: 2 * needed * sharing)
    assert isinstance(on_device([data], sharing)[0], Dense)
    monkeypatch.setattr(device_rows, "free_bytes", lambda: 2 * needed * sharing - 1)
    (sent,) = on_device([data], sharing)
    assert isinstance(sent, Sent)
    cpu, gpu = Softmax(data, 3), Softmax(sent, 3)
    x = np.random.default_rng(1).standard_normal(cpu.dim)
    for rows in (None, np.array([3, 39, 3, 0])):
        theirs, ours = cpu.value_grad(Point(x), rows), gpu.value_grad(Point(xp.asarray(x)), rows)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
        np.testing.assert_allclose(ours[1].get(), theirs[1], atol=1e-13)
    data.x.flat[0] = np.nan
    assert gpu.flawed() == cpu.flawed() == 0


# ---------------------------------------------------------------------------------------------- rules
FALLING = lambda step: 0.1 / (1 + step)  # noqa: E731 - a schedule
CHAINS = {
    **{name: entry.make(**({"lr": FALLING} if "lr" in entry.parameters else {})) for name, entry in rules.RULES.items()},
    "clipped": chain(ClipNorm(0.5), Decay(0.1), rules.momentum(FALLING)),
    "slow": chain(Divide(FALLING), rules.torch_nag(0.1)),
    "forward-backward": chain(rules.sgd(FALLING), Prox(L2(0.3).prox, FALLING)),
    "nothing": chain(),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CHAINS)
def test_rules_move_as_on_the_cpu(xp, name, dtype):
    """`move` on the GPU, in one pass or not, against the plain u and x += u on the CPU."""
    rule, rng = CHAINS[name], np.random.default_rng(3)
    theirs = rng.normal(size=50).astype(dtype)
    ours = xp.asarray(theirs.copy())
    before, after = rule.init(theirs), rule.init(ours)
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    for step in range(4):
        g = rng.normal(size=50).astype(dtype)
        np.testing.assert_allclose(rule.look(ours, after).get(), rule.look(theirs, before), rtol=tolerance, atol=tolerance)
        u, before = rule(g.copy(), theirs, before, step)
        theirs = theirs + u
        after = rule.move(xp.asarray(g), ours, after, step)
        np.testing.assert_allclose(ours.get(), theirs, rtol=tolerance, atol=tolerance)
    for mine, other in zip(leaves(after), leaves(before), strict=True):
        np.testing.assert_allclose(mine, other, rtol=10 * tolerance, atol=tolerance)


def leaves(state):
    if isinstance(state, tuple):
        return [leaf for part in state for leaf in leaves(part)]
    return [on_host(state) if hasattr(state, "get") else state]


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("sgd", "gradient_step"),
        ("momentum", "momentum_step"),
        ("nag", "momentum_step"),
        ("torch_momentum", "momentum_step"),
        ("torch_nag", "momentum_step"),
        ("adam", "adam_step"),
        ("clipped", "momentum_step"),
    ],
)
def test_a_step_is_one_kernel_where_there_is_one(xp, monkeypatch, name, kernel):
    called, real = [], getattr(device, kernel)
    monkeypatch.setattr(device, kernel, lambda *given: called.append(1) or real(*given))
    rule, x = CHAINS[name], xp.ones(5)
    rule.move(xp.ones(5), x, rule.init(x), 0)
    assert called == [1]


def test_moving_on_the_cpu_is_stepping_to_the_bit():
    for rule in CHAINS.values():
        x = np.random.default_rng(0).normal(size=70000)  # more than one block
        g, y = np.random.default_rng(1).normal(size=70000), x.copy()
        u, state = rule(g.copy(), x, rule.init(x), 0)
        after = rule.move(g, y, rule.init(x), 0)
        np.testing.assert_array_equal(y, x + u)
        for mine, other in zip(leaves(after), leaves(state), strict=True):
            np.testing.assert_array_equal(mine, other)


# ---------------------------------------------------------------------------------------------- methods
WORKERS = 3
ROWS = 61


def teams(world, xp):
    """The same workers, rows and samples on the CPU and on the GPU."""
    data, bounds = rows_of(ROWS), even(ROWS, WORKERS)
    for place in (np.asarray, xp.asarray):
        models = [
            MODELS["perceptron"](Dense(place(data.x[lo:hi]), place(data.y[lo:hi])))
            for lo, hi in ((bounds[w], bounds[w + 1]) for w in world.hosted)
        ]
        samples = [Batches(m.rows, 4, Streams(0), w) for m, w in zip(models, world.hosted, strict=True)]
        yield Team.of(world, models, L2(0.01), 0, samples), place


def made(name, rule, **given):
    entry = catalogue()[name]
    known = {
        "rule": rule,
        "lr": Constant(0.1),
        "workers": WORKERS,
        "total_steps": 12,
        "period": 3,
        "meeting": 4,
        "groups": 1,
        "every": 2,
        "sparsity": 0.6,
        "probability": 0.4,
        "rounds": 2,
        **given,
    }
    return entry.make(**{key: value for key, value in known.items() if key in signature(entry.build).parameters})


SYNCHRONOUS = [name for name in GENERAL if not isinstance(made(name, rules.sgd(0.1)), OneSided)]


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_methods_go_the_same_way(worlds, xp, name):
    """A few rounds in double precision, the answers and the workers' own points; on two ranks staged through MPI."""
    world, runs = worlds(workers=WORKERS), []
    if name == "async_lsgd" and world.size > 1:
        pytest.skip("its ranks draw as many steps as they come to")
    for team, place in teams(world, xp):
        method = made(name, rules.momentum(0.1))
        x = place(team.sites[0].loss.initial(Streams(0)("start")).astype(np.float64))
        runs.append(
            [
                (np.array(on_host(method.answer(run, team).x)), [np.array(on_host(at.x)) for at in run.points])
                for run in islice(rounds(method, team, x), 5)
            ]
        )
        assert isinstance(method.answer(method.init(x, team), team).x, type(x))
    for theirs, ours in zip(*runs, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-10)
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-10)
    assert abs(runs[0][0][0] - runs[0][-1][0]).max() > 1e-3


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", ["async_easgd", "async_eamsgd", "downpour", "async_sgd"])
def test_one_sided_methods_go_the_same_way(worlds, xp, name):
    """On one rank the workers take turns, and the centre is read and added to in the same order."""
    world, runs = worlds(workers=WORKERS), []
    for team, place in teams(world, xp):
        method = made(name, rules.momentum(0.02), **({"damped": True} if name == "async_sgd" else {}))
        x = place(team.sites[0].loss.initial(Streams(0)("start")).astype(np.float64))
        runs.append([np.array(on_host(method.answer(run, team).x)) for run in islice(rounds(method, team, x), 4)])
    np.testing.assert_allclose(runs[1], runs[0], atol=1e-10)
    assert abs(runs[0][0] - runs[0][-1]).max() > 1e-3


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", ["async_easgd", "downpour", "async_sgd"])
def test_a_centre_on_the_gpu_is_the_sum_of_what_ranks_added(worlds, xp, monkeypatch, name):
    """Whoever comes when."""
    world, added, add = worlds(workers=WORKERS), [], Window.add
    monkeypatch.setattr(Window, "add", lambda self, x: added.append(on_host(x).astype(np.float64)) or add(self, x))
    *_, (team, place) = teams(world, xp)
    x = place(team.sites[0].loss.initial(Streams(0)("start")))
    trained = train(made(name, rules.sgd(0.2), meeting=20, period=5), team, x, Goal(rounds=3))
    assert isinstance(trained.x, xp.ndarray) and trained.x.dtype == np.float32
    total = np.sum(world.tell_all(np.sum(added, axis=0) if added else np.zeros(x.size)), axis=0)
    np.testing.assert_allclose(on_host(trained.x), on_host(x) + total, rtol=0, atol=1e-5)
    assert trained.final.steps >= 3 * 20 * WORKERS and abs(total).max() > 0.01


@pytest.mark.ranks(2)
def test_workers_that_draw_their_steps_go_the_cpus_way(worlds, xp):
    """However many steps a worker has drawn, its point is where so many lead on the CPU."""
    world, lr = worlds(workers=WORKERS), 0.1
    (cpu, _), (gpu, place) = teams(world, xp)
    x = cpu.sites[0].loss.initial(Streams(0)("start")).astype(np.float64)
    method = made("async_lsgd", rules.sgd(lr), period=5, pull=0.0)
    run = method.step(method.init(place(x), gpu), gpu)
    steps = [log.steps for log in method.logs(run)]
    assert sum(world.tell_all(steps[0])) == 5 * world.size and len(set(steps)) == 1  # a rank draws for all its workers
    for site, at, many in zip(cpu.sites, run.points, steps, strict=True):
        alone = x.copy()
        for step in range(many):
            alone -= lr * (site.loss.value_grad(Point(alone), site.sample(step))[1] + 0.01 * alone)
        assert isinstance(at.x, xp.ndarray)
        np.testing.assert_allclose(on_host(at.x), alone, atol=1e-12)


@pytest.mark.ranks(1, 2, 3)
def test_examinations_of_points_on_the_gpu(worlds, xp):
    """The answer's score, the workers' own, the leader's, and how far they are apart, with sums in worker order."""
    world, found = worlds(workers=WORKERS, deterministic=True), []
    for team, place in teams(world, xp):
        x = place(team.sites[0].loss.initial(Streams(0)("start")).astype(np.float64))
        exam = Exam(tuple(site.loss for site in team.sites), own=True, leader=True)
        found.append(train(made("lsgd", rules.adam(0.01)), team, x, Goal(rounds=4), exam))
    theirs, ours = found
    for one, other in zip(ours.history, theirs.history, strict=True):
        for name in ("objective", "test_loss", "accuracy", "own_accuracy", "leader_accuracy", "leader", "consensus"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8, err_msg=name)
    assert ours.accuracy == theirs.accuracy and ours.history[-1].consensus > 0


# ---------------------------------------------------------------------------------------------- verbs
@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_arrays_of_the_gpu_cross_and_come_back(world, xp, dtype):
    rank, size = world.rank, world.size

    def mine(k):
        return xp.asarray(np.arange(5, dtype=dtype) + 10 * k)

    def same(found, wanted):
        assert isinstance(found, xp.ndarray) and found.dtype == dtype
        np.testing.assert_array_equal(found.get(), wanted)

    for root in range(size):
        x = mine(rank)
        assert world.bcast(x, root) is x
        same(x, mine(root).get())
    for k, part in enumerate(world.gather(mine(rank)[: rank + 1])):
        same(part, mine(k).get()[: k + 1])
    for k, part in enumerate(world.alltoall([mine(10 * rank + k)[:k] for k in range(size)])):
        same(part, mine(10 * k + rank).get()[:rank])
    others = [k for k in range(size) if k != rank]
    for k, part in zip(others, world.swap([mine(rank)] * len(others), others), strict=True):
        same(part, mine(k).get())


@pytest.mark.ranks(1, 2, 3)
def test_a_window_is_read_and_added_to_from_the_gpu(world, xp):
    window, x = world.window("w", 7, np.dtype("f4")), xp.asarray(np.arange(7, dtype="f4"))
    window.put(x)
    world.barrier()
    window.add(xp.ones(7, np.float32))
    world.barrier()
    out = xp.empty(7, np.float32)
    assert window.get(out) is out
    np.testing.assert_array_equal(out.get(), np.arange(7) + world.size)
    np.testing.assert_array_equal(window.get(), np.arange(7) + world.size)


# ---------------------------------------------------------------------------------------------- the job
JOBS = {
    "softmax": {"model": "softmax", "rule": "adam", "clip": 1.0, "batch": 16},
    "leader": {"method": "lsgd", "own": True, "leader": True, "delay": ("1:1.5",), "batch": 8},
    "compressed": {"method": "sgd", "compress": "qsgd:bits=6", "link": "diana", "batch": 16},
    "sparse": {"compress": "topk:0.2", "error_feedback": True, "back": "scaled_sign", "batch": 16},
    "low rank": {"method": "sgd", "compress": "powersgd:rank=1", "link": "ef", "batch": 16},
    "redundant": {"method": "ri_sgd", "redundancy": 2, "dead": (1,), "schedule": "cosine", "warmup": 0.5, "batch": 16},
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", JOBS)
def test_the_job_is_that_of_the_cpu(worlds, xp, shared_tmp, name):
    """From the options to the run file, in single precision, with sums in worker order."""
    found = []
    for where in ("gpu", "cpu"):
        job = Train(data="blobs:rows=600", epochs=2, record=1, device=where, out=shared_tmp / where, **JOBS[name])
        found.append(training(complete(job), worlds(workers=4, deterministic=True), Console(first=False)))
    gpu, cpu = found
    for column in ("steps", "rounds", "epochs", "vector_rounds", "messages", "bytes_sent", "reason"):
        assert gpu[column] == cpu[column], column
    for column in ("objective", "test_loss", "accuracy"):
        np.testing.assert_allclose(gpu[column], cpu[column], rtol=1e-3, err_msg=column)
        np.testing.assert_allclose(gpu["history"][column], cpu["history"][column], rtol=1e-3, err_msg=column)
    ours, theirs = (read_solution(shared_tmp / where)[0] for where in ("gpu", "cpu"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert [read_run(shared_tmp / where).attributes["device"] for where in ("gpu", "cpu")] == ["gpu", "cpu"]
    assert cpu["accuracy"] > 0.5


@pytest.mark.ranks(2)
@pytest.mark.parametrize(("method", "given"), [("lsgd", ("period", 3)), ("scaffold", ("period", 3)), ("dpf", ("every", 2))])
def test_a_checkpoint_goes_on(worlds, xp, shared_tmp, method, given):
    """Stopped early and gone on with, a training ends where it would have without."""
    rule = {} if method == "scaffold" else {"rule": "adam", "lr": 0.01}
    job = Train(
        data="blobs:rows=240", model="mlp:4", method=method, set=(given,), device="gpu", batch=10, epochs=2, record=0.25, **rule
    )
    whole, kept = replace(job, out=shared_tmp / "a"), replace(job, out=shared_tmp / "b", checkpoint=shared_tmp / "c")
    found = [
        training(complete(one), worlds(workers=4, deterministic=True), Console(first=False))
        for one in (whole, replace(kept, rounds=1), kept)
    ]
    assert found[2]["resumed_after"] == 1 and found[2]["rounds"] == found[0]["rounds"] > 1
    np.testing.assert_array_equal(*(read_solution(shared_tmp / name)[0] for name in "ab"))
    with pytest.raises(UsageError, match="device was gpu and is not given"):
        training(complete(replace(kept, device="cpu")), worlds(workers=4), Console(first=False))


@pytest.mark.ranks(1)
def test_a_training_on_the_gpu_starts_from_one_on_the_cpu(worlds, xp, shared_tmp):
    some = {"data": "blobs:rows=200", "batch": 10, "model": "softmax", "epochs": 1}
    training(complete(Train(**some, out=shared_tmp / "a")), worlds(), Console(first=False))
    after = training(
        complete(Train(**some, device="gpu", from_=shared_tmp / "a", out=shared_tmp / "b")), worlds(), Console(first=False)
    )
    before = training(complete(Train(**some, from_=shared_tmp / "a")), worlds(), Console(first=False))
    np.testing.assert_allclose(after["objective"], before["objective"], rtol=1e-4)


@pytest.mark.parametrize("size", [None, 2])
def test_without_cupy_one_sentence(launch, size):
    hidden = f"import sys; sys.modules['cupy'] = None; sys.path.insert(0, {str(ROOT)!r})\n"
    hidden += f"from mpiopt.jobs.launch import main\nsys.exit(main({['train', '--epochs', '1', '--device', 'gpu']!r}))"
    done = launch(size, hidden)
    assert done.returncode == 2 and done.stderr.count("pip install 'mpiopt[cuda13]'") == 1 and "Traceback" not in done.stderr


@pytest.fixture
def world_of_one():
    made = World(workers=WORKERS)
    yield made
    made.free()


def test_a_model_that_does_not_fit_is_refused_beforehand(xp, world_of_one, monkeypatch):
    *_, (team, _) = teams(world_of_one, xp)
    monkeypatch.setattr(launch_of_kernels, "free_bytes", lambda: 4 * 12 * 3 * 2 * team.dim - 1)
    with pytest.raises(UsageError, match=r"a training with 89 parameters needs 25,632 bytes on the GPU, of which 25,631"):
        gpu_training.ready(team, None, rules.adam(0.1), sharing=2)
    monkeypatch.setattr(launch_of_kernels, "free_bytes", lambda: 4 * 12 * 3 * 2 * team.dim)
    exam = Exam(tuple(site.loss for site in team.sites))
    gpu_training.ready(team, exam, rules.adam(0.1), sharing=2)


@pytest.mark.ranks(1, 2, 3)
def test_ranks_that_share_a_gpu_know_it(world, xp):
    """Ranks take the GPUs of their node in turn."""
    cards = xp.cuda.runtime.getDeviceCount()
    sharing = gpu_training.take(Train(device="gpu"), world)
    assert sharing == len(range(world.rank % cards, world.size, cards)) and gpu_training.take(Train(), world) == 1
