"""Compiling takes no memory that depends on the problem, so that what runs out of memory is not blamed on it."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from mpiopt.jobs.running.warm_up import warm
from mpiopt.kernels.csr import CSR
from mpiopt.losses.logistic import Logistic
from mpiopt.problems.linear import Linear
from tests.unit.test_checkpoint import WORLD


@pytest.mark.parametrize("rows", [0, 5])
def test_it_asks_for_no_long_vector(rows):
    matrix = CSR.of(np.zeros(rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (rows, 10**7))
    team = SimpleNamespace(world=WORLD, sites=[SimpleNamespace(loss=Linear(matrix, np.ones(rows), Logistic(), intercept=True))])
    warm(team)
    tracemalloc.start()
    try:
        warm(team)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
