"""What is handed over from Python is looked at before anything is computed with it: kernels trust lengths and labels."""

import numpy as np
import pytest

from mpiopt import L2, Goal, Linear, Logistic, Poisson, Stop, UsageError, find, solve
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Team

ROWS = CSR.of(np.array([0, 2, 4, 6]), np.array([0, 1] * 3), np.arange(1.0, 7), (3, 2))
SIGNS = np.array([1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    "given", [{"y": SIGNS[:2]}, {"y": [1.0, -1, 1]}, {"y": SIGNS[:, None]}, {"weights": SIGNS[:2]}, {"offset": np.ones(4)}]
)
def test_what_stands_beside_rows_is_one_number_for_each(given):
    with pytest.raises(UsageError, match="the matrix has 3 rows: give an array of one number for each"):
        Linear(**{"matrix": ROWS, "y": SIGNS, "family": Logistic(), **given})


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"y": np.array([0.0, 1, 1])}, r"logistic loss takes: -1 and \+1"),
        ({"y": np.array([np.nan, 1, 1])}, r"logistic loss takes: -1 and \+1"),
        ({"y": SIGNS, "family": Poisson()}, "poisson loss takes: numbers of at least 0"),
        ({"y": np.array([np.inf, 1, 1]), "family": Poisson()}, "poisson loss takes: numbers of at least 0"),
        ({"weights": -SIGNS}, "weights are not all finite and at least 0"),
        ({"weights": np.array([np.nan, 1, 1])}, "weights are not all finite"),
        ({"offset": np.array([np.nan, 1, 1])}, "offsets are not all finite"),
        ({"offset": np.array([1e300, 1, 1])}, "offsets are not all finite and at most 1e\\+150"),
    ],
)
def test_what_stands_beside_rows_can_be(world, given, wrong):
    loss = Linear(**{"matrix": ROWS, "y": SIGNS, "family": Logistic(), **given})
    with pytest.raises(UsageError, match=f"the loss of worker 0 cannot be used: its .*{wrong}"):
        Team.of(world, [loss], L2(0.1))


@pytest.mark.parametrize("start", [np.zeros(1), np.zeros((2, 1)), [0.0, 0.0], None])
def test_a_start_is_a_point(world, start):
    team = Team.of(world, [Linear(ROWS, SIGNS, Logistic())], L2(0.1))
    with pytest.raises(UsageError, match=r"the start is .*: give an array of shape \(2,\), such as team\.zeros\(\)"):
        solve(find("spcg").make(), team, start, Stop(rounds=1))


def test_no_run_ends_at_less_than_nothing():
    for wrong in ({"rounds": -1}, {"gap": float("nan")}, {"seconds": -0.5}):
        with pytest.raises(UsageError, match="give a number of at least 0, or None"):
            Stop(**wrong)
    with pytest.raises(UsageError, match="`accuracy=nan`"):
        Goal(accuracy=float("nan"))
    assert Stop(rounds=0, gap=0.0).rounds == 0
