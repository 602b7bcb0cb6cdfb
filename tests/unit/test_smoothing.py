"""Randomised smoothing: bounds, radii, deformations, certificates that do not depend on who computes them; splits by class."""

from math import log2
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from mpiopt.errors import UsageError
from mpiopt.io.dataset.blobs import Blobs
from mpiopt.io.dataset.dense import held, scattered
from mpiopt.jobs.methods import Methods
from mpiopt.jobs.methods import run as methods
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.perceptron import Perceptron
from mpiopt.sampling.splits import SPLITS, ByClass, Dirichlet, split
from mpiopt.smoothing.certify import (
    Ballot,
    CertifiedClass,
    average_radius,
    certified,
    certified_accuracy,
    certified_rows,
    lower_bound,
)
from mpiopt.smoothing.laws import NOISES, Gaussian, Rotation, Scaling, Translation, noise, warped
from mpiopt.smoothing.noisy import NoisyRows, Shaken


# ---------------------------------------------------------------------------------------------- bounds
@given(st.integers(0, 300), st.integers(1, 300), st.floats(1e-6, 0.4))
def test_the_bound_is_that_of_clopper_and_pearson(votes, samples, alpha):
    votes = min(votes, samples)
    bound = lower_bound(votes, samples, alpha)
    assert bound == pytest.approx(beta.ppf(alpha, votes, samples - votes + 1) if votes else 0.0, rel=1e-9)
    assert binom.sf(votes - 1, samples, bound) == pytest.approx(alpha if votes else 1.0, rel=1e-6)  # so many, or more


@given(st.floats(1e-6, 0.4))
def test_the_fewest_votes_that_certify_anything(alpha):
    least = int(log2(1 / alpha)) + 1
    assert lower_bound(least, least, alpha) > 0.5 * (1 - 1e-9) and lower_bound(least - 1, least - 1, alpha) <= 0.5 * (1 + 1e-9)
    assert Ballot(samples=least, alpha=alpha)
    with pytest.raises(UsageError, match=f"`samples` is {least - 1}: .* certify nothing; give at least {least}"):
        Ballot(samples=least - 1, alpha=alpha)


def test_radii_are_those_of_the_papers():
    assert Gaussian(0.5).radius(0.9) == pytest.approx(0.5 * norm.ppf(0.9)) and Rotation(10.0).radius(0.9) == pytest.approx(8.0)
    assert all(noise(text).radius(p) == 0 for text in NOISES for p in (0.0, 0.3, 0.5))


def test_a_linear_classifier_is_certified_up_to_its_margin(worlds):
    """The exact radius of two classes apart by a plane is the distance to it; certificates fall short by their samples."""
    stream, sigma, short = np.random.default_rng(0), 0.5, []
    normal, offset = stream.standard_normal(8), 0.3
    for number in range(6):
        x = stream.standard_normal(8)
        margin = x @ normal + offset
        x += (np.sign(margin) * sigma * (0.4 + 0.2 * number) * np.linalg.norm(normal) - margin) * normal / (normal @ normal)
        exact = abs(x @ normal + offset) / np.linalg.norm(normal)
        vote = certified(
            lambda rows: np.column_stack([np.zeros(len(rows)), rows @ normal + offset]),
            x,
            Gaussian(sigma),
            Ballot(50, 20000),
            Streams(0)("certify", number),
        )
        assert vote.guess == (x @ normal + offset > 0) and vote.radius <= exact
        short.append(vote.radius / exact)
    assert min(short) > 0.9


def test_where_the_vote_is_close_there_is_no_answer():
    tied = certified(lambda rows: rows[:, :2], np.zeros(2), Gaussian(1.0), Ballot(10, 100), np.random.default_rng(0))
    assert tied.guess == -1 and tied.radius == 0 and tied.lower <= 0.5


@pytest.mark.ranks(1, 3)
def test_votes_do_not_depend_on_who_looks(world):
    """Rows shared out over ranks have the votes that one rank finds for all."""
    rows = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)
    model = Perceptron(Dense(rows, np.zeros(7, int)), (4, 5, 3))
    x = model.initial(np.random.default_rng(2))

    def votes(numbers):
        return list(certified_rows(lambda r: model.outputs(x, r), rows[numbers], numbers, Gaussian(0.3), Ballot(10, 40), 5))

    mine = range(7)[world.rank :: world.size]
    found = {k: v for part in world.tell_all(list(zip(mine, votes(list(mine)), strict=True))) for k, v in part}
    assert [found[k] for k in range(7)] == votes(list(range(7)))


def test_curves_count_what_is_right_and_far_enough():
    votes, y = (
        [CertifiedClass(0, 0.9, 1.0), CertifiedClass(1, 0.9, 2.0), CertifiedClass(-1, 0.4, 0.0), CertifiedClass(2, 0.8, 0.5)],
        np.array([0, 1, 0, 1]),
    )
    assert certified_accuracy(votes, y, np.array([0.0, 1.0, 1.5, 3.0])).tolist() == [0.5, 0.5, 0.25, 0.0]
    assert average_radius(votes, y) == 0.75


# ---------------------------------------------------------------------------------------------- deformations
@pytest.mark.parametrize("shape", [(5, 7), (6, 6, 3)])
def test_what_does_not_move_stays_and_whole_pixels_are_moved(shape):
    x = np.random.default_rng(0).random((4, *shape))
    same = np.tile(np.eye(2), (4, 1, 1))
    np.testing.assert_allclose(warped(x, same, np.zeros((4, 2))), x, atol=1e-15)
    moved = warped(x, same, np.tile([1.0, -2.0], (4, 1)))
    np.testing.assert_allclose(moved[:, 1:, :-2], x[:, :-1, 2:], atol=1e-15)
    assert not moved[:, 0].any() and not moved[:, :, -2:].any()


def test_a_quarter_turn_is_a_quarter_turn():
    x, quarter = np.random.default_rng(0).random((1, 6, 6)), np.array([[[0.0, -1.0], [1.0, 0.0]]])
    found = warped(x, quarter, np.zeros((1, 2)))[0]
    assert min(abs(found - np.rot90(x[0], k)).max() for k in (1, 3)) < 1e-12


@pytest.mark.parametrize("law", [Rotation(20.0), Translation(1.5), Scaling(0.3), Gaussian(0.2)])
def test_draws_follow_from_the_stream_and_keep_the_type(law):
    x = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    a, b, c = (law.shaken(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a.dtype == np.float32 and a.shape == x.shape and np.array_equal(a, b) and not np.array_equal(a, c)
    assert not np.array_equal(law.shaken(np.stack([x[0], x[0]]), np.random.default_rng(1))[0], a[1])


def test_the_noise_of_a_gradient_follows_from_its_stream(worlds):
    x, y = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32), np.array([0, 1, 0, 1, 1, 0])
    rows = NoisyRows(Dense(x, y), Gaussian(0.5))
    model = Shaken(Perceptron(rows, (3, 2)), rows)
    at, found = model.point(np.ones(model.dim, np.float32)), []
    for number in (1, 1, 2):
        model.reseed(Streams(0)("model", number, 0))
        found.append(model.value_grad(at, np.arange(4))[1])
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


# ---------------------------------------------------------------------------------------------- splits
@given(st.integers(1, 6), st.floats(0.3, 5.0), st.integers(0, 5))
def test_a_split_is_a_partition(workers, concentration, seed):
    y = np.random.default_rng(seed).integers(0, 4, 120)
    for law in (Dirichlet(concentration), ByClass(-(-4 // workers)), ByClass(4)):
        parts = law(y, workers, 1, Streams(seed))
        assert sorted(np.concatenate(parts).tolist()) == list(range(120)) and len(parts) == workers
        assert all((np.diff(part) > 0).all() for part in parts)
        assert all(np.array_equal(a, b) for a, b in zip(parts, law(y, workers, 1, Streams(seed)), strict=True))


def test_shares_of_classes_are_as_unlike_as_asked():
    y = np.random.default_rng(0).integers(0, 10, 5000)
    assert all(len(np.unique(y[part])) == 2 for part in ByClass(2)(y, 10, 1, Streams(0)))

    def unlike(concentration):  # mean over workers of the share of their commonest class
        parts = Dirichlet(concentration)(y, 10, 10, Streams(0))
        return np.mean([np.bincount(y[part]).max() / len(part) for part in parts])

    assert unlike(100.0) < 0.2 < unlike(1.0) < unlike(0.1)


@pytest.mark.ranks(1, 2)
def test_workers_hold_the_rows_of_their_split(worlds, monkeypatch):
    monkeypatch.setattr("mpiopt.io.dataset.dense.PASS", 17)
    source, world = Blobs(rows=60, features=2, classes=3), worlds(workers=3)
    whole = held(source, worlds(workers=world.size), "shared")[0]
    parts = ByClass(1)(whole.y, 3, 1, Streams(0))
    for w, share in zip(world.hosted, scattered(source, world, lambda y: ByClass(1)(y, 3, 1, Streams(0))), strict=True):
        assert (
            np.array_equal(share.x, whole.x[parts[w]])
            and np.array_equal(share.y, whole.y[parts[w]])
            and share.hi == len(parts[w])
        )


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: noise("gaussian:0"), "sigma is 0: give a number above 0"),
        (lambda: noise("gaussian:nan"), "sigma is nan: give a number above 0"),
        (lambda: noise("rotation:200"), "the largest rotation is 200: give a number above 0 and below 180"),
        (lambda: noise("scaling:1"), "the largest scaling is 1: give a number above 0 and below 1"),
        (lambda: noise("salt"), "there is no noise 'salt': choose one of gaussian, rotation, translation, scaling"),
        (
            lambda: Rotation(5.0).shaken(np.zeros((2, 9)), np.random.default_rng(0)),
            "rows of shape .9,. cannot be turned or shifted: give images",
        ),
        (lambda: Ballot(alpha=0.7), "`alpha` is 0.7: give a chance to be wrong above 0 and below 0.5"),
        (lambda: Ballot(first=0), "the number of votes that name the class is 0: give at least 1"),
        (lambda: split("even"), "there is no split 'even': choose one of dirichlet, classes, sizes"),
        (lambda: split("dirichlet:0"), "the concentration of dirichlet is 0: give a number above 0"),
        (lambda: split("classes:0"), "the number of classes of a worker is 0: give at least 1"),
        (
            lambda: ByClass(5)(np.arange(4), 2, 1, Streams()),
            "classes:5 cannot share out 4 classes among 2 workers: give 2 to 4",
        ),
        (lambda: ByClass(1)(np.arange(2), 2, 9, Streams()), "classes:1 leaves one of 2 workers with fewer than 9 rows"),
        (lambda: split("sizes:-1"), "the power of sizes is -1: give a number of at least 0"),
        (
            lambda: split("sizes:3")(np.zeros(30, int), 4, 2, Streams()),
            "sizes:3 leaves one of 4 workers with fewer than 2 rows",
        ),
        (
            lambda: Dirichlet(0.1)(np.zeros(9, int), 5, 2, Streams()),
            "dirichlet:0.1 left one of 5 workers with fewer than 2 rows",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(make, said):
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize("power", [0, 1, 2.5])
def test_sizes_fall_as_a_power_and_all_rows_have_a_worker(power):
    found = split(f"sizes:{power}")(np.zeros(1000, int), 5, 1, Streams(3))
    assert sorted(np.concatenate(found)) == list(range(1000))
    shares = np.arange(1, 6) ** -float(power)
    np.testing.assert_allclose([len(part) for part in found], 1000 * shares / shares.sum(), atol=1)


@given(st.integers(1, 5), st.integers(0, 9))
def test_rows_of_one_value_of_a_column_are_of_one_worker(workers, seed):
    x = np.random.default_rng(seed).integers(0, 9, (200, 2, 3))
    law = split("column:4")
    values = law.looks_at(x, np.zeros(200))
    assert (values == x[:, 1, 1]).all()
    parts = law(values, workers, 1, Streams(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    assert sum(len(np.unique(values[part])) for part in parts) == len(np.unique(values))
    assert max(map(len, parts)) - min(map(len, parts)) <= np.bincount(values).max()  # as even as values allow


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("column:-1", "give the number of a feature"),
        ("column:6", "none of the 6 features"),
        ("column:0", "cannot be shared out among 9"),
    ],
)
def test_a_column_that_cannot_split_is_a_sentence(text, said):
    with pytest.raises(UsageError, match=said):
        law = split(text)
        law(law.looks_at(np.zeros((20, 2, 3)), np.zeros(20)), 9, 1, Streams(0))


def test_every_law_is_spelt():
    assert list(NOISES) == ["gaussian", "rotation", "translation", "scaling"] and list(SPLITS) == [
        "dirichlet",
        "classes",
        "sizes",
        "column",
    ]


@pytest.mark.parametrize(("name", "known"), [("splits", SPLITS), ("noises", NOISES)])
def test_methods_lists_what_the_options_take(name, known):
    shown: list[str] = []
    console = SimpleNamespace(show=shown.append)
    assert list(methods(Methods(name), None, console)) == list(known) and all(law in "\n".join(shown) for law in known)
