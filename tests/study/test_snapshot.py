"""The snapshot itself: it speaks of every command and method, two of one tree are equal, and what changes is seen."""

import subprocess
import sys
from pathlib import Path

import pytest

from mpiopt.jobs.cli.commands import COMMANDS
from mpiopt.jobs.cli.console import table
from mpiopt.methods import catalogue, training
from tests.study.snapshot import differences, untimed
from tests.study.snapshot_lines import lines

PROGRAM = Path(__file__).with_name("snapshot.py")
TOLD = "mpiopt solve  what\n{}\n\nmpiopt train  what\n{}\n"


def test_the_lines_speak_of_every_command_and_method():
    told = TOLD.format("\n".join(f"{name}  it" for name in catalogue()), "\n".join(f"{name}  it" for name in training()))
    found = lines(told)
    commands = [argv for line in found for argv in line.commands]
    assert len(found) >= 200 and {line.ranks for line in found} == {1, 2, 3}
    assert {argv[0] for argv in commands if argv} >= set(COMMANDS)
    named = {(argv[0], argv[argv.index("--method") + 1]) for argv in commands if "--method" in argv}
    assert named >= {("solve", name) for name in catalogue()} | {("train", name) for name in training()}


def test_every_difference_is_told():
    old = {"a": {"code": 0, "out": ["x", "y"]}, "gone": 1}
    new = {"a": {"code": 1, "out": ["x", "z"]}, "b": 2}
    assert [text.partition("\n")[0] for text in differences(old, new)] == [
        "/a/code:",
        "/a/out[1]:",
        "/b: only in the new one",
        "/gone: only in the old one",
    ]
    assert list(differences(old, old)) == []


def test_seconds_are_no_difference_and_all_else_of_a_table_is():
    def told(seconds, bytes_sent):
        rows = [["spcg", seconds, bytes_sent], ["dane", "0.1", "9 kB"]]
        return list(untimed(f"seconds\n{table(['run', 'seconds', 'bytes'], rows, 'lrr')}\n\n{seconds}".splitlines()))

    assert told("0.123", "7 kB")[:-1] == told("4.5", "7 kB")[:-1] and told("0.123", "7 kB")[-1] == "0.123"
    assert told("0.123", "7 kB")[3].split() == ["spcg", "#", "7", "kB"]
    assert told("0.123", "7 kB") != told("0.123", "8 kB")


@pytest.mark.study
def test_two_snapshots_of_one_tree_are_equal(tmp_path):
    files = [str(tmp_path / name) for name in ("one.json", "two.json")]
    for file in files:
        subprocess.run([sys.executable, PROGRAM, "write", file, "--only", "goes on"], check=True)
    done = subprocess.run([sys.executable, PROGRAM, "compare", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no difference\n")
