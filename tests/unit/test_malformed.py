"""Run files and checkpoints under sound seals that say what cannot be: one sentence that tells what, and no memory spent."""

import json
import os
import resource
import subprocess
import sys
from shutil import copy

import h5py
import numpy as np
import pytest

from mpiopt.errors import DataError
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.expected_forms import expected
from mpiopt.io.runs.run_file import RunFile, read_run, read_solution
from tests.forged import Change, entry, forged, put
from tests.unit.test_checkpoint import WORLD, kept, loaded


def columns_of_nothing(file: h5py.File) -> None:
    """Eight columns of 2^27 zeros each, in a few bytes."""
    for k in range(8):
        file.create_dataset(f"history/c{k}", (1 << 27,), np.float64, chunks=(1 << 20,), compression=9)


def one_for_many(file: h5py.File) -> None:
    """Many names of one column."""
    file["history/long"] = np.zeros(2000)
    for k in range(40):
        file[f"history/c{k}"] = file["history/long"]


def attribute(name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


RUN = {
    "bomb": (columns_of_nothing, "history/c0 is not stored in the way of mpiopt"),
    "unwritten": (lambda file: file.create_dataset("history/c", (1 << 40,), "f8", chunks=(9,)), "more than the file can hold"),
    "aliases": (one_for_many, "the columns of history claim more bytes than the file can hold"),
    "no rounds": (lambda file: file.__delitem__("history/round"), "its history has no rounds"),
    "text": (put("history/objective", ["a"], dtype=h5py.string_dtype()), "history/objective is of type object"),
    "group": (lambda file: file.create_group("history/deep"), "history/deep is not a dataset"),
    "soft link": (linked("history/objective", h5py.SoftLink("/solution/x")), "history/objective is missing or leads elsewhere"),
    "external link": (linked("history", h5py.ExternalLink("other.h5", "/history")), "history"),
    "reason": (attribute("reason", 5), "its reason is '5' in place of str"),
    "rows": (attribute("rows", "many"), "its heading/rows is 'many' in place of a whole number"),
    "no date": (lambda file: file.attrs.__delitem__("created"), "its heading has no created"),
    "version": (attribute("schema_version", np.ones(3)), "its schema_version is"),
}


@pytest.fixture
def run(tmp_path):
    with RunFile(tmp_path / "r.h5", {"method": "spcg", "rows": 5}) as file:
        for k in range(4):
            file.add({"round": k, "objective": 1 / (k + 1)})
        file.finish(np.linspace(0, 1, 50), 0.5, {"reason": "GAP", "reason_text": "Done."})
    return tmp_path / "r.h5"


@pytest.mark.parametrize("kind", RUN)
def test_a_run_that_cannot_be_is_refused(run, kind):
    change, sentence = RUN[kind]
    forged(run, change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=rf"r\.h5.*{sentence}") as caught:
        read_run(run)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # kB


@pytest.mark.parametrize(
    "change, sentence",
    [
        (entry("solution/x", 3, np.nan), "its solution is not finite"),
        (put("solution/x", np.zeros((5, 10))), r"solution/x is of shape \(5, 10\) in place of \('any',\)"),
        (put("solution/intercept", np.zeros(2)), r"solution/intercept is of shape \(2,\)"),
        (put("solution/x", np.zeros(50, np.int8)), "solution/x is of type int8"),
    ],
)
def test_a_solution_that_cannot_be_is_refused(run, change, sentence):
    forged(run, change)
    with pytest.raises(DataError, match=sentence):
        read_solution(run)


def test_statistics_without_names_are_refused(run):
    """Versions before 0.2 kept those of rank 0 by number: with the parameters that all agreed on they make another model."""
    forged(run, put("solution/aux0", np.ones(3)))
    with pytest.raises(DataError, match="without names and of one worker only, as earlier versions did: start from a run of"):
        read_buffers(run)
    assert read_solution(run)[0].size


FOLLOWING = """
import sys
from pathlib import Path
from mpiopt.errors import DataError
from mpiopt.io.dataset.index import read_index
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.run_file import read_solution
for name in sys.argv[1:]:
    for read in (read_index,) if Path(name).name.startswith("d") else (read_solution, read_buffers):
        try:
            read(Path(name))
        except DataError as error:
            print(error)
"""


def test_no_link_to_a_pipe_keeps_a_reader_waiting(run, tmp_path):
    """A pipe that nobody writes to: whoever opens it hangs, and not even a signal ends that."""
    os.mkfifo(tmp_path / "pipe")
    write_shards(WORLD, from_spec("rcv1:rows=40,cols=30,per_row=4"), tmp_path / "d.h5")
    places = ["solution", "solution/x", "solution/buffers"], ["features", "item", "labels"]
    for source, links in zip((run, tmp_path / "d.h5"), places, strict=True):
        for name in links:
            path = copy(source, tmp_path / f"{source.stem}-{name.replace('/', '-')}.h5")

            def lead_away(file: h5py.File, name=name) -> None:
                if name in file:
                    del file[name]
                file[name] = h5py.ExternalLink("pipe", "/")

            forged(path, lead_away)
    files = sorted(str(path) for path in tmp_path.glob("[dr]-*.h5"))
    done = subprocess.run([sys.executable, "-c", FOLLOWING, *files], capture_output=True, text=True, timeout=60, check=True)
    assert len(files) == 6 and done.stdout.count("is missing or leads elsewhere") == 3 + 4, done.stdout


def reindexed(change) -> Change:
    """Another index of a checkpoint."""

    def rewrite(file: h5py.File) -> None:
        index = json.loads(file["index"][()])
        del file["index"]
        file["index"] = json.dumps(change(index) or index)

    return rewrite


def first(index: dict) -> str:
    return next(iter(index["arrays"]))


def deep(index: dict) -> dict:
    tree: object = 1
    for _ in range(600):
        tree = [tree]
    return index | {"tree": tree}


def run_of(index: dict) -> dict:
    """The run, beside which the best point lies."""
    return index["tree"][0]


CHECKPOINT = {
    "a list": (reindexed(lambda index: [1]), r"its index is '\[1\]' in place of an object"),
    "nothing": (reindexed(lambda index: {"tree": 1}), "its index has no parts"),
    "many arrays": (
        reindexed(lambda index: index["arrays"].update({f"a{k}": [[1 << 40], "<f8"] for k in range(200_000)})),
        "all/a0 is missing or leads elsewhere",
    ),
    "a larger array": (reindexed(lambda index: index["arrays"].update({first(index): [[1 << 40], "<f8"]})), "of shape"),
    "no type": (reindexed(lambda index: index["arrays"].update({first(index): [[500], "nonsense"]})), "nonsense"),
    "shape as text": (
        reindexed(lambda index: index["arrays"].update({first(index): ["5", "<f8"]})),
        "its index/arrays/.* is '5' in place of a list",
    ),
    "workers": (reindexed(lambda index: index["rows"].append(1)), "its index is not of one number of workers"),
    "shared": (reindexed(lambda index: index["shared"].append("moon")), "its index has no array 'moon'"),
    "no array": (reindexed(lambda index: index | {"tree": {"array": "moon"}}), "the array 'moon', which is not known"),
    "no class": (reindexed(lambda index: run_of(index).update(type="os.system")), "the part 'os.system', which is not known"),
    "fewer parts": (
        reindexed(lambda index: run_of(index)["parts"].__delitem__("points")),
        "Run has the parts points, agreed, states, round, and given are agreed, states, round",
    ),
    "more parts": (reindexed(lambda index: run_of(index)["parts"].update(moon=1)), "given are points, .*moon"),
    "no point": (reindexed(lambda index: index["parts"][0][0]["parts"].update(x=None)), "x of Point is a NoneType"),
    "nameless": (reindexed(lambda index: run_of(index).update(parts=[1, 2])), r"'\[1, 2\]' in place of an object"),
    "no run": (reindexed(lambda index: index | {"tree": [1, 2]}), "it does not hold a run and its best point"),
    "no tree": (reindexed(lambda index: index | {"tree": None}), "it does not hold a run and its best point"),
    "a number for the best point": (reindexed(lambda index: index["tree"].__setitem__(1, 5)), "not hold a run and its best"),
    "no tag": (reindexed(lambda index: index | {"tree": {"each": 0}}), "the tag 'None', which is not known"),
    "deep": (reindexed(deep), "recursion"),
    "history": (put("history/objective", np.zeros(9)), "argument"),
    "no history": (lambda file: file.__delitem__("history/round"), "its history has no round"),
    "identity": (attribute("identity", "[1]"), r"its identity is '\[1\]' in place of an object"),
    "not JSON": (attribute("identity", "{"), "Expecting"),
    "no run id": (lambda file: file.attrs.__delitem__("run_id"), "it does not say its run_id"),
}


@pytest.mark.parametrize("kind", CHECKPOINT)
def test_a_checkpoint_that_cannot_be_is_refused(tmp_path, kind):
    change, sentence = CHECKPOINT[kind]
    kept(tmp_path / "c.h5", 1).close()
    forged(tmp_path / "c.h5", change)
    with pytest.raises(DataError, match=rf"c\.h5 .*({sentence}).*`resume=never`") as caught:
        loaded(tmp_path / "c.h5")
    assert "\n" not in str(caught.value)


def test_forms():
    for value, form in (
        ({"a": [1, 2]}, {str: [int]}),
        ([[1], "x"], [[int], str]),
        (1.5, (int, float)),
        ({"a": None}, {"a": object}),
    ):
        assert expected(value, form, "it") is value
    for value, form, says in (
        ({"a": [1, True]}, {str: [int]}, "it/a/1 is 'True' in place of a whole number"),
        ([[1]], [[int], str], "it is a list of 1 in place of 2"),
        ({}, {"a": int}, "it has no a"),
    ):
        with pytest.raises(ValueError, match=says):
            expected(value, form, "it")
