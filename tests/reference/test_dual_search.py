"""DualSearch and the lower bound that dual variables prove: against Newton's method, on any split of the rows."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.engine.drive import Standing, solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.method import proved_above
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.runs.state_tree import flatten, unflatten
from mpiopt.losses.registry import find as loss_named
from mpiopt.methods import find
from mpiopt.methods.dual_search import DualSearch
from mpiopt.problems.dual_bound import dual_bound
from mpiopt.problems.penalties import L1, L2
from mpiopt.problems.problem import Team
from tests.adversarial_sets import dense

LOSSES = ("logistic", "least_squares", "squared_hinge", "huber:delta=0.5")


def posed(world, text, intercept, l2=0.02):
    """Weighted rows with offsets, a few of weight 0."""
    family, rng = loss_named(text), np.random.default_rng(3)
    case = replace(dense("dual", 5, n=40, d=12), intercept=intercept, w=rng.uniform(0, 2, 40) * (rng.random(40) > 0.1))
    team = case.team(world, 0.0, l2)
    offsets = np.split(rng.normal(size=40) * 0.5, np.cumsum([site.loss.rows for site in team.sites])[:-1])
    if world.size > 1:  # of this rank's rows
        offsets = [np.linspace(-0.5, 0.5, site.loss.rows) for site in team.sites]
    losses = [replace(site.loss, family=family, offset=offset) for site, offset in zip(team.sites, offsets, strict=True)]
    return Team.of(world, losses, L2(l2, free=int(intercept)))


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("text", LOSSES)
def test_the_optimum_and_its_proof(worlds, text, intercept):
    team = posed(worlds(), text, intercept)
    best = solve(find("newton").make(), team, team.zeros(), Stop(rounds=60, gradient=1e-11))
    found = solve(DualSearch(), team, team.zeros(), Stop(rounds=200, gap=1e-10))
    assert found.reason is Reason.GAP
    assert -1e-14 <= found.certificate.objective - best.certificate.objective <= 1e-10
    assert found.certificate.gap <= 1e-10
    np.testing.assert_allclose(found.x, best.x, atol=1e-4)
    assert found.final.vector_rounds == found.history[0].vector_rounds
    least = best.certificate.objective + 1e-12
    assert all(record.objective - record.gap <= least for record in found.history)
    warm = solve(DualSearch(), team, best.x, Stop(rounds=20, gap=1e-10))
    assert warm.final.round <= 3


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
def test_the_bound_holds_for_any_dual_variables_and_is_tight_for_the_best(worlds, intercept):
    for text in LOSSES:
        team = posed(worlds(), text, intercept)
        best = solve(find("newton").make(), team, team.zeros(), Stop(rounds=60, gradient=1e-11))
        fitting = [
            site.loss.family.dual_variables(site.loss.shifted(site.loss.margins(best.x)), site.loss.y) for site in team.sites
        ]
        assert dual_bound(team, fitting) == pytest.approx(best.certificate.objective, abs=1e-9)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            alphas = [np.clip(a + 0.3 * rng.normal(size=a.size), 0.01, 0.45) for a in fitting]
            assert dual_bound(team, alphas) <= best.certificate.objective + 1e-12


def test_a_run_goes_on_to_the_same_bits(worlds):
    team = posed(worlds(), "logistic", True, l2=1e-3)
    whole = solve(DualSearch(), team, team.zeros(), Stop(rounds=6))
    part = solve(DualSearch(), team, team.zeros(), Stop(rounds=3))
    flat = flatten(part.run)
    run = unflatten(flat.tree, flat.arrays, flat.parts, flat.own)
    again = solve(DualSearch(), team, Standing(run, part.history, (True,) * 4), Stop(rounds=6))
    assert (again.run.points[0].x == whole.run.points[0].x).all()
    assert [record.objective for record in again.history] == [record.objective for record in whole.history]


def test_cocoa_ends_by_its_own_dual_variables(worlds):
    team = posed(worlds(), "logistic", False, l2=0.02)
    found = solve(find("cocoa").make(), team, team.zeros(), Stop(rounds=300, gap=1e-6))
    assert found.reason is Reason.GAP
    assert found.certificate.gap <= 1e-6 < found.certificate.gradient_norm**2 / (2 * 0.02)


def test_what_it_refuses(worlds):
    world = worlds(workers=2)
    with pytest.raises(CapabilityError, match="is for one worker, and here are 2"):
        solve(DualSearch(), posed(world, "logistic", False), np.zeros(12), Stop(rounds=1))
    world = worlds()
    for text, penalty, told in (
        ("logistic", L1(0.1), "has none at the kinks"),
        ("logistic", L2(0.0), "needs an l2 penalty"),
        ("poisson", L2(0.1), "does not offer"),
    ):
        team = posed(world, "logistic" if text == "poisson" else text, False)
        losses = [replace(site.loss, family=loss_named(text), y=abs(site.loss.y)) for site in team.sites]
        with pytest.raises(CapabilityError, match=told):
            solve(DualSearch(), Team.of(world, losses, penalty), np.zeros(12), Stop(rounds=1))


def test_spcg_ends_by_its_dual_variables_no_further_than_is_asked(worlds):
    """In fewer coordinates, too."""
    team = team_of(from_spec("text12:rows=1000,cols=20000,per_row=40"), worlds(workers=1), L2(1e-3))
    method = find("spcg").make()
    loose, tight = (solve(method, team, team.zeros(), Stop(rounds=60, gap=gap)) for gap in (1e-5, 1e-9))
    for found, gap in ((loose, 1e-5), (tight, 1e-9)):
        assert found.reason is Reason.GAP and taken_by(found.run).form == "dual"
        assert found.certificate.gap <= gap
        lower = proved_above(method, found.run, team)
        assert found.certificate.objective - 2 * gap <= lower <= tight.certificate.objective + 1e-12
    assert tight.certificate.objective < loose.certificate.objective <= tight.certificate.objective + 1e-5
    assert (loose.run.states.states.dual[0].alpha[0] != tight.run.states.states.dual[0].alpha[0]).any()
