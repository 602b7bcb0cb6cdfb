"""Methods without a centre as jobs: their history, and that they go on where they were ended, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.io.runs.run_file import read_run
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.solve import run as solve
from mpiopt.jobs.train import run as train

ROWS = "rcv1:rows=240,cols=60,per_row=8,seed=3"
COLUMNS = ("consensus", "gradients", "exchanges", "edge_bytes", "objective")
SOLVES = {"adom_plus": (("times", 2),), "d2": ()}


def fit(method: str, out, **more) -> Solve:
    """Six nodes, more than there are ranks."""
    given = {"set": SOLVES[method], "rounds": 6, "l2": 1e-2, "workers": 6} | more
    return Solve(data=ROWS, method=method, out=out, **given)


@pytest.mark.ranks(2)
def test_a_history_says_how_far_nodes_are_apart_and_what_they_said_and_a_run_goes_on_bit_for_bit(worlds, shared_tmp):
    told(worlds, shared_tmp, ["adom_plus"])


def told(worlds, shared_tmp, methods) -> None:
    """That the histories of runs are as they should be, and those of runs that were ended and went on the same."""
    quiet, world = Console(first=False), worlds(workers=6, deterministic=True)
    for method in methods:
        whole, part = shared_tmp / f"{method}.h5", shared_tmp / f"{method}-part.h5"
        solve(fit(method, whole), world, quiet)
        kept = fit(method, part, checkpoint=shared_tmp / f"{method}.cp.h5", rounds=3)
        solve(kept, world, quiet)
        again = solve(replace(kept, rounds=6), world, quiet)
        assert again["resumed_after"] == 3
        one, other = (read_run(path).history for path in (whole, part))
        for name in COLUMNS:
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{method} {name}")
        rounds, times = np.arange(7), dict(SOLVES[method]).get("times", 1)
        np.testing.assert_array_equal(one["gradients"], rounds)
        np.testing.assert_array_equal(one["exchanges"], times * rounds)
        vectors = 2 if method == "adom_plus" else 1
        assert one["edge_bytes"][0] == 0 and (one["edge_bytes"][1:] // (8 * 60 * vectors * times) == 1).all()
        assert one["consensus"][0] == 0 and (one["consensus"][2:] > 0).all()


@pytest.mark.study
@pytest.mark.ranks(4)
def test_it_does_on_four_ranks(worlds, shared_tmp):
    told(worlds, shared_tmp, SOLVES)


@pytest.mark.ranks(2)
def test_a_training_without_a_centre_says_it_too_and_goes_on_with_it(worlds, shared_tmp):
    job = Train(data="blobs:rows=240", batch=8, method="d2_sgd", set=(("graph", "ring"),), workers=5, epochs=1.0)
    job = replace(job, rule="sgd", out=shared_tmp / "t.h5")
    world, quiet = worlds(workers=5, deterministic=True), Console(first=False)
    train(job, world, quiet)
    found = read_run(job.out).history
    assert (found["edge_bytes"][1:] > 0).all() and (found["consensus"][1:] > 0).all() and found["exchanges"][-1] >= 1
    kept = replace(job, out=shared_tmp / "kept.h5", checkpoint=shared_tmp / "kept.cp.h5", epochs=0.5)
    train(kept, world, quiet)
    assert train(replace(kept, epochs=1.0), world, quiet)["resumed_after"]
    for name in ("consensus", "edge_bytes", "exchanges"):
        np.testing.assert_array_equal(read_run(kept.out).history[name], found[name], err_msg=name)


@pytest.mark.ranks(2)
def test_redundancy_makes_gradients_less_unlike_and_the_history_says_so(worlds, shared_tmp):
    found = {}
    for redundancy in (1, 4):
        job = Train(data="blobs:rows=240", method="ri_sgd", split=None, redundancy=redundancy, batch=8, rule="sgd", lr=1e-6)
        job = replace(job, workers=4, epochs=0.5, out=shared_tmp / f"{redundancy}.h5")
        train(job, worlds(workers=4), Console(first=False))
        found[redundancy] = read_run(job.out).history["diversity"]
    assert (found[1] >= 0.25 - 1e-9).all() and found[4].mean() < found[1].mean()
