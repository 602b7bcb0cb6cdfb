"""The kernels at the edges: large margins, empty rows, bad arrays; small problems against scipy's optimum."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, sparse, special

from mpiopt.errors import UsageError
from mpiopt.kernels import host
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.csr import CSR, PAD
from mpiopt.kernels.gathers import quick_gathers
from mpiopt.kernels.host import dual, visits
from mpiopt.kernels.host.logistic_step import logistic_dual_step
from mpiopt.kernels.host.made import specialised
from mpiopt.kernels.host.margins import exp_negative, log1p_unit
from mpiopt.kernels.host.rows import place
from mpiopt.kernels.host.sums import BLOCK
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic

ONES = np.empty(0)


def random_csr(rng, rows=60, cols=25, density=0.2, dtype=np.float64):
    matrix = sparse.random(rows, cols, density, "csr", dtype, rng)
    return CSR.of(matrix.indptr, matrix.indices, matrix.data, matrix.shape), matrix.astype(np.float64).toarray()


@njit(fastmath={"contract"})
def elementary(x, exponential):
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = exp_negative(x[i]) if exponential else log1p_unit(x[i])
    return out


def test_elementary_functions_to_two_ulps():
    x = -np.concatenate([np.logspace(-20, np.log10(700), 3000), [0.0]])
    u = np.concatenate([np.logspace(-300, 0, 3000), [0.0, 0.41421356, 0.41421357]])
    np.testing.assert_allclose(elementary(x, True), np.exp(x), rtol=4.5e-16)
    np.testing.assert_allclose(elementary(u, False), np.log1p(u), rtol=4.5e-16)


def test_logistic_at_huge_margins():
    m, y, r = np.array([1e4, -1e4, 0.0]), np.ones(3, np.int8), np.empty(3)
    assert host.logistic(m, y, ONES, r) == pytest.approx(1e4 + np.log(2), rel=1e-15)
    np.testing.assert_allclose(r, [0, -1, -0.5], atol=1e-300)


def test_the_value_shows_relative_gaps_of_1e_13():
    m = np.random.default_rng(0).normal(size=300_000)
    y, r = np.ones(m.size, np.float32), np.empty(m.size)
    exact = np.sum(np.logaddexp(0, -m.astype(np.longdouble)))
    assert abs(float(host.logistic(m, y, ONES, r) / exact - 1)) < 1e-15


def test_bregman_of_tiny_and_huge_steps():
    m, y = np.array([0.3, -2.0, 40.0, -50.0]), np.array([1.0, -1.0, 1.0, -1.0])
    h = special.expit(m) * special.expit(-m)
    tiny = 1e-9 * np.array([1.0, -2.0, 3.0, 4.0])
    assert host.bregman(m, tiny, y, ONES) == pytest.approx(0.5 * np.sum(h * tiny**2), rel=1e-7)
    for delta in (2000.0, -2000.0):
        direct = np.logaddexp(0, -(0.5 + delta)) - np.logaddexp(0, -0.5) + special.expit(-0.5) * delta
        assert host.bregman(np.array([0.5]), np.array([delta]), np.ones(1), ONES) == pytest.approx(direct, rel=1e-13)


@pytest.mark.parametrize(("rows", "cols", "nnz"), [(0, 5, 0), (3, 0, 0), (4, 6, 0)])
def test_empty_matrices(rows, cols, nnz):
    matrix = CSR.empty(rows, nnz, cols)
    assert matrix.nnz == 0
    np.testing.assert_array_equal(matrix.dot(np.ones(cols)), np.zeros(rows))
    np.testing.assert_array_equal(matrix.tdot(np.ones(rows)), np.zeros(cols))
    np.testing.assert_array_equal(matrix.hvp(np.ones(rows), np.ones(cols)), np.zeros(cols))
    np.testing.assert_array_equal(matrix.squares(), np.zeros(cols))


def test_float32_vectors():
    matrix, dense = random_csr(np.random.default_rng(1), dtype=np.float32)
    x = np.ones(25, np.float32)
    assert matrix.dot(x).dtype == np.float32
    np.testing.assert_allclose(matrix.dot(x), dense @ x, rtol=1e-6)


def test_a_slice_shares_its_buffers():
    matrix, dense = random_csr(np.random.default_rng(2))
    part = matrix.rows_slice(10, 30).rows_slice(5, 15)
    assert part.data is matrix.data
    np.testing.assert_allclose(part.dot(np.arange(25.0)), dense[15:25] @ np.arange(25.0), atol=1e-12)
    assert part.nnz == np.count_nonzero(dense[15:25])


def test_bad_arrays_are_refused_in_a_sentence():
    indices, data = np.zeros(2, np.int32), np.ones(2)
    with pytest.raises(UsageError, match=str(PAD)):
        CSR(np.array([0, 2]), indices, data, (1, 3))
    with pytest.raises(UsageError, match="int64"):
        CSR(np.array([0, 2], np.int32), indices, data, (1, 3))
    with pytest.raises(UsageError, match="columns"):
        CSR.of([0, 2], [0, 3], data, (1, 3))
    with pytest.raises(UsageError, match="shape"):
        CSR.of([0, 2], [0, 2], data, (1, 3)).dot(np.ones(4))


def test_a_matrix_from_python_is_sorted_or_refused():
    data = np.arange(1.0, 5)
    matrix = CSR.of([0, 3, 4], np.array([2, 0, 1, 2]), data, (2, 3))
    assert matrix.indices.tolist() == [0, 1, 2, 2] and matrix.data.tolist() == [2, 3, 1, 4]
    part = CSR.of(np.array([1, 4]), np.array([0, 2, 1, 0]), data, (1, 3))  # rows that do not begin at 0
    assert part.dot(np.array([1.0, 10, 100])).tolist() == [4 + 30 + 200]
    for bad, sentence in (
        (([0, 2], [1, 1], data[:2], (1, 3)), "the columns of row 0 do not ascend"),
        (([0, 2], [0, 2**32], data[:2], (1, 3)), "columns 0 to 4294967296 cannot be made"),
        (([0, 2], [0, 2**32], data[:2], (1, 2**33)), "a CSR of 8589934592 columns"),
        (([0, 2], [-1, 2], data[:2], (1, 3)), "columns -1 to 2"),
        (([0, 9], [0, 1], data[:2], (1, 3)), "the indptr of a CSR is to ascend"),
        (([0, 2, 1, 2], [0, 1], data[:2], (3, 3)), "the indptr of a CSR is to ascend"),
        (([0, 2], [0, 1], data[:3], (1, 3)), "it needs integers"),
        (([0, 2], [0.5, 1.5], data[:2], (1, 3)), "it needs integers"),
        (([0.0, 2.0], [0, 1], data[:2], (1, 3)), "it needs integers"),
        (([0, 2], [0, 1], [1, np.nan], (1, 3)), "row 0 has the value nan"),
        (([0, 2], [0, 1], np.array([1, np.inf], np.float32), (1, 3)), r"row 0 has the value inf \(float32\)"),
        (([0, 2], [0, 1], [1, 1e155], (1, 3)), r"row 0 has the value 1e\+155"),
    ):
        with pytest.raises(UsageError, match=sentence):
            CSR.of(*bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-310, 1e-200, 1e-40, 1.0, 1e30, 1e155, 1e200, 1.7e308])
def test_rows_of_any_size_are_brought_to_norm_one(dtype, size):
    with np.errstate(over="ignore"):
        data = (np.array([1, -0.5, 0.25, 1.0]) * size).astype(dtype)
    if not np.isfinite(data).all():
        return
    out, indptr, indices = np.empty_like(data), np.array([0, 3, 4]), np.arange(4, dtype=np.int32)
    place(np.arange(2), indptr[:-1], np.diff(indptr), indices, data, indptr, np.empty_like(indices), out, np.int32(0), True)
    if not data.any():
        assert not out.any()
        return
    exact = [Fraction(float(v)) for v in data]
    norm = Decimal((sum(v * v for v in exact[:3])).numerator).sqrt() / Decimal(sum(v * v for v in exact[:3]).denominator).sqrt()
    wanted = [float(Decimal(v.numerator) / Decimal(v.denominator) / norm) for v in exact[:3]] + [1.0]
    np.testing.assert_allclose(out, wanted, rtol=4 * np.finfo(dtype).eps)


def dual_problem(rng, intercept, weighted, squares, rows=70, uneven=False):
    """The last but two is 1 / D of the features, (1,) or, ``uneven``, (cols,)."""
    matrix, dense = random_csr(rng, rows)
    dense[3], dense[rows - 1] = 0, 0
    kept = sparse.csr_matrix(dense)
    matrix = CSR.of(kept.indptr, kept.indices, kept.data, kept.shape)
    y = rng.normal(size=rows) if squares else rng.choice([-1.0, 1.0], rows)
    w = rng.uniform(0, 2, rows) * (rng.random(rows) > 0.1) if weighted else ONES
    full = np.hstack([dense, np.ones((rows, 1))]) if intercept else dense
    bias = 0.05 if intercept else 0.0
    inverse = 1 / rng.uniform(0.01, 0.1, dense.shape[1]) if uneven else np.array([50.0])
    diagonal = np.full(full.shape[1], 0.02)
    diagonal[: dense.shape[1]] = 1 / inverse
    if intercept:
        diagonal[-1] = bias
    q = 0.1 * rng.normal(size=full.shape[1])
    total = w.sum() if weighted else float(rows)
    return matrix, full, y, w, diagonal, bias, inverse, q, total


def newton(full, y, w, diagonal, q, total, squares):
    """The primal optimum, by Newton's method on the dense matrix."""
    w = w if w.size else np.ones(len(y))

    def value(z):
        t = full @ z
        loss = 0.5 * (t - y) ** 2 if squares else np.logaddexp(0, -y * t)
        return w @ loss / total + 0.5 * diagonal @ z**2 - q @ z

    def gradient(z):
        t = full @ z
        slope = t - y if squares else -y * special.expit(-y * t)
        return full.T @ (w * slope) / total + diagonal * z - q

    def hessian(z):
        t = full @ z
        bend = np.ones_like(t) if squares else special.expit(t) * special.expit(-t)
        return full.T @ ((w * bend / total)[:, None] * full) + np.diag(diagonal)

    z = optimize.minimize(value, np.zeros(len(q)), jac=gradient, hess=hessian, method="trust-exact", tol=1e-9).x
    for _ in range(3):
        z = z - np.linalg.solve(hessian(z), gradient(z))
    return z


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_dual_descent_reaches_the_optimum(intercept, weighted, squares, uneven):
    rng = np.random.default_rng(5)
    matrix, full, y, w, diagonal, bias, inverse, q, total = dual_problem(rng, intercept, weighted, squares, uneven=uneven)
    family = LeastSquares() if squares else Logistic()
    signs = family.signs(y)
    arrays = matrix.indptr, matrix.indices, matrix.data
    alpha, z, norms = rng.uniform(0.01, 0.99, len(y)), np.empty(len(q)), matrix.row_squares()
    host.dual_start(*arrays, signs, w, alpha, q, total, inverse, bias, z)
    family.host().dual_epochs(*arrays, y, w, norms, alpha, total, inverse, bias, z, 1, np.empty(2000), 0.0, not squares)
    np.testing.assert_allclose(z, newton(full, y, w, diagonal, q, total, squares), atol=1e-10)
    fresh = np.empty(len(q))
    host.dual_start(*arrays, signs, w, alpha, q, total, inverse, bias, fresh)
    np.testing.assert_allclose(z, fresh, atol=1e-11)


def test_dual_descent_stops_when_told():
    matrix, _, y, w, _, bias, inverse, q, total = dual_problem(np.random.default_rng(6), False, False, False)
    arrays = matrix.indptr, matrix.indices, matrix.data
    alpha, z, progress = np.full(len(y), 1e-3), np.empty(len(q)), np.empty(100)
    host.dual_start(*arrays, y, w, alpha, q, total, inverse, bias, z)
    done = (
        Logistic()
        .host()
        .dual_epochs(*arrays, y, w, matrix.row_squares(), alpha, total, inverse, bias, z, 0, progress, 1e-2, True)
    )
    assert 1 < done < 100
    assert progress[done - 1] <= 1e-2 * progress[0] < progress[done - 2]


@njit()
def row_products(k, end, index, data, z):
    return dual._one_by_one(k, end, index, data, z), dual._side_by_side(k, end, index, data, z)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 31, 32, 33, 300])
def test_products_of_a_row_are_added_up_alike_one_by_one_and_side_by_side(length):
    rng = np.random.default_rng(length)
    z, index = rng.standard_normal(400), rng.permutation(400)[:length].astype(np.uint32)
    data = rng.standard_normal(length).astype(np.float32)
    begin, end = np.uint64(0), np.uint64(length)
    found = row_products(begin, end, index, data, z)
    np.testing.assert_allclose(found, data.astype(float) @ z[index], rtol=0, atol=1e-14 * np.abs(z[index] * data).sum())


@pytest.mark.parametrize(
    ("cpu", "slowed", "quick"),
    [
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512dq\n", "Not affected\n", True),
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512dq\n", "Mitigation: Microcode\n", False),
        ("vendor_id : GenuineIntel\nflags : fpu avx2 bmi2\n", "Not affected\n", False),
        ("vendor_id : AuthenticAMD\nflags : fpu avx512f avx512dq\n", "Not affected\n", False),
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512dq\n", None, False),
        (None, "Not affected\n", False),
    ],
)
def test_entries_are_read_side_by_side_only_where_that_is_known_to_be_quick(tmp_path, cpu, slowed, quick):
    for name, text in (("cpu", cpu), ("slowed", slowed)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert quick_gathers(tmp_path / "cpu", tmp_path / "slowed") is quick


def test_a_kernel_that_is_made_is_another_where_what_it_calls_is(monkeypatch):
    name = specialised(dual.epoch, {"dual_step": logistic_dual_step}, "x").__name__
    assert specialised(dual.epoch, {"dual_step": logistic_dual_step}, "x").__name__ == name
    other = dual._one_by_one if dual._row_dot is dual._side_by_side else dual._side_by_side
    monkeypatch.setattr(dual, "_row_dot", other)
    assert specialised(dual.epoch, {"dual_step": logistic_dual_step}, "x").__name__ != name


def test_rows_rest_and_come_back():
    rng = np.random.default_rng(3)
    matrix, _, y, w, _, bias, inverse, q, total = dual_problem(rng, False, False, False)
    alpha, z, norms = np.full(len(y), 1e-3), np.empty(len(q)), matrix.row_squares()
    arrays = matrix.indptr, matrix.indices, matrix.data
    host.dual_start(*arrays, y, w, alpha, q, total, inverse, bias, z)
    visit, before = Logistic().host().made(dual.epoch), alpha.copy()
    rest = rng.integers(0, 3, len(y)).astype(np.uint8)
    given = (
        matrix.indptr.view(np.uint64),
        matrix.indices.view(np.uint32),
        matrix.data,
        y,
        w,
        norms,
        alpha,
        total,
        inverse,
        bias,
        z,
    )
    slept = rest > 0
    left = np.maximum(rest, 1) - 1
    _, seen, *_ = visit(*given, (0, 1, 0), True, (), 1, ONES, rest, 0.0)
    assert seen == (~slept).sum()
    assert (alpha[slept] == before[slept]).all()
    assert (alpha[~slept & (norms > 0)] != before[~slept & (norms > 0)]).all()
    np.testing.assert_array_equal(rest, left)
    rest[:] = 0
    met, _, brief, longer = visit(*given, (0, 1, 0), True, (), 1, ONES, rest, np.inf)
    assert met > 0 and longer == met and brief == 0
    assert (rest == 2).all()  # a tenth of infinity is above every part


def test_the_reach_of_rows_does_not_depend_on_the_order_of_columns():
    rng = np.random.default_rng(4)
    matrix, _ = random_csr(rng, 600)
    mixed = rng.permutation(matrix.shape[1]).astype(np.int32)
    for inverse in (np.array([3.0]), rng.uniform(1, 9, matrix.shape[1])):
        found = []
        for number in (np.arange(matrix.shape[1], dtype=np.int32), mixed):
            other = replace(matrix, indices=matrix.take(np.arange(600)).indices)
            other.indices[:] = number[other.indices]
            there = inverse if inverse.size == 1 else inverse[np.argsort(number)]
            rows = other.indptr.view(np.uint64), other.indices.view(np.uint32), other.data
            found.append(visits.block_shift(*rows, other.row_squares(), 600.0, there, 0.0))
        assert found[0] == found[1]


def test_dual_descent_without_rows():
    matrix, z, progress = CSR.empty(0, 0, 3), np.ones(3), np.empty(4)
    arrays = matrix.indptr, matrix.indices, matrix.data
    ten = np.array([10.0])
    host.dual_start(*arrays, ONES, ONES, np.empty(0), 0.5 * np.ones(3), 1.0, ten, 0.0, z)
    assert Logistic().host().dual_epochs(*arrays, ONES, ONES, ONES, np.empty(0), 1.0, ten, 0.0, z, 0, progress, 0.0, True) == 0
    np.testing.assert_allclose(z, 5.0)


def test_a_saturated_dual_variable_recovers():
    matrix, full, y, w, diagonal, bias, inverse, q, total = dual_problem(np.random.default_rng(8), False, False, False)
    arrays = matrix.indptr, matrix.indices, matrix.data
    alpha, z, progress = np.tile([0.0, 1.0], len(y) // 2), np.empty(len(q)), np.empty(2000)
    host.dual_start(*arrays, y, w, alpha, q, total, inverse, bias, z)
    Logistic().host().dual_epochs(*arrays, y, w, matrix.row_squares(), alpha, total, inverse, bias, z, 0, progress, 0.0, True)
    assert np.all(np.isfinite(progress))
    np.testing.assert_allclose(z, newton(full, y, w, diagonal, q, total, False), atol=1e-10)


def test_blocks_longer_than_the_loops():
    rows = 3 * BLOCK + 7
    rng = np.random.default_rng(7)
    m, p, y = rng.normal(size=rows), rng.normal(size=(3, rows)), rng.choice([-1.0, 1.0], rows)
    c = np.array([0.1, -0.4, 0.2])
    t = y * (m + c @ p)
    sums = host.plane(m, p, c, y, ONES)
    assert sums[0] == pytest.approx(np.logaddexp(0, -t).sum(), rel=1e-14)
    np.testing.assert_allclose(sums[1:4], p @ (-y * special.expit(-t)), atol=1e-11)
    hessian = (p * (special.expit(t) * special.expit(-t))) @ p.T
    np.testing.assert_allclose(sums[4:], hessian[np.triu_indices(3)], rtol=1e-11, atol=1e-11)
