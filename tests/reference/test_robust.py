"""Middles that a few wild vectors cannot lead away, and training beside faulty workers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.methods.averaging import sgd as mean_sgd
from mpiopt.methods.robust import robust_sgd
from mpiopt.numerics.robust import MIDDLES, middle
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.transforms.rules import sgd
from tests.training_sets import SEED, Shared, path

WORKERS, N = 5, 40


def whole(squares):
    return np.sqrt(squares)


@given(st.integers(3, 9), st.integers(0, 9), st.floats(-1e30, 1e30))
def test_fewer_than_half_lead_no_coordinate_beyond_the_others(n, seed, wild):
    rng = np.random.default_rng(seed)
    honest, faulty = rng.standard_normal((n, 4)), np.full(((n - 1) // 2, 4), wild)
    rows = rng.permutation(np.concatenate([honest, faulty]))
    share = len(faulty) / len(rows)
    for text in ("median", f"trimmed:{share}"):
        found = middle(text)(rows, np.zeros(4), whole)
        assert (honest.min(axis=0) - 1e-12 <= found).all() and (found <= honest.max(axis=0) + 1e-12).all(), text


@given(st.integers(0, 99), st.floats(0.1, 10))
def test_a_clipped_step_is_no_longer_than_its_radius_and_exact_where_nothing_is_cut(seed, radius):
    rows = np.random.default_rng(seed).standard_normal((6, 3)) * 10.0 ** np.arange(-2, 4)[:, None]
    for times in (1, 2):
        found = middle(f"clipped:radius={radius},times={times}")(rows, np.ones(3), whole)
        assert np.linalg.norm(found - 1) <= times * radius * (1 + 1e-12)
    np.testing.assert_allclose(
        middle("clipped:radius=1e9,times=1")(rows, np.ones(3), whole), rows.mean(axis=0), rtol=1e-9, atol=1e-9
    )


def plain(data: Shared, text: str) -> np.ndarray:
    x, last, out, rule = data.start, np.zeros(5), [data.start], middle(text)
    for k in range(6):
        last = rule(np.array([data.gradient(w, x, k) for w in range(WORKERS)]), last, whole)
        x = x - 0.05 * last
        out.append(x)
    return np.array(out)


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("text", [*MIDDLES, "trimmed:0.4", "clipped:radius=0.3,times=2"])
def test_the_path_is_that_of_plain_numpy(worlds, text):
    data = Shared(workers=WORKERS, rows=43)
    found = path(robust_sgd(sgd(0.05), text), data.team(worlds(workers=WORKERS)), data.start, 6)
    np.testing.assert_allclose(found, plain(data, text), rtol=0, atol=1e-12)


class Faulty:
    """A loss whose gradients point the wrong way, and far."""

    def __init__(self, loss, factor: float) -> None:
        self.loss, self.factor = loss, factor

    def value_grad(self, at, rows=None):
        value, g = self.loss.value_grad(at) if rows is None else self.loss.value_grad(at, rows)
        return value, self.factor * g

    def __getattr__(self, name):
        return getattr(self.loss, name)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("factor", [-100.0, np.inf])
def test_beside_faulty_workers_it_goes_where_the_others_lead(worlds, factor):
    data, world = Shared(workers=WORKERS, rows=400, size=None, apart=0.0), worlds(workers=WORKERS)
    losses = [Faulty(data.linear(w), factor) if w in (1, 4) else data.linear(w) for w in world.hosted]
    team, goal = Team.of(world, losses, L2(0.0), SEED), data.optimum()

    def far(method) -> float:
        with np.errstate(all="ignore"):
            end = path(method, team, data.start, N)[-1]
        return float(np.linalg.norm(end - goal) / np.linalg.norm(data.start - goal))

    assert far(robust_sgd(sgd(0.3))) < 0.1 and far(robust_sgd(sgd(0.3), "trimmed:0.4")) < 0.1
    assert far(robust_sgd(sgd(0.3), "clipped:radius=0.3")) < 0.8
    assert not far(mean_sgd(sgd(0.3))) < 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mean", "there is no middle 'mean': choose one of median, trimmed, clipped"),
        ("trimmed:0.5", "the share that is trimmed at either end is 0.5: give one of at least 0 and below 0.5"),
        ("clipped:radius=0", "clipping to 0, 3 times, is not possible: give a radius above 0"),
    ],
)
def test_what_is_no_middle_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        robust_sgd(sgd(0.1), text)
