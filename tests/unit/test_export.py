"""What is made of a run: its largest coefficients, and files for other programs."""

import csv
import json

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.runs.coefficients import INTERCEPT, Coefficients
from mpiopt.io.runs.exports import FORMATS, write
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
    write(Coefficients.read(made(tmp_path / "r.h5")), tmp_path / "r.model", FORMATS["liblinear"])
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
            write(found, tmp_path / "m.model", FORMATS["liblinear"])
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


ROWS = np.random.default_rng(0).standard_normal((40, 5))


def test_every_export_speaks_of_features_as_they_were(tmp_path):
    """x of a run is of scaled features; values that were multiplied by s have coefficients x s."""
    scale = np.array([2.0, 1.0, 0.5, 1.0, 4.0])
    with RunFile(tmp_path / "r.h5", {"loss": "least_squares", "features": 5}) as file:
        file.add({"round": 0})
        file.finish(X, 0.0, {"reason": "GAP"}, made=Made(NAMES, scale))
    np.testing.assert_array_equal(Coefficients.read(tmp_path / "r.h5").model.x, X * scale)
    assert coef(Coef(run=tmp_path / "r.h5", top=1), None, Console())["coefficients"] == {"5": 4 * X[4]}


def test_parquet_is_a_table_of_names(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    export(Export(run=made(tmp_path / "r.h5"), to="parquet", out=tmp_path / "r.parquet"), None, Console())
    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert {row["feature"]: row["coefficient"] for row in rows} == {
        INTERCEPT: 0.25,
        **{n: v for n, v in zip(NAMES, X, strict=True) if v},
    }


def test_a_graph_of_onnx_predicts_what_the_model_does(tmp_path):
    pytest.importorskip("onnx", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    for loss, told, last in (("logistic", {}, 1 / (1 + np.exp(-(ROWS @ X + 0.25)))), ("poisson", {}, np.exp(ROWS @ X + 0.25))):
        export(
            Export(run=made(tmp_path / f"{loss}.h5", loss=loss, **told), to="onnx", out=tmp_path / f"{loss}.onnx"),
            None,
            Console(),
        )
        session = runtime.InferenceSession(tmp_path / f"{loss}.onnx", providers=["CPUExecutionProvider"])
        found = dict(zip([out.name for out in session.get_outputs()], session.run(None, {"X": ROWS}), strict=True))
        np.testing.assert_allclose(found["margin"], ROWS @ X + 0.25, rtol=1e-12)
        np.testing.assert_allclose(found.get("probability", found.get("prediction")), last, rtol=1e-12)
        if loss == "logistic":
            assert found["class"].tolist() == np.where(ROWS @ X + 0.25 > 0, "3", "-7").tolist()


def test_scikit_learn_loads_its_own_estimator(tmp_path):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    for loss in ("logistic", "squared_hinge", "least_squares", "poisson"):
        export(
            Export(run=made(tmp_path / f"{loss}.h5", loss=loss), to="skops", out=tmp_path / f"{loss}.skops"), None, Console()
        )
        model = skops.load(tmp_path / f"{loss}.skops", trusted=skops.get_untrusted_types(file=tmp_path / f"{loss}.skops"))
        margins = ROWS @ X + 0.25
        with pytest.warns(UserWarning, match="feature names"):
            found = model.predict(ROWS)
        wanted = {"least_squares": margins, "poisson": np.exp(margins)}.get(loss, np.where(margins > 0, 3.0, -7.0))
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert model.feature_names_in_.tolist() == list(NAMES)


def test_vowpal_wabbit_predicts_what_the_model_does(tmp_path):
    vw = pytest.importorskip("vowpalwabbit", reason="needs vowpalwabbit")
    names = ("a", "b", "city=oslo", "7", "e")
    export(Export(run=made(tmp_path / "r.h5", names), to="vw", out=tmp_path / "r.vw"), None, Console())
    model = vw.Workspace(f"--quiet -t -i {tmp_path / 'r.vw'}")
    lines = [f"| {' '.join(f'{n}:{v!r}' for n, v in zip(names, row.tolist(), strict=True))}" for row in ROWS]
    found = [model.predict(line) for line in lines]
    model.finish()
    np.testing.assert_allclose(found, np.clip(ROWS @ X + 0.25, -50, 50), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("to", "lacking"), [("onnx", "onnx"), ("vw", "vowpalwabbit"), ("skops", "skops.io"), ("parquet", "pyarrow")]
)
def test_what_is_not_installed_is_told_and_leaves_nothing(tmp_path, monkeypatch, to, lacking):
    import sys

    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(CapabilityError, match=r"which is not here .*pip install 'mpiopt\["):
        export(Export(run=made(tmp_path / "r.h5"), to=to, out=tmp_path / "out"), None, Console())
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5"]
