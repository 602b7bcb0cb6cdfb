"""Agreements in fewer bytes on vectors of the GPU: what is agreed, left and remembered is what it is on the CPU."""

import json

import numpy as np
import pytest

from mpiopt.arrays import on_host
from mpiopt.comm.world import World
from mpiopt.compress.catalogue import find
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.engine.drive import solve
from mpiopt.engine.phase import Joint
from mpiopt.engine.stop import Stop
from mpiopt.errors import NumericalError
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.shifted import Shifted
from mpiopt.io.runs.state_tree import flatten
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find as method
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Message, Team
from tests.device.test_device_solve import losses, program
from tests.exchange_sets import AROUND, COMPRESSORS, DIM, said, team_of


@pytest.fixture
def team():
    world = World(workers=3)
    yield team_of(world)
    world.free()


def agreements(exchange, team, place, kind):
    """What is agreed and left in three rounds, and the last state."""
    state, found = exchange.init(place(np.zeros(DIM, kind)), team), []
    for k in range(3):
        spoken = [said(worker, k, kind) for worker in team.world.hosted]
        messages = [Message(place(vector), scalars) for vector, scalars in spoken]
        agreed, residual, state = exchange(messages, state, Joint(team, k))
        found.append((agreed, residual))
    return found, state


def same(exchange, team, xp, kind=np.float64):
    """Vectors are on the card, as are those of the state, and have the values of the CPU."""
    cpu, gpu = (agreements(exchange, team, place, kind) for place in (np.asarray, xp.asarray))
    close = {"rtol": 0, "atol": 1e-12 if kind is np.float64 else 1e-5}
    for (theirs, left), (ours, rest) in zip(cpu[0], gpu[0], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert isinstance(ours.vector, xp.ndarray) and isinstance(ours.scalars, np.ndarray)
            assert ours.vector.dtype == theirs.vector.dtype
            np.testing.assert_allclose(ours.vector.get(), theirs.vector, **close)
            np.testing.assert_allclose(ours.scalars, theirs.scalars, **close)
        for a, b in zip(rest, left, strict=True):
            assert isinstance(a, xp.ndarray) or not np.any(a)
            np.testing.assert_allclose(a if np.isscalar(a) else on_host(a), b, **close)
    ours, theirs = flatten(gpu[1]), flatten(cpu[1])
    marks = json.dumps([ours.tree, ours.parts]).count('"gpu"')
    kept = [(a, b) for a, b in zip([ours.arrays, *ours.own], [theirs.arrays, *theirs.own], strict=True)]
    assert marks >= sum(array.size == DIM for mine, _ in kept for array in mine.values())
    for mine, other in kept:
        assert list(mine) == list(other)
        for name in mine:
            np.testing.assert_allclose(mine[name], other[name], **close)


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.parametrize("text", ["topk:0.2", "natural"])
def test_whatever_is_around_a_compressor(xp, team, name, text):
    same(AROUND[name](Compressed(find(text))), team, xp)


@pytest.mark.parametrize("text", COMPRESSORS)
def test_every_compressor_with_a_memory(xp, team, text):
    same(AROUND["ef"](Compressed(find(text))), team, xp, np.float32 if "bf16" in text else np.float64)


@pytest.mark.parametrize("name", ["ef", "two-way", "saved-up"])
def test_low_rank_and_votes(xp, team, name):
    same(AROUND[name](LowRank(PowerSgd(1))), team, xp)
    same(Vote(), team, xp)


@pytest.mark.parametrize(
    "exchange",
    [
        Compressed(find("topk:0.2")),
        Compressed(find("identity")),
        LowRank(PowerSgd(1)),
        Shifted(Compressed(find("qsgd:4")), 0.5),
        Vote(),
    ],
)
def test_broken_vectors_end_in_an_error_that_all_ranks_know(xp, team, exchange):
    messages = [Message(xp.asarray(said(worker, 0).vector), np.zeros(1)) for worker in team.world.hosted]
    messages[1].vector[7] = np.nan
    with pytest.raises(NumericalError, match="not finite"):
        exchange(messages, exchange.init(xp.zeros(DIM), team), Joint(team, 0))


@pytest.mark.parametrize("name", ["dcgd", "ef", "ef21", "diana", "rand_diana", "marina", "gdci", "vr_gdci"])
def test_methods_that_compress_go_the_same_way(xp, name):
    """With the steps that theory finds by products with the Hessian."""
    world, made, found = World(workers=2), losses(Logistic(), intercept=True, workers=2), []
    for part in (made, [loss.on_device() for loss in made]):
        team = Team.of(world, part, ElasticNet(0, 1e-2, free=1))
        x = np.zeros(team.dim) if part is made else xp.zeros(team.dim)
        found.append(solve(method(name).make(), team, x, Stop(rounds=8)))
    world.free()
    cpu, gpu = found
    assert isinstance(gpu.x, xp.ndarray) and gpu.final.round == cpu.final.round == 8
    np.testing.assert_allclose(gpu.x.get(), cpu.x, rtol=0, atol=1e-13)
    assert gpu.certificate.objective < np.log(2)


LINKS = {
    "plain": ("--method", "spcg", "--compress", "natural"),
    "ef": ("--method", "dane", "--compress", "topk:0.3", "--error-feedback"),
    "ef21": ("--method", "ef21", "--set", "compress=topk:0.2", "--set", "gamma=0.5"),
    "diana": ("--method", "diana", "--set", "compress=qsgd:bits=4", "--set", "gamma=0.3"),
}


@pytest.mark.parametrize("link", [link if link == "ef" else pytest.param(link, marks=pytest.mark.study) for link in LINKS])
def test_the_job(launch, link):
    """The whole program on two ranks, each with a stand-in of a card, compared with the CPU by itself."""
    given = ("solve", "rcv1:rows=120,cols=50,per_row=8", "--l2", "1e-2", "--rounds", "6", "--gap-tol", "0", "--device", "gpu")
    done = launch(2, program(*given, *LINKS[link], "--check-against", "cpu", "--json"), timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "skipped" not in found:
        assert found["device"] == "gpu" and found["rounds"] == 6 and found["check"]["F at the end"]["apart"] < 1e-12
