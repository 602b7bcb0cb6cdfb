"""What a solve ends with: the best point that it has seen, a reason that is true of it, and margins that come from x."""

import numpy as np
import pytest

from mpiopt.engine.drive import Standing, rounds, solve
from mpiopt.engine.method import Composed, Run
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import NumericalError
from mpiopt.kernels.csr import CSR
from mpiopt.losses.poisson import Poisson
from mpiopt.methods import catalogue, find
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2, ElasticNet
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.recession import escaping
from tests.adversarial_sets import Case, Extended, cases
from tests.problem_sets import Data

CASES = {case.name: case for case in cases()}
METHODS = ["spcg", "dane", "giant", "disco", "tron", "lbfgs", "fista"]


def solved(world, case: Case, method="spcg", l1=0.0, l2=0.0, **stop):
    stop = {"rounds": 400, "gap": 1e-8} | stop
    return solve(find(method).make(), case.team(world, l1, l2), np.zeros(case.a.shape[1] + case.intercept), Stop(**stop))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "optimum"), [("one-hot of eight rows", 0.65067242136109), ("constant column and five rows", 0.66308053344526)]
)
def test_collinear_data_end_at_the_optimum_and_by_rounding(worlds, method, name, optimum):
    found = solved(worlds(), CASES[name], method)
    assert found.certificate.objective == pytest.approx(optimum, abs=2e-14)
    assert found.reason in (Reason.ROUNDING, Reason.EXACT) or (method == "fista" and found.reason is Reason.ROUNDS)
    assert abs(found.x).max() < 1e3


@pytest.mark.parametrize("method", ["giant", "spcg"])
@pytest.mark.parametrize("name", ["one-hot of eight rows", "constant column logistic", "more features than rows squares"])
def test_workers_whose_own_rows_leave_directions_open_end_at_the_optimum_too(worlds, name, method):
    case = CASES[name]
    found = solved(worlds(workers=3), case, method)
    truth = Extended(case, 0.0, 0.0)
    assert found.reason in (Reason.ROUNDING, Reason.EXACT), found.reason_text
    assert truth.value_grad(truth.scaled(found.x))[0] - truth.minimum() < 1e-15
    assert abs(found.x).max() < 1e3


@pytest.mark.parametrize("name", ["separable", "one pure level", "one class", "one row", "more features than rows"])
@pytest.mark.parametrize(
    ("method", "workers"), [("spcg", 1), ("tron", 1), ("lbfgs", 1), ("spcg", 3), ("gradient", 3), ("giant", 3)]
)
def test_separable_data_have_no_optimum(worlds, name, method, workers):
    found = solved(worlds(workers=workers), CASES[name], method, rounds=100)
    assert found.reason is Reason.SEPARABLE and not found.reason.converged, found.reason_text
    assert "right side and none to the wrong one" in found.reason_text


@pytest.mark.parametrize("method", ["spcg", "lbfgs"])
def test_data_that_only_the_rounding_of_their_values_separates_have_no_optimum(worlds, method):
    rng = np.random.default_rng(5)  # 30 rows of rank 8, stored in single precision: a direction of 1e9 times their size
    a = (rng.standard_normal((30, 8)) @ rng.standard_normal((8, 50))).astype(np.float32).astype(float)
    case = Case("by rounding", a, np.where(rng.random(30) < 0.5, 1.0, -1.0), w=np.append(np.ones(29), 0.0))
    found = solved(worlds(), case, method, rounds=1000)
    assert found.reason is Reason.SEPARABLE and "29 of 30 rows" in found.reason_text, found.reason_text


@pytest.mark.parametrize("zeros", [True, False])
def test_counts_have_no_optimum_where_a_level_has_none(worlds, zeros):
    levels = np.arange(30) % 3
    counts = np.where(levels == 0, 0.0, 1.0 + np.arange(30) % 4) + (0.0 if zeros else levels[::-1] == 2)
    losses = [
        Linear(CSR.of(np.arange(16), levels[part], np.ones(15), (15, 3)), counts[part], Poisson())
        for part in (slice(0, 15), slice(15, 30))
    ]
    team = Team.of(worlds(workers=2), losses, L2(0.0))
    found = solve(find("spcg").make(), team, np.zeros(3), Stop(rounds=200))
    assert found.reason is (Reason.SEPARABLE if zeros else Reason.ROUNDING), found.reason_text
    assert escaping(team, -np.eye(3)[0]) == (10 if zeros else 0)
    assert escaping(team, np.eye(3)[0]) == 0


def test_a_penalty_or_a_row_on_the_wrong_side_leaves_an_optimum(worlds):
    world, case = worlds(), CASES["separable"]
    assert solved(world, case, l2=1e-4).reason is Reason.GAP
    x = solved(world, case).x
    assert escaping(case.team(world, 0.0, 0.0), x) == 40
    turned = Case("turned", case.a, np.where(np.arange(40) == 3, -case.y, case.y))
    assert escaping(turned.team(world, 0.0, 0.0), x) == 0
    assert escaping(case.team(world, 0.0, 1e-9), x) == 0
    assert escaping(case.team(world, 1e-9, 0.0), x) == 0


class Wandering(Composed):
    """Another method that from its third round on goes away from where it was, and breaks in its seventh."""

    def step(self, run: Run, team):
        run = super().step(run, team)
        if run.round < 3:
            return run
        x = run.points[0].x + 10.0 * run.round
        if run.round == 7:
            x = x * np.nan
        moved = PerWorker(Point(x, site.loss.margins(x)) for site in team.sites)
        return self._opened(run._replace(points=moved), team)


@pytest.mark.parametrize(("limit", "reason"), [(5, Reason.ROUNDS), (9, Reason.BROKEN)])
def test_the_best_point_answers_even_where_the_run_breaks(worlds, limit, reason):
    data, inner = Data(), find("nesterov").make()
    method = Wandering(inner.opening, inner.phases, inner.outer)
    found = solve(method, data.team(worlds(), L2(1e-2)), np.zeros(data.dim), Stop(rounds=limit))
    best = min(record.objective for record in found.history)
    assert found.reason is reason and found.certificate.objective == pytest.approx(best, rel=1e-14)
    assert found.history[-1].objective > best


def test_no_answer_is_above_the_start_however_much_of_that_might_be_rounding(worlds):
    found = solved(worlds(workers=3), CASES["columns from 1e-8 to 1e8 logistic"], "prox_csl", rounds=8)
    assert found.history[-1].gradient_norm < found.history[0].gradient_norm  # and F there is six times that of the start
    assert found.certificate.objective == found.history[0].objective


def test_a_start_that_is_no_number_is_refused(worlds):
    data = Data()
    with pytest.raises(NumericalError, match="at the start"):
        solve(find("tron").make(), data.team(worlds(), L2(1e-2)), np.full(data.dim, np.nan), Stop(rounds=9))


@pytest.mark.parametrize("name", list(catalogue()))
def test_no_method_changes_an_answer_that_it_has_given(worlds, name):
    data, method = Data(), find(name).make()
    team, given = data.team(worlds(workers=2), L2(1e-2)), []
    for run in rounds(method, team, np.zeros(data.dim)):
        x = method.answer(run, team).x
        given.append((x, x.copy()))
        if run.round == 6:
            break
    for x, copy in given:
        np.testing.assert_array_equal(x, copy)


def test_the_certificate_overrules_what_a_checkpoint_says(worlds):
    data, kept = Data(), []
    team, stop = data.team(worlds(), L2(1e-2)), Stop(rounds=50, gap=1e-8)
    solve(find("spcg").make(), team, np.zeros(data.dim), stop, keep=[lambda at, _: kept.append(at)])
    at, other = kept[-1], kept[-1].best.x + 0.1
    points = PerWorker(point._replace(x=other) for point in at.run.points)
    altered = Standing(at.run._replace(points=points), at.history, at.fresh, at.best._replace(x=other))
    found = solve(find("spcg").make(), team, altered, stop)
    assert found.reason is Reason.REFUTED and not found.reason.converged
    assert found.certificate.gap > 1e-8


@pytest.mark.parametrize("name", ["times 1e+30 logistic", "times 1e+150 least_squares"])
def test_a_gap_below_rounding_is_not_claimed(worlds, name):
    found = solved(worlds(), CASES[name], l2=1e-5)
    assert found.reason is Reason.HIDDEN and not found.reason.converged
    assert found.certificate.gap > 1e-8


def test_a_checkpoint_brings_the_best_point_along(worlds):
    data, kept, inner = Data(), [], find("nesterov").make()
    method = Wandering(inner.opening, inner.phases, inner.outer)
    team = data.team(worlds(), L2(1e-2))
    whole = solve(method, team, np.zeros(data.dim), Stop(rounds=5), keep=[lambda at, _: kept.append(at)])
    again = solve(method, team, kept[4], Stop(rounds=5))
    np.testing.assert_array_equal(again.x, whole.x)
    assert not np.array_equal(kept[4].best.x, kept[4].run.points[0].x)


def test_the_smaller_bound_certifies_an_elastic_net(worlds):
    data, penalty = Data(), ElasticNet(0.02, 1e-6)
    team = data.team(worlds(), penalty)
    found = solve(find("fista").make(), team, np.zeros(data.dim), Stop(rounds=2, gap=1e-9)).certificate
    assert found.gap < 0.6 * found.gradient_norm**2 / (2 * penalty.l2)
    assert solve(find("fista").make(), team, np.zeros(data.dim), Stop(rounds=60, gap=1e-9)).reason is Reason.GAP


def test_the_tight_bound_ends_a_run_where_the_other_is_loose(worlds):
    data = Data(rows=400)
    team = data.team(worlds(workers=4), L2(1e-7))
    found = solve(find("nesterov").make(), team, np.zeros(data.dim), Stop(rounds=300, gap=1e-8))
    assert found.reason is Reason.GAP
    assert found.certificate.tight_gap <= 1e-8 < 1e-6 < found.certificate.gap
