"""Every published comparison at full length, as a user starts it, on two ranks."""

import json

import pytest

from mpiopt.jobs.studies import listing


@pytest.mark.study
@pytest.mark.parametrize("name", listing())
def test_the_published_numbers_are_found(name, launch, tmp_path):
    done = launch(2, ["-m", "mpiopt.jobs", "reproduce", name, "--json", "--out", str(tmp_path / name)], timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] and (tmp_path / name / "picture.png").exists()
