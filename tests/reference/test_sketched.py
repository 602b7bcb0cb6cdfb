"""Gradients through masks (MAST, L-SVRDSG, IST on quadratics) against plain numpy, closed forms and the bounds of theory."""

from itertools import islice

import numpy as np
import pytest

from mpiopt.compress.compressor import Stream
from mpiopt.compress.masks import Parts, mask, shown
from mpiopt.engine.drive import rounds
from mpiopt.errors import UsageError
from mpiopt.jobs.studies.apparatus.quadratics import bowl, normal, regression, rotation
from mpiopt.methods.sketched import mast, mast_vr
from mpiopt.numerics import theory
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.coin import Coin
from mpiopt.transforms.rules import sgd
from tests.training_sets import SEED, Shared, path

SIZES = pytest.mark.ranks(1, 3)
WORKERS = 4
LAWS = ("randk:0.4", "block:0.4,shared=no", "block:0.4", "permk", "bernoulli:0.5", "parts:3")


def diagonal(text: str, d: int, k: int, worker: int, workers: int = WORKERS, seed: int = SEED) -> np.ndarray:
    """S of a worker in a round, its diagonal (d,)."""
    law, s = mask(text).among(workers), np.zeros(d)
    s[shown(law, s, Streams(seed), k, worker, workers)] = law.gain(d)
    return s


@pytest.mark.parametrize("text", LAWS)
def test_masks_are_unbiased_and_have_the_constants_of_their_gain(text):
    d, draws = 10, 800
    s = np.array([diagonal(text, d, k, k % WORKERS) for k in range(draws)])
    gain = mask(text).among(WORKERS).gain(d)
    assert set(np.unique(s)) <= {0.0, gain} and s.max() == gain  # the largest eigenvalue of S^2 is gain^2
    sigma = (gain - 1) ** 0.5 / draws**0.5  # of the mean of S_ii, whose square has the mean gain
    np.testing.assert_allclose(s.mean(axis=0), 1, atol=5 * sigma)


def test_the_parts_are_a_partition_that_stays():
    law = Parts(3, seed=2)
    assert sorted(np.concatenate(law.family(10)).tolist()) == list(range(10)) and law == mask("parts:3,seed=2")
    drawn = {tuple(law.places(np.zeros(10), Stream.of(Streams(0), "sketch", k))) for k in range(40)}
    assert drawn == {tuple(part) for part in law.family(10)}


def test_one_workers_share_of_a_permutation_is_no_others():
    assert np.array_equal(sum(diagonal("permk", 10, 3, w) for w in range(WORKERS)), np.full(10, float(WORKERS)))


@SIZES
@pytest.mark.parametrize("shift", ["zero", "start"])
@pytest.mark.parametrize("text", LAWS)
def test_the_path_is_that_of_plain_numpy(worlds, text, shift):
    """x - gamma sum_w share_w S_w grad f_w(v + S_w (x - v)), and what is sent are the entries that are seen."""
    data, gamma, n = Shared(workers=WORKERS, rows=43, size=3, l2=0.1), 0.02, 6
    x, v = data.start.copy(), data.start * (shift == "start")
    expected, seen = [x], 0
    for k in range(n):
        s = [diagonal(text, x.size, k, w) for w in range(WORKERS)]
        seen += np.count_nonzero(s)
        x = x - gamma * data.mean([s[w] * data.gradient(w, v + s[w] * (x - v), k) for w in range(WORKERS)])
        expected.append(x)
    world = worlds(workers=WORKERS)
    method = mast(sgd(gamma), text, shift)
    *_, end = islice(rounds(method, team := data.team(world), data.start.copy()), n + 1)
    np.testing.assert_allclose(method.answer(end, team).x, expected[-1], rtol=0, atol=1e-12)
    sent = sum(world.tell_all(world.tally.bytes))
    assert 0 <= sent - 8 * (seen + WORKERS * n) <= 8 * 20  # besides the running losses, and what is told at the start


@SIZES
def test_the_path_with_an_anchor_is_that_of_plain_numpy(worlds):
    data, gamma, n, p, parts = Shared(workers=WORKERS, rows=43, size=3, l2=0.1), 0.01, 12, 0.3, 3
    family = [3.0 * np.isin(np.arange(5), part) for part in Parts(parts).family(5)]
    whole = Shared(workers=WORKERS, rows=43, size=None, l2=0.1)
    x, streams, expected, heads = data.start.copy(), Streams(SEED), [data.start], 0
    for k in range(n):
        if k == 0 or streams("refresh", k).random() < p:
            anchor, heads = x, heads + 1
            agreed = h = data.mean([sum(s * whole.gradient(w, s * x) for s in family) / parts for w in range(WORKERS)])
        else:
            s = [diagonal(f"parts:{parts}", 5, k, w) for w in range(WORKERS)]
            change = [s[w] * (data.gradient(w, s[w] * x, k) - data.gradient(w, s[w] * anchor, k)) for w in range(WORKERS)]
            agreed = h + data.mean(change)
        x = x - gamma * agreed
        expected.append(x)
    assert 1 < heads < n
    found = path(mast_vr(sgd(gamma), parts, p), data.team(worlds(workers=WORKERS)), data.start, n)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------------------- quadratics
def sketched_normal(h: np.ndarray, b: np.ndarray, gain: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """E S H S and E S b for k of d coordinates at random."""
    d = len(b)
    both = gain**2 * k * (k - 1) / (d * (d - 1))
    return both * h + (gain - both) * np.diag(np.diag(h)), b


class Bowls:
    """One worker's quadratic in ten dimensions and its mean over masks of 5 coordinates."""

    def __init__(self, d: int = 10, k: int = 5):
        rng = np.random.default_rng(4)
        self.loss = bowl(np.geomspace(1, 20, d), rotation(rng, d), rng.standard_normal(d))
        self.h, self.b = normal([self.loss])
        self.gain = d / k
        self.hd, self.bd = sketched_normal(self.h, self.b, self.gain, k)
        self.goal = np.linalg.solve(self.hd, self.bd)
        self.apart = 0.5 * (self.b @ np.linalg.solve(self.h, self.b) - self.bd @ self.goal)

    def team(self, world, seed: int = 0) -> Team:
        return Team.of(world, [self.loss for _ in world.hosted], Zero(), seed)


def test_the_mean_over_masks_is_as_smooth_and_as_convex_as_said():
    bowls, of, on = (b := Bowls()), np.linalg.eigvalsh(b.h), np.linalg.eigvalsh(b.hd)
    assert bowls.gain * of[0] <= on[0] and on[-1] <= bowls.gain * of[-1]  # mu_D mu and L_D L


def test_mast_stays_within_the_bound_of_theory(worlds):
    """E |x - x*|^2 <= (1 - gamma mu_D mu)^t |x_0 - x*|^2 + 2 gamma L L_S (least of f_D - least of f) / (mu_D mu)."""
    bowls, runs = Bowls(), 25
    gamma = theory.mast(theory.Constants(20.0, 20.0, 20.0, 1.0, 1), bowls.gain)
    found = []
    for seed in range(runs):
        team = bowls.team(worlds(workers=1), seed)
        found.append(((path(mast(sgd(gamma), "randk:k=5"), team, np.zeros(10), 40) - bowls.goal) ** 2).sum(axis=1))
    mean = np.mean(found, axis=0)
    bound = (1 - gamma * bowls.gain) ** np.arange(41) * mean[0] + theory.mast_floor(gamma, 1.0, 20.0, bowls.gain, bowls.apart)
    assert (mean <= bound).all() and mean[-1] < mean[0]


def test_with_an_anchor_no_neighbourhood_is_left(worlds):
    """To the least point of the mean over masks and workers, at no less than the rate of theory; MAST hovers about it."""
    rng, d, gain, n = np.random.default_rng(4), 10, 2.0, 700
    losses = [bowl(np.geomspace(1, 4, d), rotation(rng, d), rng.standard_normal(d)) for _ in range(2)]
    s = [gain * np.isin(np.arange(d), part) for part in Parts(2).family(d)]
    h, b = normal(losses)
    goal = np.linalg.solve(np.mean([np.outer(one, one) * h for one in s], axis=0), b)
    team = Team.of(worlds(workers=2), losses, Zero(), 0)
    step = theory.mast_vr(theory.Constants(4.0, 4.0, 4.0, 1.0, 2), gain)
    ends = [path(method, team, np.zeros(d), n)[-1] for method in (mast_vr(sgd(step), 2), mast(sgd(step), "parts:2"))]
    exact, plain = (float(((x - goal) ** 2).sum() / (goal**2).sum()) for x in ends)
    assert exact < max(1 - step * gain, 3 / 4) ** n and plain > 1e-4


@SIZES
def test_subnetworks_of_quadratics_end_at_their_own_fixed_point(worlds):
    """Perm-1 with sketches scaled by D_w^-1/2: E x goes to mean_w D_w^-1/2 b_w / sqrt n, not to the least point.

    Shulgin, Richtarik, Towards a better theoretical understanding of independent subnetwork training, 2023, section 5.3.
    """
    n = d = 4
    rng = np.random.default_rng(1)
    rows, planted = [rng.standard_normal((400, d)) for _ in range(n)], rng.standard_normal(d)
    raw = [(a, a @ (planted + 0.02 * rng.standard_normal(d))) for a in rows]
    losses = [regression(*one) for one in raw]
    pairs = [normal([loss]) for loss in losses]
    scaled = [1 / np.sqrt(n * np.diag(h)) for h, _ in pairs]
    world = worlds(workers=n, deterministic=True)
    team = Team.of(world, [regression(raw[w][0] * scaled[w], raw[w][1]) for w in world.hosted], Zero(), SEED)
    found = path(mast(sgd(0.1), "permk"), team, np.zeros(d), 500)
    goal = np.mean([root * b for root, (_, b) in zip(scaled, pairs, strict=True)], axis=0)
    least = np.linalg.solve(np.mean([h for h, _ in pairs], axis=0), np.mean([b for _, b in pairs], axis=0))
    size = float(np.linalg.norm(goal))
    assert np.linalg.norm(found[100:].mean(axis=0) - goal) < 0.01 * size
    assert np.linalg.norm(least - goal) > 0.3 * np.linalg.norm(least)


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mast(sgd(0.1), "topk:0.1"), "there is no sketch 'topk': choose one of randk, block, permk, bernoulli, parts"),
        (lambda: mast(sgd(0.1), "randk:0.1,scaled=no"), "the sketch is randk:0.1,scaled=no: give one with E S = I"),
        (lambda: mast(sgd(0.1), "bernoulli:0"), "the probability of a coordinate is 0.0: give one above 0, up to 1"),
        (lambda: mast(sgd(0.1), shift="x"), "`shift` is x: give zero or start"),
        (lambda: mast_vr(sgd(0.1), parts=0), "the number of parts is 0: give at least 1"),
        (lambda: Coin(0.0), "the probability of a refresh is 0.0: give a number above 0, at most 1"),
    ],
)
def test_what_is_no_sketch_is_refused(make, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        make()


def test_more_parts_than_coordinates_are_refused(worlds):
    data = Shared(workers=2)
    with pytest.raises(UsageError, match="the number of parts is 9: give at most the 5 coordinates that there are"):
        next(rounds(mast_vr(sgd(0.1), 9), data.team(worlds(workers=2)), data.start))
