"""No job writes one file under two names, or over what it reads; and no run file says where to write."""

import os
from dataclasses import fields
from itertools import permutations
from pathlib import Path

import pytest

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunFile
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.configuration import OWN
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.job_files import apart, of_conversion, of_run, tell_unlocked
from mpiopt.jobs.solve import complete
from mpiopt.jobs.train import complete as completed
from tests.unit.test_checkpoint import WORLD


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d.shards").mkdir()
    for name in ("d.h5", "d.shards/0000.h5", "b.h5", "graph.txt"):
        Path(name).write_text(name)
    Path("link.h5").symlink_to("b.h5")
    os.link("b.h5", "hard.h5")
    Path("way").symlink_to(".")


@pytest.mark.parametrize(
    "out, checkpoint, data, start",
    [
        ("a.h5", "a.h5", None, None),
        ("a.h5", "./a.h5", None, None),
        ("a.h5.1", "a.h5", None, None),
        ("a.h5.partial", "a.h5", None, None),
        ("a.h5", "a.h5.partial", None, None),
        ("a.h5", "way/a.h5", None, None),
        ("link.h5", "b.h5", None, None),
        ("hard.h5", "b.h5", None, None),
        ("d.h5", None, "d.h5", None),
        (None, "d.h5", "d.h5", None),
        (None, "d.shards/0000.h5", "way/d.h5", None),
        ("d.shards/new.h5", None, "d.h5", None),
        (None, "b.h5", None, "link.h5"),
        ("b.h5", None, None, "b.h5"),
        (None, "d", "d.h5", "d.1"),
        ("d.shards", None, "d.h5", None),
    ],
)
@pytest.mark.parametrize("kind", ["solve", "train"])
def test_a_file_with_two_uses_is_refused(place, kind, out, checkpoint, data, start):
    make, finish = (Solve, complete) if kind == "solve" else (Train, completed)
    names = {"out": out, "checkpoint": checkpoint, "from_": start}
    job = make(data=data or "blobs", **{name: None if path is None else Path(path) for name, path in names.items()})
    with pytest.raises(UsageError, match=r"would both have .*give them names of their own"):
        finish(job)


@pytest.mark.parametrize("option", ["out", "checkpoint"])
@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_name_is_refused(option, path):
    with pytest.raises(UsageError, match="is a folder, and the name of a file is needed"):
        complete(Solve(data="blobs", **{option: Path(path)}))


def test_files_of_their_own_are_fine_and_two_may_read_one(place):
    complete(Solve(data="d.h5", out=Path("r.h5"), checkpoint=Path("c.h5"), from_=Path("b.h5"), overwrite=True))
    complete(Solve(data="d.h5", from_=Path("d.h5")))
    completed(Train(data="d.h5", test="d.h5", out=Path("out.h5")))


@pytest.mark.parametrize(
    "source", ["d.h5", "way/d.h5", "d.shards/0000.h5", "d.h5.partial", "d.shards.partial/x", "d.shards.old/y"]
)
def test_a_conversion_does_not_read_what_it_writes(place, source):
    for sources, like in (([Path("b.h5"), Path(source)], None), ([Path("b.h5")], Path(source))):
        with pytest.raises(UsageError, match="would both have"):
            apart(of_conversion(sources, like, Path("d.h5")))
    apart(of_conversion([Path("b.h5"), Path("b.h5")], Path("b.h5"), Path("d.h5")))


def test_every_pair_of_claims_is_looked_at(place):
    files = {name: Path(f"{name}.h5") for name in ("out", "checkpoint", "from_")}
    job = Train(**files, plugin=(Path("own.py"),), data="d.h5", test="b.h5", graph="graph.txt")
    claims = list(of_run(job))
    assert len(claims) == 7
    for one, other in permutations(claims, 2):
        with pytest.raises(UsageError):
            apart([one._replace(written=True), other._replace(paths=(*other.paths, one.paths[-1]))])
    with pytest.raises(UsageError, match=r"penalty-factors f\.csv would both have"):
        apart(of_run(Solve(out=Path("f.csv"), penalty_factors=Path("f.csv"))))


def test_nothing_that_says_where_to_write_is_taken_from_a_run_file(tmp_path):
    own = {
        "out": "x.h5",
        "overwrite": True,
        "checkpoint": "precious",
        "every_rounds": 1,
        "every_seconds": 1.0,
        "resume": "never",
        "log": ["jsonl:precious.jsonl"],
        "plugin": [str(tmp_path / "own.py")],
    }
    (tmp_path / "own.py").touch()
    written = "".join(f"{name} = {value!r}\n".replace("True", "true") for name, value in own.items())
    with RunFile(tmp_path / "r.h5", {"config": f"l2 = 0.5\n{written}every-rounds = 3\n"}):
        pass
    assert parse(["solve", "--config", str(tmp_path / "r.h5")]).job == Solve(l2=0.5, config=tmp_path / "r.h5")
    (tmp_path / "job.toml").write_text(written)
    assert parse(["solve", "--config", str(tmp_path / "job.toml")]).job.checkpoint == Path("precious")
    assert set(OWN) == own.keys()


@pytest.mark.parametrize("kind", [Solve, Train])
def test_every_path_among_the_options_is_claimed_or_only_read(kind):
    paths = {field.name for field in fields(kind) if "Path" in str(field.type)}
    read, drawn = {"from_", "config", "plugin", "penalty_factors", "groups"}, {"png"}  # a picture replaces its own kind alone
    assert paths - read - drawn == {"out", "checkpoint"}
    assert {"out", "checkpoint"} <= set(OWN)


def test_missing_locks_are_said_once(place, monkeypatch, capsys):
    job = Solve(out=Path("new/r.h5"), checkpoint=Path("c.h5"))
    tell_unlocked(of_run(job), WORLD, Console())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("mpiopt.io.disk.held_name.lockable", lambda folder: False)
    tell_unlocked(of_run(job), WORLD, Console())
    said = capsys.readouterr().err
    assert said.count("there are no file locks in") == 1 and said.count(str(Path.cwd())) == 1
