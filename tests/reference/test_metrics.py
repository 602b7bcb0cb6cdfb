"""Figures of predictions against scikit-learn's, rows dealt to ranks in any way, and laws that they obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.comm.world import World
from mpiopt.losses.registry import find
from mpiopt.metrics.figures import Rows, calibration, figures, of_classes, ranked
from mpiopt.metrics.ranking import Ranking


def share(world: World, how: str, *columns):
    """This rank's part of the rows; sorted by the first column where asked, which leaves ranks with one class."""
    size = len(columns[0])
    if how == "lopsided":  # the last rank has nearly all, the first has none
        cuts = [0, 0, *[min(size, 2 * r) for r in range(1, world.size - 1)], size][-world.size - 1 :]
        cuts[0] = 0
        mine = slice(cuts[world.rank], cuts[world.rank + 1])
    else:
        mine = slice(size * world.rank // world.size, size * (world.rank + 1) // world.size)
    order = np.argsort(columns[0], kind="stable") if how == "sorted" else np.arange(size)
    return [column[order][mine] for column in columns]


def told(world: World, expected):
    """What a peer finds, on every rank: one of them imports it."""
    with world.together("asking a peer"):
        found = expected() if world.rank == 0 else None
    return world.tell(found)


def scored(kind: str, seed: int = 0, rows: int = 603):
    """Margins, labels and weights of some rows."""
    rng = np.random.default_rng(seed)
    m = rng.normal(size=rows)
    y = np.where(rng.random(rows) < 1 / (1 + np.exp(0.5 - m)), 1.0, -1.0)
    weights = rng.exponential(size=rows)
    if kind == "ties":
        m = np.round(2 * m) / 2
    elif kind == "constant":
        m[:] = 0.25
    elif kind == "rare":
        y = np.where(np.arange(rows) == rows // 3, 1.0, -1.0)
    elif kind == "huge":
        m *= 1e300
    return m, y, weights


def peer_of_classes(m, y, given):
    """scikit-learn's figures of classes."""
    from sklearn import metrics

    chance, said = 1 / (1 + np.exp(-m)), np.where(m > 0, 1, -1)
    null = np.full(m.size, np.average(y > 0, weights=given))
    found = {
        "roc_auc": metrics.roc_auc_score(y, m, sample_weight=given),
        "average_precision": metrics.average_precision_score(y, m, sample_weight=given),
        "accuracy": metrics.accuracy_score(y, said, sample_weight=given),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, said, sample_weight=given),
        "precision": metrics.precision_score(y, said, sample_weight=given, zero_division=np.nan),
        "recall": metrics.recall_score(y, said, sample_weight=given),
        "f1": metrics.f1_score(y, said, sample_weight=given),
        "log_loss": metrics.log_loss(y, chance, sample_weight=given),
        "brier": metrics.brier_score_loss(y, chance, sample_weight=given),
        "pseudo_r2": 1 - metrics.log_loss(y, chance, sample_weight=given) / metrics.log_loss(y, null, sample_weight=given),
    }
    found["mean_loss"] = found["log_loss"]
    found["deviance"] = 2 * found["log_loss"] * (m.size if given is None else given.sum())
    return found


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("how", ["even", "sorted", "lopsided"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["random", "ties", "constant", "rare"])
def test_figures_of_classes_are_those_of_scikit_learn(world, kind, weighted, how):
    compare_classes(world, kind, weighted, how)


@pytest.mark.study  # seven processes for one test
@pytest.mark.ranks(7)
def test_many_ranks_find_them_too(world):
    for how in ("sorted", "lopsided"):
        compare_classes(world, "ties", True, how)


def compare_classes(world, kind, weighted, how):
    m, y, w = scored(kind)
    found = figures(world, find("logistic"), Rows(*share(world, how, m, y, *[w] * weighted)))
    expected = told(world, lambda: peer_of_classes(m, y, w if weighted else None))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True), name


def peer_of_numbers(loss, m, y, given):
    """scikit-learn's figures of numbers."""
    from sklearn import metrics

    mean = np.exp(m) if loss == "poisson" else m
    power = 1 if loss == "poisson" else 0
    found = {
        "rmse": metrics.root_mean_squared_error(y, mean, sample_weight=given),
        "mae": metrics.mean_absolute_error(y, mean, sample_weight=given),
        "r2": metrics.r2_score(y, mean, sample_weight=given),
    }
    if loss != "huber":
        total = m.size if given is None else given.sum()
        found["deviance"] = total * metrics.mean_tweedie_deviance(y, mean, sample_weight=given, power=power)
        found["pseudo_r2"] = metrics.d2_tweedie_score(y, mean, sample_weight=given, power=power)
    return found


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["least_squares", "poisson", "huber"])
def test_figures_of_numbers_are_those_of_scikit_learn(world, loss, weighted):
    m, _, w = scored("random")
    rng = np.random.default_rng(1)
    y = rng.poisson(np.exp(m)).astype(float) if loss == "poisson" else m + rng.normal(size=m.size)
    found = figures(world, find(loss), Rows(*share(world, "even", m, y, *[w] * weighted)))
    expected = told(world, lambda: peer_of_numbers(loss, m, y, w if weighted else None))
    assert found.keys() == expected.keys() | {"mean_loss"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def peer_of_calibration(up, chance):
    from sklearn.calibration import calibration_curve

    return calibration_curve(up, chance, n_bins=10)


@pytest.mark.ranks(1, 2, 3)
def test_calibration_is_scikit_learns(world):
    m, y, _ = scored("random")
    found = calibration(world, find("logistic"), Rows(*share(world, "lopsided", m, y)))
    shares, chances = told(world, lambda: peer_of_calibration(y > 0, 1 / (1 + np.exp(-m))))
    full = found[:, 0] > 0
    assert found[:, 0].sum() == m.size
    np.testing.assert_allclose(found[full][:, 1:].T, [chances, shares], rtol=1e-12)


def peer_of_curve(y, m, given):
    from sklearn.metrics import roc_curve

    return roc_curve(y, m, sample_weight=given, drop_intermediate=False)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_curve_passes_through_points_of_scikit_learns(world, weighted):
    m, y, w = scored("ties")
    mine = share(world, "even", m, y, w)
    curve = Ranking.of(world, mine[0], mine[1] > 0, mine[2] if weighted else None).curve(world, 20)
    false, true, _ = told(world, lambda: peer_of_curve(y, m, w if weighted else None))
    assert len(curve) >= 10 and (np.diff(curve, axis=0) >= 0).all()
    whole = np.stack([true, false], axis=1)
    for point in curve / curve[-1]:
        assert abs(whole - point).max(axis=1).min() < 1e-12


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("loss", ["logistic", "least_squares", "poisson", "squared_hinge"])
@pytest.mark.parametrize("label", [None, 1.0])
def test_nothing_and_one_class_have_figures_that_are_not_defined(world, loss, label):
    size = 0 if label is None else 4
    found = figures(world, find(loss), Rows(np.linspace(-1, 1, size), np.full(size, label or 0.0)))
    undefined = {name for name, value in found.items() if np.isnan(value)}
    if label is None:
        assert undefined == found.keys() - {"deviance"}
    else:
        assert undefined <= {"roc_auc", "pseudo_r2", "r2"} and found["mean_loss"] > 0


@pytest.mark.ranks(1, 2)
def test_margins_beyond_all_bounds_have_figures(world):
    m, y, _ = scored("huge")
    found = figures(world, find("logistic"), Rows(*share(world, "even", m, y)))
    assert np.isfinite([found[name] for name in ("roc_auc", "log_loss", "brier", "deviance")]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_area_is_the_chance_of_the_right_order(rows):
    """Over all pairs of a row of class +1 and another, weighted, ties counting half; a row of weight 2 is two rows."""
    world = World()
    score, up, weight = (np.array(column) for column in zip(*rows, strict=True))
    pairs = weight[up][:, None] * weight[~up]
    order = score[up][:, None] - score[~up]
    expected = (pairs * ((order > 0) + 0.5 * (order == 0))).sum() / pairs.sum() if pairs.sum() else np.nan
    found = Ranking.of(world, score, up, weight).areas(world)
    again = Ranking.of(world, np.repeat(score, weight), np.repeat(up, weight)).areas(world)
    np.testing.assert_allclose(found[0], expected, rtol=1e-13)
    np.testing.assert_allclose(found, again, rtol=1e-13)


def test_a_ranking_that_is_there_is_used(world, monkeypatch):
    rows = Rows(*scored("ties"))
    ranking, wanted = ranked(world, rows), figures(world, find("logistic"), rows)
    monkeypatch.setattr(Ranking, "of", None)
    assert figures(world, find("logistic"), rows, ranking) == wanted


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("few", [0, 1000])
def test_sets_of_rows_beside_each_other_have_the_figures_of_each(world, weighted, few, monkeypatch):
    monkeypatch.setattr("mpiopt.metrics.figures.FEW", few)
    family, sets = find("logistic"), []
    for seed, kind in enumerate(("ties", "normal", "rare", "one class", "none")):
        m, y, w = scored(kind, seed, rows=0 if kind == "none" else 603)
        columns = m, np.ones_like(y) if kind == "one class" else y, w
        found = share(world, "lopsided" if kind == "rare" else "even", *columns)
        sets.append(Rows(*(found if weighted else found[:2])))
    with np.errstate(invalid="ignore"):
        expected = [[figures(world, family, rows)[name] for name in ("mean_loss", "roc_auc", "accuracy")] for rows in sets]
    np.testing.assert_allclose(of_classes(world, family, sets), expected, rtol=1e-13)
