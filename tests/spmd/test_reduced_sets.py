"""`convert --reduce`: rows in fewer columns beside X, who takes them, and what is wrong with them in a sentence."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.sparse

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import DataError
from mpiopt.io.dataset.class_team import class_team_of
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.reduced_check import verify_reduced
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.methods import find
from mpiopt.problems import reduced as module
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet
from tests.forged import entry, forged, forged_shard, put
from tests.reduced_sets import laid
from tests.svm_text import contents

SIZES, OPTIONS = pytest.mark.ranks(1, 2, 3), TextOptions(reduce=True, shards=3, one_label=True)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Problems of few features are reduced, too."""
    monkeypatch.setattr(module, "MANY", 0)


def converted(world, folder, rows=50, options=OPTIONS, classes=2) -> Dataset:
    """Collective."""
    text = laid(world, folder / "a.svm", rows, 1, classes)
    convert(world, [text], folder / "a.h5", options)
    return Dataset.open(folder / "a.h5", world)


def anndata_s(file: h5py.File, name: str) -> scipy.sparse.csr_matrix:
    """A sparse matrix as the reader of anndata takes it: of `encoding-type` and `shape`, and three arrays."""
    place = file[name]
    assert place.attrs["encoding-type"] == "csr_matrix" and place.attrs["encoding-version"] == "0.1.0"
    return scipy.sparse.csr_matrix(tuple(place[part][()] for part in ("data", "indices", "indptr")), place.attrs["shape"])


@SIZES
def test_l1_box_and_l2_on_one_set_whose_x_is_the_user_s(world, shared_tmp):
    source = converted(world, shared_tmp)
    plain = convert(world, [shared_tmp / "a.svm"], shared_tmp / "b.h5", replace(OPTIONS, reduce=False))
    assert plain.reduced is None and source.content == Dataset.open(shared_tmp / "b.h5", world).content
    if world.rank == 0:
        for number in range(3):
            with (
                h5py.File(shared_tmp / "a.shards" / f"000{number}.h5") as file,
                h5py.File(shared_tmp / "b.shards" / f"000{number}.h5") as other,
            ):
                assert (anndata_s(file, "X") != anndata_s(other, "X")).nnz == 0 and file["X"].attrs["shape"][1] == source.cols
                small = anndata_s(file, "reduced")
                assert small.shape[1] < source.cols
                squares = [np.asarray(each.multiply(each).sum(axis=1)) for each in (small, anndata_s(file, "X"))]
                np.testing.assert_allclose(*squares, rtol=1e-6)
    for penalty, taken in ((L1(0.02), False), (Box(-0.5, 1.0, 0.01), False), (ElasticNet(0.01, 0.01), False), (L2(0.01), True)):
        method = find("spcg").make()
        team = team_of(source, world, penalty, fewer=True)
        assert module.brings(team) == taken
        found = solve(method, team, team.zeros(), Stop(rounds=200, gap=1e-10))
        exact = solve(method, same := team_of(source, world, penalty), same.zeros(), Stop(rounds=200, gap=1e-10))
        assert found.reason is Reason.GAP and (found.run.points[0].x.size < source.cols) == taken
        np.testing.assert_array_equal(found.x, exact.x)
        other = solve(find("prox_gradient").make(), same, same.zeros(), Stop(rounds=5000, gap=1e-9))
        assert abs(other.certificate.objective - found.certificate.objective) <= 2e-9


@SIZES
def test_the_same_files_from_any_ranks_and_writers(world, shared_tmp):
    source = converted(world, shared_tmp, options=replace(OPTIONS, gzip=2))
    whole = write_shards(world, source, shared_tmp / "b.h5", shards=3, gzip=2, reduce=True)
    assert [len(part) for part in whole.reduced] == [len(part) for part in source.index.reduced]
    if world.rank == 0:
        from mpiopt.comm.alone import SelfComm
        from mpiopt.comm.world import World

        convert(World(SelfComm()), [shared_tmp / "a.svm"], shared_tmp / "c.h5", replace(OPTIONS, gzip=2))
        verify_reduced(Dataset.open(shared_tmp / "b.h5"))
        for number in range(3):
            one, other = (contents(shared_tmp / f"{name}.shards" / f"000{number}.h5") for name in "ac")
            assert one.keys() == other.keys() and ("reduced/factors") in one
            for name, value in one.items():
                assert repr(value) == repr(other[name]), name
    world.barrier()


@SIZES
def test_classes_take_them_too(world, shared_tmp):
    source = converted(world, shared_tmp, classes=3)
    for kind in ("ovr", "multinomial"):
        found = []
        for fewer in (False, True):
            team = class_team_of(source, world, L2(0.01, free=3), kind, fewer=fewer)
            assert module.brings(team) == fewer
            found.append(solve(find("spcg").make(), team, team.zeros(), Stop(rounds=5)))
        assert found[1].run.points[0].x.size < found[1].x.size
        np.testing.assert_array_equal(found[0].x, found[1].x)


@SIZES
def test_nothing_is_sent_to_make_them(worlds, shared_tmp):
    converted(worlds(), shared_tmp)
    sent = []
    for fewer in (False, True):
        world = worlds()
        team = team_of(Dataset.open(shared_tmp / "a.h5", world), world, L2(0.01), fewer=fewer)
        sent.append(solve(find("spcg").make(), team, team.zeros(), Stop(rounds=1)).final)
    assert sent[1].vector_rounds <= sent[0].vector_rounds - (world.workers > 1)
    assert (sent[1].bytes_sent < sent[0].bytes_sent) == (world.workers > 1)


@SIZES
def test_values_of_another_type_and_other_rows_come_without(world, shared_tmp):
    source = converted(world, shared_tmp)
    assert not module.brings(team_of(source, world, L2(0.1), values="float64", fewer=True))
    assert not module.brings(team_of(source, world, L2(0.1)))
    matrix = team_of(source, world, L2(0.1), fewer=True).sites[0].loss.matrix
    for other in (matrix.take(np.arange(3)), matrix.rows_slice(0, 3), replace(matrix)):
        assert matrix.fewer is not None and other.fewer is None


@SIZES
def test_a_run_goes_on_with_what_was_brought_from_what_was_made(worlds, shared_tmp):
    converted(worlds(), shared_tmp)
    world, method = worlds(workers=3, deterministic=True), find("spcg").make(form="counts")
    source = Dataset.open(shared_tmp / "a.h5", world)
    made, brought = (team_of(source, world, L2(1e-3), fewer=fewer) for fewer in (False, True))
    whole = solve(method, made, made.zeros(), Stop(rounds=4))
    for first, then in ((made, brought), (brought, made)):
        store = Store(shared_tmp / f"{module.brings(first)}.h5", world, "run")
        solve(method, first, first.zeros(), Stop(rounds=2), (), [lambda at, _, s=store, t=first: s.save(at, {}, t)])
        found = solve(find("spcg").make(form="counts"), then, store.load(store.find(), then), Stop(rounds=4))
        np.testing.assert_array_equal(found.x, whole.x)


@SIZES
def test_none_are_written_where_that_does_not_pay(world, shared_tmp, monkeypatch):
    text = shared_tmp / "dense.svm"
    if world.rank == 0:
        text.write_text("".join(f"{k % 2} 1:1 2:{k + 1} 3:1\n" for k in range(20)))
    world.barrier()
    assert convert(world, [text], shared_tmp / "d.h5", OPTIONS).reduced is None
    if world.rank == 0:
        (shared_tmp / "large.svm").write_text("1 1:1e32 2:1\n0 3:1\n")
    world.barrier()
    assert convert(world, [shared_tmp / "large.svm"], shared_tmp / "l.h5", OPTIONS).reduced is None
    monkeypatch.setattr(module, "MANY", 5000)
    convert(world, [laid(world, shared_tmp / "a.svm", 50, 1)], shared_tmp / "a.h5", OPTIONS)
    assert Dataset.open(shared_tmp / "a.h5", world).index.reduced is None


def first(name: str, value: object):
    """Another first entry of shard 1."""
    return lambda place: forged_shard(place, 1, entry(f"reduced/{name}", 0, value))


def other(name: str, values: np.ndarray, **options: object):
    return lambda place: forged_shard(place, 1, put(f"reduced/{name}", values, **options))


def gone(file: h5py.File) -> None:
    del file["reduced"]


CHANGED, REST = "its reduced rows are not those of its X", {"chunks": (1,), "fletcher32": True}
HOSTILE = {
    "another X": (lambda place: forged_shard(place, 1, entry("X/data", 0, 9.0)), CHANGED),
    "another column of X": (lambda place: forged_shard(place, 1, entry("X/indices", 0, 1)), CHANGED),
    "another value": (first("data", 9.0), CHANGED),
    "no group": (lambda place: forged_shard(place, 1, gone), "reduced/data is missing or leads elsewhere"),
    "other type": (other("data", np.zeros(3, "S4"), **REST), "reduced/data is of type"),
    "no checksums": (other("factors", np.ones(3, np.float32)), "reduced/factors is stored without checksums"),
    "index": (lambda place: forged(place, entry("reduced/checksum", 1, 5)), CHANGED),
}
CONSISTENT = {  # under checksums of the forger's own
    "columns beyond": (first("indices", 10**6), "have columns that there are not"),
    "columns below": (first("indices", -1), "have columns that there are not"),
    "NaN": (first("data", np.nan), "values that are not finite"),
    "infinite": (first("data", np.inf), "values that are not finite"),
    "singles beyond": (first("singles", 10**6), "lead to columns that there are not"),
    "singles below": (first("singles", -5), "lead to columns that there are not"),
    "sources": (first("sources", 0), "lead to columns that there are not"),
    "far sources": (first("sources", 2**31 - 1), "lead to columns that there are not"),
    "factors": (first("factors", np.nan), "factors that cannot be"),
    "large factors": (first("factors", 1e9), "factors that cannot be"),
    "pointers": (first("indptr", 3), "row pointers do not ascend"),
    "a column twice": (first("singles", 0), "have a column twice"),
    "short": (other("sources", np.zeros(1, np.int32), **REST), "reduced/sources is of shape"),
    "float pointers": (other("indptr", np.zeros(3), **REST), "reduced/indptr is of type"),
}
INDEX = {
    "more columns": (put("reduced/merged", np.array([9, 9, 10**6])), "its reduced rows do not fit its rows"),
    "fewer shards": (put("reduced/nnz", np.array([9, 9])), "its reduced rows are of other shards"),
    "map beyond": (entry("reduced/columns", 0, 10**6), "its reduced rows are of columns that it does not have"),
    "map below": (entry("reduced/columns", 0, -1), "its reduced rows are of columns that it does not have"),
    "float map": (put("reduced/columns", np.zeros(3)), "reduced/columns is of type"),
    "no map": (lambda file: file.__delitem__("reduced/columns"), "reduced/columns is missing"),
}


@SIZES
@pytest.mark.parametrize("name", [*HOSTILE, *CONSISTENT])
def test_what_is_wrong_is_said_on_every_rank_where_it_is_taken(world, shared_tmp, name, monkeypatch):
    converted(world, shared_tmp)
    change, says = (HOSTILE | CONSISTENT)[name]
    if world.rank == 0:
        change(shared_tmp / "a.h5")
    world.barrier()
    source = Dataset.open(shared_tmp / "a.h5", world)
    if name in CONSISTENT:
        sums = iter(source.index.reduced.checksum.tolist())
        monkeypatch.setattr("mpiopt.io.dataset.reduced_rows.tie", lambda file: next(sums))
    with pytest.raises(DataError, match=says) as caught:
        team_of(source, world, L2(0.1), fewer=True)
    assert "convert again" in str(caught.value)
    if "X" not in name:  # which a solve that has no use for them does not mind
        team_of(source, world, L1(0.1), fewer=True)


@SIZES
@pytest.mark.parametrize("name", INDEX)
def test_an_index_that_cannot_be_is_damaged(world, shared_tmp, name):
    converted(world, shared_tmp)
    change, says = INDEX[name]
    if world.rank == 0:
        forged(shared_tmp / "a.h5", change)
    world.barrier()
    with pytest.raises(DataError, match=says):
        Dataset.open(shared_tmp / "a.h5", world)


@SIZES
def test_a_hand_that_changes_x_is_seen(world, shared_tmp):
    """As today, whatever lies beside it."""
    converted(world, shared_tmp)
    if world.rank == 0:
        with h5py.File(shared_tmp / "a.shards" / "0001.h5", "r+") as file:
            file["X/data"][0] *= 2
    world.barrier()
    with pytest.raises(DataError, match=r"0001\.h5 is truncated or replaced"):
        Dataset.open(shared_tmp / "a.h5", world)


@pytest.mark.ranks(1)
def test_describing_compares_them_with_x(world, shared_tmp, monkeypatch):
    source = converted(world, shared_tmp)
    verify_reduced(source)
    forged_shard(shared_tmp / "a.h5", 1, entry("reduced/data", 0, 9.0))
    source = Dataset.open(shared_tmp / "a.h5")
    with pytest.raises(DataError, match=CHANGED):
        verify_reduced(source)
    sums = iter(source.index.reduced.checksum.tolist())
    monkeypatch.setattr("mpiopt.io.dataset.reduced_rows.tie", lambda file: next(sums))
    with pytest.raises(DataError, match="its reduced rows are not those of X, from row"):
        verify_reduced(source)
