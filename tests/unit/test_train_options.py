"""What mpiopt train refuses before it reads anything, and what its ends mean."""

import pytest

from mpiopt.errors import UsageError
from mpiopt.jobs.console import Console
from mpiopt.jobs.train import Train, complete, run

BLOBS = "blobs:rows=60,features=4"
WRONG = {
    "--accuracy 95: give a share": {"accuracy": 95.0},
    "--accuracy nan: give a share": {"accuracy": float("nan")},
    "--batch 0: give a whole number of at least 1": {"batch": 0},
    "--epochs inf: give a finite number above 0, and a large one": {"epochs": float("inf")},
    "--record 0: give a finite number above 0": {"record": 0.0},
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


@pytest.mark.parametrize(("accuracy", "strict", "code"), [(1.0, True, 3), (1.0, False, 0), (0.01, True, 0), (None, True, 0)])
def test_strict_is_about_the_accuracy_that_was_asked_for(world, accuracy, strict, code):
    found = run(
        Train(data=f"{BLOBS},spread=9", batch=5, epochs=1, accuracy=accuracy, strict=strict), world, Console(first=False)
    )
    assert found["exit_code"] == code and found["converged"] == (accuracy != 1.0)


def test_a_round_longer_than_the_epochs_is_told(world, capsys):
    run(Train(data=BLOBS, batch=5, epochs=1, method="local_sgd", set=(("period", 50),)), world, Console())
    assert "a round of local_sgd is 50 steps of each worker, and 1 epochs are 12" in capsys.readouterr().err
