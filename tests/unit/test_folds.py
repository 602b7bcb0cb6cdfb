"""Folds and the choice by them: alike for any workers, classes in equal parts, groups whole."""

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.paths.choice import chosen
from mpiopt.paths.folds import folds, without_fold
from mpiopt.paths.lambdas import lambdas, steepest
from mpiopt.problems.penalties import L1, L2
from tests.problem_sets import Data, balanced


def test_folds_do_not_depend_on_the_workers(worlds):
    data = Data(rows=103)
    made = [np.concatenate(folds(data.team(worlds(workers=workers), L2(0.1)), 5)) for workers in (1, 4)]
    np.testing.assert_array_equal(*made)
    for label in (1, -1):
        sizes = np.bincount(made[0][data.y == label], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert not np.array_equal(made[0], np.arange(103) % 5)


def test_groups_are_whole(worlds):
    data, world, groups = Data(), worlds(workers=3), np.arange(120) // 7.0
    cuts = balanced(data.a.indptr, 3)
    team = data.team(world, L2(0.1))
    made = np.concatenate(folds(team, 4, [groups[cuts[w] : cuts[w + 1]] for w in world.hosted]))
    assert all(len(set(made[groups == one])) == 1 for one in np.unique(groups)) and set(made) == set(range(4))
    with pytest.raises(UsageError, match="19 folds cannot be made of 18 groups"):
        folds(team, 19, [groups[cuts[w] : cuts[w + 1]] for w in world.hosted])


def test_without_a_fold_is_the_problem_of_the_other_rows(worlds):
    data, world = Data(weighted=True), worlds(workers=1)
    team = data.team(world, L2(0.1))
    of = folds(team, 3)
    part, x = without_fold(team, of, 1), np.random.default_rng(0).standard_normal(15)
    kept = team.sites[0].loss.take(np.flatnonzero(of[0] != 1))
    assert part.sites[0].loss.value(part.sites[0].loss.point(x)) == pytest.approx(kept.value(kept.point(x)), rel=1e-13)
    assert part.weight == data.w[of[0] != 1].sum()


def test_the_rarest_class_has_to_go_round(worlds):
    data = Data()
    data.y[:] = 1
    data.y[:3] = -1
    with pytest.raises(UsageError, match="4 folds cannot be made of 3 rows of the class -1"):
        folds(data.team(worlds(workers=2), L2(0.1)), 4)


@pytest.mark.parametrize("intercept", [False, True])
def test_the_steepest_l1_is_the_least_that_leaves_nothing(worlds, intercept):
    from mpiopt.engine.drive import solve
    from mpiopt.engine.stop import Stop
    from mpiopt.methods import find

    data, world = Data(intercept=intercept), worlds(workers=2)
    largest = steepest(data.team(world, L2(0.0, free=int(intercept))))
    for factor, left in ((1.001, 0), (0.99, 1)):
        team = data.team(world, L1(factor * largest, free=int(intercept)))
        x = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=20, gap=1e-12)).x
        assert np.count_nonzero(x[:15]) == left


def test_choices():
    losses = np.array([[0.9, 1.1], [0.5, 0.7], [0.49, 0.69], [0.2, 1.2]])
    assert chosen(losses, None, np.zeros(4), "loss") == 2
    assert chosen(losses, None, np.zeros(4), "1se") == 1
    assert chosen(losses, None, np.array([0, 0, 1, 1]), "1se") == 2
    assert chosen(losses, np.array([[0.5], [0.7], [0.7], [0.6]]), np.zeros(4), "auc") == 1


def test_penalties_are_read():
    assert lambdas("1,0.1").values == (1.0, 0.1)
    found = lambdas("max:0.01:3")
    assert found.relative and found.values == pytest.approx((1, 0.1, 0.01)) and found.values[-1] == 0.01
