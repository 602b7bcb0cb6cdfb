"""What mpiopt train refuses before it reads anything, and what its ends mean."""

import pytest

from mpiopt.errors import NumericalError, UsageError
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.model_team import batch_of, opened, team_of
from mpiopt.jobs.train import complete, run

BLOBS = "blobs:rows=60,features=4"
WRONG = {
    "--accuracy 95: give a share": {"accuracy": 95.0},
    "--accuracy nan: give a share": {"accuracy": float("nan")},
    "--batch 0: give a whole number of at least 1": {"batch": 0},
    "--batch 4,0: give a whole number of at least 1": {"batch": "4,0"},
    "--batch of unlike sizes is for shuffled epochs": {"batch": "4,2", "ownership": "turns"},
    "--epochs inf: give a finite number above 0, and a large one": {"epochs": float("inf")},
    "--record 0: give a finite number above 0": {"record": 0.0},
    "--strict is about an accuracy that is not reached: give --accuracy too": {"strict": True},
}


@pytest.mark.parametrize("said", WRONG)
def test_what_cannot_be_is_one_sentence(said):
    with pytest.raises(UsageError) as caught:
        complete(Train(**WRONG[said]))
    assert said in str(caught.value)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("--delay 9:5: there are workers 0 to 2", {"delay": ("9:5",)}),
        ("local_sgd cannot be made with period=x: give values", {"set": (("period", "x"),)}),
    ],
)
def test_what_does_not_fit_the_job_is_one_sentence(worlds, said, given):
    with pytest.raises(UsageError) as caught:
        run(Train(data=BLOBS, batch=5, workers=3, **given), worlds(workers=3), Console(first=False))
    assert said in str(caught.value)


@pytest.mark.parametrize(("accuracy", "strict", "code"), [(1.0, True, 3), (1.0, False, 0), (0.01, True, 0), (None, False, 0)])
def test_strict_is_about_the_accuracy_that_was_asked_for(world, accuracy, strict, code):
    found = run(
        Train(data=f"{BLOBS},spread=9", batch=5, epochs=1, accuracy=accuracy, strict=strict), world, Console(first=False)
    )
    assert found["exit_code"] == code and found["converged"] is {1.0: False, 0.01: True, None: None}[accuracy]


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, "--warmup, --clip"),
        ({"warmup": 1.0}, "--clip"),
        ({"warmup": 1.0, "clip": 1e30}, None),
        ({"method": "scaffold"}, "--warmup"),
        ({"method": "scaffnew"}, None),
        ({"method": "sgd", "compress": "topk:0.5", "force": True}, "--warmup, --clip, --error-feedback"),
        ({"method": "sgd", "compress": "topk:0.5", "link": "ef"}, "--warmup, --clip"),
        ({"method": "sgd", "compress": "qsgd:4"}, "--warmup, --clip"),
    ],
)
def test_a_divergence_advises_what_is_not_in_use(world, given, unused):
    with pytest.raises(NumericalError) as caught:
        run(Train(data=BLOBS, batch=5, lr=1e30, record=1.0, **given), world, Console(first=False))
    said = str(caught.value)
    assert said.endswith("take a smaller step size" + (f"; not in use yet: {unused}" if unused else "")) and "diverged" in said


def test_a_round_longer_than_the_epochs_is_told(world, capsys):
    run(Train(data=BLOBS, batch=5, epochs=1, method="local_sgd", set=(("period", 50),)), world, Console())
    assert "a round of local_sgd is 50 steps of each worker, and --epochs 1 makes 12" in capsys.readouterr().err


@pytest.mark.ranks(1, 2)
def test_unlike_batches_count_by_their_size(worlds):
    job = parse(["train", "--data", "blobs:rows=24,features=3", "--model", "softmax", "--batch", "2, 6", "--workers", "2"]).job
    assert job.batch == "2,6" and parse(["train", "--batch", "1e2"]).job.batch == 100
    world, job = worlds(workers=2), complete(job)
    team = team_of(job, opened(job, world)[0], world)
    assert [site.share for site in team.sites] == [(2, 6)[w] / 8 for w in world.hosted]
    assert [len(site.sample(0)) for site in team.sites] == [(2, 6)[w] for w in world.hosted]
    assert batch_of(job, 24, 2) == 4
    with pytest.raises(UsageError, match="2 numbers for 3 workers; give one, or one for each"):
        job.batches(3)
