"""A matrix restricted to some columns is that, wherever its rows come from."""

import numpy as np
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.kernels.csr import CSR
from mpiopt.problems import columns as module
from mpiopt.problems.columns import columns, coordinates, restricted
from mpiopt.problems.penalties import L1
from tests.problem_sets import Data


@given(st.integers(0, 9), st.integers(1, 8), st.integers(0, 2**32 - 1), st.data())
def test_columns_of_a_slice_of_rows(rows, features, seed, data):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((rows + 3, features)) < 0.4, rng.standard_normal((rows + 3, features)), 0.0)
    a = scipy.sparse.csr_matrix(dense)
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, features - 1)))), np.int64)
    found = columns(CSR.of(a.indptr, a.indices, a.data, a.shape).rows_slice(2, 2 + rows), kept)
    assert found.shape == (rows, kept.size)
    x = rng.standard_normal(kept.size)
    np.testing.assert_allclose(found.dot(x), dense[2 : 2 + rows, kept] @ x, atol=1e-12)


def test_blocks_of_rows_are_put_together(monkeypatch):
    a = Data(rows=50).a
    matrix = CSR.of(a.indptr, a.indices, a.data, a.shape)
    kept = np.array([0, 3, 4, 11])
    whole = columns(matrix, kept)
    monkeypatch.setattr(module, "BLOCK", 7)
    parts = columns(matrix, kept)
    for field in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(parts, field), getattr(whole, field))


def test_the_restricted_problem_has_the_margins_and_slopes_of_the_whole(worlds):
    data = Data(intercept=True)
    team = data.team(worlds(workers=2), L1(0.1, free=1))
    features = np.array([1, 5, 6])
    part, where = restricted(team, features), coordinates(team.sites[0].loss, features)
    assert part.dim == 4 and where.tolist() == [1, 5, 6, 15]
    x = np.zeros(data.dim)
    x[where] = [1.0, -2.0, 0.5, 0.25]
    for site, small in zip(team.sites, part.sites, strict=True):
        at = small.loss.point(x[where])
        np.testing.assert_allclose(at.margins, site.loss.margins(x), atol=1e-12)
        np.testing.assert_allclose(small.loss.value_grad(at)[1], site.loss.value_grad(site.loss.point(x))[1][where], atol=1e-12)
