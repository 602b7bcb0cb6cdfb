"""From a table to a model in another program: convert, solve on held-out rows, score, export, one command each."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from tests.spmd.test_tables import csv_text, lay, people

pytest.importorskip("pyarrow", reason="tables are read by pyarrow")


def told(line: str, world) -> dict:
    """What a command says to --json. Collective."""
    asked = parse(line.split())
    return import_module(f"mpiopt.jobs.{line.split()[0]}").run(asked.job, world, Console(first=world.rank == 0))


@pytest.mark.ranks(2)
@pytest.mark.parametrize("how", ["--scale std", "--hash 2**10"])
def test_every_program_finds_the_same_area_under_the_curve(world, shared_tmp, monkeypatch, how):
    monkeypatch.chdir(shared_tmp)
    train, test = people(300), people(120, seed=1)
    for table in (train, test):
        chance = np.array([(v or 30) / 90 for v in table["age"]]) + np.array([c == "rome" for c in table["city"]])
        table["income"] = np.where(chance + np.random.default_rng(2).random(len(chance)) > 1, ">50K", "<=50K").tolist()
    test["city"][:3] = ["lima"] * 3
    for name, table in (("train", train), ("test", test)):
        lay(world, shared_tmp / f"{name}.csv", csv_text(table))
    told(f"convert train.csv train.h5 --label income --missing indicator --categorical zip {how}", world)
    told("convert test.csv test.h5 --like train.h5", world)
    found = told("solve train.h5 --test test.h5 --out run.h5 --l2 1e-2 --intercept", world)
    (scored,) = told("score run.h5 test.h5", world)["scores"]
    (raw,) = told("score run.h5 test.csv", world)["scores"]
    told("predict run.h5 test.csv --out p.csv", world)
    told("predict run.h5 test.csv --out p.parquet", world)
    if world.rank == 0:
        lines = [line.split(",") for line in Path("p.csv").read_text().splitlines()[1:]]
        area = roc_auc_score(np.array(test["income"]) == ">50K", [float(line[0]) for line in lines])
        kept = pytest.importorskip("pyarrow.parquet").read_table("p.parquet").to_pydict()
        assert [[repr(v) if isinstance(v, float) else v for v in row] for row in zip(*kept.values(), strict=True)] == lines
        assert {line[-1] for line in lines} == {">50K", "<=50K"}
        assert scored["roc_auc"] == pytest.approx(area, abs=1e-12) and found["test_roc_auc"] == pytest.approx(area, abs=1e-12)
        assert raw["roc_auc"] == pytest.approx(area, abs=1e-12)
        if "hash" not in how:
            skops = pytest.importorskip("skops.io", reason="needs skops")
            told("export run.h5 --to skops", world)
            model = skops.load("run.skops", trusted=skops.get_untrusted_types(file="run.skops"))
            x = encoded(test, model.feature_names_in_)
            with pytest.warns(UserWarning, match="feature names"):
                margins = model.decision_function(x)
            assert roc_auc_score(np.array(test["income"]) == model.classes_[1], margins) == pytest.approx(area, abs=1e-12)
            np.testing.assert_allclose(margins, [float(line[0]) for line in lines], rtol=1e-5, atol=1e-5)


def encoded(table: dict[str, list], names) -> np.ndarray:
    """Features by their names, of a table as it is."""
    out = np.zeros((len(table["age"]), len(names)))
    for j, name in enumerate(names):
        column, _, value = name.removesuffix(" (missing)").partition("=")
        for i, cell in enumerate(table[column]):
            if name.endswith("(missing)"):
                out[i, j] = cell is None
            else:
                out[i, j] = str(cell) == value if value else float(np.float32(cell or 0))
    return out
