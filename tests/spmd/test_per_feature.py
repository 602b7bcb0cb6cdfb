"""Penalties with a factor for every feature: what they are, what is found under them, and what is said of wrong ones."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.solve import run
from mpiopt.methods import find
from mpiopt.problems.certificate import certify
from mpiopt.problems.penalties import ElasticNet, sliced
from mpiopt.problems.per_feature import PerFeature
from tests.problem_sets import Data

DIM, ROWS = 15, "default:rows=200,cols=12,per_row=5"
some = st.lists(st.sampled_from([0.0, 0.3, 1.0, 4.0]), min_size=DIM, max_size=DIM).map(np.array)


@settings(deadline=None, max_examples=30)
@given(some, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 0.2]))
def test_it_is_an_elastic_net_of_every_feature(p, seed, l1, l2):
    rng, free = np.random.default_rng(seed), 1
    x, g = rng.standard_normal((2, DIM + free)) * (rng.random((2, DIM + free)) < 0.7)
    whole, each = PerFeature(l1, l2, p, free), [ElasticNet(l1 * one, l2 * one) for one in p] + [ElasticNet()]
    assert whole.value(x) == pytest.approx(sum(one.value(x[[j]]) for j, one in enumerate(each)))
    for name, given_ in (("grad", (x,)), ("residual", (x, g)), ("prox", (x, 0.7))):
        wanted = [
            getattr(one, name)(*(part[[j]] if np.ndim(part) else part for part in given_))[0] for j, one in enumerate(each)
        ]
        np.testing.assert_allclose(getattr(whole, name)(*given_), wanted, atol=1e-15)
    assert whole.conjugate(g) == pytest.approx(
        sum(one.conjugate(g[[j]]) if j < DIM or g[j] else 0.0 for j, one in enumerate(each))
    )
    parts = [sliced(whole, cut, DIM + free) for cut in (slice(0, 6), slice(6, DIM + free))]
    assert sum(one.value(x[cut]) for one, cut in zip(parts, (slice(0, 6), slice(6, None)), strict=True)) == pytest.approx(
        whole.value(x)
    )


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.05), (0.02, 0.0), (0.02, 0.01)])
def test_minima_are_those_in_other_units(world, intercept, l1, l2):
    """sqrt(p) x under one l2, p x under one l1, and where nothing is penalised the slope is 0; the gap is an upper bound."""
    data, p = Data(intercept=intercept, weighted=True), np.tile([0.25, 1.0, 4.0], 5)
    team = data.team(world, PerFeature(l1, l2, p, int(intercept)))
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=100, gap=1e-13))
    assert found.reason is Reason.GAP, found.reason_text
    if not (l1 and l2):
        units = p if l1 else np.sqrt(p)
        other = Data(intercept=intercept, weighted=True)
        other.a = scipy.sparse.csr_array(other.a.toarray() / units)
        plain = other.team(world, ElasticNet(l1, l2, int(intercept)))
        same = solve(find("spcg").make(), plain, plain.zeros(), Stop(rounds=100, gap=1e-13))
        np.testing.assert_allclose(found.x[:DIM] * units, same.x[:DIM], atol=1e-5)
        assert found.certificate.objective == pytest.approx(same.certificate.objective, abs=1e-12)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1.0):
        far = certify(team, found.x + size * rng.standard_normal(found.x.size), 5)
        assert far.objective - found.certificate.objective <= far.gap < np.inf


@pytest.mark.ranks(1, 2)
def test_a_feature_without_a_penalty_has_no_slope(world):
    data, p = Data(), np.append(np.zeros(2), np.ones(13))
    team = data.team(world, PerFeature(0.05, 0.0, p))
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=100, gradient=1e-10))
    assert found.reason is Reason.GRADIENT and found.certificate.gap < 1e-8
    assert (found.x[:2] != 0).all() and 0 < (found.x == 0).sum()
    assert abs(data.objective(found.x, ElasticNet())[1][:2]).max() < 1e-9


@pytest.mark.ranks(1, 2)
def test_from_the_command_line(world, shared_tmp):
    console, file = Console(first=world.rank == 0), shared_tmp / "p.csv"
    if world.rank == 0:
        file.write_text("# covariates\n1, 0\n3 7.5\n")
    job = {"data": ROWS, "l1": 0.02, "l2": 1e-3, "overwrite": True, "out": shared_tmp / "r.h5", "gradient_tol": 1e-9}
    found = run(Solve(**job, penalty_factors=file), world, console)
    assert found["reason"] == "GRADIENT"
    if world.rank == 0:
        x, _ = read_solution(job["out"])
        assert x[0] != 0 and x[2] == 0
    kept = {**job, "penalty_factors": file, "checkpoint": shared_tmp / "c.h5"}
    run(Solve(**kept, rounds=1), world, console)
    assert run(Solve(**kept), world, console)["resumed_after"] == 1
    for text, error, told in (
        ("99,1\n", UsageError, "there is no feature 99 to make a penalty of"),
        ("1,-1\n", DataError, "line 1: '1,-1' is no feature and its factor"),
        ("1\n", DataError, "line 1"),
    ):
        if world.rank == 0:
            file.write_text(text)
        world.barrier()
        with pytest.raises(error, match=told):
            run(Solve(**job, penalty_factors=file), world, console)
    for given_, error, told in (
        ({"method": "fista"}, CapabilityError, "use spcg or prox_newton"),
        ({"lower": 0.0, "l1": 0.0}, UsageError, "leave them, or --lower"),
        ({"inference": "hessian", "l1": 0.0}, CapabilityError, "--inference is for one penalty"),
        ({"multiclass": "ovr", "l1": 0.0}, CapabilityError, "--penalty-factors is for one margin a row"),
    ):
        with pytest.raises(error, match=told):
            run(Solve(**{**job, **given_}, penalty_factors=file), world, console)
