"""The form of spcg in which worker 0 has a copy of all rows: what is copied, what that costs, and what it finds."""

import numpy as np
import pytest

from mpiopt.engine.drive import solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.method import proved_above
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.kernels.csr import CSR
from mpiopt.methods import find
from mpiopt.problems.copied import copied, returned_to
from mpiopt.problems.examples import Sparse
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.problems.softmax import Softmax
from tests.problem_sets import Data

POOR = "default:rows=200,cols=400,per_row=8,exponent=1"


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("workers", [3, 5])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_copy_has_all_rows_in_the_order_of_workers(worlds, workers, density, weighted):
    world = worlds(workers=workers)
    data = Data(rows=30, features=7, density=density, weighted=weighted, intercept=True)
    team = data.team(world, L2(1.0))
    before, copy = world.tally.bytes, copied(team)
    sent = sum(world.tell_all(world.tally.bytes - before))
    assert (copy is None) is (world.rank != 0)
    if copy is not None:
        own = team.sites[0].loss  # which stays where it is
        entries, rows = data.a.nnz - own.matrix.nnz, 30 - own.rows
        whole = data.linear(0, 30)
        for ours, other in zip(
            (copy.matrix.indptr, copy.matrix.indices, copy.matrix.data, copy.y, copy.weights),
            (whole.matrix.indptr, whole.matrix.indices, whole.matrix.data, whole.y, whole.weights),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, other)
        flags = 8 * world.size  # whether all rows are full
        assert sent == flags + entries * (8 + (density < 1)) + rows * (4 + 8 + 8 * weighted)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("l2", [1e-2, 1e-6], ids=["dual", "newton"])
def test_a_round_or_two_are_a_solve_whatever_the_workers(worlds, intercept, l2):
    found = []
    for workers in (3, 20):
        data, penalty = Data(rows=90, features=1200, density=0.02, intercept=intercept, weighted=True), L2(l2, int(intercept))
        team = data.team(worlds(workers=workers, deterministic=True), penalty)
        solution = solve(find("spcg").make(form="gathered"), team, team.zeros(), Stop(rounds=10, gap=1e-10))
        assert solution.reason is Reason.GAP and 1 <= solution.final.round <= 3
        assert np.linalg.norm(data.objective(solution.x, penalty)[1]) <= 1e-4
        found.append(solution.certificate.objective)
    assert abs(found[0] - found[1]) <= 2e-10


@pytest.mark.ranks(1, 2)
def test_it_is_taken_where_workers_have_few_rows_and_not_where_it_is_not_to_be(worlds):
    world = worlds(workers=16, deterministic=True)
    team = team_of(from_spec(POOR), world, L2(1e-6))
    sent = {}
    for replicate in ("auto", "never"):
        found = solve(find("spcg").make(replicate=replicate), team, team.zeros(), Stop(rounds=200, gap=1e-8))
        assert found.reason is Reason.GAP
        assert (taken_by(found.run).form == "gathered") is (replicate == "auto")
        sent[replicate] = found.history[-1].bytes_sent - (found.history[0].bytes_sent if replicate == "never" else 0)
    assert sent["auto"] < sent["never"] / 3


def test_what_cannot_be_is_refused(worlds):
    with pytest.raises(UsageError, match="spcg cannot replicate rows 'always': choose auto or never"):
        find("spcg").make(replicate="always")
    with pytest.raises(UsageError, match="spcg has no form 'gathered': choose auto or one of counts"):
        find("spcg").make(form="gathered", replicate="never")
    rows = Sparse(CSR.of(np.arange(4), np.arange(3), np.ones(3), (3, 3)), np.arange(3))
    team = Team.of(worlds(workers=1), [Softmax(rows, 3)], L2(1.0))
    with pytest.raises(CapabilityError, match="spcg copies rows"):
        solve(find("spcg").make(form="gathered"), team, team.zeros(), Stop(rounds=1))


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
def test_worker_0_goes_no_further_than_is_asked_and_its_dual_variables_prove_it(worlds, monkeypatch, intercept):
    epochs, descend = [], Linear.dual_descent

    def counted(self, *given, **more):
        found = descend(self, *given, **more)
        epochs.append(len(found))
        return found

    monkeypatch.setattr(Linear, "dual_descent", counted)
    world = worlds(workers=4, deterministic=True)
    team = team_of(from_spec("default:rows=400,cols=3000,per_row=12,exponent=1"), world, L2(1e-3, int(intercept)))
    spent, method = [], find("spcg").make(form="gathered")
    for gap in (1e-3, 1e-6, 1e-10):
        epochs.clear()
        found = solve(method, team, team.zeros(), Stop(rounds=30, gap=gap))
        assert found.reason is Reason.GAP and found.certificate.gap <= gap
        spent.append(int(sum(world.tell_all(sum(epochs)))))
        if world.rank:
            assert not epochs
    assert 0 < spent[0] < spent[1] < spent[2] <= 200
    lower, objective = proved_above(method, found.run, team), found.certificate.objective
    assert objective - 1e-8 < lower <= objective + 1e-14


@pytest.mark.ranks(1, 2, 3)
def test_what_worker_0_knows_of_all_rows_goes_to_whom_they_belong(worlds):
    world = worlds(workers=5)
    team = Data(rows=23, features=4).team(world, L2(1.0))
    mine = np.concatenate(world.gather(np.array([site.loss.rows for site in team.sites])))
    ends = np.cumsum(mine)
    values = np.arange(23.0) if 0 in world.hosted else np.empty(0)
    for site, part in zip(team.sites, returned_to(team, values), strict=True):
        np.testing.assert_array_equal(part, np.arange(ends[site.worker] - mine[site.worker], ends[site.worker]))
    assert returned_to(team, np.empty(0)) is None
