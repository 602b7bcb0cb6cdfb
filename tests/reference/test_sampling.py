"""Laws of sampling against every outcome that they have: unbiased, their variance exactly, their smoothness as a bound."""

from functools import partial
from itertools import combinations, islice, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.methods.chosen_descent import counted_out, sizes
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Switching
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import RowSample, Team
from mpiopt.sampling.constants import row_constants
from mpiopt.sampling.laws import Draws, Independent, Nice, Partition, Single
from mpiopt.sampling.plans import SAMPLINGS, plan_of
from mpiopt.transforms.rules import sgd
from tests.training_sets import path

N, D, RIDGE = 6, 3, 0.1
RNG = np.random.default_rng(4)
A = RNG.standard_normal((N, D)) * np.geomspace(0.5, 2, N)[:, None]
Y = A @ RNG.standard_normal(D) + RNG.standard_normal(N)


def linear(intercept: bool = False, family=None) -> Linear:
    y = Y if family is None else np.sign(Y)
    matrix = CSR.of(np.arange(N + 1) * D, np.tile(np.arange(D), N), A.ravel(), A.shape)
    return Linear(matrix, y, LeastSquares() if family is None else family, intercept=intercept)


HESSIAN = A.T @ A / N + RIDGE * np.eye(D)
BEST = np.linalg.solve(HESSIAN, A.T @ Y / N)
CONSTANTS = row_constants(linear(), RIDGE, BEST)


def slopes(x: np.ndarray) -> np.ndarray:
    """The gradients of all rows, the penalty's part in each."""
    return A * (A @ x - Y)[:, None] + RIDGE * x


def outcomes(law) -> list[tuple[float, np.ndarray]]:
    """Every outcome's probability, and the weights of all rows in it."""
    eye = np.eye(N)
    if isinstance(law, Nice):
        sets = list(combinations(range(N), law.size))
        return [(1 / len(sets), eye[list(rows)].sum(axis=0) / law.size) for rows in sets]
    if isinstance(law, Single):
        return [(p, eye[i] / (N * p)) for i, p in enumerate(law.p)]
    if isinstance(law, Independent):
        return [
            (np.where(taken, law.p, 1 - law.p).prod(), np.array(taken) / (N * law.p)) for taken in product((0, 1), repeat=N)
        ]
    return [
        (p, ((np.arange(N) >= lo) & (np.arange(N) < hi)) / (N * p))
        for p, lo, hi in zip(law.p, law.bounds[:-1], law.bounds[1:], strict=True)
    ]


STEEP = CONSTANTS.each
LAWS = {
    **{f"nice {size}": Nice(N, size) for size in (1, 3, N)},
    "single": Single(np.full(N, 1 / N)),
    "importance": Single(STEEP / STEEP.sum()),
    "independent": Independent(np.linspace(0.2, 1, N)),
    "partition": Partition(np.array([0, 1, 3, N]), np.array([0.2, 0.3, 0.5])),
}
every = pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))


@every
def test_variance_is_exact_and_the_smoothness_a_bound(law):
    found = outcomes(law)
    assert sum(p for p, _ in found) == pytest.approx(1)
    np.testing.assert_allclose(sum(p * v for p, v in found), np.full(N, 1 / N), rtol=1e-12)
    assert law.expected == pytest.approx(sum(p * (v > 0).sum() for p, v in found))
    noise = sum(p * ((v @ slopes(BEST)) ** 2).sum() for p, v in found)
    assert law.noise(CONSTANTS) == pytest.approx(noise, rel=1e-9, abs=1e-12)
    for x in BEST + np.random.default_rng(1).standard_normal((20, D)):
        apart = sum(p * ((v @ (slopes(x) - slopes(BEST))) ** 2).sum() for p, v in found)
        above = (x - BEST) @ HESSIAN @ (x - BEST) / 2
        assert apart <= 2 * law.smoothness(CONSTANTS) * above * (1 + 1e-9)


def test_known_cases_of_the_bounds():
    c = CONSTANTS
    assert LAWS["importance"].smoothness(c) == pytest.approx(STEEP.mean())
    assert Nice(N, 1).smoothness(c) == pytest.approx(STEEP.max()) == pytest.approx(LAWS["single"].smoothness(c))
    assert Nice(N, N).smoothness(c) == pytest.approx(c.whole) and Nice(N, N).noise(c) == 0
    assert c.whole == pytest.approx(np.linalg.eigvalsh(HESSIAN)[-1], rel=0.03)
    np.testing.assert_allclose(c.squares, (slopes(BEST) ** 2).sum(axis=1), rtol=1e-10)


@pytest.mark.parametrize("intercept", [False, True])
def test_constants_of_rows_are_those_of_their_gradients(intercept):
    x = np.random.default_rng(2).standard_normal(D + intercept)
    loss = linear(intercept, Logistic())
    c = row_constants(loss, RIDGE, x)
    free = np.append(np.ones(D), np.zeros(int(intercept)))
    each = np.array([loss.take(np.array([i])).value_grad(loss.take(np.array([i])).point(x))[1] for i in range(N)])
    each += RIDGE * free * x
    np.testing.assert_allclose(c.squares, (each**2).sum(axis=1), rtol=1e-10)
    assert c.mean == pytest.approx((each.mean(axis=0) ** 2).sum())
    bounds = np.array([0, 2, N])
    np.testing.assert_allclose(c.block_squares(bounds), [(each[:2].sum(0) ** 2).sum(), (each[2:].sum(0) ** 2).sum()], rtol=1e-9)
    assert (c.blocks(bounds) >= [RIDGE, RIDGE]).all() and c.blocks(np.array([0, N]))[0] == pytest.approx(c.whole)


@every
def test_draws_are_the_law_and_follow_from_the_step(law):
    draws, count = Draws(law, Streams(1), 2), 4000
    seen, often = np.zeros(N), np.zeros(N)
    for step in range(count):
        picked = draws(step)
        assert len(set(picked.rows.tolist())) == picked.rows.size == picked.weights.size
        seen[picked.rows] += picked.weights / count
        often[picked.rows] += 1 / count
    np.testing.assert_allclose(seen, 1 / N, atol=0.25 / N)
    np.testing.assert_allclose(often, sum(p * (v > 0) for p, v in outcomes(law)), atol=0.04)
    assert draws(7).rows.tolist() == Draws(law, Streams(1), 2)(7).rows.tolist()


@pytest.mark.parametrize("text", ["nice:2", "independent:count=2,p=importance", "single:importance"])
def test_a_training_step_is_the_weighted_sum_over_the_draw(world, text):
    loss = linear()
    draws = Draws(plan_of(text).law(N, loss.row_lipschitz), Streams(3), 0)
    team = Team.of(world, [loss], L2(RIDGE), 3, [draws])
    wanted = [np.zeros(D)]
    for step in range(6):
        picked, x = draws(step), wanted[-1]
        assert isinstance(picked, RowSample)
        rows = A[picked.rows]
        wanted.append(x - 0.05 * (rows.T @ (picked.weights * (rows @ x - Y[picked.rows])) + RIDGE * x))
    np.testing.assert_allclose(path(find("sgd").make(rule=sgd(0.05)), team, np.zeros(D), 6), wanted, rtol=1e-11)


@pytest.mark.parametrize("name", list(SAMPLINGS))
def test_every_named_plan_makes_a_law_of_any_number_of_rows(name):
    law = plan_of(name).law(40, np.arange(40.0))
    assert law.rows == 40 and plan_of(name).expected(40) == pytest.approx(law.expected)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.floats(0.01, 1))
def test_coins_by_importance_add_up_and_are_probabilities(steep, part):
    law = plan_of(f"independent:count={part * len(steep)},p=importance").law(len(steep), np.array(steep))
    assert law.expected == pytest.approx(part * len(steep), rel=1e-6) and (law.p > 0).all() and (law.p <= 1).all()


# ---------------------------------------------------------------------------------------------- steps
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1), st.floats(1e-3, 1e3), st.floats(1e-4, 1e-1))
def test_the_best_minibatch_is_where_work_is_least(squares, part, steepest, accuracy):
    n, mu = 50, 1e-2 * steepest
    whole = max(steepest * part, steepest / n)

    def work(size: float) -> float:
        share = (n - size) / (size * (n - 1))
        smooth, noise = (1 - share) * whole + share * steepest, share * squares
        return size / (mu * theory.sampled(smooth, noise, mu, accuracy))

    best = theory.best_minibatch(n, whole, steepest, squares, mu, accuracy)
    least = min(work(size) for size in range(1, n + 1))
    assert min(work(np.floor(best)), work(np.ceil(best))) <= least * (1 + 1e-9)


def test_the_step_switches_where_it_should_and_goes_on_falling():
    schedule = Switching(10.0, 0.5)
    assert schedule.turn == 80 and schedule(0) == schedule(80) == 1 / 20
    assert schedule(81) == pytest.approx(163 / (82**2 * 0.5)) and schedule(81) < schedule(80)


def test_switching_steps_lead_further_than_constant_ones():
    """As the paper has it: 12 smoothness / mu steps with one row each; means over a few seeds."""
    law, mu = LAWS["single"], float(np.linalg.eigvalsh(HESSIAN)[0])
    smooth = law.smoothness(CONSTANTS)
    far = {"constant": [], "switching": []}
    for seed in range(8):
        draws = Draws(law, Streams(seed), 0)
        for name, rate in (("constant", lambda step: 1 / (2 * smooth)), ("switching", Switching(smooth, mu))):
            x = np.zeros(D)
            for step in range(int(12 * smooth / mu)):
                i = draws(step).rows[0]
                x = x - rate(step) * (A[i] * (A[i] @ x - Y[i]) + RIDGE * x)
            far[name].append(((x - BEST) ** 2).sum())
    assert np.mean(far["switching"]) < np.mean(far["constant"]) / 1.5


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("text", ["nice:2", "single:importance", "independent:count=2", "partition:blocks=2"])
def test_sgd_as_draws_by_its_law_and_steps_by_theory(worlds, text):
    """Two workers of three rows each, by hand; the expected smoothness of their mean as a bound of both kinds."""
    world, losses = worlds(workers=2), [linear().take(np.arange(3 * w, 3 * w + 3)) for w in range(2)]
    team = Team.of(world, [losses[w] for w in world.hosted], L2(RIDGE), 7)
    method, x = find("sgd_as").make(sampling=text), np.zeros(D)
    run = method.init(x, team)
    known = [row_constants(loss, RIDGE, np.zeros(D)) for loss in losses]
    laws = [plan_of(text).law(3, loss.row_lipschitz) for loss in losses]
    each = [law.smoothness(c) for law, c in zip(laws, known, strict=True)]
    smoothness = min(max(each), max(c.whole for c in known) + max(each) / 2)
    assert run.states.outer == (pytest.approx(smoothness, rel=1e-12), RIDGE)
    rate = Switching(smoothness, RIDGE)
    for step in range(5):
        g = np.zeros(D)
        for w in range(2):
            rows, weights = Draws(laws[w], Streams(7), w)(step)[:2]
            a, y = A[3 * w + rows], Y[3 * w + rows]
            g += 0.5 * (a.T @ (weights * (a @ x - y)) + RIDGE * x)
        x, run = x - rate(step) * g, method.step(run, team)
        np.testing.assert_allclose(run.points[0].x, x, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- rows counted out
def shared_out(workers: int) -> list[Linear]:
    """The rows shared out."""
    return [linear().take(np.arange(w * N // workers, (w + 1) * N // workers)) for w in range(workers)]


def least_work(losses: list[Linear], x: np.ndarray, accuracy: float) -> int:
    """By every set of rows that there is: the variance at x of the mean over workers that draw each for itself."""
    works = {}
    for size in range(1, N // len(losses) + 1):
        smooth, noise = [], 0.0
        for loss in losses:
            c, law = row_constants(loss, RIDGE, x), Nice(loss.rows, size)
            parts = [loss.take(np.array([i])) for i in range(loss.rows)]
            each = np.array([part.value_grad(part.point(x))[1] + RIDGE * x for part in parts])
            drawn = np.array([each[list(rows)].mean(axis=0) for rows in combinations(range(loss.rows), size)])
            noise += ((drawn - each.mean(axis=0)) ** 2).sum(axis=1).mean() / len(losses) ** 2
            smooth.append((law.smoothness(c), c.whole))
        most, whole = (max(each) for each in zip(*smooth, strict=True))
        bound = most if len(losses) == 1 else min(most, whole + most / len(losses))
        works[size] = size * max(2 * bound / RIDGE, 4 * noise / (accuracy * RIDGE**2))
    return min(works, key=lambda size: works[size])


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("accuracy", [1e-4, 1.0, 10.0, 30.0, 100.0, 1e4])
def test_rows_of_a_step_are_counted_out_as_enumeration_has_it(worlds, workers, accuracy):
    world, losses = worlds(workers=workers), shared_out(workers)
    team = Team.of(world, [losses[w] for w in world.hosted], L2(RIDGE), 7)
    method = find("sgd_as").make(accuracy=accuracy)
    for x in (np.zeros(D), BEST, BEST + 1):
        run = method.step(method.init(x, team), team)
        assert run.states.works[0][0].size == least_work(losses, x, accuracy)
        assert taken_by(run).form == f"nice:{run.states.works[0][0].size}"


def test_at_the_optimum_they_are_those_of_the_paper():
    c, seen, team = CONSTANTS, set(), Team.of(World(SelfComm()), [linear()], L2(RIDGE))
    for accuracy in np.geomspace(1e-4, 1e3, 100):
        wanted = theory.best_minibatch(N, c.whole, float(c.each.max()), float(c.squares.mean()), RIDGE, accuracy)
        size, smoothness, most = counted_out(team, [CONSTANTS], accuracy)
        assert abs(size - wanted) < 1 and most == N and smoothness == Nice(N, size).smoothness(c)
        seen.add(size)
    assert seen == set(range(1, N + 1))


def test_they_are_looked_at_anew_and_a_run_goes_on_as_if_it_had_not_been_ended(world, tmp_path):
    team, store = Team.of(world, [linear()], L2(RIDGE), 7), Store(tmp_path / "c.h5", world, "name")
    make, start = partial(find("sgd_as").make, accuracy=30.0), BEST + 30
    whole = [(run.states.outer.again, run.states.works[0][0].size) for run in islice(rounds(make(), team, start.copy()), 400)]
    again = [turn for turn, _ in dict.fromkeys(whole)]
    assert again[:2] == [0, 1] and all(later >= 2 * earlier for earlier, later in pairwise(again)) and whole[1][1] == N
    assert whole[-1][1] == least_work([linear()], BEST, 30.0) < N
    found = solve(make(), team, start, Stop(rounds=7))
    solve(make(), team, start, Stop(rounds=3), keep=[lambda at, reason: store.save(at, {}, team) if reason else None])
    more = solve(make(), team, store.load(store.find(), team), Stop(rounds=7))
    np.testing.assert_array_equal(more.x, found.x)
    assert taken_by(more.run) == taken_by(found.run) and more.run.states == found.run.states


def test_sizes_are_all_numbers_at_first_and_end_with_all_rows():
    assert sizes(5).tolist() == [1, 2, 3, 4, 5] and sizes(64).size == 64
    tried = sizes(10**6)
    assert tried[-1] == 10**6 and (np.diff(tried) > 0).all() and (tried[1:] / tried[:-1] <= 2).all()


# ---------------------------------------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Nice(3, 4), "4 rows of 3 cannot be drawn: give a number from 1 to 3"),
        (
            lambda: Single(np.array([0.5, 0.6])),
            "the probabilities of 2 rows add up to 1.1, the least is 0.5: give positive ones",
        ),
        (lambda: Single(np.array([1.5, -0.5])), "the probabilities of 2 rows add up to 1, the least is -0.5: give positive"),
        (lambda: Independent(np.array([0.5, 0.0])), "independent sampling with probabilities 0 to 0.5: give numbers above 0"),
        (
            lambda: Partition(np.array([0, 2, 2]), np.array([0.5, 0.5])),
            "2 blocks of rows from [0 2 2]: give each at least a row",
        ),
        (lambda: plan_of("partition:blocks=9").law(4, None), "9 blocks of 4 rows cannot be made: give a number from 1 to 4"),
        (
            lambda: plan_of("independent:count=9").law(4, None),
            "9 rows in the mean of 4 are not possible: give a number above 0",
        ),
        (lambda: plan_of("single:p=loud"), "rows are drawn with p=loud: choose uniform or importance"),
        (lambda: plan_of("single:importance").law(4, None), "importance sampling asks how steep each row's loss can be"),
        (lambda: Switching(1.0, 2.0), "mu is 2.0: give a number above 0, at most 1"),
        (lambda: find("sgd_as").make(accuracy=0.0), "`accuracy` is 0.0: give a finite number above 0"),
        (
            lambda: find("sgd_as").make(accuracy=0.1, sampling="nice:2"),
            "`sampling=nice:2` says which rows a step looks at, and `accuracy=0.1` lets sgd_as find how many: give one",
        ),
    ],
)
def test_bad_input_is_one_sentence(make, says):
    with pytest.raises((UsageError, CapabilityError)) as caught:
        make()
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_rows_with_weights_have_no_such_constants():
    with pytest.raises(CapabilityError, match="rows that all count the same"):
        row_constants(Linear(linear().matrix, Y, LeastSquares(), np.ones(N)), RIDGE, BEST)
