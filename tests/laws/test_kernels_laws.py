"""Laws of the kernels: adjointness, agreement with scipy, derivatives, and the monotone dual objective."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, special

from mpiopt.errors import UsageError
from mpiopt.kernels import host
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic

few = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(0, 40), st.integers(1, 300))
precisions = st.sampled_from([np.float32, np.float64])


def matrices(seed, shape, density, dtype):
    rng = np.random.default_rng(seed)
    matrix = sparse.random(*shape, density, "csr", dtype, rng)
    return rng, CSR.of(matrix.indptr, matrix.indices, matrix.data, matrix.shape), matrix.astype(np.float64)


@few
@given(seeds, shapes, st.floats(0, 1), precisions)
def test_products_equal_scipys(seed, shape, density, dtype):
    rng, ours, theirs = matrices(seed, shape, density, dtype)
    x, r, h = rng.normal(size=shape[1]), rng.normal(size=shape[0]), rng.random(shape[0])
    np.testing.assert_allclose(ours.dot(x), theirs @ x, atol=1e-12)
    np.testing.assert_allclose(ours.tdot(r), theirs.T @ r, atol=1e-12)
    np.testing.assert_allclose(ours.hvp(h, x), theirs.T @ (h * (theirs @ x)), atol=1e-10)
    squared = theirs.multiply(theirs)
    np.testing.assert_allclose(ours.squares(h), squared.T @ h, atol=1e-12)
    np.testing.assert_allclose(ours.squares(), squared.T @ np.ones(shape[0]), atol=1e-12)
    np.testing.assert_allclose(ours.row_squares(), squared @ np.ones(shape[1]), atol=1e-12)
    whole = (theirs.T @ theirs.multiply(h[:, None])).toarray()
    np.testing.assert_allclose(ours.gram(h), whole[np.triu_indices(shape[1])], atol=1e-12)


@few
@given(seeds, shapes, st.floats(0, 1), precisions)
def test_a_gram_matrix_is_the_same_in_whatever_order_a_row_has_its_columns(seed, shape, density, dtype):
    """As in rows in fewer coordinates."""
    rng, ours, _ = matrices(seed, shape, density, dtype)
    h, order = rng.random(shape[0]), np.arange(ours.nnz)
    for lo, hi in zip(ours.indptr[:-1], ours.indptr[1:], strict=True):
        rng.shuffle(order[lo:hi])
    mixed = CSR.of(ours.indptr, ours.indices[: ours.nnz][order], ours.data[: ours.nnz][order], shape)
    np.testing.assert_allclose(mixed.gram(h), ours.gram(h), atol=1e-12)


@few
@given(seeds, shapes, st.floats(0, 1), precisions, st.integers(1, 12))
def test_products_of_several_vectors_are_those_of_each(seed, shape, density, dtype, count):
    rng, ours, _ = matrices(seed, shape, density, dtype)
    x, r, h = (rng.normal(size=(size, count)) for size in (shape[1], shape[0], shape[0]))

    def each(product, columns):
        return np.stack([product(np.ascontiguousarray(column)) for column in columns.T], axis=1)

    np.testing.assert_allclose(ours.dot_many(x), each(ours.dot, x), atol=1e-12)
    np.testing.assert_allclose(ours.tdot_many(r), each(ours.tdot, r), atol=1e-12)
    np.testing.assert_allclose(ours.squares_many(h), each(ours.squares, h), atol=1e-12)
    for product, wrong in ((ours.dot_many, x[:-1]), (ours.tdot_many, r[:, 0]), (ours.dot, x)):
        with pytest.raises(UsageError, match="they must be"):
            product(wrong)


@few
@given(seeds, shapes, st.floats(0, 1), precisions, st.data())
def test_adjointness_on_slices(seed, shape, density, dtype, data):
    rng, ours, _ = matrices(seed, shape, density, dtype)
    lo = data.draw(st.integers(0, shape[0]))
    part = ours.rows_slice(lo, data.draw(st.integers(lo, shape[0])))
    x, r = rng.normal(size=shape[1]), rng.normal(size=part.shape[0])
    np.testing.assert_allclose(part.dot(x) @ r, x @ part.tdot(r), rtol=1e-10, atol=1e-10)


@few
@given(seeds, shapes, st.integers(0, 30))
def test_rows_sum_to_the_whole(seed, shape, cut):
    rng, ours, _ = matrices(seed, shape, 0.1, np.float32)
    cut, r = min(cut, shape[0]), rng.normal(size=shape[0])
    parts = ours.rows_slice(0, cut).tdot(r[:cut]) + ours.rows_slice(cut, shape[0]).tdot(r[cut:])
    np.testing.assert_allclose(parts, ours.tdot(r), atol=1e-12)


def rows(seed, count, weighted, scale):
    rng = np.random.default_rng(seed)
    y = rng.choice([-1, 1], count).astype(rng.choice([np.int8, np.float32]))
    return rng, scale * rng.normal(size=count), y, rng.uniform(0, 2, count) if weighted else np.empty(0)


@few
@given(seeds, st.integers(0, 700), st.booleans(), st.floats(0, 30))
def test_logistic_equals_scipys(seed, count, weighted, scale):
    _, m, y, w = rows(seed, count, weighted, scale)
    ones, residual, h = w if weighted else np.ones(count), np.empty(count), np.empty(count)
    np.testing.assert_allclose(host.logistic(m, y, w, residual), ones @ np.logaddexp(0, -y * m), rtol=1e-13)
    np.testing.assert_allclose(residual, -ones * y * special.expit(-y * m), rtol=1e-13)
    host.curvature(m, w, h)
    np.testing.assert_allclose(h, ones * special.expit(m) * special.expit(-m), rtol=1e-13)


@few
@given(seeds, st.integers(1, 600), st.integers(0, 4), st.booleans(), st.sampled_from([Logistic(), LeastSquares()]))
def test_plane_derivatives_are_differences(seed, count, k, weighted, family):
    rng, m, y, w = rows(seed, count, weighted, 2)
    p, c = rng.normal(size=(k, count)), 0.3 * rng.normal(size=k)
    plane = family.plane
    sums, step = plane(m, p, c, y, w), 1e-5
    hessian = np.zeros((k, k))
    hessian[np.triu_indices(k)] = sums[1 + k :]
    for j in range(k):
        unit = step * (np.arange(k) == j)
        up, down = plane(m, p, c + unit, y, w), plane(m, p, c - unit, y, w)
        np.testing.assert_allclose(sums[1 + j], (up[0] - down[0]) / (2 * step), atol=1e-6 * count)
        difference = (up[1 : 1 + k] - down[1 : 1 + k]) / (2 * step)
        np.testing.assert_allclose((hessian + np.triu(hessian, 1).T)[j], difference, atol=1e-6 * count)


@few
@given(seeds, st.integers(0, 300), st.booleans(), st.floats(1e-2, 20), st.floats(1e-1, 20))
def test_bregman_is_the_gap_above_the_tangent(seed, count, weighted, scale, step):
    rng, m, y, w = rows(seed, count, weighted, scale)
    delta, residual, unused = step * rng.normal(size=count), np.empty(count), np.empty(count)
    direct = host.logistic(m + delta, y, w, unused) - host.logistic(m, y, w, residual) - residual @ delta
    np.testing.assert_allclose(host.bregman(m, delta, y, w), direct, rtol=1e-9, atol=1e-10 * (1 + count))


def dual_objective(alpha, w, z, total, ridge, bias):
    """-(1/total) sum_i w_i [alpha log alpha + (1 - alpha) log(1 - alpha)] - |z|^2_D / 2."""
    w = w if w.size else np.ones(alpha.size)
    entropy = special.xlogy(alpha, alpha) + special.xlogy(1 - alpha, 1 - alpha)
    d = np.full(z.size, ridge)
    d[z.size - 1 :] = bias or ridge
    return -(w @ entropy) / total - 0.5 * d @ z**2


@few
@given(seeds, st.integers(1, 60), st.booleans(), st.booleans(), st.floats(-6, 0), st.floats(0.1, 30), precisions)
def test_the_dual_objective_never_worsens(seed, count, weighted, intercept, log_ridge, scale, dtype):
    rng, _, y, w = rows(seed, count, weighted, 1)
    made = scale * sparse.random(count, 12, 0.3, "csr", np.float64, rng)
    matrix = CSR.of(made.indptr, made.indices, made.data.astype(dtype), made.shape)
    ridge, total = 10.0**log_ridge, float(w.sum() if weighted else count)
    inverse = np.array([1 / ridge])
    bias, arrays, progress = 0.3 * ridge * intercept, (matrix.indptr, matrix.indices, matrix.data), np.empty(1)
    norms = matrix.row_squares()
    q, z = 0.1 * rng.normal(size=12 + intercept), np.empty(12 + intercept)
    alpha = rng.random(count) ** rng.integers(1, 20)
    host.dual_start(*arrays, y, w, alpha, q, total, inverse, bias, z)
    before = dual_objective(alpha, w, z, total, ridge, bias)
    for seed_of_call in range(4):
        Logistic().host().dual_epochs(*arrays, y, w, norms, alpha, total, inverse, bias, z, seed_of_call, progress, 0.0, True)
        exact = np.empty(z.size)
        host.dual_start(*arrays, y, w, alpha, q, total, inverse, bias, exact)
        after = dual_objective(alpha, w, exact, total, ridge, bias)
        assert after >= before - 1e-11 * (1 + abs(before))
        assert np.all((alpha >= 0) & (alpha <= 1))
        before = after
        np.testing.assert_allclose(z, exact, atol=1e-9 * (1 + abs(exact).max()))


@few
@given(seeds, st.integers(2, 50))
def test_every_start_leads_to_the_same_optimum(seed, count):
    rng, _, y, w = rows(seed, count, False, 1)
    made = sparse.random(count, 9, 0.4, "csr", np.float64, rng)
    matrix, ends = CSR.of(made.indptr, made.indices, made.data, made.shape), []
    arrays, q, inverse = (matrix.indptr, matrix.indices, matrix.data), rng.normal(size=9), np.array([1 / 0.3])
    for alpha in (np.full(count, 1e-3), rng.random(count), np.full(count, 1 - 1e-9)):
        z = np.empty(9)
        host.dual_start(*arrays, y, w, alpha, q, float(count), inverse, 0.0, z)
        Logistic().host().dual_epochs(
            *arrays, y, w, matrix.row_squares(), alpha, float(count), inverse, 0.0, z, 3, np.empty(400), 1e-28, True
        )
        ends.append(z)
    np.testing.assert_allclose(ends, [ends[0]] * 3, atol=1e-10)
