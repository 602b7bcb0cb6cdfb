"""Offsets and weights of text that a model is applied to."""

from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.runs.run_file import read_solution
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
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
    with pytest.raises(UsageError, match=r"`offset` is for text, and a.h5 has what it has beside its labels"):
        predict(Predict(files=(Path("r.h5"), Path("a.h5")), offset=Path("o.txt"), out=Path("s.csv")), world, Console())
    convert(world, ["a.svm"], "b.h5", TextOptions(like="r.h5"))
    assert Dataset.open("b.h5").index.features == ("red", "green", "blue")
