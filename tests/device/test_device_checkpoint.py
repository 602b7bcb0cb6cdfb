"""Checkpoints of runs on the GPU: arrays that were on the card come back there, and the run goes on bit for bit."""

import json

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.io.runs.state_tree import alike, flatten, unflatten
from mpiopt.jobs.running.gpu_solving import METHODS
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point, Team
from tests.device.test_device_solve import losses, program

AT, END = 3, 6  # the round after which it stops, and the last


@pytest.fixture
def fresh():
    """Worlds of two workers that have sent nothing yet."""
    made = []
    yield lambda: made.append(World(workers=2)) or made[-1]
    for world in made:
        world.free()


def again(tree):
    flat = flatten(tree)
    index = json.loads(json.dumps([flat.tree, flat.parts]))
    return unflatten(index[0], flat.arrays, index[1], flat.own)


def test_arrays_come_back_where_they_were(xp):
    x, y, rows, none = xp.asarray([1.0, 2.0]), xp.asarray(np.float32([3, 4])), np.arange(3), xp.zeros(0)
    whole = xp.asarray(np.arange(6.0))
    tree = (x, rows, (y, x, none), whole[2:4], whole[2:4], whole[3:5], 2.5, xp.asarray(7.0))
    found = again(tree)
    for ours, theirs in zip((found[0], *found[2], *found[3:6], found[7]), (x, y, x, none, *tree[3:6], tree[7]), strict=True):
        assert isinstance(ours, xp.ndarray) and ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert np.array_equal(ours.get(), theirs.get())
    assert isinstance(found[1], np.ndarray) and found[6] == 2.5
    assert found[0] is found[2][1] and found[3] is found[4] and found[3] is not found[5]


def test_what_workers_share_stays_one_array(xp):
    shared, common = xp.asarray([1.0, 2.0]), xp.asarray([5.0])
    tree = (common, PerWorker(Point(shared, xp.asarray([float(worker)]), gradient=common) for worker in range(3)))
    flat = flatten(tree)
    assert len({id(mine["run/1/x"]) for mine in flat.own}) == 1 and alike(flat, several=True) == ["run/1/x"]
    found = again(tree)
    assert all(at.x is found[1][0].x and at.gradient is found[0] for at in found[1])
    assert [at.margins.item() for at in found[1]] == [0, 1, 2]


def test_without_a_card_one_sentence(xp, monkeypatch):
    flat = flatten((xp.ones(2),))
    monkeypatch.setattr("mpiopt.io.runs.state_tree.library", library_missing)
    with pytest.raises(UsageError, match="no usable"):
        unflatten(flat.tree, flat.arrays, flat.parts, flat.own)


def library_missing():
    raise UsageError("no usable GPU")


def same(found, expected):
    """Everything but the clock, bit for bit."""
    assert np.array_equal(found.x.get(), expected.x.get()) and found.certificate == expected.certificate
    ours, theirs = flatten(found.run), flatten(expected.run)
    assert (ours.tree, ours.parts) == (theirs.tree, theirs.parts)
    for mine, other in zip([ours.arrays, *ours.own], [theirs.arrays, *theirs.own], strict=True):
        assert list(mine) == list(other)
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name], name)
    assert [record._replace(seconds=0) for record in found.history] == [
        record._replace(seconds=0) for record in expected.history
    ]


@pytest.mark.parametrize(
    "name", [name if name in ("spcg", "lbfgs", "ef21") else pytest.param(name, marks=pytest.mark.study) for name in METHODS]
)
def test_it_goes_on_bit_for_bit(fresh, xp, tmp_path, name):
    path, made = tmp_path / "c.h5", losses(Logistic(), intercept=True, workers=2)
    method = find(name).make()

    def team():
        return Team.of(fresh(), [loss.on_device() for loss in made], ElasticNet(0, 1e-2, free=1))

    straight = solve(method, team(), xp.zeros(made[0].dim), Stop(rounds=END))
    first = team()
    store = Store(path, first.world, "run")
    solve(method, first, xp.zeros(made[0].dim), Stop(rounds=AT), keep=[lambda at, _: store.save(at, {}, first)])
    then = team()
    store = Store(path, then.world, "")
    same(solve(method, then, store.load(store.find(), then), Stop(rounds=END)), straight)


JOB = (
    "solve",
    "rcv1:rows=120,cols=50,per_row=8",
    "--l2",
    "1e-2",
    "--intercept",
    "--method",
    "dane",
    "--compress",
    "topk:0.3",
    "--error-feedback",
    "--gap-tol",
    "0",
    "--overwrite",
)


def test_the_job_goes_on_and_not_on_the_other_device(launch, tmp_path):
    kept = (*JOB, "--checkpoint", "c.h5", "--out", "a.h5")
    done = launch(2, program(*kept, "--device", "gpu", "--rounds", "3"), timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if "skipped" in done.stdout:
        pytest.skip("there is no g++ to compile the kernels for the CPU with")
    done = launch(None, program(*kept, "--rounds", "6", "--workers", "2"), timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and "device was gpu and is not given" in " ".join(done.stderr.split())
    for more in ((*kept, "--resume", "must"), (*JOB, "--out", "b.h5")):
        done = launch(2, program(*more, "--device", "gpu", "--rounds", "6"), timeout=120, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    a, b = (read_run(tmp_path / name).history for name in ("a.h5", "b.h5"))
    assert np.array_equal(a["objective"], b["objective"]) and len(a["objective"]) == 7
    for ours, theirs in zip(read_solution(tmp_path / "a.h5"), read_solution(tmp_path / "b.h5"), strict=True):
        assert np.array_equal(ours, theirs)
