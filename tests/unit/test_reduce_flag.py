"""``convert --reduce`` as users start it, and what solve, describe and the bench then say."""

import json

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.benches.solve import solving
from mpiopt.jobs.cli.console import Console
from tests.image_files import npz, pixels
from tests.reduced_sets import text_like

L2 = ["--l2", "1e-2", "--json"]


@pytest.fixture(scope="module")
def said(series, tmp_path_factory):
    """What two ranks say of text and of others, in one launch."""
    folder = tmp_path_factory.mktemp("reduced")
    (folder / "a.svm").write_text(text_like(3000, 1))
    (folder / "few.svm").write_text("1 1:1 2:1\n-1 3:1\n")
    many = " ".join(f"{j}:1" for j in range(1, 6001))
    (folder / "twice.svm").write_text(f"1 {many}\n0 {many}\n")
    asked = {
        "made": ["convert", "a.svm", "a.h5", "--reduce"],
        "plain": ["convert", "a.svm", "b.h5"],
        "few": ["convert", "few.svm", "few.h5", "--reduce"],
        "twice": ["convert", "twice.svm", "twice.h5", "--reduce"],
        "brought": ["solve", "a.h5", *L2, "--out", "a-run.h5"],
        "found": ["solve", "b.h5", *L2, "--out", "b-run.h5"],
        "kinked": ["solve", "a.h5", "--l1", "1e-3", *L2, "--out", "none"],
        "told": ["solve", "a.h5", "--l2", "1e-2", "--out", "none"],
        "described": ["describe", "a.h5"],
    }
    lines = [[str(folder / word) if word.endswith((".h5", ".svm")) else word for word in argv] for argv in asked.values()]
    return folder, dict(zip(asked, series(2, *lines), strict=True))


def test_what_convert_says(said):
    _, done = said
    assert all(one.returncode == 0 for one in done.values()), [one.stderr for one in done.values()]
    assert " columns, labels 0, 1" in done["made"].stdout and "also in " in done["made"].stdout
    assert "also in" not in done["plain"].stdout and "note: no rows in fewer" not in done["made"].stderr
    assert done["few"].stderr.count("no rows in fewer columns were written: 3 features are few, and from 5,000 on") == 1
    assert (
        done["twice"].stderr.count("no rows in fewer columns were written: features with one entry, or none, are to be 40%")
        == 1
    )


def test_what_describe_and_solve_say(said, launch):
    folder, done = said
    facts = json.loads(launch(None, ["-m", "mpiopt.jobs", "describe", str(folder / "a.h5"), "--json"]).stdout)
    run = json.loads(done["brought"].stdout)
    assert f"reduced     to {facts['reduced']['columns']:,} columns" in done["described"].stdout
    assert run["coordinates"] == facts["reduced"]["columns"] and run["reduction"] == "with the data set"
    assert read_run(folder / "a-run.h5").attributes["reduction"] == "with the data set"
    assert "coordinates, which came with the data set" in " ".join(done["told"].stdout.split())
    other = json.loads(done["found"].stdout)
    assert other["coordinates"] == run["coordinates"] and other["reduction"] == "at the start"
    x = [read_solution(folder / f"{name}-run.h5")[0] for name in "ab"]
    np.testing.assert_array_equal(*x)
    assert json.loads(done["kinked"].stdout)["reduction"] is None


def test_dense_rows_have_none(launch, tmp_path):
    x, y = pixels(20, (4, 4))
    source = npz(tmp_path / "m.npz", x=x, y=y)
    done = launch(None, ["-m", "mpiopt.jobs", "convert", str(source), str(tmp_path / "m.h5"), "--reduce"])
    assert done.returncode == 0 and "no rows in fewer columns were written: those here are dense" in done.stderr


def test_the_bench_times_both(tmp_path, capsys):
    pytest.importorskip("liblinear.liblinearutil", reason="needs liblinear-official")
    world = World()
    write_shards(world, from_spec("text12:rows=1000,cols=20000,per_row=40"), tmp_path / "a.h5", reduce=True)
    found = solving(str(tmp_path / "a.h5"), 1e-3, 1e-6, 1, world, Console())
    assert 0 < found["brought_seconds"] < 10 and found["seconds"] > 0
    assert "coordinates brought" in capsys.readouterr().out
    assert "brought_seconds" not in solving("text12:rows=1000,cols=20000,per_row=40", 1e-3, 1e-6, 1, world, Console())
    world.free()
