"""The forms of spcg: what their directions are, which one is taken, and that all end at the optimum."""

import numpy as np
import pytest
import scipy.sparse

from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.forms import Extent, taken_by
from mpiopt.engine.phase import Local
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import find
from mpiopt.methods.spcg_costs import foreseen, remaining
from mpiopt.methods.spcg_rule import ByCost
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Message, mean
from mpiopt.work.corrected import Corrected
from mpiopt.work.counted import Counted
from mpiopt.work.local_solvers import DualDescent, NewtonCG
from tests.problem_sets import Data

EXACT = NewtonCG(1e-14)
TEXT = "text12:rows=1000,cols=20000,per_row=40"
ALL = ("counts", "mean", "alone", "hessian", "dual", "face", "gathered", "classes")


def map_of(work, team):
    """The matrix of gradients to directions at 0, (dim, dim), of losses that are quadratics."""
    points, columns = [site.loss.point(team.zeros()) for site in team.sites], []
    states = work.begin(team.zeros(), team)
    for unit in np.eye(team.dim):
        agreed = Message(-unit, np.empty(0))
        told = [work(at, agreed, state, Local(site, 0))[1] for at, state, site in zip(points, states, team.sites, strict=True)]
        columns.append(mean(team, told).vector)
    return np.array(columns).T


def hessian_of(data, l2):
    dense = np.hstack([data.a.toarray(), np.ones((data.a.shape[0], int(data.intercept)))])
    ridge = np.full(data.dim, l2)
    ridge[data.dim - data.intercept :] = 0
    return dense.T @ (data.w[:, None] * dense) / data.w.sum() + np.diag(ridge)


def disjoint(workers=3, features=4, rows=10):
    """Rows of which no two workers share a feature, but for the intercept."""
    data = Data(rows=workers * rows, features=workers * features, loss="least_squares")
    rng = np.random.default_rng(1)
    data.a = scipy.sparse.block_diag([rng.standard_normal((rows, features)) for _ in range(workers)], format="csr")
    return data


def test_where_no_two_workers_share_a_feature_the_direction_is_newtons(worlds):
    data, l2 = disjoint(), 0.05
    team = data.team(worlds(workers=3), L2(l2))
    np.testing.assert_allclose(map_of(Counted(EXACT), team), np.linalg.inv(hessian_of(data, l2)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_where_all_hold_all_features_it_is_the_mean_bit_for_bit(worlds, intercept, weighted):
    data = Data(density=1.0, loss="least_squares", intercept=intercept, weighted=weighted)
    team = data.team(worlds(workers=4), L2(1e-2, free=int(intercept)))
    ours, theirs = (map_of(work, team) for work in (Counted(NewtonCG(0.01)), Corrected(NewtonCG(0.01))))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_inverse_is_bounded_by_counts_and_they_by_the_mean(worlds, seed, intercept, weighted):
    data = Data(rows=48, features=9, seed=seed, density=0.12, loss="least_squares", intercept=intercept, weighted=weighted)
    team = data.team(worlds(workers=4), L2(0.02, free=int(intercept)))
    inverse = np.linalg.inv(hessian_of(data, 0.02))
    counts, plain = map_of(Counted(EXACT), team), map_of(Corrected(EXACT), team)
    for low, high in ((inverse, counts), (inverse, plain), *([] if weighted else [(counts, plain)])):
        np.testing.assert_allclose(high, high.T, atol=1e-8 * abs(high).max())
        assert np.linalg.eigvalsh(high - low).min() >= -1e-8 * abs(high).max()


def test_the_local_dual_finds_what_newton_does(worlds):
    data = Data(rows=60, features=12, density=0.15)
    team = data.team(worlds(workers=3), L2(0.05))
    points = [site.loss.point(team.zeros()) for site in team.sites]
    agreed = Message(np.linspace(-1, 1, 12), np.empty(0))
    found = []
    for work in (Counted(NewtonCG(1e-12, steps=40)), Counted(DualDescent(1e-26, 4000))):
        states = work.begin(team.zeros(), team)
        local = zip(points, states, team.sites, strict=True)
        found.append([work(at, agreed, state, Local(site, 0))[1].vector for at, state, site in local])
    np.testing.assert_allclose(found[1], found[0], atol=1e-8)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("form", ["auto", "mean", "counts", "hessian", "gathered"])
def test_every_form_ends_at_the_optimum(worlds, form, intercept):
    data, penalty = Data(rows=200, features=30, density=0.1, intercept=intercept, weighted=True), L2(1e-4, free=int(intercept))
    team = data.team(worlds(workers=5, deterministic=True), penalty)
    found = solve(find("spcg").make(form=form), team, team.zeros(), Stop(rounds=100, gradient=1e-10))
    assert found.final.gradient_norm <= 1e-10
    slope = data.objective(found.x, penalty)[1]
    assert np.linalg.norm(slope) <= 2e-10
    assert taken_by(found.run).form == (form if form != "auto" else "gathered")


def test_lazy_hessians_are_fewer_than_rounds_and_as_few_whatever_the_workers(worlds):
    data = Data(rows=300, features=40, density=0.2)
    counts = []
    for workers in (1, 8, 60):
        world = worlds(workers=workers)
        team = data.team(world, L2(1e-6))
        found = solve(find("spcg").make(form="hessian"), team, team.zeros(), Stop(rounds=30, gap=1e-9)).final
        hessians = world.tally.by_name["hessian", "messages"]
        assert 1 <= hessians < found.round <= 10
        counts.append((found.round, hessians))
    assert len(set(counts)) == 1


def test_a_form_that_is_unknown_or_too_large_is_refused(worlds):
    with pytest.raises(
        UsageError, match="spcg has no form 'fast': choose auto or one of counts, mean, alone, hessian, dual, face, gathered"
    ):
        find("spcg").make(form="fast")
    with pytest.raises(
        UsageError, match="the form hessian of spcg has no `epochs`: leave it out, or choose form counts or mean"
    ):
        find("spcg").make(form="hessian", epochs=3)
    data = Data(rows=30, features=1600, density=0.01)
    with pytest.raises(CapabilityError, match="spcg sums Hessians of up to 1,500 coefficients, and here are 1,600"):
        next(rounds(find("spcg").make(form="hessian"), data.team(worlds(workers=2), L2(1.0)), np.zeros(1600)))


# ---------------------------------------------------------------------------------------------- the rule
A9A = Extent(rows=32561, weight=32561.0, dim=123, squares=13.87, workers=8, l2=1e-5, bend=0.25)
FARM = A9A._replace(rows=4143, weight=4143.0, dim=54_877, squares=197.0, workers=2, nonzeros=817_141)
PAIRED = Extent(25_000, 25_000.0, 384_288, 1.0, 2, 1e-6, bend=0.25, descends=True, nonzeros=7_653_422)  # text in word pairs
EXPECTED = [
    (A9A._replace(l2=1e-3), "mean"),  # h is 0.9
    (A9A, "counts"),  # and a Hessian after some rounds
    (A9A._replace(l2=1e-7), "counts"),  # the same
    (A9A._replace(l2=1e-7, rows=1000, weight=1000.0), "hessian"),  # few rows a worker for a coefficient
    (A9A._replace(l2=1e-7, workers=1), "alone"),
    (A9A._replace(dim=10), "counts"),
    (A9A._replace(dim=10, l2=1e-2), "mean"),
    (A9A._replace(dim=75_000, l2=1e-7), "counts"),
    (A9A._replace(dim=75_000, workers=1, descends=True), "dual"),
    (A9A._replace(dim=75_000, workers=2, descends=True), "counts"),
    (A9A._replace(dim=75_000, workers=1), "counts"),
    (A9A._replace(dim=75_000, workers=1, descends=True, l2=1e-7), "counts"),  # h is 1065, and nothing told of the rows
    (A9A._replace(dim=75_000, workers=1, descends=True, l2=1e-7, nonzeros=451_592), "alone"),
    (A9A._replace(dim=75_000, workers=1, descends=True, l2=0.0), "counts"),
    (A9A._replace(rows=2000, weight=2000.0, dim=500, squares=1e8, l2=1e-4), "hessian"),
    (PAIRED, "gathered"),
    (PAIRED._replace(l2=1e-5), "gathered"),  # easy local models, which take as many visits
    (PAIRED._replace(l2=1e-5, nonzeros=4_000_000), "gathered"),
    (PAIRED._replace(l2=1e-4, nonzeros=4_000_000), "mean"),  # the easiest, whose rows cost no time
    (PAIRED._replace(l2=1e-5, workers=4), "counts"),
    (PAIRED._replace(l2=1e-5, dim=100_000), "mean"),  # half of all rows is more than the rounds
    (PAIRED._replace(l2=1e-8), "counts"),  # too hard for the dual
    (PAIRED._replace(descends=False), "counts"),
    (PAIRED._replace(workers=4), "counts"),  # who get more done than one
    (PAIRED._replace(nonzeros=60_000_000, dim=10_000_000), "counts"),
    (PAIRED._replace(dim=75_000), "counts"),  # long rows for so few features
    (A9A._replace(columns=False), "mean"),
    (A9A._replace(columns=False, apart=True), "classes"),
    (A9A._replace(smooth=False), "face"),
    (FARM, "gathered"),
    (FARM._replace(workers=1), "alone"),
    (FARM._replace(l2=1e-2), "mean"),  # h is 2
    (FARM._replace(l2=0.0), "counts"),
    (FARM._replace(nonzeros=0), "counts"),  # rows on a GPU
    (FARM._replace(dim=5_000_000, nonzeros=8_000_000), "counts"),  # too much for one worker
    (A9A._replace(l2=1e-7, nonzeros=451_592), "counts"),
    (A9A._replace(rows=409, weight=409.0, dim=253, l2=3.8e-9, workers=32, nonzeros=6000), "gathered"),
]


@pytest.mark.parametrize("extent, form", EXPECTED)
def test_the_form_to_begin_with(extent, form):
    taken = ByCost().first(extent, ALL)
    assert taken.form == form and taken.why
    assert ByCost().first(extent, ("counts", "mean")).form in ("counts", "mean")


def test_a_hessian_is_taken_where_it_sends_less_than_the_rounds_to_come():
    rule, begun = ByCost(), ByCost().first(A9A, ALL)
    assert rule.watches(begun, A9A, ALL) and not rule.watches(begun, A9A, ("counts",))
    assert not rule.watches(begun, A9A._replace(dim=75_000), ALL)
    assert rule.watches(begun, A9A._replace(dim=75_000, nonzeros=451_592), ALL)
    fast, slow = (1.0, 0.5, 0.45, 0.4495, 0.44949), (1.0, 0.99, 0.9805, 0.9712, 0.962)
    ways = [rule.later(begun, A9A, ALL, k, way[: k + 1]).form for way in (fast, slow) for k in (2, 3, 4)]
    assert ways == ["counts"] * 4 + ["hessian"] * 2  # h above 20, and small
    first = [rule.later(begun, A9A._replace(dim=dim), ALL, 1, (1.0, then)).form for dim in (124, 200) for then in (0.9, 0.99)]
    assert first == ["counts", "hessian", "counts", "counts"]
    large = A9A._replace(dim=1000, l2=1e-9)
    assert rule.later(begun, large, ALL, 4, fast).form == "counts"
    told = rule.later(begun, large, ALL, 4, slow)
    assert told.form == "hessian" and "slow" in told.why
    assert rule.later(begun, large._replace(l2=1e-5), ALL, 4, slow).form == "counts"  # h bounds how slow it can be
    rows = large._replace(nonzeros=451_592)
    assert rule.later(begun, rows, ALL, 4, slow).form == "gathered"  # all rows are less than a Hessian
    assert rule.later(begun, rows, ("counts", "hessian"), 4, slow).form == "hessian"


def test_rounds_to_come_are_those_of_the_rate_that_is_seen():
    decreases = 0.5 * 0.1 ** np.arange(4)
    objectives = tuple(1.0 + 1.0 - np.concatenate([[0.0], np.cumsum(decreases)]))
    assert remaining(objectives) == pytest.approx(np.log10(5e-4 / (1e-9 * objectives[-1])), rel=1e-6)
    assert remaining(objectives[1:]) == 0 and remaining((1.0,) * 5) == 0
    assert remaining((1.0, 0.9, 0.8, 0.7, 0.6)) == np.inf or remaining((1.0, 0.9, 0.8, 0.7, 0.6)) > 1e6
    assert foreseen(A9A._replace(l2=0.0)) == np.inf


def test_the_form_is_changed_on_the_way_and_the_run_goes_on(worlds):
    data = Data(rows=1200, features=40, density=0.1, weighted=True)
    team = data.team(worlds(workers=3, deterministic=True), L2(1e-5))
    seen, objectives, method = [], [], find("spcg").make()
    for run, _ in zip(rounds(method, team, team.zeros()), range(9), strict=False):
        seen.append(taken_by(run).form)
        objectives.append(method.measure(run, team).objective)
    assert seen == ["counts"] * 3 + ["hessian"] * 6
    assert (np.diff(objectives) <= 1e-15).all()


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("rows, l2, form, begun", [(1200, 1e-5, "hessian", 3), (300, 1e-3, "gathered", 4)])
def test_a_run_killed_in_any_round_goes_on_as_if_it_had_not_been(worlds, shared_tmp, rows, l2, form, begun):
    """Also before and after the form is changed, on any number of ranks."""
    data, method = Data(rows=rows, features=40, density=0.1, weighted=True), find("spcg").make()
    team = data.team(worlds(workers=3, deterministic=True), L2(l2))
    whole = solve(method, team, team.zeros(), Stop(rounds=begun + 2))
    assert (whole.run.states.taken.form, whole.run.states.begun) == (form, begun)
    for k in range(begun - 1, begun + 2):
        store = Store(shared_tmp / f"c{k}.h5", team.world, "run")
        solve(method, team, team.zeros(), Stop(rounds=k), (), [lambda at, _, store=store: store.save(at, {}, team)])
        found = solve(find("spcg").make(), team, store.load(store.find(), team), Stop(rounds=begun + 2))
        np.testing.assert_array_equal(found.x, whole.x)
        assert taken_by(found.run) == taken_by(whole.run) and found.run.states.begun == begun


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("form", ["mean", "counts", "hessian", "gathered"])
def test_every_form_goes_on_from_any_round_to_the_same_bits(worlds, shared_tmp, form):
    """On any number of ranks, where a copy of rows, which is no state, is made anew."""
    given = {"form": form} if form == "hessian" else {"form": form, "accuracy": 0.5}
    data, method = Data(rows=200, features=40, density=0.1, weighted=True), find("spcg").make(**given)
    team = data.team(worlds(workers=3, deterministic=True), L2(1e-4))
    whole, store = solve(method, team, team.zeros(), Stop(rounds=3)), Store(shared_tmp / "c.h5", team.world, "run")
    assert whole.final.round == 3
    for k in (1, 2):
        solve(method, team, team.zeros(), Stop(rounds=k), (), [lambda at, _: store.save(at, {}, team)])
        again = data.team(worlds(workers=3, deterministic=True), L2(1e-4))
        found = solve(find("spcg").make(**given), again, store.load(store.find(), again), Stop(rounds=3))
        np.testing.assert_array_equal(found.x, whole.x)


@pytest.mark.ranks(1, 2)
def test_text_is_solved_in_fewer_coordinates_and_by_one_worker_in_the_dual(worlds):
    world = worlds()
    team = team_of(from_spec(TEXT), world, L2(1e-3))
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=60, gap=1e-9))
    assert found.reason is Reason.GAP and found.x.shape == (20_000,)
    assert found.run.points[0].x.size < 10_000
    assert taken_by(found.run).form == ("dual" if world.workers == 1 else "gathered")
    exact = solve(find("lbfgs").make(), team, team.zeros(), Stop(rounds=500, gradient=1e-10)).certificate.objective
    assert abs(found.certificate.objective - exact) <= 1e-9


@pytest.mark.parametrize("form", ["hessian", "gathered"])
def test_forms_that_sum_or_factor_a_hessian_do_in_fewer_coordinates_too(worlds, form):
    team = team_of(from_spec("default:rows=160,cols=5200,per_row=60,exponent=2"), worlds(workers=8), L2(1e-4))
    found = solve(find("spcg").make(form=form), team, team.zeros(), Stop(rounds=12, gap=1e-9))
    assert found.run.points[0].x.size < 1000 and found.reason is Reason.GAP, found.reason_text


@pytest.mark.ranks(1, 2, 3)
def test_a_run_in_fewer_coordinates_killed_in_any_round_goes_on(worlds, shared_tmp):
    """One worker in the dual, and three in counts, on any number of ranks."""
    source, method = from_spec(TEXT), find("spcg").make()
    for workers in {worlds().size, 3}:
        team = team_of(source, worlds(workers=workers, deterministic=True), L2(1e-3))
        whole = solve(method, team, team.zeros(), Stop(rounds=4))
        for k in (1, 3):
            store = Store(shared_tmp / f"{workers}-{k}.h5", team.world, "run")
            solve(
                method, team, team.zeros(), Stop(rounds=k), (), [lambda at, _, store=store, team=team: store.save(at, {}, team)]
            )
            found = solve(find("spcg").make(), team, store.load(store.find(), team), Stop(rounds=4))
            np.testing.assert_array_equal(found.x, whole.x)
