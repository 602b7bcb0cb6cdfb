"""The answer of a training is one model: what its record says of it is what plain torch says of the model that was saved."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.io.images.convert import ImageOptions, convert_dense
from mpiopt.io.images.recognise import scan
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.train import run
from mpiopt.methods import find, training
from mpiopt.numerics.schedules import Constant
from mpiopt.numerics.streams import Streams
from mpiopt.problems.buffers import agreed
from mpiopt.problems.examples import Dense
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.clients import Clients
from mpiopt.training.drive import Exam, Goal, train
from mpiopt.transforms import rules
from tests.image_files import npz
from tests.training_sets import GENERAL

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
WORKERS, ROWS, HELD_OUT = 3, 92, 31


def normed():
    """Batch normalisation, dropout, and a layer that is not trained."""
    nn = torch.nn
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    net[0].bias.requires_grad_(False)
    return net


def rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of different brightness, sorted: the workers' statistics have little in common."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, 3, count))
    return (y[:, None] + rng.standard_normal((count, 3))).astype(np.float32), y


def models(world, x, y) -> tuple:
    from mpiopt.training.torch.model import TorchModel

    bounds = even(len(y), WORKERS)
    return tuple(TorchModel(normed, Dense(x[bounds[w] : bounds[w + 1]], y[bounds[w] : bounds[w + 1]])) for w in world.hosted)


def team_of(world) -> Team:
    own = models(world, *rows(ROWS))
    samples = [Batches(model.rows, 8, Streams(0), w) for model, w in zip(own, world.hosted, strict=True)]
    return Team.of(world, own, Zero(), 0, samples)


def started(team: Team) -> np.ndarray:
    starts = [site.loss.initial(Streams(0)("start")) for site in team.sites]  # of each: it sets what models keep beside x
    return starts[0]


def method_of(name: str):
    known = {
        "rule": rules.momentum(0.02),
        "lr": Constant(0.02),
        "workers": WORKERS,
        "period": 3,
        "meeting": 6,
        "groups": 1,
        "total_steps": 18,
        "clients": Clients(2),
    }
    entry = find(name, training())
    return entry.make(**{key: value for key, value in known.items() if key in entry.parameters})


def plainly(module, x, buffers, inputs, y) -> tuple[float, float]:
    """Loss and accuracy of a module of torch that is filled from its flat vector and from its buffers by name."""
    trained = [p for p in module.parameters() if p.requires_grad]
    torch.nn.utils.vector_to_parameters(torch.tensor(x), trained)
    found = module.load_state_dict({name: torch.tensor(array) for name, array in buffers.items()}, strict=False)
    assert not found.unexpected_keys and {*found.missing_keys} == {n for n, p in module.named_parameters() if p.requires_grad}
    with torch.inference_mode():
        z, y = module.eval()(torch.tensor(inputs)), torch.tensor(y)
        return torch.nn.functional.cross_entropy(z, y).item(), (z.argmax(1) == y).double().mean().item()


# ---------------------------------------------------------------------------------------------- every method
@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", sorted(GENERAL))
def test_the_answer_of_every_method_is_what_is_recorded(worlds, shared_tmp, name):
    """Also after a checkpoint, out of which it comes as it went in."""
    world = worlds(workers=WORKERS)
    team, held_out, method = team_of(world), rows(HELD_OUT, 1), method_of(name)
    exam = Exam(models(world, *held_out))
    store = Store(shared_tmp / f"{name}.h5", world, "run")
    found = train(method, team, started(team), Goal(rounds=4), exam, keep=[lambda at, _: store.save(at, {}, team)])
    assert list(found.buffers) == ["1.running_mean", "1.running_var", "1.num_batches_tracked", "0.bias"]
    assert len(set(world.tell_all(b"".join(a.tobytes() for a in (found.x, *found.buffers.values()))))) == 1
    torch.manual_seed(9)  # another start: all must come out of the answer
    loss, accuracy = plainly(normed(), found.x, found.buffers, *held_out)
    for told in (found, found.final):
        assert (told.test_loss, told.accuracy) == pytest.approx((loss, accuracy), rel=1e-6)
    again, fresh = Store(store.path, world, ""), team_of(world)
    [site.loss.initial(Streams(1)("start")) for site in fresh.sites]
    later = train(method, fresh, again.load(again.find(), fresh), Goal(rounds=4), exam)
    np.testing.assert_array_equal(later.x, found.x)
    for kept, array in found.buffers.items():
        np.testing.assert_array_equal(later.buffers[kept], array)


@pytest.mark.ranks(1, 2)
def test_statistics_of_unlike_workers_are_those_of_all_rows(worlds):
    world = worlds(workers=WORKERS)
    team, (x, _) = team_of(world), rows(ROWS)
    start = started(team)
    fresh = {name: array.copy() for name, array in team.sites[0].loss.buffers.items()}
    same = agreed(team, start)  # nobody has made a step: to the last bit what all have
    assert all(np.array_equal(same[name], fresh[name]) for name in fresh)
    train(method_of("local_sgd"), team, start, Goal(rounds=2))
    before = [site.loss.buffers for site in team.sites]
    found = agreed(team, start)
    hidden = x @ start[:24].reshape(8, 3).T + fresh["0.bias"]
    np.testing.assert_allclose(found["1.running_mean"], hidden.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["1.running_var"], hidden.var(axis=0), rtol=0.05)  # but for the workers' n - 1
    np.testing.assert_array_equal(found["0.bias"], fresh["0.bias"])
    assert found["1.num_batches_tracked"].dtype == np.int64
    for site, kept in zip(team.sites, before, strict=True):
        assert all(np.array_equal(site.loss.buffers[name], kept[name]) for name in kept)


# ---------------------------------------------------------------------------------------------- what is drawn at random
@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("name", ["sgd", "local_sgd", "lsgd", "fedavg"])
def test_dropout_is_the_same_on_any_ranks_and_after_any_stop(comm, worlds, shared_tmp, name):
    """It follows from seed, worker and step, not from what torch's generator has done before."""
    finals, fixed = [], {"workers": WORKERS, "deterministic": True}
    for world in (worlds(**fixed), World(comm.Split(comm.rank), **fixed)):
        torch.manual_seed(comm.rank + 3)
        team, method = team_of(world), method_of(name)
        finals.append(train(method, team, started(team), Goal(rounds=5)))
        if world.size == comm.size:
            store = Store(shared_tmp / f"{name}.h5", world, "run")
            train(method, team, started(team), Goal(rounds=2), keep=[lambda at, _, s=store, t=team: s.save(at, {}, t)])
            again, fresh = Store(store.path, world, ""), team_of(world)
            torch.manual_seed(comm.rank + 5)
            finals.append(train(method, fresh, again.load(again.find(), fresh), Goal(rounds=5)))
    for found in finals[1:]:
        np.testing.assert_array_equal(found.x, finals[0].x)
        assert all(np.array_equal(found.buffers[name], array) for name, array in finals[0].buffers.items())


# ---------------------------------------------------------------------------------------------- every model, as a job
@pytest.fixture
def pictures(world, shared_tmp) -> dict[str, Path]:
    """Pictures of four brightnesses, sorted, and others to be examined on."""
    found = {}
    for name, count, seed in (("train", 80, 0), ("test", 30, 1)):
        rng = np.random.default_rng(seed)
        y = np.sort(np.arange(count) % 4).astype(np.uint8)
        x = (rng.integers(0, 90, (count, 16, 16)) + 50 * y[:, None, None]).astype(np.uint8)
        if world.rank == 0:
            npz(shared_tmp / f"{name}.npz", x=x, y=y)
        world.barrier()
        found[name] = shared_tmp / f"{name}.h5"
        convert_dense(world, scan([shared_tmp / f"{name}.npz"]), found[name], ImageOptions(shuffle=None))
        found[f"{name} rows"] = (x / np.float32(255)).astype(np.float32), y.astype(np.int64)
    return found


def flat(*widths: int):
    """The perceptron as torch has it; ours keeps its matrices the other way round."""
    nn = torch.nn
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def turned(x: np.ndarray, module) -> np.ndarray:
    at, parts = 0, []
    for p in module.parameters():
        part = x[at : (at := at + p.numel())]
        parts.append(part.reshape(p.shape[::-1]).T.ravel() if p.ndim == 2 else part)
    return np.concatenate(parts)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("model", ["softmax", "mlp:8", "cnn", "resnet20"])
def test_the_run_file_holds_the_model_that_it_tells_of(worlds, shared_tmp, pictures, model):
    from mpiopt.training.torch.networks import resnet20, small_cnn

    made = {
        "softmax": lambda: flat(256, 4),
        "mlp:8": lambda: flat(256, 8, 4),
        "cnn": lambda: small_cnn((16, 16), 4),
        "resnet20": lambda: resnet20((16, 16), 4),
    }
    out, world = shared_tmp / "run.h5", worlds(workers=4)
    job = Train(
        data=str(pictures["train"]),
        test=str(pictures["test"]),
        model=model,
        batch=5,
        lr=0.02,
        epochs=1,
        out=out,
        workers=4,
        overwrite=True,
        set=(("period", 2),),
        checkpoint=shared_tmp / "kept.h5",
        every_rounds=1,
        resume="never",
    )
    found = run(job, world, Console(first=False))
    (x, _), told = read_solution(out), read_run(out).attributes
    module = made[model]()
    x = x if model in ("cnn", "resnet20") else turned(x, module)
    loss, accuracy = plainly(module, x, read_buffers(out), *pictures["test rows"])
    assert (told["test_loss"], told["accuracy"]) == pytest.approx((loss, accuracy), rel=1e-6)
    again = run(
        Train(
            **{**vars(job), "from_": out, "out": None, "rounds": 1, "checkpoint": None, "every_rounds": None, "resume": "auto"}
        ),
        world,
        Console(first=False),
    )
    first = [again["history"][name][0] for name in ("test_loss", "accuracy")]  # before the first step
    assert first == pytest.approx((loss, accuracy), rel=1e-6) and found["accuracy"] == accuracy


@pytest.mark.ranks(2)
def test_a_start_with_what_another_model_keeps_is_refused(worlds, shared_tmp):
    from mpiopt.io.runs.run_file import RunFile

    world = worlds(workers=2)
    if world.rank == 0:
        with RunFile(shared_tmp / "r.h5", {"method": "sgd"}) as file:
            file.finish(np.zeros(15, np.float32), 0.0, {"reason": "EPOCHS"}, {"1.running_mean": np.zeros(5)})
    world.barrier()
    with pytest.raises(UsageError, match=r"1.running_mean was kept beside x, and this model keeps nothing"):
        run(
            Train(data="blobs:rows=40,features=4", model="softmax", batch=5, workers=2, from_=shared_tmp / "r.h5"),
            world,
            Console(first=False),
        )
