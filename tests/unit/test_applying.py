"""Offsets and weights of text that a model is applied to."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.recipe import FeatureColumn, Recipe
from mpiopt.io.runs.predictions import Predictions
from mpiopt.io.runs.run_file import read_solution
from mpiopt.io.tables.plan import TableOptions
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.io.text.readers import reader_of
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.predict import Predict
from mpiopt.jobs.predict import run as predict
from mpiopt.jobs.score import Score
from mpiopt.jobs.score import run as score
from mpiopt.jobs.solve import run


def test_text_brings_its_offsets_and_weights_in_files(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    a, offset, w = rng.integers(0, 3, (40, 3)), np.round(rng.standard_normal(40), 3), rng.integers(1, 4, 40)
    y = rng.poisson(np.exp(0.3 * a[:, 0] + offset))
    lines = [f"{t} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(x) if v) for t, x in zip(y, a, strict=True)]
    Path("a.svm").write_text("\n".join(lines))
    Path("o.txt").write_text("\n".join(map(str, offset)))
    Path("w.txt").write_text("\n".join(map(str, w)))
    Path("n.txt").write_text("red\ngreen\nblue\n")
    beside = {"offset": Path("o.txt"), "weights": Path("w.txt")}
    convert(world, ["a.svm"], "a.h5", TextOptions(names=Path("n.txt"), base="1", **beside))
    run(Solve(data="a.h5", loss="poisson", l2=1e-2, intercept=True, out=Path("r.h5")), world, Console(first=False))
    x, b = read_solution("r.h5")
    for source, given in (("a.h5", None), ("a.svm", Path("o.txt"))):
        predict(Predict(files=(Path("r.h5"), Path(source)), offset=given, out=Path("p.csv"), overwrite=True), world, Console())
        found = np.loadtxt("p.csv", skiprows=1)
        np.testing.assert_allclose(found, np.exp(a @ x + b + offset), rtol=1e-12)
    told = [
        score(Score(files=(Path("r.h5"), Path(source)), **given), world, Console())["scores"][0]
        for source, given in (("a.h5", {}), ("a.svm", {**beside, "weights": "w.txt"}))
    ]
    assert told[0]["mean_loss"] == pytest.approx(told[1]["mean_loss"], rel=1e-12)
    assert "fitted to rows with offsets" not in capsys.readouterr().err
    predict(Predict(files=(Path("r.h5"), Path("a.svm")), out=Path("q.csv")), world, Console())
    assert "r.h5 was fitted to rows with offsets, and these have none" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"`offset` is for text, tables and matrices, and a.h5 has its own"):
        predict(Predict(files=(Path("r.h5"), Path("a.h5")), offset=Path("o.txt"), out=Path("s.csv")), world, Console())
    convert(world, ["a.svm"], "b.h5", TextOptions(like="r.h5"))
    assert Dataset.open("b.h5").index.features == ("red", "green", "blue")


def test_raw_rows_say_where_their_labels_are(world, tmp_path, monkeypatch):
    """A column of another name will do; what lacks its labels is not scored as if it had some, but predicted."""
    pytest.importorskip("pyarrow", reason="tables are read by pyarrow")
    monkeypatch.chdir(tmp_path)
    rows = [(k % 7, "ab"[k % 2], "no" if (k * 5) % 8 < 4 else "yes") for k in range(40)]
    for name, head in (("a", "x,c,y"), ("b", "x,c,truth"), ("bare", "x,c")):
        Path(f"{name}.csv").write_text("\n".join([head, *(",".join(map(str, row[: head.count(",") + 1])) for row in rows)]))
    quiet = Console(first=False)
    table = TableOptions(label="y")
    convert(world, ["a.csv"], "a.h5", TextOptions(table=table, reader=reader_of("csv", [])))
    run(Solve(data="a.h5", l2=1e-2, out=Path("r.h5")), world, quiet)
    (own,) = score(Score(files=(Path("r.h5"), Path("a.csv"))), world, quiet)["scores"]
    (other,) = score(Score(files=(Path("r.h5"), Path("b.csv")), label="truth"), world, quiet)["scores"]
    assert own == other and own["roc_auc"] > 0.5
    for name in ("b", "bare"):
        with pytest.raises(UsageError, match=rf"{name}.csv has no column 'y', which is to hold the labels"):
            score(Score(files=(Path("r.h5"), Path(f"{name}.csv"))), world, quiet)
        predict(Predict(files=(Path("r.h5"), Path(f"{name}.csv")), out=Path(f"{name}-p.csv")), world, quiet)
    assert Path("b-p.csv").read_text() == Path("bare-p.csv").read_text()
    with pytest.raises(UsageError, match=r"`label` is for text, tables and matrices, and a.h5 has its own"):
        score(Score(files=(Path("r.h5"), Path("a.h5")), label="truth"), world, quiet)


def test_raw_text_may_say_how_it_is_read(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quiet = Console(first=False)
    Path("a.svm").write_text("1 1:1\n-1 2:1\n1 1:2 2:1\n")
    Path("b.svm").write_text("1,3 2:1 1:2\n2 2:1\n")
    convert(world, ["a.svm"], "a.h5", TextOptions(base="1"))
    run(Solve(data="a.h5", l2=1e-2, out=Path("r.h5")), world, quiet)
    asked = Score(files=(Path("r.h5"), Path("b.svm")), indices="sort", label="1", reader="svmlight")
    assert score(asked, world, quiet)["scores"][0]["roc_auc"] == 1
    with pytest.raises(DataError, match="indices must ascend"):
        score(replace(asked, indices="refuse"), world, quiet)


def test_names_of_classes_are_values_of_csv_whatever_they_hold(tmp_path):
    import csv

    names = ["plain", "a,b", 'quo"te', "two\nlines", "größe"]
    with Predictions(tmp_path / "p.csv", ("margin", "class"), {}) as file:
        file.add({"margin": np.arange(5.0), "class": np.array([name.encode() for name in names])})
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as lines:
        assert [row[1] for row in csv.reader(lines)] == ["class", *names]


def test_a_recipe_that_was_changed_is_refused():
    columns = (FeatureColumn("a", "number", 0, 1), FeatureColumn("b", "category", 1, 2))
    recipe = Recipe(columns, 3, "y", ("no", "yes"))
    assert Recipe.read(recipe.text(), 3) == recipe
    told = json.loads(recipe.text())
    for change in (
        {"columns": told["columns"][:1]},
        {"columns": [told["columns"][0] | {"first": 1}, told["columns"][1]]},
        {"columns": [told["columns"][0] | {"count": -1}, told["columns"][1]]},
        {"columns": [told["columns"][0] | {"kind": "x"}, told["columns"][1]]},
        {"columns": [told["columns"][0] | {"name": "b"}, told["columns"][1]]},
        {"columns": [told["columns"][0] | {"fill": "x"}, told["columns"][1]]},
        {"columns": 3},
        {"missing": "x"},
        {"classes": [1, 2]},
        {"label": 3},
        {"cols": 4},
        {"more": 1},
        {"shared": -1},
    ):
        with pytest.raises(ValueError, match="its recipe for tables"):
            Recipe.read(json.dumps(told | change), 3)
