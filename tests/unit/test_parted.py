"""Problems of which each rank has some coordinates: sums through owners are sums, solves find what they find in whole vectors,
and a run that was kept in parts goes on, on other ranks too.
"""

import json
from contextlib import closing

import numpy as np
import pytest
import scipy.sparse

from mpiopt.comm.world import World
from mpiopt.engine.drive import Standing, solve
from mpiopt.engine.forms import Forms, Taken, taken_by
from mpiopt.engine.method import kept, whole
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.run_file import read_run
from mpiopt.kernels.csr import CSR
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.methods.by_owner import parts_of
from mpiopt.methods.linked import linked
from mpiopt.problems import parted as module
from mpiopt.problems.linear import Linear
from mpiopt.problems.parted import OwnedPart, PartedProblem, holders, joined
from mpiopt.problems.penalties import L1, L2
from mpiopt.problems.problem import Team, measures

SEVERAL = pytest.mark.ranks(2, 3)
RARE = "rcv1:rows=90,cols=400,per_row=6,spread=0.2"
LARGE = "text12:rows=8000,cols=400000"
SPCG = {"form": "counts", "accuracy": 0.01}


def rare(world, penalty=None, seed=0, cols=40, weighted=False) -> Team:
    """Rows with few of many features: some ranks have them alone, some nobody; a worker may have no rows."""
    losses = []
    for worker in world.hosted:
        rng = np.random.default_rng([seed, worker])
        rows = int(rng.integers(0, 9)) if worker else 8
        a = scipy.sparse.random(rows, cols, 0.1, "csr", rng=rng, data_rvs=rng.standard_normal)
        weights = rng.integers(0, 3, rows).astype(float) if weighted and worker else np.empty(0)
        matrix = CSR.of(a.indptr, a.indices, a.data, a.shape)
        losses.append(Linear(matrix, rng.choice([-1.0, 1.0], rows), Logistic(), weights, penalty is None or penalty.free > 0))
    return Team.of(world, losses, L2(0.1, free=1) if penalty is None else penalty)


def parted(team: Team, always: bool = False) -> PartedProblem | None:
    """The problem in parts, where it has such. Collective."""
    found = holders(team, always)
    return None if found is None else found.problem


@SEVERAL
@pytest.mark.parametrize("seed", range(8))
def test_sums_and_inner_products_are_those_of_whole_vectors(world, seed):
    team = rare(world, L2(0.1, free=seed % 2), seed)
    part = parted(team, always=True)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, team.dim))
    own, there = (part.places, part.team.world)
    assert there.whole(own.size) == part.dim == team.dim and part.most >= own.size
    mine = own[there.slices(own.size)[0]]
    np.testing.assert_array_equal(joined([OwnedPart(mine, x[mine])], team), x)
    assert np.allclose(there.dots([(x[own], y[own]), (y[own], y[own])]), [x @ y, y @ y], rtol=1e-13)
    for kind, more in ((np.float64, 0), (np.float32, 1), (np.int32, 0), (np.float64, 3)):
        vectors = [np.zeros(team.dim + more, kind) for _ in range(world.size)]
        for rank, vector in enumerate(vectors):
            places = world.tell(own, rank)
            vector[places] = np.random.default_rng([seed, rank]).integers(-9, 9, places.size)
            vector[team.dim :] = rank
        total, told = np.sum(vectors, axis=0, dtype=kind), vectors[world.rank]
        handed = np.append(told[own], told[team.dim :])
        before = handed.copy()
        found = there.sum([handed], "test")
        np.testing.assert_array_equal(found, np.append(total[own], total[team.dim :]))
        np.testing.assert_array_equal(handed, before)
        assert there.sum([handed], "test", out=handed) is handed and (handed == found).all() and found.dtype == kind
    np.testing.assert_allclose(measures(part.team, x[own], y[own]), measures(team, x, y), rtol=1e-13)
    for site, other in zip(team.sites, part.team.sites, strict=True):
        np.testing.assert_allclose(site.loss.margins(x), other.loss.margins(x[own]), atol=1e-14)


@SEVERAL
def test_owners_share_the_work_and_nothing_of_one_rank_is_sent(world):
    team = team_of(from_spec("default:rows=3000,cols=2000,per_row=10,spread=1"), world, L2(0.1))
    part = parted(team, always=True)
    owned = world.gather(np.array([part.team.world.slices(part.places.size)[0].stop - part.team.world.parts.own.start]))
    assert max(owned) < 1.1 * 2000 / world.size  # nearly all features are everybody's
    alone = rare(world, seed=3, cols=9000)
    part, told = parted(alone, always=True), world.tally
    before = told.bytes
    part.team.world.sum([np.ones(part.places.size)])
    here = float(told.bytes - before)
    held = [np.unique(site.loss.matrix.indices) for site in alone.sites]
    several = np.bincount(np.concatenate(world.gather(held[0])), minlength=9000)
    sent = world.total([np.array([here])])[0]
    assert sent == 8 * (2 * np.maximum(several - 1, 0).sum() + world.size)  # and the intercept of each


@SEVERAL
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"free": 1},
        {"weighted": True, "free": 1},
        {"jacobi": True},
        {"mu": 0.01},
        {"l2": 1e-5},
        {"far": 1.0, "weighted": True},
    ],
)
def test_solves_as_with_whole_vectors(world, options):
    given, start = dict(options), dict(options).pop("far", 0.0)
    given.pop("far", None)
    penalty, weighted = L2(given.pop("l2", 1e-2), free=given.pop("free", 0)), given.pop("weighted", False)
    found = []
    for parts in ("always", "never"):
        team = rare(world, penalty, weighted=weighted, cols=300)
        begun = start * np.random.default_rng(3).standard_normal(team.dim)  # also of what nobody has
        found.append(solve(find("spcg").make(**SPCG, **given, parts=parts), team, begun, Stop(rounds=80, gap=1e-11)))
        assert (parts_of(found[-1].run) is None) == (parts == "never")
    here, there = found
    assert here.reason.converged and here.reason is there.reason
    assert abs(here.final.round - there.final.round) <= 1 and here.x.shape == (team.dim,)
    np.testing.assert_allclose(here.x, there.x, atol=2e-4)
    assert here.certificate.objective == pytest.approx(there.certificate.objective, abs=1e-11)


@pytest.mark.ranks(3)
@pytest.mark.parametrize("jacobi", [False, True])
def test_long_parts_travel_in_few_bytes_and_may_be_empty(world, jacobi):
    rows = 0 if world.rank == 2 else 6
    a = scipy.sparse.random(rows, 2000, 0.02, "csr", rng=np.random.default_rng(world.rank), data_rvs=np.ones)
    everything = scipy.sparse.eye(2000, format="csr") if world.rank == 0 else a[:0]  # nothing is left for the last rank
    a = scipy.sparse.vstack([a, everything]).tocsr()
    matrix = CSR.of(a.indptr, a.indices, a.data, a.shape)
    loss = Linear(matrix, np.random.default_rng(1).choice([-1.0, 1.0], a.shape[0]), Logistic(), np.empty(0), False)
    team = Team.of(world, [loss], L2(1e-2))
    found = solve(find("spcg").make(**SPCG, jacobi=jacobi, parts="always"), team, team.zeros(), Stop(rounds=80, gap=1e-10))
    assert found.reason.converged and (found.run.points[0].x.size == 0) == (world.rank == 2)


@SEVERAL
def test_in_fewer_coordinates_too(world, monkeypatch):
    monkeypatch.setattr("mpiopt.problems.reduced.MANY", 0)
    team = team_of(from_spec("text12:rows=60,cols=900,per_row=20,own=0.6,topics=4"), world, L2(0.01))
    found = solve(find("spcg").make(**SPCG, parts="always"), team, team.zeros(), Stop(rounds=40, gap=1e-10))
    other = solve(find("lbfgs").make(), team, team.zeros(), Stop(rounds=400, gap=1e-12))
    assert found.reason.converged and parts_of(found.run).dim < 0.5 * team.dim
    np.testing.assert_allclose(found.x, other.x, atol=1e-4)


@pytest.mark.ranks(1, 2, 3)
def test_only_where_it_can_be_and_sends_less(worlds, monkeypatch):
    monkeypatch.setattr(module, "LONG", 0)
    few, size = from_spec("default:rows=200,cols=30,per_row=10"), worlds().size
    assert parted(team_of(few, worlds(), L2(0.1))) is None
    assert (parted(team_of(from_spec(RARE), worlds(), L2(0.1))) is None) == (size == 1)
    for world, penalty in ((worlds(deterministic=True), L2(0.1)), (worlds(workers=size + 1), L2(0.1)), (worlds(), L1(0.1))):
        team = team_of(from_spec(RARE), world, penalty)
        assert parted(team, always=True) is None
        for form in ("counts", "auto"):
            with pytest.raises(CapabilityError, match="has parts of the coordinates on several ranks of one worker each"):
                find("spcg").make(form=form, parts="always").init(team.zeros(), team)
    for given, said in (
        ({"parts": "few"}, "spcg cannot have parts 'few': choose auto, always or never"),
        ({"parts": "always", "form": "mean"}, "the form mean of spcg has no parts: leave `parts=always` out, or"),
    ):
        with pytest.raises(UsageError, match=said):
            find("spcg").make(**given)


@SEVERAL
def test_compressed_directions_are_of_whole_vectors(world, monkeypatch):
    monkeypatch.setattr(module, "LONG", 0)
    team = team_of(from_spec(RARE), world, L2(0.01))
    method = linked(find("spcg").make(**SPCG), "spcg", "natural")
    found = solve(method, team, team.zeros(), Stop(rounds=60, gap=1e-8))
    assert found.reason.converged and parts_of(found.run) is None


class Soon:
    """A rule that has a copy of all rows made after two rounds of counts."""

    def first(self, extent, forms):
        return Taken("counts", "a test")

    def asks_parts(self, extent):
        return False

    def watches(self, taken, extent, forms):
        return taken.form == "counts"

    def later(self, taken, extent, forms, rounds, objectives):
        return Taken("gathered", "a test") if rounds == 2 else taken


@SEVERAL
def test_another_form_goes_on_where_one_in_parts_stood(world, monkeypatch):
    monkeypatch.setattr(module, "LONG", 0)
    monkeypatch.setattr(module, "WORTH", 1)
    team, forms = rare(world, L2(1e-2, free=1), cols=200), find("spcg").make().inner.forms
    method = Forms({name: forms[name] for name in ("counts", "gathered")}, Soon())
    found = solve(method, team, team.zeros(), Stop(rounds=20, gap=1e-11))
    assert found.reason.converged and taken_by(found.run).form == "gathered"
    objectives = [record.objective for record in found.history]
    assert objectives == sorted(objectives, reverse=True)
    run = method.step(method.init(team.zeros(), team), team)
    mine, left = method.kept(run, team), method.forms["counts"].leaving(run._replace(states=run.states.states), team)
    assert isinstance(mine, PerWorker)
    x = left.points[0].x
    np.testing.assert_array_equal(method.whole(mine, team), x)
    np.testing.assert_array_equal(whole(method, kept(method, run, team), team), method.answer(run, team).x)
    np.testing.assert_allclose(left.points[0].margins, team.sites[0].loss.margins(x), atol=1e-12)
    measured = method.measure(run, team)
    assert left.agreed.scalars[0] + team.penalty.value(x) == pytest.approx(measured.objective, rel=1e-12)
    assert measures(team, x, left.agreed.vector)[0] == pytest.approx(measured.gradient_norm, rel=1e-9)


@pytest.mark.ranks(4)
def test_unlike_features_are_counted_and_alike_ones_not(world, monkeypatch):
    monkeypatch.setattr(module, "LONG", 0)
    monkeypatch.setattr("mpiopt.methods.spcg_rule.FEW", 0)
    for entries, form in ((3, "counts"), (150, "mean")):
        team = team_of(from_spec(f"default:rows=90,cols=400,per_row={entries},spread=0"), world, L2(1.0))
        found = solve(find("spcg").make(replicate="never"), team, team.zeros(), Stop(rounds=30, gap=1e-8))
        assert found.reason.converged and taken_by(found.run).form == form and (parts_of(found.run) is None) == (form == "mean")
        assert ("unlike features" in taken_by(found.run).why) == (form == "counts")


def kept_in(path, team, begun, rounds):
    """A solve that keeps where it stands. Collective."""
    with closing(Store(path, team.world, "run")) as store:
        found = store.find()
        begun = begun if found is None else store.load(found, team)
        keep = [lambda at, _: store.save(at, {}, team)]
        return solve(find("spcg").make(**SPCG, parts="always"), team, begun, Stop(rounds=rounds), (), keep)


@SEVERAL
def test_a_run_goes_on_to_the_same_bits(world, shared_tmp):
    team = rare(world, L2(1e-3, free=1), cols=200)
    straight = kept_in(shared_tmp / "a.h5", team, team.zeros(), 6)
    kept_in(shared_tmp / "b.h5", team, team.zeros(), 3)
    gone_on = kept_in(shared_tmp / "b.h5", rare(world, L2(1e-3, free=1), cols=200), None, 6)
    np.testing.assert_array_equal(straight.x, gone_on.x)
    assert [record.objective for record in gone_on.history] == [record.objective for record in straight.history]


@SEVERAL
def test_a_run_goes_on_from_its_point_on_other_ranks(comm, world, shared_tmp):
    team = rare(world, L2(1e-3, free=1), cols=200)
    before = kept_in(shared_tmp / "a.h5", team, team.zeros(), 3)
    alone = World(comm.Split(comm.rank), workers=world.size)
    world.barrier()
    if comm.rank == 0:
        team = rare(alone, L2(1e-3, free=1), cols=200)
        with closing(Store(shared_tmp / "a.h5", alone, "run")) as store:
            begun = store.load(store.find(), team)
        after = solve(find("spcg").make(**SPCG), team, begun, Stop(rounds=60, gap=1e-10))
        assert after.reason.converged and parts_of(after.run) is None
        assert after.history[3] == before.history[3] and after.history[4].objective < before.final.objective
    world.barrier()


@SEVERAL
def test_parts_of_another_problem_are_told(world):
    team = rare(world, L2(1e-3), cols=200)
    method = find("spcg").make(**SPCG, parts="always")
    found = solve(method, team, team.zeros(), Stop(rounds=2))
    (mine,) = found.run.states.states.own
    states = found.run.states.states._replace(own=PerWorker([mine._replace(places=mine.places + 7 * (world.rank == 0))]))
    run = found.run._replace(states=found.run.states._replace(states=states))
    begun = Standing(run, found.history, (True,) * len(found.history))
    with pytest.raises(DataError, match="its point is in coordinates of another problem, and this one has 200"):
        solve(find("spcg").make(**SPCG, parts="always"), team, begun, Stop(rounds=4))


def test_what_solve_says(series, tmp_path):
    told = ["solve", RARE, "--l2", "1e-3", "--set", "form=counts", "--set", "parts=always", "--overwrite"]
    before = ["solve", LARGE, "--l2", "1e-6", "--replicate", "never", "--dry-run"]
    lines = [[*told, "--out", str(tmp_path / "r.h5"), "--json"], [*told, "--out", "none"], before, [*told, "--dry-run"]]
    spoken, shown, ahead, asked = series(2, *lines)
    assert all(done.returncode == 0 for done in (spoken, shown, ahead, asked)), (spoken.stderr, ahead.stderr, asked.stderr)
    said = json.loads(spoken.stdout)
    most = said["coordinates_a_worker"]
    assert said["coordinates"] == 400 > most > 200 and read_run(tmp_path / "r.h5").attributes["coordinates_a_worker"] == most
    text = " ".join(shown.stdout.split())
    assert f"form counts: asked for, in 400 coordinates, up to {most} a worker work" in text
    assert "a round, by all ranks; less where they have unlike features" in ahead.stdout
    assert max(map(len, (shown.stdout + ahead.stdout).splitlines())) <= 80
