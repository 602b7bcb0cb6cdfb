"""Whole solves with rows, margins and iterates on the GPU: the rounds and the answer are those of the CPU."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mpiopt.arrays import on_host
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.jobs.running.gpu_solving import METHODS
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.methods.compression import ENTRIES as COMPRESSION
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.work.dual import DualAscent

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world():
    made = World()
    yield made
    made.free()


def losses(family, intercept=False, weighted=False, rows=150, workers=1):
    source = from_spec(f"rcv1:rows={rows},cols=90,per_row=10")
    bounds = np.linspace(0, rows, workers + 1).astype(int)
    out = []
    for lo, hi in pairwise(bounds):
        matrix, y, *_ = source.read(int(lo), int(hi))
        weights = np.random.default_rng(0).uniform(0.5, 2, hi - lo) if weighted else np.empty(0)
        out.append(Linear(matrix, y, family, weights, intercept))
    return out


def both(world, xp, name, made, penalty, stop, **given):
    found = []
    for part in (made, [loss.on_device() for loss in made]):
        team = Team.of(world, part, penalty)
        x = np.zeros(team.dim) if part is made else xp.zeros(team.dim)
        found.append(solve(find(name).make(**given), team, x, stop))
    return found


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("spcg", "tron") else pytest.param(name, marks=pytest.mark.study)
        for name in METHODS
        if name not in {entry.name for entry in COMPRESSION}
    ],
)
def test_methods_go_the_same_way(world, xp, name):
    cpu, gpu = both(world, xp, name, losses(Logistic()), ElasticNet(0, 1e-2), Stop(rounds=12, gap=1e-11))
    assert isinstance(gpu.x, xp.ndarray)
    # the world counts both solves
    assert gpu.final.round == cpu.final.round and gpu.final.vector_rounds == 2 * cpu.final.vector_rounds
    assert abs(gpu.certificate.objective - cpu.certificate.objective) <= 1e-12 * abs(cpu.certificate.objective)
    np.testing.assert_allclose(gpu.x.get(), cpu.x, atol=1e-7)


@pytest.mark.parametrize("family", [Logistic(), LeastSquares()])
@pytest.mark.parametrize(("name", "l1"), [("spcg", 0.0), ("tron", 0.0), ("prox_gradient", 1e-3), ("fista", 1e-3)])
def test_intercepts_weights_and_l1(world, xp, family, name, l1):
    given = {"active_set": False} if name == "fista" else {}
    made = losses(family, intercept=True, weighted=True)
    cpu, gpu = both(world, xp, name, made, ElasticNet(l1, 1e-2, free=1), Stop(rounds=10), **given)
    np.testing.assert_allclose(gpu.certificate.objective, cpu.certificate.objective, rtol=1e-12)
    np.testing.assert_allclose(gpu.certificate.gap, cpu.certificate.gap, rtol=1e-3, atol=1e-13)
    np.testing.assert_allclose(gpu.x.get(), cpu.x, atol=1e-8)


@pytest.mark.parametrize("name", ["spcg", "tron"])
def test_single_precision_vectors_end_near_the_optimum(world, xp, name):
    """Vectors of float32 halve the memory; F is then good to about 1e-6 relative."""
    made = losses(Logistic())
    cpu, _ = both(world, xp, name, made, ElasticNet(0, 1e-2), Stop(rounds=20, gap=1e-10))
    team = Team.of(world, [loss.on_device(np.float32) for loss in made], ElasticNet(0, 1e-2))
    gpu = solve(find(name).make(), team, xp.zeros(team.dim, np.float32), Stop(rounds=20, gradient=1e-5))
    assert gpu.x.dtype == np.float32
    np.testing.assert_allclose(gpu.certificate.objective, cpu.certificate.objective, rtol=1e-6)


def test_minibatches_and_scores(xp):
    (cpu,) = losses(Logistic(), intercept=True, weighted=True)
    gpu, rows = cpu.on_device(), np.array([3, 99, 3, 0])
    x = np.random.default_rng(0).normal(size=cpu.dim)
    on = xp.asarray(x)
    for chosen in (rows, None):
        ours, theirs = gpu.value_grad(gpu.point(on), chosen), cpu.value_grad(cpu.point(x), chosen)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-13)
        np.testing.assert_allclose(ours[1].get(), theirs[1], atol=1e-13)
        ours, theirs = gpu.evaluate(on, chosen), cpu.evaluate(x, chosen)
        assert ours.rows == theirs.rows and ours.correct == theirs.correct
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-13)
    assert gpu.radius == pytest.approx(cpu.radius, rel=1e-6) and gpu.weight == cpu.weight


def test_no_rows_at_all(xp):
    gpu = losses(Logistic(), rows=4)[0].head(0).on_device()
    value, slope = gpu.value_grad(gpu.point(xp.zeros(gpu.dim)))
    assert value == 0 and not on_host(slope).any() and gpu.radius == 0


def test_dual_descent_is_refused_in_a_sentence(world, xp):
    loss = losses(Logistic())[0].on_device()
    with pytest.raises(CapabilityError, match="a GPU does not: use the CPU, or spcg"):
        loss.dual_point(np.zeros(loss.rows), np.zeros(loss.dim), 1.0, 0.0)
    site = Team.of(world, [loss], ElasticNet(0, 1e-2)).sites[0]
    with pytest.raises(CapabilityError, match="a GPU does not: use the CPU, or spcg"):
        DualAscent().image(np.zeros(loss.rows), site)


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tests.device import standin
if standin.COMPILER is None:
    print('{{"skipped": true}}')
    sys.exit()
sys.modules["cupy"], sys.modules["cupyx"] = standin.module(), None
from mpiopt.jobs.launch import main
code = main({arguments!r})
sys.exit(code)
"""


def program(*arguments):
    return PROGRAM.format(root=str(ROOT), arguments=list(arguments))


@pytest.mark.parametrize(("size", "more"), [(1, ()), (2, ("--workers", "4", "--deterministic")), (3, ())])
def test_the_job_on_ranks(launch, size, more):
    """The whole program, every rank with a stand-in of a card, compared with the CPU by itself."""
    given = ("solve", "rcv1:rows=120,cols=50,per_row=8", "--l2", "1e-2", "--device", "gpu", "--check-against", "cpu", "--json")
    done = launch(size, program(*given, *more), timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "skipped" not in found:
        assert found["device"] == "gpu" and found["converged"] and found["check"]["F at the end"]["apart"] < 1e-8


def test_a_run_file_from_the_gpu(launch, tmp_path):
    given = ("solve", "rcv1:rows=120,cols=50,per_row=8", "--l2", "1e-2", "--intercept", "--device", "gpu")
    out = str(tmp_path / "a.h5")
    done = launch(None, program(*given, "--out", out, "--json"), timeout=120)
    assert done.returncode == 0, done.stderr
    if "skipped" in done.stdout:
        pytest.skip("there is no g++ to compile the kernels for the CPU with")
    done = launch(None, program(*given, "--from", out, "--json"), timeout=120)
    assert json.loads(done.stdout.strip().splitlines()[-1])["rounds"] == 0, done.stderr


def test_the_bench_measures(launch):
    """Every kernel and the solve; the numbers mean something on a card only."""
    small = "kdd2010:rows=300,cols=400,per_row=8"
    done = launch(None, program("bench", "gpu", "--data", small, "--l2", "1e-3", "--runs", "1", "--json"), timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "skipped" not in found:
        assert found["copy"] > 0 and len(found["kernels"]) == 16 and found["solve"]["rounds"] >= 1
        assert all(one["bytes"] > 0 and one["seconds"] > 0 for one in found["kernels"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "gpu", "--method", "cocoa"), "cocoa runs on the CPU only: with --device gpu use one of spcg"),
        (("--device", "gpu", "--method", "fista", "--l1", "1e-3"), "active_set=false"),
        (("--device", "gpu", "--l1", "1e-3"), "spcg with --l1 0.001 works on the CPU"),
        (("--check-against", "cpu"), "give --device gpu too"),
    ],
)
def test_what_the_gpu_does_not_do_is_said(launch, arguments, says):
    done = launch(
        None, ["-m", "mpiopt.jobs", "solve", "rcv1:rows=20,cols=20,per_row=3", *arguments], env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2 and says in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


SMALL = ["solve", "rcv1:rows=20,cols=20,per_row=3", "--device", "gpu"]


@pytest.mark.parametrize(("size", "arguments"), [(None, SMALL), (2, SMALL), (None, ["bench", "gpu"])])
def test_without_cupy_one_sentence(launch, size, arguments):
    hidden = f"import sys; sys.modules['cupy'] = None; sys.path.insert(0, {str(ROOT)!r})\n"
    hidden += f"from mpiopt.jobs.launch import main\nsys.exit(main({arguments!r}))"
    done = launch(size, hidden)
    assert done.returncode == 2 and done.stderr.count("pip install 'mpiopt[cuda13]'") == 1 and "Traceback" not in done.stderr
