"""Damaged text and files: each ends as what it says or as one sentence; never a traceback, hang, crash or wrong answer.

The cases run in batches in processes of their own, which may crash or hang without taking the tests with them.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
BATCH = {"fuzz_text.py": 1000, "fuzz_files.py": 50, "fuzz_shards.py": 250}


def fuzzed(launch, tmp_path: Path, program: str, first: int, count: int) -> Counter:
    """How many cases were accepted and how many refused."""
    told: Counter = Counter()
    for start in range(first, first + count, BATCH[program]):
        size = min(BATCH[program], first + count - start)
        folder = tmp_path / str(start)
        folder.mkdir()
        argv = [str(FOLDER / program), str(folder), str(start), str(size)]
        try:
            done = launch(None, argv, timeout=300)
        except AssertionError as error:
            raise AssertionError(f"case {(folder / 'case').read_text()} hangs") from error
        case = (folder / "case").read_text()
        assert done.returncode == 0, f"case {case} ends with {done.returncode}: {done.stderr[-2000:]}"
        assert done.stderr == "", f"up to case {case}: {done.stderr[-2000:]}"
        found = json.loads(done.stdout)
        assert found.pop("wrong") == []
        told.update(found)
    assert told.total() == count
    return told


def test_mutated_text(launch, tmp_path):
    told = fuzzed(launch, tmp_path, "fuzz_text.py", 0, 400)
    assert told["accepted"] > 50 and told["refused"] > 50


def test_damaged_files(launch, tmp_path):
    told = fuzzed(launch, tmp_path, "fuzz_files.py", 0, 25)
    assert told["refused"] > 10


def test_changed_data_sets(launch, tmp_path):
    told = fuzzed(launch, tmp_path, "fuzz_shards.py", 0, 60)
    assert told["accepted"] > 10 and told["refused"] > 20


@pytest.mark.study
def test_twenty_thousand_mutated_texts(launch, tmp_path):
    told = fuzzed(launch, tmp_path, "fuzz_text.py", 10_000, 20_000)
    assert min(told.values()) > 2000


@pytest.mark.study
def test_two_thousand_changed_data_sets(launch, tmp_path):
    told = fuzzed(launch, tmp_path, "fuzz_shards.py", 10_000, 2000)
    assert min(told.values()) > 400


@pytest.mark.study
def test_many_damaged_files(launch, tmp_path):
    fuzzed(launch, tmp_path, "fuzz_files.py", 1000, 1000)
