"""Trainings that are used: what `predict` and `score` say of them is what their examinations said, on any ranks."""

import csv

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.runs.run_file import read_run
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from mpiopt.problems.examples import Dense
from mpiopt.problems.perceptron import Perceptron

SHOP = "mpiopt.jobs.examples.own_shop"
OWN = ["--model", f"{SHOP}:Shop", "--loss", f"{SHOP}:of_orders"]


def said(world, *words):
    """What a command line returns."""
    call = parse(list(map(str, words)))
    return call.run(call.job, world, Console(first=False))


@pytest.fixture
def pictures(world, shared_tmp):
    """Rows of 5 features in 3 classes, shuffled by the conversion; the file that they are from."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 61)
    x = (rng.standard_normal((61, 5)) + 1.5 * np.eye(3, 5)[y]).astype(np.float32)
    if world.rank == 0:
        np.savez(shared_tmp / "rows.npz", x=x, y=y)
    world.barrier()
    said(world, "convert", shared_tmp / "rows.npz", shared_tmp / "rows.h5")
    return shared_tmp, x, y


@pytest.mark.ranks(1, 2, 3)
def test_a_perceptron_says_of_every_row_in_the_order_of_its_source(world, pictures):
    folder, x, y = pictures
    out, rows = folder / "r.h5", folder / "rows.h5"
    said(world, "train", "--data", rows, "--test", rows, "--model", "mlp:4", "--batch", 5, "--epochs", 4, "--out", out)
    told = read_run(out).attributes
    (score,) = said(world, "score", out, rows)["scores"]
    assert score["accuracy"] == pytest.approx(told["accuracy"]) and score["mean_loss"] == pytest.approx(told["test_loss"])
    assert score["log_loss"] == pytest.approx(score["mean_loss"], rel=1e-6) and len(score["by_class"]) == 3
    said(world, "predict", out, rows, "--out", folder / "p.csv")
    names, *lines = csv.reader((folder / "p.csv").read_text().splitlines())
    found = np.array(lines, float)
    model = Perceptron(Dense(x, y), (5, 4, 3))
    from mpiopt.io.runs.run_file import read_solution

    z = model.outputs(read_solution(out)[0].astype(np.float32), x).astype(float)
    chances = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert names == ["class", "probability_0", "probability_1", "probability_2"]
    np.testing.assert_array_equal(found[:, 0], z.argmax(1))
    np.testing.assert_allclose(found[:, 1:], chances, rtol=2e-5)
    assert (found[:, 0] == y).mean() == pytest.approx(score["accuracy"])


@pytest.mark.ranks(1, 2)
def test_a_module_of_ones_own_asks_for_its_code(world, shared_tmp):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
    out, rows = shared_tmp / "shop.h5", f"{SHOP}:orders"
    given = "--rule adamw --lr 0.01 --epochs 2 --batch 10 --set period=4".split()
    said(world, "train", *OWN, "--data", rows, "--test", rows, *given, "--out", out)
    metric = ["--metric", f"{SHOP}:accuracy"]
    (score,) = said(world, "score", out, rows, *OWN, *metric)["scores"]
    told = read_run(out).attributes
    assert score["mean_loss"] == pytest.approx(told["test_loss"], rel=1e-2)  # rows with errors
    said(world, "predict", out, rows, *OWN[:2], "--out", shared_tmp / "p.csv")
    names, *lines = csv.reader((shared_tmp / "p.csv").read_text().splitlines())
    from mpiopt.jobs.examples.own_shop import orders

    assert names == ["output_0", "output_1"] and len(lines) == 200
    guess = np.array(lines, float).argmax(1)
    assert (guess == orders().y.numpy()).mean() == pytest.approx(score["accuracy"], abs=0.03)
    with pytest.raises(
        UsageError, match=f"was trained with --model {SHOP}:Shop, which is code, and code is never taken from a run"
    ):
        said(world, "predict", out, rows)
    with pytest.raises(UsageError, match="was trained with --loss"):
        said(world, "score", out, rows, *OWN[:2])


@pytest.mark.ranks(2)
def test_a_transformer_is_scored_by_loss_and_perplexity(world, shared_tmp):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
    if world.rank == 0:
        (shared_tmp / "it.txt").write_text("the cat sat on the mat, " * 12)
    world.barrier()
    rows, out = shared_tmp / "it.h5", shared_tmp / "gpt.h5"
    said(world, "convert", shared_tmp / "it.txt", rows, "--tokens", "characters", "--block", 8)
    given = "--model gpt:layers=1,width=8,heads=1 --batch 4 --epochs 1".split()
    said(world, "train", "--data", rows, "--test", rows, *given, "--out", out)
    (score,) = said(world, "score", out, rows)["scores"]
    told = read_run(out).attributes
    assert score["mean_loss"] == pytest.approx(told["test_loss"], rel=1e-6)
    assert score["perplexity"] == pytest.approx(np.exp(told["test_loss"]), rel=1e-6) and "accuracy" not in score
    with pytest.raises(CapabilityError, match="is of a model of text: let it write on from a `prompt`, or score it"):
        said(world, "predict", out, rows)


@pytest.mark.ranks(1)
def test_what_does_not_fit_is_a_sentence(world, shared_tmp):
    out = shared_tmp / "r.h5"
    said(
        world, "train", "--data", "blobs:rows=100,features=4", "--model", "softmax", "--batch", 10, "--epochs", 1, "--out", out
    )
    for words, part in {
        ("score", out, "blobs:rows=9,features=3"): "give rows of the kind that it was trained on",
        ("score", out, "blobs:rows=9,features=4", "--metric", "f2"): "is scored by accuracy",
        (
            "predict",
            out,
            "blobs:rows=9,features=4",
            "--model",
            "a:b",
        ): "--model names code of one's own, and .* was trained with softmax",
        ("score", out, "blobs:rows=9,features=4", "--calibration"): "are for runs of mpiopt solve",
    }.items():
        with pytest.raises(UsageError, match=part):
            said(world, *words)
