"""Words for people, and what is said of text that means harm."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.engine.stop import Record, Stop
from mpiopt.errors import UsageError
from mpiopt.jobs.cli import configuration
from mpiopt.jobs.cli.configuration import _load, parsed
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.running.solve_outcome import certified, distance
from mpiopt.numerics.streams import Streams
from mpiopt.sampling.batches import Batches
from mpiopt.words import counted, harmless, storable

ANY = st.text(st.characters(), max_size=20)  # halves of pairs too


@given(ANY)
def test_no_text_commands_a_terminal(text):
    shown = harmless(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown.replace("\n", "").replace("\t", ""))
    assert harmless(shown) == shown
    storable(text).encode()


def test_what_people_write_stays():
    for text in ("plain", "Größe, 數據, F*", "a\tb\nc"):
        assert harmless(text) == storable(text) == text


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "a\x9b2J", "\u202egnp.exe", "\udcff.svm", "\r\x1b[2Kmpiopt: all is well"])
def test_the_console_says_it_harmlessly(capfd, text):
    for console in (Console(), Console(json=True)):
        console(text)
        console.show(text)
        console.error(text)
        console.result({"name": text, text: 1})
    told = capfd.readouterr()
    assert json.loads(told.out.splitlines()[-1]) == {"name": text, text: 1}
    assert not set("\x1b\x07\x9b\u202e\udcff\r") & set(told.out + told.err)


def test_counts():
    assert [counted(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [counted(n, "epoch", form=".4g") for n in (1.0, 1.02)] == ["1 epoch", "1.02 epochs"]


def test_sentences_count_too():
    record = Record(1, 0.0, 1.0, 1.0, 1.0, 0, 0, 0)
    assert Stop(rounds=1).reached([record])[1] == "The limit of rounds was reached (1 round)."
    with pytest.raises(UsageError, match="a batch of 1 row is larger than the 0 rows to draw from"):
        Batches(rows=0, size=1, streams=Streams(0))


def test_a_job_file_has_bounds(tmp_path):
    deep = "a = " + "[" * 100_000
    (tmp_path / "deep.toml").write_text(deep)
    with pytest.raises(UsageError, match=r"deep\.toml is no job file: its values are nested too deep"):
        _load(str(tmp_path / "deep.toml"))
    (tmp_path / "long.toml").write_text("#" * (configuration.LONGEST + 1))
    with pytest.raises(UsageError, match="more than 1,048,576 characters"):
        _load(str(tmp_path / "long.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        _load("/dev/zero")
    with pytest.raises(UsageError, match="is not a TOML file"):
        parsed("a = ", "x.toml")
    assert sys.getrecursionlimit() < 100_000


def test_what_is_proved_of_coefficients_stands_beside_the_gap():
    found = {"gap": 2e-9, "tight_gap": 5e-10, "objective": 1.0}
    for l2, told in ((1e-3, "; coefficients within 1.0e-03"), (0.0, "")):
        said = certified(found | {"coefficient_error": distance(5e-10, l2)})
        assert said == "F - F* <= 2.00e-09, tight bound 5.00e-10" + told
    assert "--gradient-tol" in certified(found | {"gap": float("inf")})
