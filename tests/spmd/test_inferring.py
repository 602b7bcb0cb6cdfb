"""solve --inference on any number of ranks, and what coef, export and report --test make of it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.inference.normal import Estimates
from mpiopt.io.runs.beside_solution import read_errors
from mpiopt.io.runs.coefficients import Coefficients
from mpiopt.io.runs.run_file import read_solution
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.coef import Coef
from mpiopt.jobs.coef import run as coef
from mpiopt.jobs.export import Export
from mpiopt.jobs.export import run as export
from mpiopt.jobs.report import Report
from mpiopt.jobs.report import run as report
from mpiopt.jobs.solve import run


def converted(world, folder, width=4):
    """150 rows of ``width`` features, the last the number of a cluster, and a copy of the second where there are six."""
    rng = np.random.default_rng(3)
    a = np.round(rng.standard_normal((150, 6)), 3)
    y = np.where(a[:, 0] - a[:, 1] + 2 * rng.standard_normal(150) > 0, 1, 0)
    a[:, 3], a[:, 5] = np.arange(150) % 9 + 1, a[:, 1]
    path = folder / f"t{width}.h5"
    if world.rank == 0:
        lines = [f"{t} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(x[:width])) for t, x in zip(y, a, strict=True)]
        (folder / f"t{width}.svm").write_text("\n".join(lines))
    world.barrier()
    convert(world, [folder / f"t{width}.svm"], path, TextOptions(values="float64", overwrite=True))
    return Solve(data=str(path), l2=0.0, intercept=True, out=folder / f"r{width}.h5")


@pytest.mark.ranks(1, 3)
def test_errors_stand_beside_the_solution(world, shared_tmp, monkeypatch):
    console, job = Console(first=world.rank == 0), replace(converted(world, shared_tmp), inference="cluster:4")
    run(job, world, console)
    x, b = read_solution(job.out)
    errors = read_errors(job.out)
    assert x[3] == 0 and np.isnan(errors[3]) and (errors[[0, 1, 2, 4]] > 0).all() and errors.shape == (5,)
    if world.rank == 0:
        known = coef(Coef(run=job.out), None, Console())["known"]
        wanted = Estimates(np.append(x, b), errors)
        assert known["(intercept)"]["p"] == wanted.p[4] and known["1"]["standard_error"] == errors[0]
        monkeypatch.chdir(shared_tmp)
        export(Export(run=job.out, overwrite=True), None, Console())
        with open("r4.csv", newline="", encoding="utf-8") as file:
            first = list(csv.DictReader(file))[1]
        assert float(first["low"]) == wanted.interval[0][0] and float(first["z"]) == wanted.z[0]
        export(Export(run=job.out, to="json", overwrite=True), None, Console())
        assert json.loads((shared_tmp / "r4.json").read_text())["standard_errors"]["(intercept)"] == errors[4]
    world.barrier()


@pytest.mark.ranks(1, 2)
def test_errors_of_named_features(world, shared_tmp):
    console, job = Console(first=world.rank == 0), replace(converted(world, shared_tmp), inference="sandwich")
    run(job, world, console)
    wanted = read_errors(job.out)
    some = replace(job, inference_of="3, (intercept)", out=shared_tmp / "some.h5")
    run(some, world, console)
    found = read_errors(some.out)
    np.testing.assert_allclose(found[[2, 4]], wanted[[2, 4]], rtol=1e-7)
    assert np.isnan(found[[0, 1, 3]]).all()
    if world.rank == 0:
        told = coef(Coef(run=some.out, top=1), None, Console())["known"]
        assert list(told)[:2] == ["(intercept)", "3"] and len(told) == 3 and told["3"]["standard_error"] == found[2]
    world.barrier()
    for given, said in (
        ({"inference": None}, "say which, by --inference hessian or sandwich"),
        ({"inference_of": "3,9"}, "there is no feature 9 to make errors of"),
        ({"inference": "cluster:3"}, "--inference-of 3: it says to which cluster"),
        ({"intercept": False}, r"there is no feature \(intercept\)"),
    ):
        with pytest.raises(UsageError, match=said):
            run(replace(some, overwrite=True, **given), world, console)


def test_two_runs_are_tested(world, shared_tmp, capsys):
    console = Console()
    small, large = (converted(world, shared_tmp, width) for width in (2, 3))
    losses = [run(job, world, console)["objective"] for job in (small, large)]
    found = report(Report(runs=(large.out, small.out), test=True), None, console)
    assert found["statistic"] == pytest.approx(2 * 150 * (losses[0] - losses[1])) and found["freedom"] == 1
    assert found["smaller"].endswith("r2.h5") and "1 degree of freedom" in capsys.readouterr().out
    with pytest.raises(UsageError, match="have 3 coefficients each"):
        report(Report(runs=(small.out, small.out), test=True), None, console)
    with pytest.raises(UsageError, match="1 run is given"):
        report(Report(runs=(small.out,), test=True), None, console)
    run(replace(small, l2=0.1, out=shared_tmp / "p.h5"), world, console)
    with pytest.raises(UsageError, match="has a penalty"):
        report(Report(runs=(large.out, shared_tmp / "p.h5"), test=True), None, console)


@pytest.mark.ranks(1, 2)
def test_a_fit_without_errors_is_kept_and_said(world, shared_tmp):
    console, job = Console(first=world.rank == 0), replace(converted(world, shared_tmp, 6), inference="hessian", rounds=60)
    with pytest.raises(DataError, match="singular, so that there are no standard errors: 6 are combinations of columns before"):
        run(job, world, console)
    assert len(read_solution(job.out)[0]) == 6 and Coefficients.read(job.out).errors is None
    for given, error, told in (
        ({"inference": "bootstrap"}, UsageError, "give hessian, sandwich or cluster:FEATURE"),
        ({"inference": "cluster"}, UsageError, "cluster:FEATURE"),
        ({"inference": "cluster:9"}, UsageError, "there is no feature 9 to make clusters of: give a number from 1 to 6"),
        ({"l1": 0.1}, CapabilityError, "of a fit with --l1 0.1"),
        ({"lower": 0.0}, CapabilityError, "of a fit with --lower 0"),
    ):
        with pytest.raises(error, match=told):
            run(replace(job, overwrite=True, **given), world, console)
