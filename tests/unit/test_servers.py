"""The protocol of comparisons of one server's methods: where they begin, how mu is tuned, what is told."""

from math import inf

import numpy as np
import pytest

from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.jobs.studies.apparatus.servers import LEVELS, Curves, Protocol, begun, beside, compared, followed, tuned
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data

TINY = Protocol("rcv1:rows=240,cols=20,per_row=4", 240, 3, 1e-2, {10: 1e-2, 40: 2e-3}, 6, {"AGD": (1, None, 4, None, None)})


def test_methods_begin_at_the_minimiser_of_the_servers_rows(worlds):
    data = Data(rows=90)
    team = data.team(worlds(workers=3), L2(1e-2))
    x, loss = begun(team, TINY), team.sites[0].loss
    assert np.linalg.norm(loss.value_grad(loss.point(x))[1] + 1e-2 * x) < 1e-6


def test_mu_is_halved_or_doubled_while_spag_ends_lower(worlds):
    team = Data(rows=300).team(worlds(workers=3), L2(1e-2))
    ends = {mu: followed("x", TINY.spag(40, mu), team, team.zeros(), 6).objective for mu in 0.04 * 2.0 ** np.arange(-6, 7)}
    for first in (0.04 / 32, 0.04, 0.04 * 32):
        mu, trail = tuned(TINY, 40, first, team, team.zeros())
        assert trail.objective == ends[mu] <= ends[first]
        assert all(not ends.get(other, inf) < ends[mu] for other in (mu / 2, mu * 2))


def test_fewer_rows_have_smaller_samples_and_stronger_pulls():
    less = TINY.of(60)
    assert less.rows == 60 and less.l2 == 4e-2 and less.servers == {10: 4e-2, 40: 8e-3}
    assert [less.sample(n) for n in (10, 40, 1)] == [2, 10, 1] and TINY.of(240) == TINY == TINY.of(1000)._replace(rows=240)
    assert less.spag(40, 0.3).rows == 10


@pytest.mark.ranks(1, 2)
def test_all_are_followed_alike_on_any_ranks(world):
    curves = compared(Lab(world, Console(first=False)), TINY, (0.5, 2.0))
    assert [name for name in curves.trails if "SPAG" in name] == [
        *("SPAG n=10", "SPAG n=40", "SPAG mu x 0.5", "SPAG mu x 2"),
    ]
    assert all(len(curves.at[name]) == len(curves.above[name]) <= 7 and curves.at[name][-1] <= 6 for name in curves.trails)
    assert all(above.min() >= 0 and above[0] == curves.above["AGD"][0] for above in curves.above.values())
    assert curves.last("SPCG") < 1e-8 < curves.above["SPCG"][0]
    trail = curves.trails["SPCG"]
    assert trail.readings["vector_rounds"][-1] >= trail.rounds and trail.points.shape == (1, 20)


def test_iterations_are_told_beside_the_published_ones():
    above = {"AGD": np.array([1.0, 5e-5, 2e-6, 5e-7]), "SPCG": np.array([1.0, 1e-9, 0.0, 0.0]), "DANE": np.ones(4)}
    curves = Curves(TINY, dict.fromkeys(above), {10: 0.5}, above, dict.fromkeys(above, np.arange(4.0)))
    assert curves.iterations("AGD", 1e-5) == 2 and curves.iterations("DANE", 1e-4) == inf
    assert curves.sooner("SPCG", "AGD") == 3 and curves.sooner("AGD", "DANE") == 4 / 3 and curves.sooner("DANE", "AGD") == 0
    told = beside(curves)
    assert "AGD: 1 (1), 2 (-), 3 (4), - (-), - (-)." in told and "SPCG: 1, 1, 1, 1, 1." in told and "0.5 for 10 rows" in told
    assert len(LEVELS) == len(TINY.published["AGD"]) and find("spag") is not None
