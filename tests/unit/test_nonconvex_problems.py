"""Models of training: what each computes, where it starts, what it refuses."""

import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
from scipy.special import log_softmax

from mpiopt.errors import DataError, UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.numerics.streams import Streams
from mpiopt.problems.curved import Curved
from mpiopt.problems.examples import Dense, Sparse
from mpiopt.problems.factorisation import Completion, Entries, planted
from mpiopt.problems.heads import Squares
from mpiopt.problems.lifted import Lifted
from mpiopt.problems.linear import Linear
from mpiopt.problems.model import CHUNK, split
from mpiopt.problems.perceptron import Perceptron, Tanh
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Curvature, offers
from mpiopt.problems.softmax import Softmax
from mpiopt.training.torch.model import TorchModel
from mpiopt.training.torch.networks import small_cnn
from tests.problem_sets import Data


def stream(seed=0):
    return Streams(seed)("test")


def rows_of(features=3, classes=4, rows=30, seed=0):
    rng = np.random.default_rng(seed)
    return Dense(rng.standard_normal((rows, features)), rng.integers(0, classes, rows))


class TestSoftmax:
    def test_two_classes_are_logistic_regression(self):
        data = Data(intercept=True)
        linear, dense = data.linear(0, 120), data.a.toarray()
        w = np.random.default_rng(1).standard_normal(data.dim)
        value, gradient = linear.value_grad(linear.point(w))
        y = (data.y > 0).astype(int)
        sparse = Sparse(CSR.of(data.a.indptr, data.a.indices, data.a.data, data.a.shape), y)
        for rows in (Dense(dense, y), sparse):
            model = Softmax(rows, 2)
            x = np.column_stack([np.zeros(data.dim), w]).reshape(-1)
            found, slopes = model.value_grad(Point(x))
            assert found == pytest.approx(value, rel=1e-12)
            np.testing.assert_allclose(slopes.reshape(-1, 2)[:, 1], gradient, rtol=1e-10, atol=1e-14)
            np.testing.assert_allclose(slopes.reshape(-1, 2).sum(axis=1), 0, atol=1e-14)
            right = (y == (linear.margins(w) > 0)).sum()
            assert model.evaluate(x).correct == right < 120

    def test_sparse_rows_are_dense_rows(self):
        a = scipy.sparse.random(2 * CHUNK + 300, 7, 0.4, "csr", rng=np.random.default_rng(0))
        y = np.random.default_rng(1).integers(0, 3, a.shape[0])
        sparse, dense = Softmax(Sparse(CSR.of(a.indptr, a.indices, a.data, a.shape), y), 3), Softmax(Dense(a.toarray(), y), 3)
        x = np.random.default_rng(2).standard_normal(dense.dim)
        for rows in (None, np.array([5, 5, 0, a.shape[0] - 1]), np.arange(a.shape[0])[::-1]):
            (f, g), (e, h) = sparse.value_grad(Point(x), rows), dense.value_grad(Point(x), rows)
            assert f == pytest.approx(e, rel=1e-12)
            np.testing.assert_allclose(g, h, rtol=1e-10, atol=1e-14)

    def test_huge_outputs_stay_finite(self):
        model = Softmax(rows_of(), 4)
        for dtype, size in ((np.float32, 1e30), (np.float64, 1e250)):
            value, gradient = model.value_grad(
                Point(np.full(model.dim, 1, dtype) * np.linspace(-size, size, model.dim, dtype=dtype))
            )
            assert np.isfinite(value) and value > 1 and np.isfinite(gradient).all()

    def test_it_starts_at_zero_where_all_classes_are_alike(self):
        model = Softmax(rows_of(), 4)
        start = model.initial(stream())
        assert not start.any() and model.value_grad(Point(start))[0] == pytest.approx(np.log(4))

    @pytest.mark.parametrize(
        ("y", "says"),
        [
            ([0, 1, 4], "class numbers 0 to 4, but a model of 4 outputs"),
            ([-1, 1, 2], "class numbers -1 to 2"),
            ([0.0, 1.0, 2.0], "float64"),
            ([0, 1], "3 rows but 2 answers"),
        ],
    )
    def test_answers_that_do_not_fit(self, y, says):
        with pytest.raises(DataError, match=says):
            Softmax(Dense(np.zeros((3, 2)), np.array(y)), 4)


class TestPerceptron:
    def test_the_outputs_are_the_definition(self):
        data = rows_of(rows=20)
        model = Perceptron(data, (3, 5, 4), Tanh())
        x = np.random.default_rng(3).standard_normal(model.dim)
        w, b, v, c = split(x, model.blocks)
        z = np.tanh(data.x @ w + b) @ v + c
        each = -log_softmax(z, axis=1)[np.arange(20), data.y]
        assert model.value_grad(Point(x))[0] == pytest.approx(each.mean(), rel=1e-12)
        assert model.evaluate(x)[:3] == (pytest.approx(each.sum(), rel=1e-12), (z.argmax(axis=1) == data.y).sum(), 20)
        squares = Perceptron(Dense(data.x, z + 0.4), (3, 5, 4), Tanh(), Squares())
        assert squares.evaluate(x)[:3] == (pytest.approx(0.5 * 0.16 * 80), 20, 20)
        squares = Perceptron(Dense(data.x, z + np.array([0.6, 0.1, 0, 0])), (3, 5, 4), Tanh(), Squares())
        assert squares.evaluate(x).correct == 0

    def test_many_rows_are_done_in_chunks(self):
        data = rows_of(rows=2 * CHUNK + 7)
        model = Perceptron(data, (3, 5, 4))
        x = model.initial(stream()).astype(float)
        each = [model.value_grad(Point(x), rows) for rows in np.arange(data.rows).reshape(-1, 5)]
        value, gradient = model.value_grad(Point(x))
        assert value == pytest.approx(np.mean([f for f, _ in each]), rel=1e-12)
        np.testing.assert_allclose(gradient, np.mean([g for _, g in each], axis=0), rtol=1e-9, atol=1e-13)

    def test_rows_may_be_pictures_scaled_on_the_way(self):
        stored = np.random.default_rng(0).integers(0, 256, (9, 4, 4)).astype(np.uint8)
        y, kinds = np.arange(9) % 3, []

        def scaled(x, dtype):
            kinds.append((x.dtype, dtype))
            return (x / 255).astype(dtype)

        model = Perceptron(Dense(stored, y, scaled), (16, 6, 3))
        plain = Perceptron(Dense((stored / 255).astype(np.float32), y), (16, 6, 3))
        x, rows = model.initial(stream()), np.array([3, 1, 8])
        assert model.value_grad(Point(x), rows)[0] == plain.value_grad(Point(x), rows)[0]
        assert kinds == [(np.uint8, np.float32)]
        for dtype in (np.float32, np.float64):
            pictures, answers = plain.data.take(rows, np.dtype(dtype))
            assert pictures.dtype == dtype and pictures.shape == (3, 4, 4) and answers.tolist() == [0, 1, 2]

    def test_the_start_spreads_as_published(self):
        widths = (400, 300, 200, 100)
        for activation, hidden in (
            ({}, [(2 / 400) ** 0.5, (2 / 300) ** 0.5]),
            ({"activation": Tanh()}, [(2 / 700) ** 0.5, (2 / 500) ** 0.5]),
        ):
            model = Perceptron(Dense(np.zeros((0, 400)), np.zeros(0, int)), widths, **activation)
            parts = split(model.initial(stream()), model.blocks)
            np.testing.assert_allclose([w.std() for w in parts[::2]], [*hidden, (2 / 300) ** 0.5], rtol=0.02)
            assert not any(b.any() for b in parts[1::2])

    def test_it_learns_what_no_linear_model_can(self):
        data = Dense(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0]))
        model = Perceptron(data, (2, 8, 2), Tanh())
        x = model.initial(stream())
        for _ in range(400):
            x -= model.value_grad(Point(x))[1]
        assert model.evaluate(x).correct == 4 and model.value_grad(Point(x))[0] < 0.05

    def test_a_point_that_has_diverged_gives_nan_in_silence(self):
        model = Perceptron(rows_of(), (3, 5, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for x in (np.full(model.dim, np.inf), np.full(model.dim, np.nan, np.float32)):
                assert np.isnan(model.value_grad(Point(x))[0]) and np.isnan(model.evaluate(x).loss)

    def test_bad_input(self):
        with pytest.raises(UsageError, match="first width must be 3"):
            Perceptron(rows_of(), (5, 4))
        for widths in ((3,), (3, 0, 4)):
            with pytest.raises(UsageError, match="features, hidden widths, outputs"):
                Perceptron(rows_of(), widths)
        with pytest.raises(DataError, match="model of 2 outputs: give one number for each"):
            Perceptron(Dense(np.zeros((5, 3)), np.zeros((5, 3))), (3, 2), head=Squares())
        model = Perceptron(rows_of(), (3, 4))
        with pytest.raises(UsageError, match=r"shape \(17,\) was given to a model of 16 parameters .*is it another model"):
            model.value_grad(Point(np.zeros(17)))


class TestCompletion:
    def entries(self):
        return Entries(np.array([0, 0, 3]), np.array([1, 2, 2]), np.array([1.0, -2.0, 0.5]))

    def test_the_gradient_is_zero_away_from_the_entries(self):
        model = Completion(self.entries(), (5, 4), 2)
        x = np.random.default_rng(0).standard_normal(model.dim)
        u, v = split(x, model.blocks)
        for rows in (None, np.array([2])):
            mask = np.zeros((5, 4))
            chosen = slice(None) if rows is None else rows
            i, j, values = (array[chosen] for array in self.entries())
            mask[i, j] = (u @ v.T)[i, j] - values
            value, gradient = model.value_grad(Point(x), rows)
            du, dv = split(gradient, model.blocks)
            np.testing.assert_allclose(du, mask @ v / len(i), rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(dv, mask.T @ u / len(i), rtol=1e-12, atol=1e-15)
            assert value == pytest.approx(0.5 * (mask**2).sum() / len(i), rel=1e-12)
            np.testing.assert_array_equal(np.flatnonzero(du.any(axis=1)), np.unique(i))
            np.testing.assert_array_equal(np.flatnonzero(dv.any(axis=1)), np.unique(j))

    def test_right_is_nearer_than_a_half(self):
        model = Completion(self.entries(), (5, 4), 1)
        assert model.evaluate(np.zeros(9))[:3] == (0.5 * (1 + 4 + 0.25), 0, 3)
        assert Completion(Entries(*(a[2:] for a in self.entries())), (5, 4), 1).evaluate(np.full(9, 0.1)).correct == 1

    def test_the_planted_matrix(self):
        whole = planted(stream(), (12, 9), 2, observed=1)
        matrix = np.full((12, 9), np.nan)
        matrix[whole.i, whole.j] = whole.values
        assert np.linalg.matrix_rank(matrix, tol=1e-9) == 2 and (np.diff(whole.i) < 0).any()
        few = planted(stream(), noise=0.5)
        assert few.values.size == 1800 == np.unique(few.i * 60 + few.j).size
        assert few.values.std() == pytest.approx(1.25**0.5, rel=0.15)

    def test_descent_completes_it(self):
        entries = planted(stream(), observed=0.6)
        seen, unseen = (Completion(entries.part(*cut), (60, 60), 4) for cut in ((0, 2000), (2000, 2160)))
        x, v = seen.initial(stream(1)), 0
        for _ in range(600):
            v = 0.9 * v - 4 * seen.value_grad(Point(x))[1]
            x += v
        score = unseen.evaluate(x)
        assert score.loss / score.rows < 1e-4 and score.correct == 160

    def test_bad_input(self):
        with pytest.raises(DataError, match="columns 1 to 2, but the matrix has the shape"):
            Completion(self.entries(), (5, 2), 2)
        with pytest.raises(UsageError, match="rank 0"):
            Completion(self.entries(), (5, 4), 0)
        with pytest.raises(UsageError, match="and rank 4, observed"):
            planted(stream(), observed=1.5)
        with pytest.raises(UsageError, match="rows 0 to 3 were asked for, but there are 3"):
            Completion(self.entries(), (5, 4), 1).value_grad(Point(np.zeros(9)), np.array([0, 3]))


class TestCurved:
    def test_value_and_derivatives_add_up(self):
        linear = Data(intercept=True).linear(0, 120)
        model = Curved(linear, 0.3, free=1)
        x, v = np.random.default_rng(0).standard_normal((2, model.dim))
        at = model.point(x)
        value, gradient = model.value_grad(at)
        bent = x[:-1]
        assert value == pytest.approx(linear.value(at) + 0.3 * (bent**2 / (1 + bent**2)).sum(), rel=1e-12)
        assert gradient[-1] == linear.value_grad(at)[1][-1]
        ahead, behind = (model.value_grad(Point(x + s * v))[1] for s in (1e-6, -1e-6))
        np.testing.assert_allclose(model.hessian(at)(v), (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-9)
        full = np.array([model.hessian(at)(e) for e in np.eye(model.dim)])
        np.testing.assert_allclose(model.diagonal(at), np.diag(full), rtol=1e-12)

    def test_minibatches_of_logistic_regression(self):
        linear = Data(intercept=True).linear(0, 120)
        model, rows = Curved(linear, 0.3, free=1), np.array([3, 50, 3])
        x = np.random.default_rng(0).standard_normal(model.dim)
        value, gradient = model.value_grad(Point(x), rows)
        expected = linear.take(rows).value_grad(Point(x))
        assert value == pytest.approx(expected[0] + model.penalty(x), rel=1e-12)
        assert gradient[-1] == pytest.approx(expected[1][-1]) and model.evaluate(x) == linear.evaluate(x)
        assert not model.initial(np.random.default_rng(0)).any() and model.blocks == linear.blocks

    def test_it_is_not_convex_and_bounded(self):
        linear = Data().linear(0, 120)
        model, x = Curved(linear, 2.0), np.full(15, 1.5)
        assert model.diagonal(model.point(x)).min() < 0 < linear.diagonal(linear.point(x)).min()
        assert model.penalty(1e9 * x) == pytest.approx(30) and Curved(linear, 0).penalty(x) == 0

    def test_held_out_rows_are_scored_without_it(self):
        inner = Softmax(rows_of(), 4)
        model, x = Curved(inner, 5.0), np.ones(inner.dim)
        assert model.evaluate(x) == inner.evaluate(x) and (model.rows, model.blocks) == (inner.rows, inner.blocks)

    def test_it_has_a_hessian_where_the_loss_has_one(self):
        model = Curved(Softmax(rows_of(), 4), 0.3)
        assert not offers(model, Curvature) and offers(Curved(Data().linear(0, 9), 0.3), Curvature)
        x, v = np.random.default_rng(0).standard_normal((2, model.dim))
        ahead, behind = (model.value_grad(Point(x + s * v))[1] for s in (1e-6, -1e-6))
        product = Lifted(model).hessian(Point(x))(v)
        np.testing.assert_allclose(product, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("strength", [-1, np.nan, np.inf])
    def test_bad_input(self, strength):
        with pytest.raises(UsageError, match="lambda is"):
            Curved(Softmax(rows_of(), 4), strength)


def test_without_torch_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for make in (small_cnn, lambda: TorchModel(small_cnn, rows_of())):
        with pytest.raises(UsageError, match=r"pip install 'mpiopt\[torch\]'"):
            make()


def test_the_first_row_that_is_no_number_is_found_in_every_kind_of_rows():
    a, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    broken, late = a.copy(), np.where(y == 3, np.inf, y)
    broken[4, 1] = np.nan
    assert [Dense(x, z).flawed() for x, z in ((a, y), (broken, y), (a, late), (broken, late))] == [None, 4, 3, 3]
    assert Dense(np.zeros((3, 2), np.uint8), np.zeros(3, int)).flawed() is None
    csr = scipy.sparse.csr_array(a)
    matrix = CSR.of(csr.indptr, csr.indices, csr.data, csr.shape)
    for make in (Sparse, lambda m, z: Linear(m, z, LeastSquares()), lambda m, z: Curved(Linear(m, z, LeastSquares()), 0.1)):
        assert [make(matrix, z).flawed() for z in (y, late)] == [None, 3]
    assert Completion(Entries(*np.zeros((2, 3), int), np.array([1, np.nan, 2])), (2, 2), 1).flawed() == 1
