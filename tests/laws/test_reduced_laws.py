"""A data set that brings its rows in fewer columns is solved as one for which they are made at the start, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.methods import find
from mpiopt.problems import reduced as module
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.problems.reduced import reduced
from tests.reduced_sets import laid

LAW = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
FORMS = st.fixed_dictionaries(
    {
        "shards": st.integers(1, 4),
        "values": st.sampled_from(["float32", "float64"]),
        "gzip": st.sampled_from([None, 3]),
        "shuffle": st.sampled_from([None, 0, 7]),
        "normalize": st.sampled_from(["none", "l2"]),
        "scale": st.sampled_from(["none", "max"]),
    }
)


@pytest.fixture
def few(monkeypatch):
    """Problems of few features are reduced, too."""
    monkeypatch.setattr(module, "MANY", 0)


def weighed(team: Team, seed: int) -> Team:
    """The same rows with weights, some of them 0, as those of a fold."""
    losses = []
    for site in team.sites:
        weights = np.random.default_rng([seed, site.worker]).choice([0.0, 1.0, 2.5], site.loss.rows)
        losses.append(replace(site.loss, weights=weights + (site.worker == 0)))
    return Team.of(team.world, losses, team.penalty)


@pytest.mark.ranks(1, 2, 3)
@LAW
@given(FORMS, st.integers(6, 60), st.integers(0, 2**31), st.integers(0, 3), st.booleans())
def test_brought_is_made(worlds, shared_tmp, few, ranks, form, rows, seed, extra, intercept):
    world = worlds()
    text = laid(world, shared_tmp / "a.svm", rows, seed)
    index = convert(world, [text], shared_tmp / "a.h5", TextOptions(**form, reduce=True, overwrite=True))
    assert index.reduced is not None
    part = worlds(workers=ranks + extra)
    source, penalty = Dataset.open(shared_tmp / "a.h5", part), L2(1e-3, free=int(intercept))
    made, brought = (team_of(source, part, penalty, fewer=fewer) for fewer in (False, True))
    ours, theirs = reduced(made), reduced(brought)
    assert module.brings(brought) and not module.brings(made)
    for name in ("columns", "singles", "sources", "factors"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for one, other in zip(ours.team.sites, theirs.team.sites, strict=True):
        assert one.loss.matrix.shape == other.loss.matrix.shape
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(one.loss.matrix, name), getattr(other.loss.matrix, name))
    for teams in ((made, brought), (weighed(made, seed), weighed(brought, seed))):
        found = [solve(find("spcg").make(), team, team.zeros(), Stop(rounds=3)) for team in teams]
        np.testing.assert_array_equal(found[0].x, found[1].x)
        assert found[0].certificate.objective == found[1].certificate.objective
        assert found[1].run.points[0].x.size < found[1].x.size
    world.barrier()  # all have read before it is written anew
