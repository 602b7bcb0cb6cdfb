"""S-DANE, Acc-S-DANE and AEG: what they count and record, their optimum, how near local solves go, refusals.

That every round leads where the papers say is held in test_dense_baselines.py.
"""

import numpy as np
import pytest
from mpi4py import MPI

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.stabilised import acc_s_dane, aeg, s_dane
from mpiopt.methods.strides import accelerated, plainly, sliding
from mpiopt.problems.penalties import L1, L2
from mpiopt.problems.surrogate import Reference
from mpiopt.work.exact import Nearby
from mpiopt.work.server import common_mu, server_mu
from tests.problem_sets import Data

KINDS = {
    "s_dane": (s_dane(), 3),
    "s_dane, search": (s_dane(search=True), 4),
    "s_dane, server": (s_dane(server=True, search=True), 3),
    "acc_s_dane": (acc_s_dane(), 4),
    "acc_s_dane, server": (acc_s_dane(server=True), 3),
    "acc_s_dane, no search": (acc_s_dane(search=False), 3),
    "aeg": (aeg(), 3),
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("loss", "intercept", "weighted"), [("logistic", True, True), ("least_squares", False, False)])
def test_the_defaults_find_the_optimum_with_so_many_vector_rounds_a_trial(worlds, kind, loss, intercept, weighted):
    method, each = KINDS[kind]
    data, penalty = Data(rows=400, loss=loss, intercept=intercept, weighted=weighted), L2(1e-2, free=int(intercept))
    found = solve(method, data.team(worlds(workers=3), penalty), np.zeros(data.dim), Stop(rounds=400, gradient=1e-8))
    assert found.reason is Reason.GRADIENT, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-5)
    again = found.final.round * each - found.final.vector_rounds  # gradients at centres that trials have shared
    assert again == 0 if "no" in kind or kind in ("s_dane", "aeg") else 0 <= again < found.final.round


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_record_is_of_x_and_a_rejected_trial_is_no_news(worlds, kind):
    data, penalty, method = Data(rows=80, weighted=True), L2(1e-2), KINDS[kind][0]
    team, last = data.team(worlds(workers=3), penalty), None
    steps = rounds(method, team, np.zeros(data.dim))
    for _ in range(9):
        run = next(steps)
        x, measured = method.answer(run, team).x, method.measure(run, team)
        value, gradient = data.objective(x, penalty)
        assert measured.objective == pytest.approx(value, rel=1e-13)
        assert measured.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
        assert measured.fresh == (x is not last)
        last = x


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("kind", list(KINDS))
def test_ranks_do_not_change_the_answer(worlds, kind):
    data, penalty, method = Data(rows=60, weighted=True), L2(1e-3), KINDS[kind][0]

    def end(world):
        steps = rounds(method, data.team(world, penalty), np.zeros(data.dim))
        return [next(steps) for _ in range(9)][-1].points[0].x

    alone = World(MPI.COMM_SELF, workers=3, deterministic=True)
    serial, ordered, free = map(end, (alone, worlds(workers=3, deterministic=True), worlds(workers=3)))
    alone.free()
    np.testing.assert_array_equal(ordered, serial)
    np.testing.assert_allclose(free, serial, rtol=1e-9)


def test_mu_is_that_of_dane_and_twice_that_of_a_server_for_aeg(worlds):
    team = Data(rows=100).team(worlds(workers=4), L2(1e-2))
    assert s_dane().init(team.zeros(), team).states.mu == common_mu(team)
    assert s_dane(server=True).init(team.zeros(), team).states.mu == server_mu(team, None)
    assert aeg(server_rows=7).init(team.zeros(), team).states.mu == 2 * server_mu(team, 7)
    assert aeg(0.5).init(team.zeros(), team).states.mu == 0.5


@pytest.mark.parametrize("mu", [0.0, 5e-324, 1e-200, 1e-3, 1e200])
@pytest.mark.parametrize("l2", [0.0, 1e-300, 1e-3, 1e10])
def test_moves_are_finite_whatever_pulls(mu, l2):
    for rule in (plainly, accelerated, *([sliding] if l2 else [])):
        for ratio in (0.0, 1.0, 1e10):
            moves = rule(ratio, mu, l2)
            assert np.isfinite(moves[:2]).all() and 0 <= moves.pull <= 1 and 0 < moves.centre <= 1


def test_local_solves_are_as_near_as_they_are_asked_to_be(worlds):
    data = Data(rows=80)
    phi = Reference.of(data.linear(0, 30), L2(1e-2), 0.1)
    at = phi.loss.point(np.zeros(data.dim))
    q = phi.grad(at) - np.linspace(-1, 1, data.dim)
    for part in (0.5, 1e-3):
        z, _ = Nearby(part)(phi, q, at, ())
        assert np.linalg.norm(phi.grad(phi.loss.point(z)) - q) <= part * 0.1 * np.linalg.norm(z)
    loose, tight = (np.linalg.norm(phi.grad(phi.loss.point(Nearby(part)(phi, q, at, ())[0])) - q) for part in (0.5, 1e-6))
    assert loose > 10 * tight
    unpulled = Reference.of(data.linear(0, 30), L2(1e-2), 0.0)
    z, _ = Nearby()(unpulled, q, at, ())
    assert np.linalg.norm(unpulled.grad(unpulled.loss.point(z)) - q) <= 1e-6 * np.linalg.norm(unpulled.grad(at) - q)


def test_what_they_cannot_do_is_refused(worlds):
    kinked, bare = Data().team(worlds(workers=1), L1(0.1)), Data().team(worlds(workers=2), L2(0.0))
    for build in (s_dane, acc_s_dane, aeg):
        with pytest.raises(CapabilityError, match="fista"):
            build().init(kinked.zeros(), kinked)
        for wrong in ({"mu": -1.0}, {"accuracy": 2.0}):
            with pytest.raises(UsageError, match=next(iter(wrong))):
                build(**wrong)
    with pytest.raises(UsageError, match="`l2` above 0, or use `method=acc_s_dane`"):
        aeg().init(bare.zeros(), bare)
    with pytest.raises(UsageError, match="`server_rows=5` is for one server"):
        s_dane(server_rows=5)
