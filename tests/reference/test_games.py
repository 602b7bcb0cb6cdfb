"""Games: every method against its equations written out, and against what theory says of it."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import Standing, rounds, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, NumericalError, UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import find, games, playing
from mpiopt.numerics.streams import Streams
from mpiopt.playing.drive import Settled, play
from mpiopt.problems import gan
from mpiopt.problems.feasible import Beside, Simplex, merit
from mpiopt.problems.games import Game, game_of
from mpiopt.problems.operators import Affine
from mpiopt.problems.penalties import L2, Box, ElasticNet, Zero
from mpiopt.problems.problem import Point, RowSample, Team
from mpiopt.sampling.laws import Draws
from mpiopt.sampling.plans import plan_of
from mpiopt.training.run import run as run_any
from tests.training_sets import Shared

SIZES = pytest.mark.ranks(1, 2, 3)
GAMES = ("bilinear:dim=3,samples=13,noise=0.5", "quadratic:dim=3,samples=13", "matrix:rows=3,columns=4,samples=13")
ROUNDS, SEED = 7, 3


class Shares:
    """The samples of a game shared out over workers, once as a team and once by number."""

    def __init__(
        self, text: str, workers: int, sampling: str | None = "nice:2", shared: bool = False, seed: int = SEED
    ) -> None:
        self.game, self.workers, self.seed = game_of(text), workers, seed
        self.bounds = even(self.game.whole.rows, workers)
        self.shares = np.diff(self.bounds) / self.game.whole.rows
        self.samples = [
            (lambda step: None)
            if sampling is None
            else Draws(plan_of(sampling).law(int(rows), None), Streams(seed), -1 if shared else w)
            for w, rows in enumerate(np.diff(self.bounds))
        ]

    def part(self, w: int) -> Affine:
        return self.game.whole.part(int(self.bounds[w]), int(self.bounds[w + 1]))

    def team(self, world: World) -> Team:
        hosted = world.hosted
        return Team.of(world, [self.part(w) for w in hosted], self.game.penalty, self.seed, [self.samples[w] for w in hosted])

    def field(self, w: int, z: np.ndarray, number: int) -> np.ndarray:
        """The weighted sum over a sample, row by row."""
        picked = self.samples[w](number)
        rows = np.arange(*self.bounds[w : w + 2])
        weights = np.full(len(rows), 1 / len(rows)) if picked is None else picked.weights
        rows = rows if picked is None else rows[picked.rows]
        a, b = self.game.whole.matrices, self.game.whole.offsets
        return sum((v * (a[i] @ z + b[i]) for i, v in zip(rows, weights, strict=True)), np.zeros(z.size))

    def mean(self, z: np.ndarray, number: int) -> np.ndarray:
        return sum(self.shares[w] * self.field(w, z, number) for w in range(self.workers))

    def prox(self, z: np.ndarray, step: float) -> np.ndarray:
        return self.game.penalty.prox(z, step)


def written_out(data: Shares, name: str, z: np.ndarray, step: float, beta: float, period: int):
    """The method of this name in a few lines of numpy."""
    last, heard = z, None
    for k in range(ROUNDS):
        yield z
        if name == "local_extragradient":
            ends = []
            for w in range(data.workers):
                y = z
                for j in range(k * period, (k + 1) * period):
                    y = data.prox(y - step * data.field(w, data.prox(y - step * data.field(w, y, j), step), j), step)
                ends.append(y)
            z = data.shares @ np.array(ends)
            continue
        first, second = (2 * k, 2 * k + 1) if name == "mirror_prox" else (k, k)
        if name == "optimistic":
            f = data.mean(z if heard is None else data.prox(z - step * heard, step), k)
        else:
            f = data.mean(z, first)
        if name in ("extragradient", "mirror_prox"):
            f = data.mean(data.prox(z - step * f, step), second)
        if name == "alternating":
            n = data.game.whole.first
            moved = z.copy()
            moved[:n] = data.prox(z - step * f, step)[:n]
            f = np.concatenate([f[:n], data.mean(moved, second)[n:]])
        heard, z, last = f, data.prox(z - step * f + (beta * (z - last) if k else 0), step), z


@SIZES
@pytest.mark.parametrize("name", list(playing()))
def test_every_method_is_what_its_equations_say(worlds, name):
    world = worlds(workers=5)
    for text, sampling, shared, beta in zip(
        GAMES, ("nice:2", None, "single"), (False, False, True), (0.0, -0.2, 0.0), strict=True
    ):
        data = Shares(text, 5, sampling, shared)
        given = {"gamma": 0.05} | ({"period": 3} if name == "local_extragradient" else {"momentum": beta})
        method, team = find(name).make(**given), data.team(world)
        found = [method.answer(run, team).x.copy() for run in islice(rounds(method, team, data.game.start.copy()), ROUNDS)]
        np.testing.assert_allclose(found, list(written_out(data, name, data.game.start, 0.05, beta, 3)), rtol=1e-11, atol=1e-12)


def grown(world: World, text: str, name: str, seed: int, until: Settled) -> list:
    """The distances of a run on one worker that looks at one sample a time, until it settles or is 10^6 times as far away."""
    data = Shares(f"{text}:seed={seed}", 1, "nice:1", seed=seed)
    far = []

    def told() -> str:
        return "far away" if far and far[-1] > 1e6 else ""

    play(
        find(name).make(),
        data.team(world),
        data.game.start,
        until,
        data.game.solution,
        [lambda move: far.append(move.distance)],
        interruption=told,
        due=lambda k: k % 20 == 0,
    )
    return far


def same_sample_converges(world: World, seeds: range) -> None:
    until = Settled(rounds=2000, distance=1e-12)
    for seed in seeds:
        assert grown(world, "bilinear", "simultaneous", seed, until)[-1] > 1e6
        assert grown(world, "bilinear", "mirror_prox", seed, until)[-1] > 1e6
        assert grown(world, "bilinear", "extragradient", seed, until)[-1] < 1e-12


def test_the_same_sample_converges_where_others_lead_away(world):
    same_sample_converges(world, range(1, 2))


@pytest.mark.study
def test_the_same_sample_converges_where_others_lead_away_over_twenty_seeds(world):
    same_sample_converges(world, range(1, 21))


def test_extragradient_keeps_the_rate_that_theory_promises(world):
    """E |z_t - z*|^2 <= (1 - 2 gamma mu / 3)^t |z_0 - z*|^2 + 3 gamma sigma^2 / mu, where F is strongly monotone."""
    data = Shares("quadratic:dim=4,samples=10,mu=0.5", 1)
    game = data.game
    step = 1 / (2 * game.whole.lipschitz)
    mu = np.linalg.eigvalsh((m := game.whole.matrices.mean(axis=0)) + m.T)[0] / 2
    noise = ((game.whole.matrices @ game.solution + game.whole.offsets) ** 2).sum(axis=1).mean()
    for start in (game.start, game.solution):
        squares = []
        for seed in range(6):
            team = Shares("quadratic:dim=4,samples=10,mu=0.5", 1, "single", seed=seed).team(world)
            found = play(
                find("extragradient").make(), team, start, Settled(rounds=60), game.solution, due=lambda k: k % 20 == 0
            )
            squares.append([move.distance**2 for move in found.history])
        far = ((start - game.solution) ** 2).sum()
        bound = [(1 - 2 * step * mu / 3) ** t * far + 3 * step * noise / mu for t in range(0, 61, 20)]
        assert (np.mean(squares, axis=0) <= bound).all()


@pytest.mark.parametrize(
    ("least", "given", "rate"), [(1.0, (0.705, 0.0), 0.866), (1.0, (0.89, -0.21), 0.463), (0.5, (1.01, -0.22), 0.849)]
)
def test_negative_momentum_is_faster_on_bilinear_games(world, least, given, rate):
    """The rates of the best step and momentum for singular values from ``least`` to 1."""
    step, beta = given
    found = _worst(least, step, beta)
    assert found == pytest.approx(rate, abs=0.01)
    values = np.linspace(least, 1, 5)
    a = np.zeros((1, 10, 10))
    a[0, :5, 5:], a[0, 5:, :5] = np.diag(values), -np.diag(values)
    team = Team.of(world, [Affine(a, np.zeros((1, 10)), 5)], Zero())
    far = play(
        find("extragradient").make(gamma=step, momentum=beta), team, np.ones(10), Settled(rounds=120), np.zeros(10)
    ).history
    assert (far[120].distance / far[60].distance) ** (1 / 60) == pytest.approx(found, abs=0.02)


def _worst(least: float, step: float, beta: float) -> float:
    return max(abs(np.roots([1, -(1 - (step * s) ** 2 + beta - 1j * step * s), beta])).max() for s in np.linspace(least, 1, 50))


@pytest.mark.parametrize("name", list(playing()))
def test_all_rows_lead_to_solutions_of_strongly_monotone_games(world, name):
    data = Shares("quadratic:dim=3,samples=5,mu=0.5", 1, None)
    given = {} if name == "local_extragradient" else {"gamma": 0.1}
    found = play(find(name).make(**given), data.team(world), data.game.start, Settled(600, residual=1e-10), data.game.solution)
    assert (
        found.reason is Reason.TARGET and found.final.distance < 1e-9 and found.reason_text.startswith("The target was reached")
    )


def test_a_matrix_game_has_the_value_that_linear_programming_finds(world):
    from scipy.optimize import linprog

    data = Shares("matrix:rows=4,columns=5,samples=6", 1, None)
    found = play(find("local_extragradient").make(period=40), data.team(world), data.game.start, Settled(400, residual=1e-8))
    b = data.game.whole.matrices.mean(axis=0)[:4, 4:]
    value = linprog(
        [0] * 4 + [1], np.c_[b.T, -np.ones(5)], np.zeros(5), [[1] * 4 + [0]], [1], [(0, None)] * 4 + [(None, None)]
    ).fun
    x, y = found.x[:4], found.x[4:]
    assert found.final.merit < 1e-6 and x @ b @ y == pytest.approx(value, abs=1e-6)
    assert (b.T @ x).max() - (b @ y).min() == pytest.approx(found.final.merit, abs=1e-12)  # what best replies would gain


def test_a_robust_classifier_is_where_neither_player_gains(world):
    data = Shares("robust:samples=40,features=3", 1, None)
    game = data.game
    found = play(find("local_extragradient").make(), data.team(world), game.start, Settled(1000, residual=1e-10))
    assert found.reason is Reason.TARGET and -1e-15 < found.final.merit < 1e-12
    net, box = game.penalty.parts

    def value(z: np.ndarray) -> float:
        margins = game.whole.signs * (game.whole.a @ z[:3] + z[3:] @ z[:3])
        return np.logaddexp(0, -margins).mean() + net.value(z[:3]) - box.value(z[3:])

    for other in np.random.default_rng(0).uniform(-0.3, 0.3, (20, 6)):
        worse, less = found.x.copy(), found.x.copy()
        worse[:3] += other[:3]
        less[3:] = other[3:]
        assert value(less) <= value(found.x) + 1e-12 <= value(worse) + 2e-12
    z = np.random.default_rng(1).uniform(-0.3, 0.3, 6)  # and its operator is the derivative of that value
    for j, e in enumerate(1e-6 * np.eye(6)):
        slope = (value(z + e) - value(z - e)) / 2e-6
        part = net.grad(z[:3])[j] if j < 3 else -box.grad(z[3:])[j - 3]
        assert (slope - part) * (1 if j < 3 else -1) == pytest.approx(game.whole.field(Point(z))[j], abs=1e-7)


# ---------------------------------------------------------------------------------------------- runs
@SIZES
def test_a_game_goes_on_bit_for_bit_and_is_the_same_on_any_number_of_ranks(worlds, shared_tmp):
    data = Shares("quadratic:dim=3,samples=13", 6, "independent:count=1")
    world = worlds(workers=6, deterministic=True)
    team, method, kept = data.team(world), find("extragradient").make(momentum=-0.1), []

    def keep(at: Standing, reason: Reason | None) -> None:
        if at.begun.round == 9:
            store = Store(shared_tmp / "game.h5", world, "run")
            store.claim()
            store.save(at, {}, team)
            kept.append(store)

    whole = play(method, team, data.game.start, Settled(rounds=20), data.game.solution, keep=[keep])
    again = play(method, team, kept[0].load(kept[0].find(), team), Settled(rounds=20), data.game.solution)
    kept[0].close()
    assert again.x.tobytes() == whole.x.tobytes()
    assert [move._replace(seconds=0) for move in again.history] == [move._replace(seconds=0) for move in whole.history]
    alone = Shares("quadratic:dim=3,samples=13", 6, "independent:count=1")
    with_one = worlds(workers=6 * world.size, deterministic=True).split(world.rank)
    one = play(method, alone.team(with_one), data.game.start, Settled(rounds=20), data.game.solution)
    with_one.free()
    assert one.x.tobytes() == whole.x.tobytes()


# ---------------------------------------------------------------------------------------------- what cannot be
def test_games_are_played_and_losses_minimised(worlds):
    world = worlds(workers=4)
    loss, game = Shared(workers=4).team(world), Shares(GAMES[0], 4).team(world)
    with pytest.raises(
        CapabilityError, match=r"extragradient cannot run on Linear: its Field needs .*; use a method that minim"
    ):
        find("extragradient").make().init(np.zeros(5), loss)
    with pytest.raises(CapabilityError, match="Affine cannot be minimised: it has no value_grad; games are played by extragr"):
        solve(find("lbfgs").make(), game, np.zeros(6), Stop(rounds=1))
    with pytest.raises(CapabilityError, match=r"its Minibatch needs value_grad, .*games are played by extragradient"):
        find("dcgd").make().init(np.zeros(6), game)
    with pytest.raises(UsageError, match="the step of extragradient is -1: give a finite gamma above 0"):
        find("extragradient").make(gamma=-1).init(np.zeros(6), game)
    with pytest.raises(UsageError, match="the method plays, and Stop is not about games"):
        run_any(find("extragradient").make(), game, np.zeros(6), Stop(rounds=1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: game_of("chess"), "there is no game 'chess': choose one of bilinear, quadratic, matrix, robust"),
        (lambda: game_of("bilinear:dim=0"), "dim of a game is 0: give a number above 0"),
        (lambda: game_of("robust:radius=-1"), "radius of a game is -1: give a finite number that is not negative"),
        (lambda: game_of("bilinear:noise=nan"), "noise of a game is nan: give a finite number that is not negative"),
        (lambda: find("optimistic").make(momentum=1.5), "momentum is 1.5: give a number between -1 and 1"),
        (lambda: Simplex(free=1), "a simplex has no free coordinates"),
    ],
)
def test_bad_input_is_one_sentence(make, says):
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_what_diverges_is_told_in_a_sentence(world):
    data = Shares("bilinear:dim=2,samples=2", 1, None)
    with pytest.raises(
        NumericalError, match=r"z is no longer made of finite numbers after round \d+: simultaneous has diverged"
    ):
        play(find("simultaneous").make(gamma=1e9), data.team(world), data.game.start, Settled(rounds=400))


# ---------------------------------------------------------------------------------------------- laws
numbers = st.floats(-5, 5, allow_subnormal=False)
vectors = arrays(float, 5, elements=numbers)
parts = st.one_of(
    st.builds(ElasticNet, st.floats(0, 2), st.floats(0.1, 2)),
    st.builds(lambda w, l2: Box(-w, w, l2), st.floats(0, 3), st.floats(0, 2)),
)


@given(vectors, vectors)
def test_a_simplex_has_its_nearest_points(z, other):
    x, inside = Simplex().prox(z, 1.0), abs(other) / abs(other).sum() if other.any() else np.full(5, 0.2)
    assert Simplex().value(x) == 0 and Simplex().value(inside) == 0
    assert (z - x) @ (inside - x) <= 1e-9 * (1 + abs(z).max())
    np.testing.assert_allclose(Simplex().residual(x, x - z), 0, atol=1e-9)


@given(parts, vectors, vectors, st.floats(0.1, 5))
def test_conjugates_bound_and_are_met_at_proximal_points(penalty, z, u, step):
    for each in (penalty, Simplex(), Beside((penalty, Simplex()), (2, 3))):
        x = each.prox(z, step)
        room = 1e-8 * (1 + abs(u).max() + abs(z).max() / step) ** 2
        assert u @ x - each.value(x) <= each.conjugate(u) + room
        subgradient = (z - x) / step
        assert subgradient @ x - each.value(x) == pytest.approx(each.conjugate(subgradient), abs=room)
        assert merit(each, x, u) >= -room


@given(st.lists(st.sampled_from([0.25, 0.5, 2.0]), max_size=6))
def test_rows_that_count_alike_are_looked_at_together(weights):
    picked = RowSample(np.arange(len(weights)), np.array(weights, float))
    seen = np.zeros(len(weights))
    for rows, part in picked.groups:
        seen[rows] += part / max(len(rows), 1)
    np.testing.assert_allclose(seen, weights)
    assert L2(0.0).conjugate(np.zeros(2)) == 0 and isinstance(game_of("robust"), Game)


# ---------------------------------------------------------------------------------------------- adversarial networks
def test_the_field_of_adversaries_is_the_gradient_of_their_game():
    """By differences of f along random directions, and by the mean over rows."""
    game = game_of("gan:samples=12,hidden=5,noise=3")
    whole, rng = game.whole, np.random.default_rng(0)

    def f(z):
        judged = gan.layers(z[whole.first :], whole.judge)
        false = gan.outputs(judged, whole.generated(z, whole.noise))[-1]
        return -np.logaddexp(0, -gan.outputs(judged, whole.real)[-1]).mean() - np.logaddexp(0, false).mean()

    signs = np.where(np.arange(whole.dim) < whole.first, 1.0, -1.0)
    field, parts = whole.field(Point(game.start)), [whole.part(0, 5), whole.part(5, 12)]
    for _ in range(4):
        v = rng.standard_normal(whole.dim)
        along = (f(game.start + 1e-6 * v) - f(game.start - 1e-6 * v)) / 2e-6
        assert along == pytest.approx((signs * field) @ v, rel=1e-6, abs=1e-8)
    mean = (5 * parts[0].field(Point(game.start)) + 7 * parts[1].field(Point(game.start))) / 12
    np.testing.assert_allclose(mean, field, rtol=1e-12, atol=1e-14)
    assert np.linalg.norm(gan.mixture(rng, 500, 0.01), axis=1) == pytest.approx(1, abs=0.1)


def test_adversaries_ask_for_a_step(worlds):
    with pytest.raises(UsageError, match=r"the step of .* is None: give a finite gamma above 0"):
        game = game_of("gan:samples=12,hidden=5")
        games.extragradient().init(game.start, Team.of(worlds(), [game.whole], game.penalty))
