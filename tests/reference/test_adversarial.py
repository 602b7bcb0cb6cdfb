"""Small problems that are hard in one way each: every convex method ends right, or says why not.

The truth is dense Newton in extended precision (`tests.adversarial_sets`). `ENDS` is the table of reasons.
"""

from functools import cache
from hashlib import blake2b

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import Solution, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods import catalogue, find
from tests.adversarial_sets import Case, Extended, cases

SURE = ("spcg", "lbfgs", "tron", "giant", "dane")  # right on every problem that has an optimum
LOCAL = ("giant", "dane")  # but for these where several workers share few rows, which no penalty makes a model of the whole
TOLERANCE = 1e-8
EXACT = {Reason.GAP, Reason.EXACT, Reason.ROUNDING, Reason.HIDDEN, Reason.STALLED}  # HIDDEN, STALLED : as far as rounding lets
SHORT = {Reason.ROUNDS, Reason.STALLED, Reason.DIVERGED, Reason.BROKEN, Reason.REFUTED, Reason.HIDDEN}
ENDS = {name: EXACT for name in SURE} | {name: EXACT | SHORT for name in catalogue() if name not in SURE}


@cache
def lowest(name: str, l1: float, l2: float) -> float:
    """min F less F(0), which are nearly alike where little is to gain."""
    truth = Extended(PROBLEMS[name], l1, l2)
    return truth.minimum(), truth.value_grad(truth.zero)[0]


PROBLEMS = {case.name: case for case in cases()}


def exists(case: Case, l1: float, l2: float) -> bool:
    """Whether F has a minimum: a penalty that leaves the intercept alone does not help where all labels are alike."""
    return case.bounded or ((l1 > 0 or l2 > 0) and case.name != "one class")


def penalties(case: Case, smooth: bool) -> list[tuple[float, float]]:
    """(l1, l2) that a method is tried with."""
    some = 0.2 * case.steepest
    return [(0.0, 0.0), (0.0, case.l2), *([] if smooth or not some else [(some, 0.0), (some, case.l2)])]


def right(case: Case, l1: float, l2: float, found: Solution) -> bool:
    """Whether the answer is a minimiser to the accuracy that its reason claims, or to rounding."""
    best, start = lowest(case.name, l1, l2)
    truth = Extended(case, l1, l2)
    above = truth.value_grad(truth.scaled(found.x))[0] - best
    allowed = TOLERANCE if found.reason is Reason.GAP else 0.0
    return bool(above <= max(allowed, 1e-9 * (start - best), 1e-13 * abs(start)))


def verdict(world: World, name: str, case: Case, l1: float, l2: float) -> str:
    """What is wrong with the end of a method on a problem, "" for nothing."""
    rounds = 1000 if name in SURE else 100
    team, zero = case.team(world, l1, l2), np.zeros(case.a.shape[1] + case.intercept)
    try:
        found = solve(find(name).make(), team, zero, Stop(rounds=rounds, gap=TOLERANCE))
    except (CapabilityError, UsageError):
        return "" if name not in SURE else "refused"
    told = f"{name} on {case.name}, l1 {l1:g}, l2 {l2:g}: {found.reason_text} F = {found.certificate.objective!r}"
    if not exists(case, l1, l2):
        certain = name in SURE and world.workers == 1
        return told * (found.reason.converged or (certain and found.reason is not Reason.SEPARABLE))
    if name in LOCAL and world.workers > 1 and l2 == 0 and not found.reason.converged:
        return ""
    if found.reason not in ENDS[name] and not (world.workers > 1 and right(case, l1, l2, found)):  # rounds spent on rounding
        return told
    return told * ((name in SURE or found.reason.converged) and not right(case, l1, l2, found))


def chosen(share: int) -> list[tuple[str, str]]:
    """About one in ``share`` of methods x problems, the same each time."""
    pairs = [(method, name) for method in catalogue() for name in PROBLEMS]
    return [pair for pair in pairs if blake2b("/".join(pair).encode()).digest()[0] % share == 0]


def check(world: World, pairs: list[tuple[str, str]]) -> list[str]:
    """All that is wrong."""
    with np.errstate(all="ignore"):
        found = [verdict(world, method, PROBLEMS[name], l1, l2) for method, name in pairs
                 for l1, l2 in penalties(PROBLEMS[name], find(method).smooth_only)]  # fmt: skip
    return [told for told in found if told]


def test_there_are_sixty():
    assert len(PROBLEMS) >= 60


@pytest.mark.ranks(1, limit=300)
def test_some_methods_on_some_problems(world):
    assert not check(world, chosen(40))


@pytest.mark.study
@pytest.mark.ranks(1, 3, limit=1200)
@pytest.mark.parametrize("method", list(catalogue()))
def test_a_method_on_all_problems(world, method):
    assert not check(world, [(method, name) for name in PROBLEMS])
