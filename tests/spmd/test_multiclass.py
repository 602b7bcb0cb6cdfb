"""Several classes from the command line: fitted, stopped and resumed, applied, scored and exported; bad use is told."""

import csv
import json

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.io.runs.class_fitted import ClassFitted, read_fitted
from mpiopt.io.runs.fitted import Fitted
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.coef import Coef
from mpiopt.jobs.coef import run as coef
from mpiopt.jobs.export import Export
from mpiopt.jobs.export import run as export
from mpiopt.jobs.solve import run as solve
from tests.spmd.test_predict import one_sentence

CLASSES, FEATURES = ("ash", "elm", "oak"), ("a", "b", "c", "d")
L2 = 1e-2


def rows(count: int, seed: int):
    """Values, and trees; those of one kind stand together, so that some ranks have none of some."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((count, len(FEATURES))).round(3)
    y = (a @ np.array([[2, 0, -1], [0, 1, 0], [-1, 0, 1], [0.5, -1, 0]]) + rng.gumbel(size=(count, 3))).argmax(1)
    order = np.argsort(y, kind="stable")
    return a[order], np.array(CLASSES)[y[order]]


def write(path, a, y) -> None:
    lines = [",".join((*FEATURES, "tree")), *(",".join([*map(str, line), tree]) for line, tree in zip(a, y, strict=True))]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def fitted(series, tmp_path_factory):
    """A table and a test table as data sets, and runs on them."""
    at = tmp_path_factory.mktemp("trees")
    write(at / "a.csv", *rows(120, 1))
    write(at / "t.csv", *rows(60, 2))
    data, common = str(at / "a.h5"), ["--l2", str(L2), "--intercept", "--gap-tol", "1e-14"]
    done = series(
        2,
        ["convert", str(at / "a.csv"), data, "--label", "tree", "--no-shuffle"],
        ["solve", data, "--multiclass", "multinomial", *common, "--test", str(at / "a.h5"), "--out", str(at / "m.h5")],
        ["solve", data, "--multiclass", "ovr", *common, "--out", str(at / "o.h5")],
        ["solve", data, "--positive", "oak", *common, "--out", str(at / "oak.h5")],
        ["predict", str(at / "m.h5"), str(at / "t.csv"), "--out", str(at / "p.csv")],
        ["predict", str(at / "o.h5"), str(at / "t.csv"), "--out", str(at / "p.h5")],
        ["score", str(at / "m.h5"), str(at / "o.h5"), str(at / "t.csv"), "--json"],
        ["score", str(at / "m.h5"), str(at / "t.csv")],
    )
    for one in done:
        assert one.returncode == 0, one.stderr
    return at, done


def test_a_multinomial_is_scikit_learns(fitted):
    linear, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    at, done = fitted
    (a, y), (t, z) = rows(120, 1), rows(60, 2)
    model, told = ClassFitted.read(at / "m.h5"), read_run(at / "m.h5").attributes
    peer = linear.LogisticRegression(C=1 / (L2 * len(y)), tol=1e-12, max_iter=5000).fit(a, y)
    assert model.classes == CLASSES and told["gap"] <= 1e-14 and told["multiclass"] == "multinomial"
    np.testing.assert_allclose(model.x.T - model.x.T.mean(0), peer.coef_ - peer.coef_.mean(0), atol=1e-5)
    assert read_run(at / "m.h5").history["test_accuracy"][-1] == pytest.approx((peer.predict(a) == y).mean())
    with (at / "p.csv").open() as file:
        found = list(csv.DictReader(file))
    chances = np.array([[float(line[f"probability_{tree}"]) for tree in CLASSES] for line in found])
    np.testing.assert_allclose(chances, peer.predict_proba(t), atol=1e-6)
    assert [line["class"] for line in found] == peer.predict(t).tolist()
    first, _ = json.loads(done[6].stdout)["scores"]
    assert first["accuracy"] == pytest.approx(metrics.accuracy_score(z, peer.predict(t)))
    assert first["macro_f1"] == pytest.approx(metrics.f1_score(z, peer.predict(t), average="macro"))
    assert first["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(z, peer.predict(t)))
    assert first["log_loss"] == pytest.approx(metrics.log_loss(z, peer.predict_proba(t)), abs=1e-6)
    assert first["confusion"] == metrics.confusion_matrix(z, peer.predict(t)).tolist()
    areas = [metrics.roc_auc_score(z == tree, peer.decision_function(t)[:, k]) for k, tree in enumerate(CLASSES)]
    assert [first["by_class"][tree]["roc_auc"] for tree in CLASSES] == pytest.approx(areas)
    assert "m: by class" in done[7].stdout and "what they are taken for" in done[7].stdout


def test_one_against_the_rest_is_each_for_itself(fitted):
    import h5py

    at, _ = fitted
    several, one = ClassFitted.read(at / "o.h5"), Fitted.read(at / "oak.h5")
    np.testing.assert_allclose(several.x[:, 2], one.x, atol=1e-6)
    assert several.intercept[2] == pytest.approx(one.intercept, abs=1e-6)
    t, _ = rows(60, 2)
    chances = 1 / (1 + np.exp(-(t @ several.x + several.intercept)))
    with h5py.File(at / "p.h5") as file:
        np.testing.assert_allclose(file["probability_oak"][()], chances[:, 2] / chances.sum(1), atol=1e-6)
        assert [each.decode() for each in file["class"][()]] == np.array(CLASSES)[chances.argmax(1)].tolist()


def test_any_ranks_give_the_same_bits(fitted, series, tmp_path):
    at, _ = fitted
    fit = ["solve", str(at / "a.h5"), "--multiclass", "multinomial", "--intercept", "--class-weight", "balanced"]
    for size in (1, 3):
        (done,) = series(size, [*fit, "--workers", "3", "--deterministic", "--out", str(tmp_path / f"{size}.h5")])
        assert done.returncode == 0, done.stderr
    one, three = (ClassFitted.read(tmp_path / f"{size}.h5") for size in (1, 3))
    np.testing.assert_array_equal(one.x, three.x)
    np.testing.assert_array_equal(one.intercept, three.intercept)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("kind", ["multinomial", "ovr"])
def test_what_was_stopped_goes_on_bit_for_bit(world, shared_tmp, kind):
    console = Console(first=world.rank == 0)
    job = {"data": "default:rows=300,cols=30,per_row=6", "multiclass": kind, "intercept": True, "l2": 1e-3}
    solve(Solve(**job, out=shared_tmp / "whole.h5"), world, console)
    kept = {**job, "out": shared_tmp / "parts.h5", "checkpoint": shared_tmp / "c.h5"}
    assert solve(Solve(**kept, rounds=2), world, console)["rounds"] == 2
    assert solve(Solve(**kept), world, console)["resumed_after"] == 2
    again = solve(Solve(**job, from_=shared_tmp / "whole.h5", out=shared_tmp / "again.h5"), world, console)
    assert again["rounds"] == 0
    if world.rank == 0:
        one, other = ClassFitted.read(shared_tmp / "whole.h5"), ClassFitted.read(shared_tmp / "parts.h5")
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.intercept, other.intercept)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"loss": "squared_hinge"}, UsageError, "is the softmax of the logistic loss"),
        ({"loss": "poisson", "multiclass": "ovr"}, UsageError, "is for losses of two classes"),
        ({"positive": "1"}, UsageError, "--positive makes two classes"),
        ({"class_weight": "1:2"}, UsageError, "give balanced"),
        ({"inference": "hessian"}, CapabilityError, "--inference is for one margin a row"),
        ({"dry_run": True}, CapabilityError, "--dry-run is for one margin a row"),
        ({"device": "gpu"}, CapabilityError, "--device gpu is for one margin a row"),
        ({"l1": 0.1, "method": "spcg"}, CapabilityError, "method=fista"),
    ],
    ids=["hinge", "counts", "positive", "pair", "errors", "dry", "gpu", "l1"],
)
def test_what_cannot_be_is_said(world, shared_tmp, given, error, said):
    job = Solve(
        **{"data": "default:rows=60,cols=9,per_row=3", "multiclass": "multinomial", "out": shared_tmp / "r.h5", **given}
    )
    with pytest.raises(error, match=said):
        solve(job, world, Console(first=world.rank == 0))


def test_labels_that_are_no_classes_are_said(series, fitted, tmp_path):
    at, _ = fitted
    (tmp_path / "one.svm").write_text("3 1:1\n3 2:1\n")
    (tmp_path / "real.svm").write_text("".join(f"{k}.5 1:1\n" for k in range(70)))
    (tmp_path / "other.csv").write_text("a,b,c,d,tree\n1,2,3,4,fir\n")
    fit = ["--multiclass", "ovr", "--out", str(tmp_path / "r.h5")]
    done = series(
        2,
        ["convert", str(tmp_path / "one.svm"), str(tmp_path / "one.h5"), "--base", "1", "--one-label"],
        ["convert", str(tmp_path / "real.svm"), str(tmp_path / "real.h5"), "--base", "1"],
        ["solve", str(tmp_path / "one.h5"), *fit],
        ["solve", str(tmp_path / "real.h5"), *fit],
        ["solve", str(tmp_path / "one.h5"), *fit, "--from", str(at / "m.h5")],
        ["score", str(at / "m.h5"), str(tmp_path / "other.csv")],
        ["score", str(at / "m.h5"), str(at / "t.csv"), "--calibration"],
    )
    one_sentence(done[2], 1, "every row has the label 3")
    one_sentence(done[3], 1, "more than the 64 that are taken for classes")
    one_sentence(done[4], 1, "every row has the label 3")
    one_sentence(done[5], 1, "the label 'fir' is none of ash, elm, oak")
    one_sentence(done[6], 2, "--calibration and --png are for two classes")


def test_it_is_told_and_exported(fitted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    at, _ = fitted
    model = read_fitted(at / "m.h5")
    found = coef(Coef(run=at / "m.h5", top=1), None, Console())["classes"]
    biggest = abs(model.x).argmax(0)
    assert [found[tree]["coefficients"] for tree in CLASSES] == [{FEATURES[j]: model.x[j, k]} for k, j in enumerate(biggest)]
    assert "class oak" in capsys.readouterr().out
    export(Export(run=at / "m.h5"), None, Console())
    with open("m.csv", newline="") as file:
        told = {(line["class"], line["feature"]): float(line["coefficient"]) for line in csv.DictReader(file)}
    assert told[("elm", "c")] == model.x[2, 1] and told[("oak", "(intercept)")] == model.intercept[2]
    export(Export(run=at / "m.h5", to="json"), None, Console())
    with open("m.json") as file:
        assert json.load(file)["coefficients"]["ash"]["d"] == model.x[3, 0]
    with pytest.raises(CapabilityError, match="which vw is not made for: use --to csv or json"):
        export(Export(run=at / "m.h5", to="vw"), None, Console())
    with pytest.raises(UsageError, match="is a model of several classes"):
        Fitted.read(at / "m.h5")
    with pytest.raises(DataError):
        read_solution(at / "m.h5")


def test_other_programs_predict_what_it_does(fitted, tmp_path):
    at, _ = fitted
    model, (t, _) = read_fitted(at / "m.h5"), rows(60, 2)
    margins = t @ model.x + model.intercept
    wanted = np.array(CLASSES)[margins.argmax(1)].tolist()
    if skops := pytest.importorskip("skops.io", reason="needs skops"):
        export(Export(run=at / "m.h5", to="skops", out=tmp_path / "m.skops"), None, Console())
        peer = skops.load(tmp_path / "m.skops", trusted=skops.get_untrusted_types(file=tmp_path / "m.skops"))
        with pytest.warns(UserWarning, match="feature names"):
            assert peer.predict(t).tolist() == wanted
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    for name, chances in (("m", model.chances(margins)), ("o", None)):
        export(Export(run=at / f"{name}.h5", to="onnx", out=tmp_path / f"{name}.onnx"), None, Console())
        session = runtime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        found = dict(zip([out.name for out in session.get_outputs()], session.run(None, {"X": t}), strict=True))
        model = read_fitted(at / f"{name}.h5")
        margins = t @ model.x + model.intercept
        np.testing.assert_allclose(found["probability"], model.chances(margins), rtol=1e-9)
        assert found["class"].tolist() == np.array(CLASSES)[margins.argmax(1)].tolist()
        assert chances is None or np.allclose(found["probability"], chances)
