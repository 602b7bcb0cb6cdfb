"""The step sizes of theory for every compressor: where workers share their draws the errors of a mean do not average out."""

from functools import cache

import numpy as np
import pytest

from mpiopt.compress.catalogue import CATALOGUE, find
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.methods.compression import dcgd, diana, gdci, marina, rand_diana, vr_gdci
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from tests.training_sets import path

WORKERS, DIM, RIDGE = 32, 8, 0.5
METHODS = {method.__name__: method for method in (dcgd, diana, rand_diana, marina, gdci, vr_gdci)}
TEXTS = (
    "identity",
    "randk:0.25",
    "randk:0.25,shared=yes",
    "block:0.25",
    "block:0.25,shared=no",
    "permk",
    "qsgd:2",
    "terngrad",
    "natural",
    "natural_dithering:2",
    "sketch:0.5",
    "kashin",
    "randk:0.5,shared=yes+qsgd:2",
    "randk:0.5+block:0.5",
    "permk+natural",
    "block:0.5+block:0.5",
)
PROBLEMS = ("unit", "heterogeneous")
SLICE = [(text, list(METHODS)[(i + k) % 6], PROBLEMS[k]) for i, text in enumerate(TEXTS) for k in range(2)]


def regression(a: np.ndarray, centre: np.ndarray) -> Linear:
    """mean (a_i.(x - centre))^2 / 2 over the rows of a (rows, cols), all entries stored."""
    rows, cols = a.shape
    matrix = CSR.of(np.arange(rows + 1) * cols, np.tile(np.arange(cols), rows), a.ravel(), a.shape)
    return Linear(matrix, a @ centre, LeastSquares())


@cache
def losses(name: str) -> tuple[list[Linear], np.ndarray]:
    """The workers' quadratics, each with its own centre, and where their mean with the penalty is least.

    unit : every Hessian is I, the penalty included. heterogeneous : others in every worker.
    """
    rng, out, h, b = np.random.default_rng(0), [], RIDGE * np.eye(DIM), np.zeros(DIM)
    for _ in range(WORKERS):
        axes = np.eye(DIM) if name == "unit" else np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
        curvatures = np.full(DIM, 1 - RIDGE) if name == "unit" else rng.uniform(0.01, 2, DIM)
        a, centre = np.sqrt(DIM * curvatures)[:, None] * axes, rng.standard_normal(DIM)
        out.append(regression(a, centre))
        h, b = h + a.T @ a / (DIM * WORKERS), b + a.T @ a @ centre / (DIM * WORKERS)
    return out, np.linalg.solve(h, b)


def distances(worlds, text: str, method: str, problem: str, rounds: int) -> np.ndarray:
    """|x - x*|^2 after every round, over its value at the start."""
    parts, best = losses(problem)
    world = worlds(workers=WORKERS)
    team = Team.of(world, [parts[w] for w in world.hosted], L2(RIDGE), 1)
    apart = path(METHODS[method](text), team, best + 3, rounds) - best
    return (apart**2).sum(axis=1) / (9 * DIM)


@pytest.mark.ranks(1)
@pytest.mark.parametrize(("text", "method", "problem"), SLICE)
def test_the_steps_of_theory_converge(worlds, text, method, problem):
    assert distances(worlds, text, method, problem, 40)[-1] < 0.2


@pytest.mark.ranks(1)
@pytest.mark.study
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_compressor_converges_under_every_method(worlds, text, method, problem):
    """The exact ones to the optimum, dcgd and gdci to where the workers' differences keep them."""
    end = distances(worlds, text, method, problem, 400)[-20:].max()
    assert end < (0.05 if method in ("dcgd", "gdci") else 1e-4)


def test_every_unbiased_compressor_is_under_this_test():
    tried = {name for text in TEXTS for name in CATALOGUE if name in text.replace(":", "+").split("+")}
    unbiased = {name for name, entry in CATALOGUE.items() if name != "powersgd" and find(name).unbiased}
    assert tried == unbiased
