"""Trainings started from Python whose ranks were given unlike things: one sentence on every rank, before it starts."""

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.methods.averaging import local_sgd, sgd
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.perceptron import Perceptron, Tanh
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.training.drive import Goal, train
from mpiopt.transforms import rules

ROWS = 24


def go(world, odd: bool, **other):
    """A training whose ``other`` things are the last rank's. Collective."""
    rule = rules.sgd(lambda step: 0.1)
    mine = {
        "shift": 0.0,
        "widths": (3, 4, 2),
        "activation": Tanh(),
        "method": local_sgd(rule, 2),
        "start": 0.1,
        "goal": Goal(rounds=2),
        "penalty": Zero(),
        "seed": 0,
        "make": Perceptron,
    } | (other if odd else {})
    x = np.random.default_rng(0).standard_normal((ROWS, 3)) + mine["shift"]
    data = Dense(x, np.arange(ROWS) % 2)
    models = [mine["make"](data, mine["widths"], mine["activation"]) for _ in world.hosted]
    samples = [Batches(ROWS, 4, Streams(0), worker) for worker in world.hosted]
    team = Team.of(world, models, mine["penalty"], mine["seed"], samples)
    return train(mine["method"], team, np.full(models[0].dim, mine["start"]), mine["goal"], rows=ROWS)


UNLIKE = {
    "start": {"start": 0.2},
    "method": {"method": local_sgd(rules.sgd(0.1), 3)},
    "goal": {"goal": Goal(rounds=3)},
    "penalty": {"penalty": L2(0.1)},
    "seed": {"seed": 1},
    "model": {"widths": (3, 5, 2)},
    "data set": {"shift": 1e-3},
}


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize("name", UNLIKE)
def test_what_differs_is_named_on_every_rank(worlds, name):
    world = worlds(workers=4)
    with pytest.raises(UsageError) as caught:
        go(world, world.rank == world.size - 1, **UNLIKE[name])
    assert str(caught.value).startswith(f"rank {world.size - 1} was given another {'start' if name == 'model' else name} than")
    assert len(set(world.tell_all(str(caught.value)))) == 1


@pytest.mark.ranks(2)
def test_what_is_short_is_shown(worlds):
    world = worlds(workers=2)
    with pytest.raises(UsageError, match=r"than rank 0: \w+\(.*l2=0.1.*\) and \w+\(.*l2=0.0.*\); give all ranks the same"):
        go(world, world.rank == 1, penalty=L2(0.1))


@pytest.mark.ranks(2)
def test_models_of_one_size_may_be_unlike_too(worlds):
    from mpiopt.problems.perceptron import Relu

    world = worlds(workers=2)
    with pytest.raises(UsageError, match="rank 1 was given another model than rank 0"):
        go(world, world.rank == 1, activation=Relu())
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
    from mpiopt.training.torch.model import TorchModel

    def made(layers):
        return lambda data, *_: TorchModel(lambda: torch.nn.Sequential(*layers(), torch.nn.Linear(3, 2)), data)

    drop, frozen = torch.nn.Dropout, torch.nn.Linear(3, 3).requires_grad_(False)
    for unlike, what in (
        ((lambda: [drop(0.1)], lambda: [drop(0.2)]), "model"),
        ((lambda: [frozen], lambda: [frozen.apply(lambda part: part.weight.add_(1.0))]), "state of the model"),
    ):
        with torch.no_grad(), pytest.raises(UsageError, match=f"rank 1 was given another {what} than rank 0"):
            go(world, True, make=made(unlike[world.rank]))


@pytest.mark.ranks(1, 2, 3)
def test_what_is_alike_goes_through(worlds):
    """Also where objects live at other addresses, and where workers have rows of their own."""
    assert go(worlds(workers=4), False).final.round == 2
    world = worlds(workers=4)
    models = [Perceptron(Dense(np.ones((6, 3)) * w, np.arange(6) % 2), (3, 2)) for w in world.hosted]
    team = Team.of(world, models, Zero(), 0, [Batches(6, 2, Streams(0), w) for w in world.hosted])
    assert train(sgd(rules.sgd(0.1)), team, np.zeros(8), Goal(rounds=2), rows=24).final.round == 2
