"""Decentralised methods, games, samplings, sketches, parts of networks and certificates on 2 and on 4 ranks.

Six workers, more than there are ranks: where there is a graph, they are its nodes. A job that is killed on two ranks, goes on
on four, is killed there and goes on on two ends as one that was left alone on four, bit for bit.
"""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs import play, score, solve, train
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.play_options import Play
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from tests.fuse import Fuse, Killed

WORKERS = 6
OF_RANKS = {"seconds", "bytes_sent", "messages", "vector_rounds"}  # columns that depend on ranks, or on clocks
RUNS = {Solve: solve.run, Train: train.run, Play: play.run}

CHANGING = {"graph": "geometric:radius=0.6,seed=1", "graph_every": 1}
FIT = Solve(data="rcv1:rows=240,cols=60,per_row=8,seed=3", l2=1e-2, rounds=20, gap_tol=0.0)
MODEL = Train(data="blobs:rows=240,features=5", model="mlp:12", batch=8, epochs=3.0, rule="sgd", lr=0.05, examine=0.5)
NETWORK = replace(MODEL, model="tests.study.test_systems_on_ranks:network")
GAME = Play(game="quadratic:dim=4,samples=25", rounds=12, record=1, residual_tol=0.0)

SOLVES = {
    "dgd": CHANGING,
    "choco": {"graph": "torus", "set": (("compress", "topk:0.2"),)},
    "choco shrunk": {"graph": "star", "set": (("compress", "shrunk:qsgd:bits=4"),)},
    "adom": CHANGING,
    "adom times": {"graph": "path", "set": (("times", 3),)},
    "adom_plus": CHANGING | {"set": (("times", 2),)},
    "diging": CHANGING,
    "extra": {"graph": "erdos_renyi:0.5,seed=2"},
    "d2": {"graph": "exponential"},
    "sgd_as": {"set": (("sampling", "nice:4"),)},
    "sgd_as importance": {"set": (("sampling", "single:importance"),)},
    "sgd_as independent": {"set": (("sampling", "independent:count=5"),)},
    "sgd_as partition": {"set": (("sampling", "partition:blocks=4"),)},
}
TRAININGS = {
    "d_psgd": CHANGING,
    "gt_sgd": CHANGING,
    "d2_sgd": {"graph": "ring"},
    "choco_sgd": {"graph": "ring", "set": (("compress", "qsgd:bits=4"), ("period", 2))},
    "sgp": {"graph": "directed_ring"},
    "sgp arrows": {"graph": "arrows:probability=0.4", "graph_every": 1},
    "noloco": {"set": (("period", 2),)},
    "mast": {"set": (("sketch", "randk:0.5"),)},
    "mast permk": {"set": (("sketch", "permk"), ("shift", "start"))},
    "mast bernoulli": {"set": (("sketch", "bernoulli:0.5"),)},
    "mast_vr": {"set": (("parts", 3),)},
    "ist": {"set": (("period", 2),)},
    "ist dead": {"set": (("period", 2),), "dead": (3,)},
    "model_parallel": {},
    "robust_sgd": {"set": (("aggregate", "median"),)},
    "robust_sgd clipped": {"set": (("aggregate", "clipped:radius=1"),)},
    "rounded_sgd": {"set": (("model_bits", 3),)},
    "ri_sgd": {"set": (("period", 1),), "redundancy": 2, "dead": (1,), "batch": "8,16,8,16,8,16"},
    "sgd sampling": {"sampling": "independent:count=8"},
    "fedavg certified": {"set": (("period", 2),), "noise": "gaussian:0.3", "split": "dirichlet:0.3", "clients": 4},
    "local_only certified": {"set": (("period", 2),), "noise": "gaussian:0.3", "split": "classes:2"},
}
NETWORKS = {"ist": {"set": (("period", 2),)}, "noloco": {"set": (("period", 2),)}, "d_psgd": CHANGING}
GAMES = {
    "extragradient": {"sampling": "nice:2"},
    "extragradient bilinear": {"game": "bilinear:dim=4,samples=25", "sampling": "single", "draws": "shared"},
    "extragradient importance": {"sampling": "single:importance"},
    "extragradient matrix": {"game": "matrix:rows=4,columns=5,samples=13", "set": (("momentum", -0.2),)},
    "extragradient gan": {"game": "gan:samples=64", "sampling": "nice:4", "set": (("gamma", 0.05),)},
    "mirror_prox": {"sampling": "independent:count=2"},
    "optimistic": {},
    "simultaneous": {"game": "robust:samples=30,features=4", "sampling": "partition:blocks=2"},
    "alternating": {"sampling": "nice:2"},
    "local_extragradient": {"sampling": "nice:2", "set": (("period", 3),)},
}


def network():
    """A network of torch whose dense layers can be divided."""
    from torch import nn

    return nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))


def jobs() -> dict:
    """All, by kind and name."""
    tables = (("solve", FIT, SOLVES), ("train", MODEL, TRAININGS), ("torch", NETWORK, NETWORKS), ("play", GAME, GAMES))
    return {
        f"{kind} {name}": replace(base, method=name.split()[0], **more)
        for kind, base, table in tables
        for name, more in table.items()
    }


class Crew(NamedTuple):
    """The first ranks of a launch, and where they write. None of what follows is collective among others."""

    world: World | None  # None on ranks that are not among them
    folder: Path

    def run(self, job, name: str, fuse: Fuse) -> dict | None:
        """What becomes of a job that is kept; None where the fuse has ended it, and on ranks that are not among them."""
        if self.world is None:
            return None
        kept = replace(job, out=self.folder / f"{name}.h5", checkpoint=self.folder / f"{name}.cp.h5", every_rounds=1)
        self.world.watches.append(fuse)
        try:
            return RUNS[type(job)](kept, self.world, Console(first=False))
        except Killed:
            return None
        finally:
            self.world.watches.remove(fuse)


@contextmanager
def crews(comm, folder: Path):
    """Two ranks, and all."""
    pair = comm.Split(int(comm.rank >= 2))
    two, all_of_them = (World(each, workers=WORKERS, deterministic=True) for each in (pair, comm))
    yield Crew(two if comm.rank < 2 else None, folder), Crew(all_of_them, folder)
    two.free()
    all_of_them.free()
    pair.Free()


def same(one: Path, other: Path) -> None:
    """That two run files have the same answer and the same history, but for what ranks cost."""
    whole, killed = read_run(one), read_run(other)
    np.testing.assert_array_equal(read_solution(other)[0], read_solution(one)[0])
    assert whole.history.keys() == killed.history.keys() and whole.attributes["reason"] == killed.attributes["reason"]
    for column in whole.history.keys() - OF_RANKS:
        np.testing.assert_array_equal(killed.history[column], whole.history[column], err_msg=column)
    assert whole.history["round"][-1] >= 3


@pytest.mark.study
@pytest.mark.ranks(4, limit=600)
@pytest.mark.parametrize("name", list(jobs()))
def test_two_and_four_ranks_end_alike_however_they_are_killed(comm, shared_tmp, name):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    job = jobs()[name]
    with crews(comm, shared_tmp) as (two, four):
        fuse = Fuse()
        four.run(job, "whole", fuse)
        for crew in (two, four):
            assert crew.run(job, "killed", Fuse(len(fuse.met) // 2)) is None
            comm.Barrier()
        found = two.run(job, "killed", Fuse())
        assert found is None or found["resumed_after"]
        comm.Barrier()
        if comm.rank == 0:
            same(shared_tmp / "whole.h5", shared_tmp / "killed.h5")


@pytest.mark.study
@pytest.mark.ranks(4, limit=600)
def test_certificates_are_the_same_on_two_and_on_four_ranks(comm, shared_tmp):
    rows = Path("blobs:rows=40,first=240,features=5")
    with crews(comm, shared_tmp) as (two, four):
        four.run(jobs()["train fedavg certified"], "run", Fuse())
        comm.Barrier()
        for crew, name in ((two, "two"), (four, "four")):
            if crew.world is not None:
                asked = score.Score(
                    files=(shared_tmp / "run.h5", rows), noise="gaussian:0.3", samples=200, out=shared_tmp / f"{name}.csv"
                )
                score.run(asked, crew.world, Console(first=False))
            comm.Barrier()
    told = [(shared_tmp / f"{name}.csv").read_text().splitlines() for name in ("two", "four")]
    assert told[0] == told[1] and len(told[0]) == 41
