"""Networks of torch that play against each other, against NumPy's of the same layers; and the study that lets them draw."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.io.images.convert import convert_dense
from mpiopt.io.images.recognise import scan
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.studies.apparatus import pictures
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.jobs.studies.apparatus.pictures import MOMENTUM, WAYS, Gallery, drawn, extra_adam, frechet
from mpiopt.problems import gan
from mpiopt.problems.games import game_of
from mpiopt.problems.problem import Point, Team
from mpiopt.training.torch import adversaries
from mpiopt.training.torch.adversaries import TorchAdversaries, picture_modules
from mpiopt.training.torch.library import use_threads
from mpiopt.transforms import rules
from tests.image_files import npz, pixels

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(5)
REAL, NOISE, HIDDEN = RNG.standard_normal((11, 2)), RNG.standard_normal((11, 3)), (5, 4)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    use_threads(1)
    yield
    torch.set_num_threads(before)


def perceptron(*widths: int):
    def make():
        pairs = pairwise(widths)
        layers = [part for a, b in pairs for part in (torch.nn.Linear(a, b), torch.nn.Tanh())]
        return torch.nn.Sequential(*layers[:-1])

    return make


def players() -> TorchAdversaries:
    return TorchAdversaries(perceptron(3, *HIDDEN, 2), perceptron(2, *HIDDEN, 1), REAL, NOISE, 2)


def by_layers(z: np.ndarray, widths: tuple[int, ...]) -> list[np.ndarray]:
    """The layers of a flat vector of torch's, weights in front of biases, as `gan` has them."""
    found, at = [], 0
    for inputs, outputs in pairwise(widths):
        w, at = z[at : at + inputs * outputs].reshape(outputs, inputs), at + inputs * outputs
        found.append(np.column_stack([w, z[at : at + outputs]]))
        at += outputs
    return found


def flat(g: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """The other way round."""
    return np.concatenate([np.append(each[:, :-1].ravel(), each[:, -1]) for each in gan.layers(g, widths)])


def by_hand(z: np.ndarray, first: int, rows: np.ndarray) -> np.ndarray:
    """F in NumPy."""
    generator, judge = (3, *HIDDEN, 2), (2, *HIDDEN, 1)
    made, judged = by_layers(z[:first], generator), by_layers(z[first:], judge)
    points = gan.outputs(made, NOISE[rows])
    false, true = gan.outputs(judged, points[-1]), gan.outputs(judged, REAL[rows])
    sure = [1 / (1 + np.exp(-each[-1])) for each in (false, true)]
    back = gan.slopes(judged, false, (sure[0] - 1) / len(rows))[1]  # of -log D
    along = gan.slopes(judged, false, sure[0] / len(rows))[0] + gan.slopes(judged, true, (sure[1] - 1) / len(rows))[0]
    return np.concatenate([flat(gan.slopes(made, points, back)[0], generator), flat(along, judge)])


@pytest.mark.parametrize("rows", [np.arange(11), np.array([3]), np.array([1, 1, 7, 10])])
@pytest.mark.parametrize("chunk", [512, 3])
def test_the_operator_is_that_of_the_same_layers_in_numpy(rows, chunk, monkeypatch):
    monkeypatch.setattr(adversaries, "CHUNK", chunk)
    game = players()
    z = game.start + 0.1 * np.random.default_rng(1).standard_normal(game.dim)
    found = game.field(Point(z), rows)
    np.testing.assert_allclose(found, by_hand(z, game.first, rows), rtol=1e-4, atol=1e-6)
    assert found.dtype == np.float64 and game.rows == 11
    if len(rows) == 11:
        np.testing.assert_array_equal(game.field(Point(z)), found)
    points = gan.outputs(by_layers(z[: game.first], (3, *HIDDEN, 2)), NOISE)[-1]
    np.testing.assert_allclose(game.generated(z, NOISE), points, rtol=1e-4, atol=1e-6)


def test_the_start_follows_from_the_seed_and_torch_draws_on_as_before():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    start = players().start
    assert torch.equal(torch.rand(3), wanted)
    np.testing.assert_array_equal(players().start, start)


def test_networks_for_pictures_make_pictures_and_judge_them():
    generator, judge = picture_modules(8, 6, channels=2)
    made = generator()(torch.zeros(5, 6)).detach()
    assert made.shape == (5, 8, 8) and 0 < float(made.min()) <= float(made.max()) < 1 and judge()(made).shape == (5, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TorchAdversaries(perceptron(3, 2), perceptron(2, 1), REAL, NOISE[:4]), "11 pictures and 4 rows of noise"),
        (
            lambda: TorchAdversaries(
                perceptron(3, 2), lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1)), REAL, NOISE
            ),
            "keep nothing but parameters, and these keep 0.running_mean",
        ),
    ],
)
def test_what_cannot_play_is_one_sentence(make, says):
    with pytest.raises(UsageError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- the study
@given(st.lists(st.tuples(*[st.floats(0, 9)] * 2, *[st.floats(-5, 5)] * 2), min_size=1, max_size=5))
def test_the_distance_of_normal_laws_with_common_axes(coordinates):
    a, b, m, n = np.array(coordinates).T
    turn = np.linalg.qr(np.random.default_rng(len(a)).standard_normal((len(a), len(a))))[0]
    found = frechet(turn @ m, turn * a @ turn.T, turn @ n, turn * b @ turn.T)
    assert found == pytest.approx(((m - n) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), abs=1e-5)


@pytest.fixture
def small(monkeypatch, world, tmp_path):
    """A study of 60 pictures of 8 x 8."""
    for name, value in {"REAL": 32, "HELD": 20, "MADE": 16, "BATCH": 8, "COORDINATES": 4, "NOISE": 3}.items():
        monkeypatch.setattr(pictures, name, value)
    monkeypatch.setattr(pictures, "WAYS", {name: way._replace(steps=way.steps[:1]) for name, way in WAYS.items()})
    x, y = pixels(60, (8, 8))
    convert_dense(world, scan([npz(tmp_path / "d.npz", x=x, y=y)]), tmp_path / "d.h5")
    return Lab(world, Console(first=False), data=str(tmp_path / "d.h5"))


def test_all_ways_are_given_as_many_gradients_and_real_pictures_are_nearest(small):
    found, floor = drawn(small, 8, 2)
    assert [one.way for one in found] == [name for name in WAYS for _ in range(2)]
    assert all(one.gradients == [0, 2, 4, 6, 8] and np.isfinite(one.apart).all() for one in found)
    gallery = Gallery(small)
    assert 0 < floor < np.inf and gallery.apart(gallery.held.reshape(-1, 8, 8)) == pytest.approx(0, abs=1e-6)
    assert gallery.found(gallery.held) == len(np.unique(gallery.classes))
    assert gallery.apart(np.full((4, 8, 8), np.nan)) == np.inf and gallery.found(np.full((4, 8, 8), np.nan)) == 0


def test_extragradient_by_adam_is_two_steps_of_adam(world):
    game, method, rule = game_of("quadratic:dim=2,samples=5"), extra_adam(0.1), rules.adam(0.1, b1=MOMENTUM)
    team = Team.of(world, [game.whole], game.penalty)
    z, run = game.start.copy(), method.init(game.start, team)
    ahead, along = rule.init(z), rule.init(z)
    for step in range(6):
        look = z.copy()
        ahead = rule.move(game.whole.field(Point(z)), look, ahead, step)
        along = rule.move(game.whole.field(Point(look)), z, along, step)
        run = method.step(run, team)
        np.testing.assert_allclose(run.points[0].x, z, rtol=1e-12)
    assert run.states.works[1][0].fields == 6


def test_other_rows_are_refused(world):
    with pytest.raises(UsageError, match="ask for 4,096 grey square pictures or more"):
        Gallery(Lab(world, Console(first=False), data="blobs"))
