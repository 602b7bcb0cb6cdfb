"""Options that all trainings share: each changes the result of a method to the bit, or is refused, and the record tells."""

from functools import cache
from pathlib import Path

import pytest

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.method_options import THROUGH, strangers
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.local_rule import rate_of
from mpiopt.jobs.running.model_team import opened, team_of
from mpiopt.jobs.running.training import method_of, start
from mpiopt.jobs.train import complete, run
from mpiopt.methods import training
from mpiopt.training.drive import Goal, train
from mpiopt.transforms.rules import RULES

WORKERS, PER_EPOCH = 4, 4.0
OPTIONS = {
    "rule": "adam",
    "lr": 0.03,
    "momentum": 0.5,
    "decay": 0.3,
    "clip": 1e-3,
    "group": ("bias*:lr=3",),
    "schedule": "inverse",
    "warmup": 0.5,
    "clients": 2,
    "dead": (1,),
    "batch": 5,
    "ownership": "turns",
    "redundancy": 2,
    "split": "classes:2",
    "noise": "gaussian:0.5",
    "seed": 1,
    "compress": "qsgd:bits=4",
}


def job(method: str, **given) -> Train:
    period = {"set": (("period", 2),)} if "period" in training()[method].parameters else {}
    base = {"data": "blobs:rows=64,features=4", "model": "softmax", "batch": 4, "epochs": 2, "workers": WORKERS}
    return complete(Train(method=method, **{**base, **period, **given}))


@pytest.fixture
def answer(worlds):
    """The bits of a job's answer after some rounds."""
    world = worlds(workers=WORKERS)

    @cache
    def found(method: str, **given) -> bytes:
        wanted = job(method, **given)
        source = opened(wanted, world).source
        team = team_of(wanted, source, world)
        return train(method_of(wanted, WORKERS, PER_EPOCH)[0], team, start(wanted, team), Goal(rounds=4)).x.tobytes()

    return found


@pytest.mark.parametrize("method", training())
def test_an_option_changes_the_bits_or_is_refused(answer, method):
    refused = set()
    for option, value in OPTIONS.items():
        try:
            assert answer(method, **{option: value}) != answer(method), f"--{option} is passed over in silence"
        except (UsageError, CapabilityError) as error:
            assert option == "compress" or f"--{option}" in str(error)
            refused.add(option)
    others = {"compress", "schedule", "warmup", "split"}
    assert refused - others == set(strangers(method)), "what reaches it is not refused"
    assert ("split" in refused) == training()[method].shared
    assert ({"schedule", "warmup"} <= refused) == training()[method].steady


def test_every_method_takes_a_rule_or_says_which_it_brings():
    for name, entry in training().items():
        assert ("rule" in entry.parameters) != (entry.rule in RULES), name
        assert {"rule", "lr"} & set(entry.parameters)
        assert set(strangers(name)) <= set(THROUGH) <= set(OPTIONS)


@pytest.mark.parametrize(
    ("method", "rule"),
    [("local_sgd", "momentum"), ("scaffold", "sgd"), ("scaffnew", "sgd"), ("eamsgd", "nag"), ("async_eamsgd", "nag")],
)
def test_the_record_tells_what_ran_and_repeats_it(worlds, capsys, method, rule):
    job = Train(data="blobs:rows=64", batch=4, epochs=1, method=method, workers=2, out=Path("none"))
    found = run(job, worlds(workers=2), Console())
    assert found["rule"] == found["config"]["rule"] == rule and f"; {rule}, constant" in capsys.readouterr().out
    again = complete(Train(**{name: value for name, value in found["config"].items() if name not in ("set", "out")}))
    assert (again.rule, again.momentum, again.clip) == (rule, None, None)


REFUSED = {
    "mnist-mlp --method scaffnew": "scaffnew needs a step size that stays the same: give --schedule constant --warmup 0",
    "mnist-mlp --method scaffold --rule adam": "scaffold makes steps of its own (sgd), and --rule does not reach it",
    "--method eamsgd --momentum 0.5": "eamsgd makes steps of its own (nag), and --momentum does not reach it",
    "--method lsgd --clients 2": "lsgd needs all workers in every round, and --clients does not reach it",
    "--method sgd --dead 1": "sgd needs all workers in every round, and --dead does not reach it: leave that out, or use "
    "one of local_sgd, ri_sgd, fedavg",
    "--data d.h5 --leader": "--leader examines more points on the test rows: give --test TEST.h5 too",
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_would_be_passed_over_is_one_sentence(command):
    with pytest.raises(UsageError) as caught:
        complete(parse(["train", *command.split()]).job)
    assert REFUSED[command] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        "mnist-mlp --method scaffold",
        "cifar-cnn --method eamsgd",
        "--method scaffold --rule sgd",
        "mnist-mlp --method scaffnew --schedule constant --warmup 0",
    ],
)
def test_a_preset_of_another_method_gives_what_reaches_this_one(command):
    wanted = complete(parse(["train", *command.split()]).job)
    assert wanted.rule == training()[wanted.method].rule and not wanted.decay and not wanted.momentum


def test_the_decay_of_adamw_can_be_left_out(answer):
    assert answer("sgd", rule="adamw") == answer("sgd", rule="adamw", decay=0.01) != answer("sgd", rule="adamw", decay=0.0)


def test_a_warm_up_is_at_least_a_step():
    rate = rate_of(job("sgd", warmup=1e-3), PER_EPOCH)
    assert rate(0) == rate(5) / 2 == rate(1) / 2
    assert rate_of(job("sgd", warmup=0), PER_EPOCH)(0) == rate(1)
