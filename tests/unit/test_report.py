"""Reports on runs whose numbers are known."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import DataError, MpioptError, UsageError
from mpiopt.io.record import RunData, RunFile
from mpiopt.jobs.compare import compare, labels
from mpiopt.jobs.console import Console, size, table
from mpiopt.jobs.report import Report, run
from mpiopt.jobs.tabulate import text

PROBLEM = {"dataset": "d.h5", "rows": 10, "features": 3, "nonzeros": 20, "loss": "logistic", "l2": 1e-5, "l1": 0.0}


def made(objectives, *, name="spcg", gap=np.inf, path="r.h5", **attributes) -> RunData:
    rounds = np.arange(len(objectives))
    history = {"round": rounds, "objective": np.array(objectives, float), "bytes_sent": 1000 * rounds, "seconds": 0.5 * rounds}
    about = {"method": name, "world_size": 2, "workers": 2, "reason": "GAP", "tight_gap": gap, "config": "l2 = 1e-05\n"}
    return RunData(Path(path), PROBLEM | about | attributes, history)


def written(path: Path, run: RunData) -> Path:
    with RunFile(path, run.attributes) as file:
        for row in zip(*run.history.values(), strict=True):
            file.add(dict(zip(run.history, row, strict=True)))
    return path


HALVING = made([2.0 + 2.0**-k for k in range(40)] + [2.0], gap=1e-12)
SLOW = made([2.0 + 0.9**k for k in range(20)], name="gradient", path="s.h5")


def test_rounds_to_a_gap_are_those_of_the_formula():
    comparison = compare([HALVING, SLOW])
    assert comparison.optimum == 2.0 and comparison.source == "r.h5" and comparison.certified == 1e-12
    # F_0 - F* = 1, so 2^-k <= 10^-digits
    expected = {digits: int(np.ceil(digits * np.log2(10))) for digits in (2, 4, 6, 8)}
    assert {d: comparison.rounds_to(HALVING, 10.0**-d) for d in expected} == expected
    assert comparison.rounds_to(SLOW, 1e-2) is None


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=12), st.lists(st.floats(0.1, 10), min_size=1, max_size=12))
def test_a_tighter_gap_is_never_reached_earlier_and_nothing_is_below_the_optimum(one, two):
    runs = [made(one), made(two, name="dane")]
    comparison = compare(runs)
    assert comparison.optimum == min(one + two)
    for each in runs:
        reached = [comparison.rounds_to(each, target) for target in (1.0, 1e-2, 1e-9)]
        known = [k for k in reached if k is not None]
        assert known == sorted(known) and reached[: len(known)] == known
        assert (comparison.gaps(each) >= 0).all()


def test_a_reference_moves_the_optimum_but_is_not_shown():
    comparison = compare([SLOW], HALVING)
    assert comparison.optimum == 2.0 and comparison.runs == (SLOW,)
    assert compare([SLOW]).optimum == SLOW.history["objective"].min()


@pytest.mark.parametrize("name, value", [("l2", 1e-4), ("rows", 11), ("loss", "least_squares"), ("intercept", True)])
def test_runs_of_two_problems_are_refused(name, value):
    other = replace(SLOW, attributes=SLOW.attributes | {name: value})
    with pytest.raises(UsageError, match=f"{name} = .*cannot be compared"):
        compare([HALVING, other])


def test_a_run_without_rounds_is_refused():
    with pytest.raises(UsageError, match="holds no round"):
        compare([HALVING, made([], path="empty.h5")])


def test_labels_say_just_enough():
    a, b = made([1.0]), made([1.0], name="dane")
    assert labels([a, b]) == ("spcg", "dane")
    assert labels([a, made([1.0], world_size=1)]) == ("spcg, 2 ranks", "spcg, 1 rank")
    assert labels([a, made([1.0], workers=8)]) == ("spcg, 2 workers", "spcg, 8 workers")
    assert labels([a, made([1.0], path="x/other.h5")]) == ("spcg, r", "spcg, other")
    assert labels([made([1.0], path="a/r.h5"), made([1.0], path="b/r.h5")]) == ("spcg, a/r.h5", "spcg, b/r.h5")


def test_the_table_holds_the_numbers():
    lines = text(compare([HALVING, SLOW])).splitlines()
    assert lines[0] == "d.h5: 10 rows, 3 features, logistic, l2 1e-05"
    assert lines[4].split() == ["spcg", "2", "7", "14", "20", "27", "40", "kB", "20", "2", "gap"]
    assert lines[5].split()[:6] == ["gradient", "2", "-", "-", "-", "-"]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("td", "th"):
            self.cells.append("")
        address = dict(attrs).get("src") or dict(attrs).get("href") or "#"
        if tag in ("img", "script", "link", "iframe") or not address.startswith("#"):
            self.outside.append(tag)

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_picture_and_page_are_written_and_the_page_needs_nothing_else(tmp_path, capsys):
    paths = (
        written(tmp_path / "a.h5", HALVING),
        written(tmp_path / "b.h5", replace(SLOW, attributes=SLOW.attributes | {"method": "<b>"})),
    )
    found = run(Report(runs=paths, out=tmp_path / "p.html", png=tmp_path / "p.png"), None, Console())
    assert found["runs"][0]["rounds_to"] == {"1e-2": 7, "1e-4": 14, "1e-6": 20, "1e-8": 27}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    source = (tmp_path / "p.html").read_text()
    page = Page(source)
    assert page.outside == [] and "<svg" in source and "l2 = 1e-05" in source
    assert "<b>" in page.cells and page.cells[page.cells.index("spcg") :][1:6] == ["2", "7", "14", "20", "27"]


def test_many_long_runs_can_be_drawn(tmp_path):
    from mpiopt.jobs.plots import POINTS, save, thinned

    runs = [made(1 + np.geomspace(1, 1e-9, 10 ** (1 + k % 4)), name=f"m{k}") for k in range(24)]
    save(compare(runs), tmp_path / "many.png")
    assert (tmp_path / "many.png").stat().st_size > 10_000
    kept = thinned(100_000)
    assert len(kept) <= POINTS and kept[0] == 0 and kept[-1] == 99_999


def test_runs_that_stand_still_can_be_drawn(tmp_path):
    from mpiopt.jobs.plots import save

    still = made([0.0], bytes_sent=0)
    save(compare([still]), tmp_path / "still.png")
    save(compare([made([3.0, 3.0]), still]), tmp_path / "two.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mpiopt.jobs.plots", None)
    with pytest.raises(MpioptError, match=r"pip install 'mpiopt\[report\]'"):
        run(Report(runs=(written(tmp_path / "a.h5", HALVING),), png=tmp_path / "p.png"), None, Console())


def test_an_unknown_picture_format_and_an_unwritable_page_are_sentences(tmp_path):
    path = written(tmp_path / "a.h5", HALVING)
    with pytest.raises(UsageError, match="docx"):
        run(Report(runs=(path,), png=tmp_path / "p.docx"), None, Console())
    with pytest.raises(UsageError, match="cannot be written"):
        run(Report(runs=(path,), out=tmp_path / "nowhere" / "p.html"), None, Console())
    with pytest.raises(DataError, match="no such file"):
        run(Report(runs=(tmp_path / "b.h5",)), None, Console())


def test_sizes_and_tables_are_for_people():
    assert [size(n) for n in (0, 999, 1000, 8.27e6, 999.6e6, 3e15)] == ["0 B", "999 B", "1 kB", "8.27 MB", "1 GB", "3e+03 TB"]
    assert table(["a", "n"], [["x", "1"], ["yy", "10"]], "lr") == "a    n\n--  --\nx    1\nyy  10"
