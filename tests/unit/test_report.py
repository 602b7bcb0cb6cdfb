"""Reports on runs whose numbers are known."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import DataError, MpioptError, UsageError
from mpiopt.io.runs.run_file import RunData, RunFile
from mpiopt.jobs.cli.console import WIDTH, Console, plain, size, table
from mpiopt.jobs.report import Report, run
from mpiopt.jobs.reports import solves, trainings
from mpiopt.jobs.reports.comparison import compare, labels

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


def shown(runs) -> list[str]:
    return solves.sheet(compare(runs)).text().splitlines()


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
    assert labels([a, made([1.0], compress="topk:0.1", link="ef")]) == ("spcg", "spcg, topk:0.1 (ef)")
    assert labels([a, made([1.0], path="x/other.h5")]) == ("spcg, r", "spcg, other")
    assert labels([made([1.0], path="a/r.h5"), made([1.0], path="b/r.h5")]) == ("spcg, a/r.h5", "spcg, b/r.h5")


def test_the_table_holds_the_numbers():
    lines = shown([HALVING, SLOW])
    assert lines[0] == "d.h5: 10 rows, 3 features, logistic, l2 1e-05, 2 ranks"
    assert lines[4].split() == ["spcg", "7", "14", "20", "27", "40", "kB", "20", "2", "gap"]
    assert lines[5].split()[:5] == ["gradient", "-", "-", "-", "-"]
    assert shown([HALVING, replace(SLOW, attributes=SLOW.attributes | {"world_size": 3})])[5].split()[1] == "3"


def test_names_too_long_for_the_table_are_told_before_it():
    long = made([3.0, 2.5], path="a-folder-with-a-long-name/and-a-file-with-a-longer-one-that-takes-many-columns.h5")
    lines = shown([HALVING, long, replace(SLOW, path=Path("b/r.h5"))])
    assert lines[2] == "1  spcg, r" and "  longer-one" not in lines[3] and max(map(len, lines)) <= WIDTH
    assert {"1", "2", "3"} <= {line.split()[0] for line in lines if " kB " in line}


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


def test_any_name_is_drawn_as_it_stands(tmp_path, capfd):
    """What Matplotlib would take for formulas, what a terminal would obey, what no font has."""
    names = ["$x_{1$", "_hidden", "\x1b[31mred", "$\\frac{a}{b}$", "\U0001f600 \udcff", "<script>"]
    runs = [
        written(tmp_path / f"{k}.h5", replace(HALVING, attributes={**HALVING.attributes, "method": name}))
        for k, name in enumerate(names)
    ]
    files = [tmp_path / f"page.{kind}" for kind in ("html", "svg", "png", "pdf")]
    for picture in (*files[1:], files[1]):  # its own may be written again
        run(Report(runs=tuple(runs), png=picture, out=files[0]), None, Console())
    for text in (files[0].read_text(), files[1].read_text()):
        assert all(name in text for name in ("$x_{1$", "_hidden", "$\\frac{a}{b}$", r"\x1b[31mred", r"\udcff"))
        assert "\x1b" not in text and "<script>" not in text
    told = capfd.readouterr()
    assert "\x1b" not in told.out + told.err and "Warning" not in told.err


@pytest.mark.parametrize("name", ["notes.txt", "photo.png", "job.sbatch"])
def test_a_file_of_somebody_else_is_kept(tmp_path, name):
    target = tmp_path / name
    target.write_text("#!/bin/bash\nmpiopt report a.h5\n")
    with pytest.raises(UsageError, match=f"{name} exists, and mpiopt has not drawn it"):
        run(Report(runs=(written(tmp_path / "a.h5", HALVING),), **{"png" if "png" in name else "out": target}), None, Console())
    assert target.read_text().startswith("#!")


def test_many_long_runs_can_be_drawn(tmp_path):
    from mpiopt.jobs.reports.plots import POINTS, figure, save, thinned

    runs = [made(1 + np.geomspace(1, 1e-9, 10 ** (1 + k % 4)), name=f"m{k}") for k in range(24)]
    save(figure(solves.sheet(compare(runs))), tmp_path / "many.png")
    assert (tmp_path / "many.png").stat().st_size > 10_000
    kept = thinned(100_000)
    assert len(kept) <= POINTS and kept[0] == 0 and kept[-1] == 99_999


def test_runs_that_stand_still_can_be_drawn(tmp_path):
    from mpiopt.jobs.reports.plots import figure, save

    still = made([0.0], bytes_sent=0)
    save(figure(solves.sheet(compare([still]))), tmp_path / "still.png")
    save(figure(solves.sheet(compare([made([3.0, 3.0]), still]))), tmp_path / "two.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mpiopt.jobs.reports.plots", None)
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


# -------------------------------------------------------------------------------------------------- trainings
def taught(accuracy, *, name="local_sgd", path="t.h5", **attributes) -> RunData:
    """A training of an epoch a round, with 500 bytes and a quarter of a second each; NaN where it was not examined."""
    rounds = np.arange(len(accuracy))
    accuracy = np.array(accuracy, float)
    losses = {"objective": np.r_[np.nan, 1.0 / rounds[1:]], "test_loss": 2 - accuracy, "accuracy": accuracy}
    counts = {"round": rounds, "steps": 40 * rounds, "bytes_sent": 500 * rounds, "seconds": rounds / 4, "epoch": 1.0 * rounds}
    about = {
        "method": name,
        "model": "mlp:8",
        "parameters": 99,
        "dataset": "blobs",
        "rows": 1280,
        "classes": 3,
        "batch": 32,
        "rule": "momentum",
        "world_size": 2,
        "workers": 4,
        "reason": "EPOCHS",
    }
    return RunData(Path(path), about | attributes, counts | losses)


EARLY = taught([0.3, 0.7, np.nan, 0.9, 0.8])
LATE = taught([0.3, 0.4, 0.5, 0.6, 0.75], name="easgd")


def test_trainings_are_told_by_what_they_learnt():
    lines = trainings.sheet([EARLY, LATE]).text().splitlines()
    assert lines[0] == "blobs: 1,280 rows, 3 classes; mlp:8, 99 parameters; momentum; batch 32; 2 ranks;"
    tables = [line.split() for line in lines]
    assert ["local_sgd", "4", "160", "4", "2", "kB", "1", "epochs"] in tables
    assert ["local_sgd", "0.25", "1.2", "1.1", "80.00", "%", "90.00", "%", "3"] in tables
    assert "To an accuracy of 75.00 %, where all runs came:" in lines
    assert ["local_sgd", "3", "3", "1.5", "kB", "0.75"] in tables and ["easgd", "4", "4", "2", "kB", "1"] in tables
    assert not any("objective" in line or "gap" in line or ", ," in line for line in lines) and max(map(len, lines)) <= WIDTH


def test_what_no_training_has_is_not_a_column():
    lines = trainings.sheet([taught([np.nan] * 4), taught([np.nan] * 4, name="sgd")]).text()
    assert "accuracy" not in lines.lower() and "test loss" not in lines and "train loss" in lines
    assert "To a loss of 0.3333, where all runs came:" in lines


def test_what_trainings_do_not_share_is_told_of_each():
    other = taught([0.3, 0.5], model="softmax", parameters=9, dataset="other.h5", path="u.h5")
    shown = trainings.sheet([EARLY, other]).text()
    assert "local_sgd, softmax  other.h5: 1,280 rows, 3 classes; softmax, 9 parameters" in shown
    assert "not all of the same rows" in shown and "where all runs came" not in shown
    fewer = taught([0.3, 0.5], compress="topk:0.01", link="ef")
    assert trainings.sheet([EARLY, fewer]).labels == ("local_sgd", "local_sgd, topk:0.01 (ef)")
    assert trainings.sheet([EARLY, taught([0.3], seed=2)]).labels == ("local_sgd", "local_sgd, seed 2")


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=9), min_size=2, max_size=4))
def test_all_runs_came_to_the_level_and_no_further_one(accuracies):
    runs = [taught(column, path=f"{k}.h5") for k, column in enumerate(accuracies)]
    level = trainings.common(runs, [trainings.row(run) for run in runs])
    assert level["of"] == "accuracy" and level["level"] == min(map(max, accuracies))
    for column, reached in zip(accuracies, level["runs"], strict=True):
        assert column[reached["round"]] >= level["level"] and max(column[: reached["round"]], default=-1) < level["level"]


def test_runs_of_a_study_are_told_by_their_objective():
    history = {name: column for name, column in made([3.0, 2.0, 1.0]).history.items()} | {"gradient_norm": np.ones(3)}
    about = {"method": "m", "study": "wells", "dataset": "wells", "rows": 2, "features": 2, "workers": 2, "world_size": 1}
    runs = [RunData(Path(f"{name}.h5"), about | {"reason": "ROUNDS"}, history) for name in ("one", "two")]
    sheet = trainings.sheet(runs)
    assert sheet.labels == ("one", "two") and sheet.title == "wells; m; 2 rows; 1 rank; 2 workers"
    assert "objective  |gradient|" in sheet.text() and "train loss" not in sheet.text()
    assert [strip.label for strip in sheet.picture] == ["objective", "|gradient|"]


def test_trainings_are_drawn_and_written(tmp_path, capsys):
    paths = tuple(written(tmp_path / f"{k}.h5", each) for k, each in enumerate((EARLY, LATE)))
    found = run(Report(runs=paths, out=tmp_path / "p.html", png=tmp_path / "p.png"), None, Console())
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert [row["best_accuracy"] for row in plain(found)["runs"]] == [0.9, 0.75]
    page = Page((tmp_path / "p.html").read_text())
    assert page.outside == [] and page.cells[page.cells.index("train loss") - 1] == "run" and "90.00 %" in page.cells


def test_errors_of_0_are_drawn_below_all_others(tmp_path):
    from mpiopt.jobs.reports.plots import figure, save

    sheet = trainings.sheet([taught([0.5, 0.9, 1.0])])
    assert sheet.picture[0].scale == "log" and sheet.picture[0].floor == pytest.approx(5)
    save(figure(sheet), tmp_path / "p.png")
    with pytest.raises(UsageError, match="no loss or accuracy yet"):
        save(figure(trainings.sheet([taught([np.nan])])), tmp_path / "q.png")


def test_solves_and_trainings_are_not_mixed(tmp_path):
    solve, train = written(tmp_path / "s.h5", HALVING), written(tmp_path / "t.h5", EARLY)
    for pair in ((solve, train), (train, solve)):
        with pytest.raises(UsageError, match=r"is a run of mpiopt \w+, but .* is one of mpiopt \w+: .* one kind at a time"):
            run(Report(runs=pair), None, Console())
    with pytest.raises(UsageError, match=r"--reference .* leave it out"):
        run(Report(runs=(train,), reference=solve), None, Console())
    with pytest.raises(UsageError, match="holds no round"):
        trainings.sheet([taught([])])


def test_sizes_and_tables_are_for_people():
    assert [size(n) for n in (0, 999, 1000, 8.27e6, 999.6e6, 3e15)] == ["0 B", "999 B", "1 kB", "8.27 MB", "1 GB", "3e+03 TB"]
    assert table(["a", "n"], [["x", "1"], ["yy", "10"]], "lr") == "a    n\n--  --\nx    1\nyy  10"


def test_the_numbers_of_neighbouring_panels_stay_apart():
    """Also where the last of one axis and the first of the next stand at the very ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mpiopt.jobs.studies.apparatus.canvas import sheet

    with sheet(3) as (figure, panels):
        for panel in panels[0]:
            panel.set(xlim=(0, 250), xticks=[0, 250], xticklabels=["0 B", "250 MB"], yticks=[])
        FigureCanvasAgg(figure).draw()
        boxes = [label.get_window_extent() for panel in panels[0] for label in panel.get_xticklabels()]
    assert min(right.x0 - left.x1 for left, right in pairwise(sorted(boxes, key=lambda box: box.x0))) > 25
