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
SLOW = {  # but for these on several workers without a penalty: linear convergence, at rates that 1000 rounds are too few for
    # the mean of H_w^-1 is a million times too long across the one row that only one worker holds
    "giant": ["one row a million times longer"],
    # a round takes off lambda / (lambda + mu) along an eigenvalue lambda of H, and mu is 1e5 times the smallest and more
    "dane": [
        "sum of columns logistic",
        "sum of columns least_squares",
        "nearly collinear logistic",
        "nearly collinear least_squares",
        "hilbert logistic",
        "hilbert least_squares",
        "columns from 1e-3 to 1e3 logistic",
        "columns from 1e-3 to 1e3 least_squares",
        "columns from 1e-8 to 1e8 logistic",
        "columns from 1e-8 to 1e8 least_squares",
        "one row a million times longer",
        "years logistic",
        "years least_squares",
    ],
}
TOLERANCE = 1e-8
ENOUGH = 40  # problems, at least, on which a first-order method is right or uses up its rounds
EXACT = {Reason.GAP, Reason.EXACT, Reason.ROUNDING}
LAST = EXACT | {Reason.HIDDEN, Reason.STALLED}  # as far as rounding lets
ENDS = {  # kind of problem (`kind`) -> how SURE methods may end, and how the others
    "none": ({Reason.SEPARABLE}, {Reason.SEPARABLE, Reason.ROUNDS}),
    "near": (LAST, EXACT | {Reason.ROUNDS}),
    "far": (LAST, LAST | {Reason.ROUNDS, Reason.DIVERGED, Reason.BROKEN, Reason.REFUTED}),
}


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


def kind(case: Case, l1: float, l2: float) -> str:
    """Without an optimum; else whether all numbers are near 1, or some so far from it that squares or sums lose digits."""
    if not exists(case, l1, l2):
        return "none"
    sizes = np.append(abs(case.a).max(0), abs(case.y).max())
    sizes = sizes[sizes > 0]
    return "near" if 1e-3 < sizes.min() and sizes.max() < 1e3 and (not l2 or 1e-7 <= l2 <= 1e3) else "far"


def ended(world: World, name: str, case: Case, l1: float, l2: float) -> Solution | None:
    """The end of a method on a problem; None where it is refused."""
    rounds = 1000 if name in SURE else 100
    team, zero = case.team(world, l1, l2), np.zeros(case.a.shape[1] + case.intercept)
    try:
        return solve(find(name).make(), team, zero, Stop(rounds=rounds, gap=TOLERANCE))
    except (CapabilityError, UsageError):
        return None


def verdict(world: World, name: str, case: Case, l1: float, l2: float, found: Solution | None) -> str:
    """What is wrong with the end of a method on a problem, "" for nothing."""
    if found is None:
        return f"{name} on {case.name}: refused" if name in SURE else ""
    told = f"{name} on {case.name}, l1 {l1:g}, l2 {l2:g}: {found.reason_text} F = {found.certificate.objective!r}"
    what = kind(case, l1, l2)
    slow = world.workers > 1 and l2 == 0 and found.reason is Reason.ROUNDS and case.name in SLOW.get(name, ())
    if not slow and found.reason not in ENDS[what][name not in SURE]:
        return told
    owed = what != "none" and not slow and (name in SURE or found.reason.converged)
    return told if owed and not right(case, l1, l2, found) else ""


def chosen(share: int) -> list[tuple[str, str]]:
    """About one in ``share`` of methods x problems, the same each time."""
    pairs = [(method, name) for method in catalogue() for name in PROBLEMS]
    return [pair for pair in pairs if blake2b("/".join(pair).encode()).digest()[0] % share == 0]


def check(world: World, pairs: list[tuple[str, str]]) -> tuple[list[str], int]:
    """All that is wrong, and on how many problems the methods are right or use up their rounds."""
    wrong, good = [], set()
    with np.errstate(all="ignore"):
        for method, name in pairs:
            case = PROBLEMS[name]
            for l1, l2 in penalties(case, find(method).smooth_only):
                found = ended(world, method, case, l1, l2)
                told = verdict(world, method, case, l1, l2, found)
                wrong += [told] if told else []
                if found and not told and (found.reason.converged or found.reason is Reason.ROUNDS):
                    good.add(name)
    return wrong, len(good)


def test_there_are_sixty():
    assert len(PROBLEMS) >= 60


@pytest.mark.ranks(1, limit=300)
def test_some_methods_on_some_problems(world):
    assert not check(world, chosen(40))[0]


@pytest.mark.study
@pytest.mark.ranks(1, 3, limit=1200)
@pytest.mark.parametrize("method", list(catalogue()))
def test_a_method_on_all_problems(world, method):
    wrong, good = check(world, [(method, name) for name in PROBLEMS])
    assert not wrong and good >= ENOUGH
