"""A fit that is used: the same predictions and scores from text and data sets, in order, on any ranks; bad use is told."""

import csv
import json
import re

import h5py
import numpy as np
import pytest

from mpiopt.io.runs.run_file import read_solution

ROWS, TEST = 90, 47
METRICS = [
    "roc_auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "brier",
    "mean_loss",
    "log_loss",
    "deviance",
    "pseudo_r2",
]


def one_sentence(done, code, part):
    """A command that ends with this code, and says so once."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("mpiopt: ")]
    assert done.returncode == code and len(lines) == 1 and part in lines[0], (done.returncode, done.stderr)


def table(text):
    """CSV as names and columns of numbers."""
    names, *lines = csv.reader(text.splitlines())
    return dict(zip(names, np.array(lines, float).T, strict=True))


def written(rows, seed):
    """Lines of svmlight text."""
    rng = np.random.default_rng(seed)
    a = np.where(rng.random((rows, 12)) < 0.5, rng.normal(size=(rows, 12)), 0)
    y = np.where(a @ np.linspace(-1, 1, 12) + rng.normal(size=rows) > 0, 1, -1)
    return [f"{label} " + " ".join(f"{j + 1}:{v:.6g}" for j, v in enumerate(row) if v) for label, row in zip(y, a, strict=True)]


def dense(text, features):
    """svmlight text as labels and a matrix, read by hand."""
    rows = [line.split() for line in text.splitlines()]
    a = np.zeros((len(rows), features))
    for i, (_, *entries) in enumerate(rows):
        for entry in entries:
            index, value = entry.split(":")
            if int(index) <= features:
                a[i, int(index) - 1] = np.float32(value)
    return np.array([float(row[0]) for row in rows]), a


@pytest.fixture(scope="module")
def fitted(series, tmp_path_factory):
    """Text, data sets and two runs. The test text has a feature that training has not."""
    at = tmp_path_factory.mktemp("fitted")
    (at / "a.svm").write_text("\n".join(written(ROWS, 1)))
    lines = written(TEST, 2)
    (at / "t.svm").write_text("".join(f"{line} 40:1\n" if k == 5 else f"{line}\n" for k, line in enumerate(lines)))
    fit = ["solve", str(at / "a.h5"), "--l2", "0.01", "--intercept", "--out"]
    for done in series(
        2,
        ["convert", str(at / "a.svm"), str(at / "a.h5"), "--base", "1"],
        ["convert", str(at / "t.svm"), str(at / "t.h5"), "--like", str(at / "a.h5"), "--shards", "3"],
        [*fit, str(at / "r.h5")],
        [*fit, str(at / "s.h5"), "--loss", "least_squares"],
        [*fit, str(at / "h.h5"), "--loss", "squared_hinge"],
    ):
        assert done.returncode == 0, done.stderr
    return at


@pytest.mark.parametrize("size", [1, 2, 3])
def test_predictions_are_in_the_order_of_the_source(series, fitted, size):
    y, a = dense((fitted / "t.svm").read_text(), 12)
    out = {kind: fitted / f"p{size}.{kind}" for kind in ("csv", "h5")}
    text, data, hdf5, numbers = series(
        size,
        ["predict", str(fitted / "r.h5"), str(fitted / "t.svm")],
        ["predict", str(fitted / "r.h5"), str(fitted / "t.h5"), "--out", str(out["csv"])],
        ["predict", str(fitted / "r.h5"), str(fitted / "t.h5"), "--out", str(out["h5"]), "--json"],
        ["predict", str(fitted / "s.h5"), str(fitted / "t.h5")],
    )
    for done in (text, data, hdf5, numbers):
        assert done.returncode == 0, done.stderr
    assert "1 entry of features that" in text.stderr and json.loads(hdf5.stdout)["rows"] == TEST
    x, intercept = read_solution(fitted / "r.h5")
    wanted = a @ x + intercept
    for found in (table(text.stdout), table(out["csv"].read_text())):
        assert list(found) == ["margin", "probability", "class"]
        np.testing.assert_allclose(found["margin"], wanted, rtol=1e-12)
        np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-wanted)), rtol=1e-12)
        assert (found["class"] == np.where(wanted > 0, max(y), min(y))).all()
    with h5py.File(out["h5"]) as file:
        np.testing.assert_allclose(file["margin"], wanted, rtol=1e-12)
        assert file.attrs["schema"] == "mpiopt-predictions" and set(file["class"][()]) <= {b"-1", b"1"}
    x, intercept = read_solution(fitted / "s.h5")
    np.testing.assert_allclose(table(numbers.stdout)["prediction"], a @ x + intercept, rtol=1e-12)


def test_scores_are_those_of_the_predictions_on_any_ranks(series, fitted):
    from sklearn.metrics import log_loss, roc_auc_score

    y, a = dense((fitted / "t.svm").read_text(), 12)
    x, intercept = read_solution(fitted / "r.h5")
    margins = a @ x + intercept
    asked = [str(fitted / name) for name in ("r.h5", "h.h5", "t.h5")]
    for size in (1, 3):
        data, text = series(size, ["score", *asked, "--json"], ["score", *asked[:2], str(fitted / "t.svm"), "--json"])
        assert data.returncode == text.returncode == 0, data.stderr + text.stderr
        scores, hinge = json.loads(data.stdout)["scores"]
        assert list(scores) == ["run", *METRICS] and set(hinge) == {"run", *METRICS[:7], "mean_loss"}
        assert scores["roc_auc"] == pytest.approx(roc_auc_score(y, margins), abs=1e-12)
        assert scores["log_loss"] == pytest.approx(log_loss(y, 1 / (1 + np.exp(-margins))), abs=1e-12)
        for one, same in zip(json.loads(text.stdout)["scores"], (scores, hinge), strict=True):
            assert one.pop("run") == same.pop("run") and one == pytest.approx(same, rel=1e-12)


def test_a_table_and_a_picture(series, fitted):
    runs = [str(fitted / "r.h5")] * 6
    done, again, foreign = series(
        1,
        ["score", *runs, str(fitted / "t.h5"), "--calibration", "--png", str(fitted / "p.png")],
        ["score", runs[0], str(fitted / "t.h5"), "--metric", "f1", "--png", str(fitted / "p.png")],
        ["score", runs[0], str(fitted / "t.h5"), "--png", str(fitted / "a.svm")],
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80 and done.stdout.count("ROC AUC") == 2
    assert (fitted / "p.png").read_bytes().startswith(b"\x89PNG")
    assert again.returncode == 0 and re.findall(r"^(\S+) ", again.stdout.partition("\n-")[2], re.M)[-1:] == ["F1"]
    one_sentence(foreign, 2, "mpiopt has not drawn it")


def test_bad_use_is_one_sentence(series, fitted):
    run, test = str(fitted / "r.h5"), str(fitted / "t.h5")
    (fitted / "three.svm").write_text("1 1:1\n2 1:1\n-1 2:1\n")
    (fitted / "own.csv").write_text("mine\n")
    cases = {
        "score needs a run": (["score", test], 2),
        "predict needs a run": (["predict", run], 2),
        "is not a run file": (["score", test, test], 1),
        "nowhere.h5 cannot be read": (["score", "nowhere.h5", test], 1),
        "has 47,000 features, and": (["score", run, "rcv1:rows=50"], 2),
        "has the label 2, and the two of": (["score", run, str(fitted / "three.svm")], 1),
        "--metric nope: ": (["score", run, test, "--metric", "nope"], 2),
        "own.csv exists: name another file, or give --overwrite": (["predict", run, test, "--out", str(fitted / "own.csv")], 2),
        "exists and has no such predictions": (["predict", run, test, "--overwrite", "--out", str(fitted / "own.csv")], 2),
        "give the predictions such a name": (["predict", run, test, "--out", str(fitted / "p.txt")], 2),
        "--json takes standard output": (["predict", run, test, "--json"], 2),
    }
    for (part, (_, code)), done in zip(cases.items(), series(2, *(argv for argv, _ in cases.values())), strict=True):
        one_sentence(done, code, part)
    assert (fitted / "own.csv").read_text() == "mine\n" and not list(fitted.glob("*.partial"))
