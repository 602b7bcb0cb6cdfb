"""Modules of torch with their parameters, points and gradients on the GPU: what they do on the CPU."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from mpiopt.arrays import on_host
from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.estimators.train import train
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.convert import Convert
from mpiopt.jobs.convert import run as convert
from mpiopt.jobs.running.training import training
from mpiopt.jobs.train import complete
from mpiopt.problems.examples import Dense, Tokens
from mpiopt.problems.problem import Point

torch = pytest.importorskip("torch")
nn = torch.nn

from mpiopt.training.torch import memory  # noqa: E402
from mpiopt.training.torch.gpt import gpt, next_token  # noqa: E402
from mpiopt.training.torch.model import TorchModel  # noqa: E402
from mpiopt.training.torch.networks import resnet20, small_cnn  # noqa: E402

SHAPE = (16, 16, 3)


@pytest.fixture
def card(xp, monkeypatch):
    """The card's memory, or the stand-in's, which tensors of the CPU share."""
    if hasattr(xp.ndarray, "data"):
        return memory.CardMemory()

    class EmulatedCard(memory.HostMemory):
        def array(self, tensor):
            return xp.ndarray(tensor.numpy())

        def put(self, array):
            return xp.asarray(array)

    monkeypatch.setattr(memory, "CardMemory", EmulatedCard)
    return EmulatedCard()


def pictures(rows=12):
    rng = np.random.default_rng(0)
    return Dense(rng.random((rows, *SHAPE)).astype(np.float32), rng.integers(0, 3, rows))


def text(rows=12):
    return Tokens(np.random.default_rng(0).integers(0, 11, (rows, 9)).astype(np.uint8))


def normed():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3))


MODELS = {
    "cnn": lambda **more: TorchModel(lambda: small_cnn(SHAPE, 3), pictures(), **more),
    "resnet20": lambda **more: TorchModel(lambda: resnet20(SHAPE, 3), pictures(), **more),
    "gpt": lambda **more: TorchModel(lambda: gpt(11, 8, layers=1, width=16, heads=2), text(), next_token, **more),
    "normed": lambda **more: TorchModel(normed, pictures(), **more),
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_values_gradients_and_scores_are_the_cpus(card, xp, name, bf16):
    cpu, gpu = MODELS[name](bf16=bf16), MODELS[name](bf16=bf16, memory=card)
    tolerance = 1e-4 if not bf16 else 0.05
    x = cpu.initial(np.random.default_rng(1))
    assert isinstance(gpu.x, xp.ndarray) and isinstance(gpu.initial(np.random.default_rng(1)), np.ndarray)
    on, rows = xp.asarray(x), np.array([4, 0, 11, 4])
    if name == "normed" and card.place != "cpu":
        rows = None  # a card draws other neurons to drop
        cpu.module[4].p = gpu.module[4].p = 0.0
    theirs, ours = cpu.value_grad(Point(x), rows), gpu.value_grad(Point(on), rows)
    assert isinstance(ours[0], float) and isinstance(ours[1], xp.ndarray)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=tolerance)
    np.testing.assert_allclose(on_host(ours[1]), theirs[1], atol=tolerance * abs(theirs[1]).max())
    theirs, ours = cpu.evaluate(x), gpu.evaluate(on)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=tolerance)
    for name_, buffer in gpu.buffers.items():
        assert isinstance(buffer, np.ndarray)
        np.testing.assert_allclose(buffer, cpu.buffers[name_], rtol=tolerance, atol=tolerance)


def test_a_point_in_the_models_memory_is_not_copied_and_any_other_is(card, xp):
    model = MODELS["gpt"](memory=card)
    other = xp.asarray(np.full(model.dim, 0.25, np.float32))
    model.evaluate(other)
    assert all((p == 0.25).all() for p in model.module.parameters())
    model.x[:] = 0.5
    model.evaluate(model.x)
    assert all((p == 0.5).all() for p in model.module.parameters())
    with pytest.raises(UsageError, match="is it another model's"):
        model.evaluate(other[:3])


def test_statistics_are_settled_and_put_back(card):
    cpu, gpu = MODELS["normed"](), MODELS["normed"](memory=card)
    theirs, ours = cpu.settled(cpu.x), gpu.settled(gpu.x)
    for name, buffer in theirs.items():
        np.testing.assert_allclose(ours[name], buffer, rtol=1e-4, atol=1e-5)
    gpu.restore(ours)
    for name, buffer in gpu.buffers.items():
        np.testing.assert_array_equal(buffer, ours[name])


def test_a_part_of_a_network_is_the_cpus(card, xp):
    kept, found = [np.array([4, 1, 2])], []
    for more in ({}, {"memory": card}):
        model = MODELS["normed"](**more)
        part = model.part(kept, 5 / 3)
        part.loss.module[4].p = 0.0
        x = on_host(model.x)[part.places]
        value, gradient = part.loss.value_grad(Point(xp.asarray(x) if more else x))
        part.returned()
        found.append((value, on_host(gradient), model.buffers["2.running_mean"]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_torch_without_a_gpu_is_one_sentence(xp, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no usable GPU here, though CuPy does"):
        memory.CardMemory()


# ---------------------------------------------------------------------------------------------- jobs
@pytest.fixture
def job(world, shared_tmp):
    """A short training of the transformer on a small text."""
    if world.rank == 0:
        (shared_tmp / "a.txt").write_text("".join(np.random.default_rng(0).choice(list("abc de"), 900)))
    world.barrier()
    convert(
        Convert((shared_tmp / "a.txt", shared_tmp / "a.h5"), tokens="characters", block=8),
        world,
        Console(first=False),
    )
    return Train(
        data=str(shared_tmp / "a.h5"),
        test=str(shared_tmp / "a.h5"),
        model="gpt:layers=1,width=16,heads=2",
        rule="adamw",
        lr=0.01,
        batch=2,
        epochs=1.0,
        record=0.1,
        examine=0.5,
    )


def told(job: Train, world: World, out):
    training(complete(replace(job, out=out)), world, Console(first=False))
    return read_run(out).history, read_solution(out)[0]


WAYS = {
    "plain": {"method": "sgd"},
    "seldom": {"method": "diloco", "set": (("period", 3),)},
    "compressed": {"method": "sgd", "compress": "topk:0.1", "error_feedback": True},
}


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("way", WAYS)
def test_the_job_is_that_of_the_cpu(worlds, card, job, shared_tmp, way):
    job, found = replace(job, **WAYS[way]), []
    for kind in ("cpu", "gpu"):
        found.append(told(replace(job, device=kind), worlds(workers=2), shared_tmp / f"{kind}.h5"))
    (theirs, x), (ours, y) = found
    for column in ("objective", "test_loss"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-4)
    np.testing.assert_allclose(y, x, atol=1e-2)  # a gradient that is rounding alone moves Adam too


@pytest.mark.ranks(1)
def test_a_checkpoint_goes_on(worlds, card, job, shared_tmp):
    job = replace(job, device="gpu", **WAYS["seldom"])
    _, whole = told(job, worlds(workers=2), shared_tmp / "whole.h5")
    kept = replace(job, checkpoint=shared_tmp / "kept")
    told(replace(kept, rounds=6), worlds(workers=2), shared_tmp / "half.h5")
    _, after = told(kept, worlds(workers=2), shared_tmp / "after.h5")
    np.testing.assert_allclose(after, whole, atol=0 if card.place == "cpu" else 1e-3)


@pytest.mark.ranks(1, 2)
def test_from_python(card, world, shared_tmp):
    """Trained in two calls, the second going on from the first's checkpoint; the caller's module stays on the CPU."""
    found, rows, start = [], pictures(16), nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    for kind in ("cpu", "gpu"):
        module = deepcopy(start)
        given = {"method": "local_sgd", "period": 2, "lr": 0.05, "batch": 4, "world": world, "device": kind}
        for epochs in (1.0, 2.0):
            out = train(module, (rows.x, rows.y), checkpoint=shared_tmp / kind, epochs=epochs, test=(rows.x, rows.y), **given)
        found.append(np.concatenate([p.detach().numpy().ravel() for p in module.parameters()]))
        assert isinstance(out.x, np.ndarray) and out.final.epoch == 2
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="`device=tpu`: give cpu or gpu"):
        train(module, (rows.x, rows.y), device="tpu", world=world)
