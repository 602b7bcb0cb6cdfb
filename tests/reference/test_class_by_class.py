"""One against the rest, class by class: the minima of the single problems, in the messages of the slowest of them."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.losses.logistic import Logistic
from mpiopt.losses.squared_hinge import SquaredHinge
from mpiopt.methods import class_copies, find
from mpiopt.methods.class_by_class import ClassByClass
from mpiopt.numerics.krylov_many import columns
from mpiopt.numerics.newton import newton
from mpiopt.numerics.newton_many import minima
from mpiopt.problems import reduced as reduction
from mpiopt.problems.one_against_rest import OneAgainstRest
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.problems.rows_by_class import RowsByClass
from mpiopt.work.class_models import ClassModel
from mpiopt.work.local_solvers import Auto, DualDescent, NewtonCG

CLASSES, FEATURES, ROWS = 5, 12, 160
DUAL = Auto(DualDescent(0.01, 8), NewtonCG(0.1), features=0)


def rows(weighted: bool = True, seed: int = 0):
    """Rows of some of which two classes are hard and three are easy, and one feature that few hold."""
    rng = np.random.default_rng(seed)
    a = scipy.sparse.random(ROWS, FEATURES, 0.4, "csr", rng=rng, data_rvs=rng.standard_normal)
    y = (a @ (rng.standard_normal((FEATURES, CLASSES)) * [3, 3, 1, 1, 0.1]) + rng.gumbel(size=(ROWS, CLASSES))).argmax(1)
    return a, y.astype(np.int64), rng.integers(0, 4, ROWS).astype(float) if weighted else np.empty(0)


def team(world: World, l2: float, intercept: bool, family=None, weighted: bool = True) -> Team[OneAgainstRest]:
    a, y, w = rows(weighted)
    bounds, losses = even(ROWS, world.workers), []
    for k in world.hosted:
        cut = slice(bounds[k], bounds[k + 1])
        matrix = CSR.of(a[cut].indptr, a[cut].indices, a[cut].data, a[cut].shape)
        losses.append(OneAgainstRest(matrix, y[cut], CLASSES, w[cut] if w.size else w, intercept, family=family or Logistic()))
    return Team.of(world, losses, L2(l2, free=CLASSES * intercept))


def single(whole: Team[OneAgainstRest], k: int, l2: float) -> Team:
    losses = [site.loss.single(k) for site in whole.sites]
    return Team.of(whole.world, losses, L2(l2, free=int(losses[0].intercept)))


@pytest.mark.ranks(3)
@pytest.mark.parametrize("solver", [None, ClassByClass(DUAL), ClassByClass(DUAL, DualDescent(1e-12, 200))])
@pytest.mark.parametrize(("intercept", "family"), [(False, Logistic()), (True, Logistic()), (True, SquaredHinge())])
def test_minima_are_those_of_the_single_problems(world, solver, intercept, family, monkeypatch):
    monkeypatch.setattr(class_copies, "worth_copies", lambda *about: True)
    method = find("spcg").make(replicate="never") if solver is None else solver
    found = solve(method, whole := team(world, 1e-2, intercept, family), whole.zeros(), Stop(rounds=100, gradient=1e-11))
    assert found.reason is Reason.GRADIENT, found.reason_text
    assert solver is None or solver.whole is None or found.final.round <= 8
    if solver is None:
        assert taken_by(found.run).form == "classes"
    for k, x in enumerate(found.x.reshape(-1, CLASSES).T):
        one = single(whole, k, 1e-2)
        alone = solve(find("newton").make(), one, one.zeros(), Stop(rounds=60, gradient=1e-11))
        np.testing.assert_allclose(x, alone.x, atol=1e-8)


@pytest.mark.ranks(2)
def test_messages_are_those_of_the_slowest_class(world):
    whole = team(world, 1e-4, False)
    before = world.tally.messages, world.tally.bytes
    solve(find("spcg").make(), whole, whole.zeros(), Stop(rounds=100, gap=1e-8 * CLASSES))
    together = world.tally.messages - before[0]
    messages = []
    for k in range(CLASSES):
        one, before = single(whole, k, 1e-4), (world.tally.messages, world.tally.bytes)
        solve(find("spcg").make(form="counts"), one, one.zeros(), Stop(rounds=100, gap=1e-8))
        messages.append(world.tally.messages - before[0])
    assert together <= 1.6 * max(messages) < 0.6 * sum(messages)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(1, CLASSES))
def test_epochs_keep_the_image_and_raise_the_dual(seed, intercept, weighted, count):
    """z stays the image of the dual variables, and no class's dual objective falls."""
    rng, (a, y, w) = np.random.default_rng(seed), rows(weighted, seed)
    matrix = CSR.of(a.indptr, a.indices, a.data, a.shape)
    loss = OneAgainstRest(matrix, y, CLASSES, w, intercept)
    plain, which = RowsByClass(loss, matrix), np.sort(rng.choice(CLASSES, count, replace=False))
    model = ClassModel(plain, plain, np.empty(0), np.empty(0), 0.1, DualDescent(1e-9, 30))
    margins, alpha = rng.standard_normal((count, ROWS)), rng.uniform(0.1, 0.9, (ROWS, count))
    pull = rng.standard_normal((plain.lines, count))
    slopes, before = plain.slopes(which, margins)[1], alpha.copy()
    step = model(which, pull, margins, alpha, 1)
    ridge = np.append(np.full(FEATURES, 0.1), [DualDescent.floor] * intercept)[:, None]

    def image(duals):
        signed = plain.signs[which] * duals.T
        return (plain.combined(slopes + (signed * w if w.size else signed)) - pull) / ridge

    np.testing.assert_allclose(step, image(alpha), atol=1e-9)
    assert (alpha >= 0).all() and (alpha <= 1).all() and not (alpha == before).all()
    seen = margins + (a @ step[:FEATURES] + (step[-1] if intercept else 0)).T  # at the optimum alpha fits the margins
    wanted = 1 / (1 + np.exp(plain.signs[which] * seen))
    np.testing.assert_allclose(alpha.T[:, w > 0] if w.size else alpha.T, wanted[:, w > 0] if w.size else wanted, atol=1e-4)


@pytest.mark.ranks(1, 2)
def test_it_runs_in_fewer_coordinates(world, monkeypatch):
    """Features of one row are merged for all classes alike."""
    monkeypatch.setattr(reduction, "MANY", 0)
    a, y, w = rows()
    wide = scipy.sparse.hstack([a, scipy.sparse.identity(ROWS)]).tocsr()
    bounds, losses = even(ROWS, world.workers), []
    for k in world.hosted:
        cut = slice(bounds[k], bounds[k + 1])
        part = wide[cut]
        losses.append(OneAgainstRest(CSR.of(part.indptr, part.indices, part.data, part.shape), y[cut], CLASSES, w[cut], True))
    whole = Team.of(world, losses, L2(1e-2, free=CLASSES))
    found = solve(find("spcg").make(), whole, whole.zeros(), Stop(rounds=100, gradient=1e-10))
    plain = solve(ClassByClass(DUAL), whole, whole.zeros(), Stop(rounds=100, gradient=1e-10))
    assert found.reason is Reason.GRADIENT and found.run.points[0].x.size <= plain.x.size
    np.testing.assert_allclose(found.x, plain.x, atol=1e-7)
    small = reduction.reduced(whole)
    assert small is not None
    np.testing.assert_allclose(small.outward(small.inward(found.x)), found.x, atol=1e-7)


def test_the_form_is_for_such_losses_alone(worlds):
    with pytest.raises(UsageError, match="the form classes of spcg has no `mu`"):
        find("spcg").make(form="classes", mu=0.1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_columns_solve_each_system(seed):
    rng = np.random.default_rng(seed)
    n, k = rng.integers(1, 12), rng.integers(1, 5)
    roots = rng.standard_normal((k, n, n))
    h = np.einsum("kij,klj->kil", roots, roots) + np.eye(n) * 10.0 ** rng.integers(-1, 3, (k, 1, 1))
    b = rng.standard_normal((n, k)) * (np.arange(k) != 1)
    inverse = 1 / np.einsum("kii->ik", h)
    x = columns(lambda which, p: np.einsum("kij,jk->ik", h[which], p), b, inverse, 1e-10, 500)
    np.testing.assert_allclose(x, np.linalg.solve(h, b.T[:, :, None])[:, :, 0].T, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_minima_are_those_that_newton_finds_of_each(seed):
    rng, n, k = np.random.default_rng(seed), 4, 2
    p, m = rng.standard_normal((n, k, 30)) * 10.0 ** rng.integers(-2, 2, (n, 1, 1)), 3 * rng.standard_normal((n, 30))

    def one(i, c):
        t = m[i] + c @ p[i]
        s = 1 / (1 + np.exp(-t))
        value = np.logaddexp(0, t).sum() + 0.5 * c @ c
        return value, p[i] @ s + c, (p[i] * (s * (1 - s))) @ p[i].T + np.eye(k)

    def evaluate(which, c):
        return tuple(np.array(each) for each in zip(*(one(i, at) for i, at in zip(which, c, strict=True)), strict=True))

    start = np.tile(np.eye(k)[0], (n, 1))
    found, values = minima(evaluate, start)
    for i in range(n):
        alone = newton(lambda c, i=i: one(i, c), np.eye(k)[0])
        np.testing.assert_allclose(found[i], alone, rtol=1e-10, atol=1e-12)
        assert values[i] == one(i, found[i])[0] <= one(i, np.zeros(k))[0]
