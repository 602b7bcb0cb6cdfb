"""Small problems that are hard in one way each: every convex method ends right, or says why not.

The truth is dense Newton in extended precision (`tests.adversarial_sets`). Tables of reasons: `SURE`, `SLOW`, `UNSEEN`, `BOLD`.
"""

from functools import cache
from hashlib import blake2b

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import Solution, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.methods import catalogue, find
from mpiopt.paths import newton_abreast
from mpiopt.paths.path import Along, PathFits, follow
from mpiopt.problems.certificate import certify
from mpiopt.problems.class_margins import ClassMargins
from mpiopt.problems.multinomial import Multinomial
from mpiopt.problems.one_against_rest import OneAgainstRest
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from tests.adversarial_sets import LOGISTIC, Case, Extended, cases

CERTAIN = {Reason.GAP, Reason.EXACT, Reason.ROUNDING}
RIGHT = CERTAIN | {Reason.HIDDEN, Reason.STALLED}  # all of these are said of minimisers, to the last digits, and of no others
SURE = ("spcg", "newton", "lbfgs", "tron", "giant", "dane")  # right on every problem that has an optimum
SLOW = {  # but for these on several workers, still on their way after 1000 rounds
    # the mean of the H_w^-1 is a million times too long across the one row that only one worker holds
    "giant": {"one row a million times longer"},
    # a round takes off lambda / (lambda + mu) along an eigenvalue lambda of H, and mu is hundreds of times the smallest
    "dane": {
        *("constant column logistic", "constant column least_squares", "constant column and five rows"),
        *("more features than rows", "sum of columns logistic", "sum of columns least_squares"),
        *("nearly collinear logistic", "nearly collinear least_squares", "hilbert logistic", "hilbert least_squares"),
        *("columns from 1e-3 to 1e3 logistic", "columns from 1e-3 to 1e3 least_squares"),
        *("columns from 1e-8 to 1e8 logistic", "columns from 1e-8 to 1e8 least_squares"),
        *("weights from 1e-3 to 1e3 logistic", "years logistic", "years least_squares", "one row a million times longer"),
    },
}
UNSEEN = {"dane": {"separable but for one row"}}  # no optimum, but on several workers 1000 rounds are too few to see that
BOLD = {  # how methods may end away from the optimum with their default parameters
    "owlqn": {Reason.STALLED},  # halving finds no step in rounding where columns are sixteen orders apart
    "server_dane": {Reason.DIVERGED},  # the server's rows tell little of the others', and mu is of the size of what they
    "spag": {Reason.DIVERGED},  # lack, and no bound
    "aeg": {Reason.DIVERGED},  # as these
    "csl": {Reason.DIVERGED, Reason.BROKEN},  # with no mu at all, so that its server may have no minimiser: off the numbers
    "prox_csl": {Reason.DIVERGED},  # with that of the server's rows
    **dict.fromkeys(("owa", "acowa"), frozenset({Reason.STALLED, Reason.DIVERGED})),  # averages of few rows each (`AVERAGES`)
    "cocoa": {Reason.DIVERGED},  # climb in the dual alone, and F at the point of their dual variables stays high for long
    **dict.fromkeys(("adom", "adom_plus"), frozenset({Reason.DIVERGED})),  # where l2 is small
    # hover about the optimum, as far off as the workers' own gradients there are long
    **dict.fromkeys(("dcgd", "dgd", "choco"), frozenset({Reason.DIVERGED, Reason.STALLED})),
    "gdci": {Reason.DIVERGED, Reason.STALLED},  # as far off as the points that gradient steps lead to from there
}
# of one against the rest: entries whose squares, times those of slopes, leave the range of numbers
UNFIT = tuple(f"times 1e{power:+} logistic" for power in (-150, -100, 100, 150))
TOLERANCE = 1e-8
ENOUGH = 40  # problems, at least, on which another method is right, or uses up its rounds, whatever the penalty
COMPRESSED = ("dcgd", "ef", "ef21", "diana", "rand_diana", "marina", "gdci", "vr_gdci")
AVERAGES = {"owa": 8, "acowa": 2}  # done after one or two rounds, and minimisers on so many problems at least
FEW = AVERAGES | {"cocoa": 25} | dict.fromkeys((*COMPRESSED, "dgd", "choco", "diging", "adom", "adom_plus"), 5) | {"sgd_as": 0}
# problems, at least, on which these are right within 100 rounds; the others on ENOUGH


PROBLEMS = {case.name: case for case in cases()}


@cache
def lowest(name: str, l1: float, l2: float) -> float:
    """min F less F(0), which are nearly alike where little is to gain."""
    truth = Extended(PROBLEMS[name], l1, l2)
    return truth.minimum(), truth.value_grad(truth.zero)[0]


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


def ended(world: World, name: str, case: Case, l1: float, l2: float) -> Solution | None:
    """The end of a method on a problem; None where it is refused."""
    rounds = 1000 if name in SURE else 100
    team, zero = case.team(world, l1, l2), np.zeros(case.a.shape[1] + case.intercept)
    try:
        return solve(find(name).make(), team, zero, Stop(rounds=rounds, gap=TOLERANCE))
    except (CapabilityError, DataError, UsageError):
        return None


def slow(world: World, name: str, case: Case, found: Solution) -> bool:
    """Whether a method is on its way, where it is known to be slow."""
    way = [record.objective for record in found.history]
    return world.workers > 1 and case.name in SLOW.get(name, ()) and way[-1] < way[500]


def fits(world: World, name: str, case: Case, l1: float, l2: float, found: Solution | None) -> bool:
    """Whether a method may end so on a problem, and what it says of its answer is true."""
    if found is None:
        return name not in SURE
    if found.certificate.objective > found.history[0].objective * (1 + 1e-13):
        return False
    if not exists(case, l1, l2):
        unseen = name not in SURE or (world.workers > 1 and case.name in UNSEEN.get(name, ()))
        astray = found.reason in BOLD.get(name, ()) and (found.reason is Reason.DIVERGED or name in AVERAGES)
        return found.reason is Reason.SEPARABLE or astray or (unseen and found.reason is Reason.ROUNDS)
    if found.reason in BOLD.get(name, ()):
        return True
    if found.reason in RIGHT:
        return right(case, l1, l2, found)
    if name in SURE:
        return found.reason is Reason.ROUNDS and (right(case, l1, l2, found) or slow(world, name, case, found))
    return found.reason is Reason.ROUNDS


Ends = dict[str, list[tuple[Reason, bool]]]  # by problem that has an optimum: how a method ended, and whether right


def check(world: World, pairs: list[tuple[str, str]]) -> tuple[list[str], Ends]:
    """All that is wrong, and how the methods ended."""
    wrong, ends = [], {}
    with np.errstate(all="ignore"):
        for method, name in pairs:
            case = PROBLEMS[name]
            for l1, l2 in penalties(case, find(method).smooth_only):
                found = ended(world, method, case, l1, l2)
                if not fits(world, method, case, l1, l2, found):
                    told = "refused" if found is None else f"{found.reason_text} F = {found.certificate.objective!r}"
                    wrong.append(f"{method} on {name}, l1 {l1:g}, l2 {l2:g}: {told}")
                if found and exists(case, l1, l2):
                    ends.setdefault(name, []).append((found.reason, right(case, l1, l2, found)))
    return wrong, ends


def chosen(share: int) -> list[tuple[str, str]]:
    """About one in ``share`` of methods x problems, the same each time."""
    pairs = [(method, name) for method in catalogue() for name in PROBLEMS]
    return [pair for pair in pairs if blake2b("/".join(pair).encode()).digest()[0] % share == 0]


def test_there_are_sixty():
    assert len(PROBLEMS) >= 60
    assert {name for names in SLOW.values() for name in names} < set(PROBLEMS)


@pytest.mark.ranks(1, limit=300)
def test_some_methods_on_some_problems(worlds):
    assert not check(worlds(workers=3), chosen(100))[0]


@pytest.mark.ranks(1, limit=300)
@pytest.mark.parametrize("method", ["spcg", "gradient"])
def test_a_quick_method_on_all_problems(world, method):
    everything(world, method)


@pytest.mark.ranks(1)
def test_a_solve_ends_where_rounding_hides_what_it_gains(world):
    found = ended(world, "spcg", PROBLEMS["nearly collinear least_squares"], 0.0, 0.0)
    assert found is not None and found.reason in RIGHT and found.history[-1].round < 200


@pytest.mark.ranks(1, limit=300)
@pytest.mark.parametrize("few", [0, 300])
def test_a_path_on_all_problems(worlds, few, monkeypatch):
    monkeypatch.setattr(newton_abreast, "FEW", few)
    wrong, world = [], worlds(workers=3)
    with np.errstate(all="ignore"):
        for case in PROBLEMS.values():
            if exists(case, 0.0, case.l2) and not follows(world, case, 0.0):
                wrong.append(case.name)
    assert not wrong


@pytest.mark.study
@pytest.mark.ranks(1, 3, limit=300)
def test_an_l1_path_on_all_problems(world):
    wrong = []
    with np.errstate(all="ignore"):
        for case in PROBLEMS.values():
            if (l1 := 0.2 * case.steepest) and exists(case, l1, case.l2) and not follows(world, case, l1):
                wrong.append(case.name)
    assert not wrong


def follows(world: World, case: Case, l1: float) -> bool:
    """Whether the last fit of a path is right, of all rows, and of all once more beside them."""
    team, free = case.team(world, l1, case.l2), int(case.intercept)
    path = tuple(ElasticNet(min(share, 2.0) * l1, share * case.l2, free) for share in (8.0, 2.0, 1.0))
    of = tuple(np.ones(site.loss.rows, int) for site in team.sites)  # no row is held out
    fits = PathFits(find("spcg").make(), (team, team), of, (path,), Stop(rounds=1000, gap=TOLERANCE))
    state = follow(fits, team.zeros(), Along(3)).at.begun.states
    best, start = lowest(case.name, l1, case.l2)
    truth = Extended(case, l1, case.l2)
    above = [truth.value_grad(truth.scaled(x))[0] - best for x in state.xs[-1]]
    return bool(
        max(above) <= max(TOLERANCE, 1e-9 * (start - best), 1e-13 * abs(start))
        and above[0] <= state.proved[-1, 2] + 1e-13 * abs(start)
    )


def two_classes(world: World, case: Case, kind: type[ClassMargins], l2: float) -> Team:
    """A problem of two classes as one of several, of which the second is +1."""
    losses = [
        kind(site.loss.matrix, (site.loss.y > 0).astype(np.int64), 2, site.loss.weights, case.intercept)
        for site in case.team(world, 0.0, l2).sites
    ]
    return Team.of(world, losses, ElasticNet(0.0, l2, free=2 * int(case.intercept)))


def tells(world: World, case: Case, kind: type[ClassMargins], l2: float) -> bool:
    """Whether spcg ends right on two classes: the softmax has half the l2 of their difference, the rest all twice."""
    team = two_classes(world, case, kind, l2)
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=1000, gap=TOLERANCE))
    share, times = (0.5, 1) if kind is Multinomial else (1.0, 2)
    if not exists(case, 0.0, l2):
        return found.reason in (Reason.SEPARABLE, Reason.ROUNDS)
    best, start = (times * each for each in lowest(case.name, 0.0, share * l2))
    above = found.certificate.objective - best
    allowed = TOLERANCE if found.reason is Reason.GAP else 0.0
    near = -1e-13 * abs(start) <= above <= max(allowed, 1e-9 * (start - best), 1e-13 * abs(start))
    return bool(near and (found.reason in RIGHT or (l2 == 0 and found.reason is Reason.ROUNDS)))


@pytest.mark.parametrize("kind", [Multinomial, OneAgainstRest])
@pytest.mark.parametrize("name", ["one-hot 0", "nearly collinear logistic"])
def test_several_classes_on_some_problems(worlds, kind, name):
    assert tells(worlds(workers=3), PROBLEMS[name], kind, PROBLEMS[name].l2)


@pytest.mark.parametrize("kind", [Multinomial, OneAgainstRest])
@pytest.mark.parametrize(("name", "rows"), [("separable", 40), ("one-hot 0", 0)])
def test_separable_classes_are_seen(worlds, kind, name, rows):
    """Far along a direction that takes every row to its own class, and that takes some the other way."""
    team = two_classes(worlds(workers=3), PROBLEMS[name], kind, 0.0)
    along = np.zeros(team.dim // 2)
    along[:5] = np.arange(1.0, 6)
    assert certify(team, 30 * np.stack([-along, along], axis=1).reshape(-1), 5).escaping == rows


@pytest.mark.study
@pytest.mark.ranks(1, 3, limit=1200)
@pytest.mark.parametrize("kind", [Multinomial, OneAgainstRest])
def test_several_classes_on_all_problems(world, kind):
    with np.errstate(all="ignore"):
        far = UNFIT if kind is OneAgainstRest else ()
        cases = [case for case in PROBLEMS.values() if case.loss == LOGISTIC and case.name not in far]
        assert not [case.name for case in cases if not tells(world, case, kind, case.l2)]


@pytest.mark.study
@pytest.mark.ranks(1, 3, limit=1200)
@pytest.mark.parametrize("method", list(catalogue()))
def test_a_method_on_all_problems(world, method):
    everything(world, method)


def everything(world: World, method: str) -> None:
    """Hold a method to the tables on all problems."""
    wrong, ends = check(world, [(method, name) for name in PROBLEMS])
    assert not wrong
    if method in SURE:
        late = {name for name, found in ends.items() if not all(well for _, well in found)}
        assert world.workers == 1 or late == SLOW.get(method, set())
        return
    under_way = sum(all(well or reason is Reason.ROUNDS for reason, well in found) for found in ends.values())
    assert method in AVERAGES or under_way >= ENOUGH
    assert sum(any(well for _, well in found) for found in ends.values()) >= FEW.get(method, ENOUGH)
