"""What is made of a run: its largest coefficients, and files for other programs."""

import csv
import json

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.runs.coefficients import INTERCEPT, Coefficients, write
from mpiopt.io.runs.run_file import RunFile
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.coef import Coef
from mpiopt.jobs.coef import run as coef
from mpiopt.jobs.export import Export
from mpiopt.jobs.export import run as export

X = np.array([0.5, 0.0, -2.0, 1e-300, 0.1 + 0.2])
NAMES = ('plain, "quoted"', "zero", "größe", "tab\there", "5")


def made(path, names=NAMES, **about):
    told = {
        "loss": "logistic",
        "features": 5,
        "intercept": True,
        "label_positive": "3",
        "label_negative": "-7",
        "number_base": 1,
    }
    with RunFile(path, told | about) as file:
        file.add({"round": 0})
        file.finish(X, 0.25, {"reason": "GAP"}, made=Made(names))
    return path


def test_the_largest_come_first_by_name(tmp_path, capsys):
    found = coef(Coef(run=made(tmp_path / "r.h5"), top=3), None, Console())
    assert list(found["coefficients"].items()) == [("größe", -2.0), ('plain, "quoted"', 0.5), ("5", X[4])]
    assert (found["intercept"], found["nonzero"]) == (0.25, 4)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[4:]] == [INTERCEPT, "größe", "plain,", "5"]
    numbers = Coefficients.read(made(tmp_path / "s.h5", (), number_base=0))
    assert [numbers.name(j) for j in numbers.largest(99)] == ["2", "0", "4", "3"]
    with pytest.raises(UsageError, match="--top 0: give a whole number"):
        coef(Coef(run=tmp_path / "r.h5", top=0), None, Console())


def test_csv_and_json_hold_every_digit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = {name: value for name, value in zip(NAMES, X.tolist(), strict=True) if value}
    path = made(tmp_path / "r.h5")
    assert export(Export(run=path), None, Console())["out"] == "r.csv"
    with open("r.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["feature", "coefficient"]
    assert {name: float(value) for name, value in rows} == {INTERCEPT: 0.25, **wanted}
    export(Export(run=path, to="json"), None, Console())
    with open("r.json", encoding="utf-8") as file:
        told = json.load(file)
    assert told["coefficients"] == wanted and told["intercept"] == 0.25 and told["classes"] == {"1": "3", "-1": "-7"}


def test_liblinear_predicts_what_the_model_does(tmp_path):
    liblinear = pytest.importorskip("liblinear.liblinearutil", reason="needs liblinear-official")
    write(Coefficients.read(made(tmp_path / "r.h5")), tmp_path / "r.model", "liblinear")
    model = liblinear.load_model(str(tmp_path / "r.model"))
    rows = np.random.default_rng(0).standard_normal((40, 5))
    labels, _, values = liblinear.predict([], rows, model, "-q")
    np.testing.assert_allclose(np.array(values)[:, 0], rows @ X + 0.25, rtol=1e-12)
    np.testing.assert_array_equal(labels, np.where(rows @ X + 0.25 > 0, 3.0, -7.0))


def test_what_liblinear_cannot_say_is_refused(tmp_path):
    for about, error, said in (
        ({"loss": "poisson"}, CapabilityError, "LIBLINEAR has no model of the poisson loss"),
        ({"number_base": 0}, UsageError, "this model has a feature 0"),
    ):
        found = Coefficients.read(made(tmp_path / f"{len(about)}{said[:3]}.h5", **about))
        with pytest.raises(error, match=said):
            write(found, tmp_path / "m.model", "liblinear")
        assert not (tmp_path / "m.model").exists() and not (tmp_path / "m.model.partial").exists()


def test_only_exports_are_replaced(tmp_path):
    path, out = made(tmp_path / "r.h5"), tmp_path / "r.csv"
    export(Export(run=path, out=out), None, Console())
    with pytest.raises(UsageError, match="exists: name another file, or give `overwrite`"):
        export(Export(run=path, out=out), None, Console())
    export(Export(run=path, out=out, overwrite=True), None, Console())
    out.write_text("precious")
    with pytest.raises(UsageError, match="and is no such export"):
        export(Export(run=path, out=out, overwrite=True), None, Console())
    assert out.read_text() == "precious"
