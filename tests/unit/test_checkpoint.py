"""Checkpoint files: what is written comes back as it was, and no kill, damage or full disk costs the last good one."""

import os
import random
import resource
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.engine.drive import Standing
from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerRow, PerWorker
from mpiopt.engine.stop import Reason, Record
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.disk import held_name
from mpiopt.io.runs import worker_bytes
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.part_kinds import strange
from mpiopt.io.runs.run_file import RunFile, claim, read_run
from mpiopt.io.runs.state_tree import flatten, unflatten
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running import solving, training
from mpiopt.jobs.running.checkpoints import Checkpoints
from mpiopt.jobs.running.signals import Signals, end_of_job
from mpiopt.jobs.solve import complete
from mpiopt.numerics.krylov import CG
from mpiopt.problems.problem import Message, Point
from tests.forged import forged

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


class Alone:
    """A world of one rank without MPI, so that a test may fork."""

    rank, size, workers, hosted = 0, 1, 2, range(2)

    @contextmanager
    def together(self, doing):
        yield

    def tell(self, message):
        return message

    def tell_all(self, message):
        return [message]

    def bcast(self, x):
        return x

    def host_of(self, worker):
        return 0

    def total(self, parts):
        return parts[0]

    def barrier(self):
        pass


WORLD = Alone()
TEAM = SimpleNamespace(world=WORLD, sites=[SimpleNamespace(loss=SimpleNamespace(rows=rows)) for rows in (3, 0)], dim=500)


def standing(k: int) -> Standing:
    """Where some run stands after round k, every array of it telling k."""
    x, agreed = np.full(500, k + 0.5), np.arange(500.0) * k
    points = PerWorker(Point(x, np.full(rows, float(k)), gradient=agreed) for rows in (3, 0))
    dual = PerRow(np.full((2, rows), k + 0.25) for rows in (3, 0))
    states = (
        CG(x, agreed, np.zeros(500), np.float64(k), 0.1, k, 2),
        dual,
        None,
        (True, "text", float("inf")),
        np.float32(0.1),
        np.array(k),
        np.zeros((0, 2)),
    )
    run = Run(points, Message(agreed, np.array([1.0])), states, k)
    history = tuple(Record(i, 0.1 * i, 1 / 3, 0.0, float("inf"), 10**12 * i, i, i) for i in range(k + 1))
    return Standing(run, history, tuple(i % 2 == 0 for i in range(k + 1)))


def kept(path, *rounds: int, identity=MappingProxyType({"l2": 1e-5, "workers": 2})) -> Store:
    store = Store(path, WORLD, "name")
    for k in rounds:
        store.save(standing(k), identity, TEAM)
    return store


def loaded(path) -> Standing:
    store = Store(path, WORLD, "")
    return store.load(store.find(), TEAM)


def equal(a, b) -> bool:
    """The same types, numbers and bits all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b) and a.shape == b.shape
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


# ------------------------------------------------------------------------------------------ the tree
def test_a_run_comes_back_with_types_bits_and_aliases(tmp_path):
    kept(tmp_path / "c.h5", 3)
    found, expected = loaded(tmp_path / "c.h5"), standing(3)
    assert equal(found, expected)
    points, cg = found.run.points, found.run.states[0]
    assert points[0].x is points[1].x is cg.x and points[0].gradient is points[1].gradient is found.run.agreed.vector
    assert not np.may_share_memory(points[0].margins, found.run.states[1][0])


class Pair(NamedTuple):
    first: object
    second: object


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.floats(width=32, allow_nan=False).map(np.float32),
    st.integers(0, 9).map(np.int64),
    st.sampled_from([np.zeros(0), np.eye(2), np.arange(3, dtype=np.int32), np.array(1.5), np.ones((2, 3))[:, ::2]]),
)
trees = st.recursive(leaves, lambda t: st.lists(t, max_size=3).map(tuple) | st.builds(Pair, t, t), max_leaves=8)


@given(joint=trees, first=trees, second=trees, row=st.integers(0, 3))
def test_any_tree_of_plain_data_survives(joint, first, second, row):
    tree = (joint, PerWorker((first, second)), PerRow((np.zeros(row), np.ones(row))), PerWorker(((PerRow((first,)), 1),) * 2))
    flat = flatten(tree)
    assert equal(unflatten(flat.tree, flat.arrays, flat.parts, flat.own), tree)


@pytest.mark.parametrize("leaf", [[1.0], {"a": 1}, {1}, object(), 1j])
def test_what_is_not_plain_data_is_named(leaf):
    with pytest.raises(TypeError, match=f"run/1/0 is a {type(leaf).__name__}"):
        flatten((0, (leaf,)))


def test_a_tree_of_another_version_is_refused():
    flat = flatten(Pair(1, 2))
    with pytest.raises(DataError, match="not what this version"):
        unflatten(flat.tree | {"type": "mpiopt.gone.Pair"}, {}, [], [])


class Later(NamedTuple):
    """Pair, in a version that has put another part before its own, and given it a default."""

    added: str = "none yet"
    second: object = None
    first: object = None


def test_a_state_is_read_by_the_names_of_its_parts():
    flat = flatten(Pair(1, 2))
    title = f"{Later.__module__}.{Later.__qualname__}"
    assert unflatten(flat.tree | {"type": title}, {}, [], []) == Later("none yet", second=2, first=1)


class Kinds(NamedTuple):
    """One part of every kind."""

    array: np.ndarray
    number: float
    count: int
    flag: bool
    text: str | None
    many: tuple[Pair, ...]
    worked: PerWorker
    anything: object


FITTING = Kinds(np.ones(2), 1.0, 1, True, None, (Pair(1, 2),), PerWorker((1,)), 0)
STRANGE = [
    ("array", 1.0),
    ("array", (1.0,)),
    ("number", "1"),
    ("number", True),
    ("count", 1.0),
    ("flag", 1),
    ("text", 1),
    ("many", Pair(1, 2)),
    ("many", (1,)),
    ("worked", (1,)),
    ("worked", None),
]


def test_parts_of_the_kinds_that_a_class_says_are_taken():
    for state in (FITTING, FITTING._replace(number=np.float32(1), count=np.int64(1)), FITTING._replace(text="", many=())):
        assert not strange(Kinds, state._asdict())


@pytest.mark.parametrize(("name", "value"), STRANGE)
def test_a_part_of_another_kind_is_refused(name, value):
    assert strange(Kinds, FITTING._replace(**{name: value})._asdict()) == name
    flat = flatten(FITTING._replace(**{name: value}))
    with pytest.raises(DataError, match=f"{name} of Kinds is a {type(value).__name__}, which it cannot be"):
        unflatten(flat.tree, flat.arrays, flat.parts, flat.own)


def test_a_state_is_known_wherever_its_class_has_moved():
    flat = flatten(Message(np.ones(2), np.zeros(1)))
    found = unflatten(flat.tree | {"type": "mpiopt.once.here.Message"}, flat.arrays, [], [])
    assert equal(found, Message(np.ones(2), np.zeros(1)))
    with pytest.raises(DataError, match="not what this version"):
        unflatten(flat.tree | {"type": "elsewhere.Message"}, {}, [], [])


@given(
    sizes=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 40)), max_size=5),
    first=st.integers(0, 2),
    limit=st.integers(1, 30),
)
def test_loads_hold_every_byte_once_and_never_more_than_the_limit(sizes, first, limit):
    made = list(worker_bytes.loads(sizes, first, limit))
    assert all(0 < sum(piece.stop - piece.start for piece in load) <= limit for load in made)
    carried = [(piece.worker, piece.name, byte) for load in made for piece in load for byte in range(piece.start, piece.stop)]
    assert carried == [
        (w, name, byte) for w in range(first, len(sizes)) for name, size in sizes[w].items() for byte in range(size)
    ]


# ------------------------------------------------------------------------------------------ generations
def test_two_generations_are_kept_and_the_newest_is_found(tmp_path):
    kept(tmp_path / "c.h5", 1, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "c.h5.1"]
    assert loaded(tmp_path / "c.h5").run.round == 3 and loaded(tmp_path / "c.h5.1").run.round == 2


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << at % 8
    path.write_bytes(content)


def _truncate(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[: at % path.stat().st_size])


@FILES
@given(harm=st.sampled_from([_flip, _truncate]), at=st.integers(0, 2**20))
def test_any_damage_is_seen_and_the_generation_before_taken(tmp_path, harm, at):
    kept(tmp_path / "c.h5", 1, 2)
    harm(tmp_path / "c.h5", at)
    store = Store(tmp_path / "c.h5", WORLD, "")
    found = store.find()
    assert found.round == 1 and str(tmp_path / "c.h5") in found.warning and "which is of round 1" in found.warning
    store.save(standing(5), {}, TEAM)  # the damaged one must not take the sound one's place
    assert [loaded(tmp_path / name).run.round for name in ("c.h5", "c.h5.1")] == [5, 1]


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(b""), lambda path: path.write_text("hello " * 99), Path.mkdir])
def test_two_bad_generations_are_one_sentence(tmp_path, write):
    for name in ("c.h5", "c.h5.1"):
        write(tmp_path / name)
    with pytest.raises(DataError) as caught:
        newest((tmp_path / "c.h5", tmp_path / "c.h5.1"))
    assert "c.h5.1 (" in str(caught.value) and "cannot be used" in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_is_no_checkpoint_and_the_older_alone_will_do(tmp_path):
    assert Store(tmp_path / "c.h5", WORLD, "").find() is None
    kept(tmp_path / "c.h5", 1, 2)
    (tmp_path / "c.h5").unlink()  # a kill between the two renames
    found = Store(tmp_path / "c.h5", WORLD, "").find()
    assert found.round == 1 and found.warning == ""


def test_a_new_run_leaves_nothing_of_the_old_one(tmp_path):
    kept(tmp_path / "c.h5", 8, 9)
    kept(tmp_path / "c.h5", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["c.h5"] and loaded(tmp_path / "c.h5").run.round == 1


def in_a_child(act) -> int:
    """The process id of a fork that does something and ends."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(1)
    return child


def test_a_kill_at_any_moment_leaves_a_sound_generation(tmp_path):
    path, draws, seen, patience = tmp_path / "c.h5", random.Random(0), set(), 0.05
    kept(path, 0)
    for _ in range(40):
        start = loaded(path).run.round

        def saving(start=start):
            store = Store(path, WORLD, "")
            store.find()
            for k in range(start + 1, start + 10**6):
                store.save(standing(k % 50), {}, TEAM)

        child = in_a_child(saving)
        time.sleep(draws.uniform(0.005, patience))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = loaded(path)
        assert equal(found, standing(found.run.round))
        patience *= 1 if found.run.round != start else 1.3  # where the machine is slow, most kills come before a first save
        seen.add(found.run.round)
    assert len(seen) > 5


@pytest.mark.parametrize("room", [100, 3000, 6000, 12000])
def test_a_full_disk_loses_nothing(tmp_path, room):
    kept(tmp_path / "c.h5", 1, 2)

    def failing():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        store = Store(tmp_path / "c.h5", WORLD, "")
        store.find()
        try:
            store.save(standing(3), {}, TEAM)
        except DataError as error:
            os._exit(0 if f"{tmp_path / 'c.h5'} cannot be written: file too large" in str(error) else 2)

    _, status = os.waitpid(in_a_child(failing), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "c.h5.1"]
    assert [loaded(tmp_path / name).run.round for name in ("c.h5", "c.h5.1")] == [2, 1]


# ------------------------------------------------------------------------------------------ the job's side
def job(path, **options):
    return Checkpoints.of(complete(Solve(checkpoint=path, **options)), WORLD, Console(first=False))


@pytest.mark.parametrize("identity", ["{}", '{"workers": null}', '{"workers": "2"}'])
def test_a_checkpoint_that_does_not_say_how_many_workers_it_had_is_refused(tmp_path, identity):
    kept(tmp_path / "c.h5", 1).close()
    forged(tmp_path / "c.h5", lambda file: file.attrs.__setitem__("identity", identity))
    with pytest.raises(DataError, match="it does not say of how many workers it is"), job(tmp_path / "c.h5") as found:
        found.check({"l2": 1e-5, "workers": 2})


@pytest.mark.parametrize(
    "now, said",
    [
        ({"l2": 1e-4, "workers": 2}, "l2 was 1e-05 and is 0.0001; name another file"),
        ({"l2": 1e-5, "workers": 2, "beta": 0.5}, "beta was not given and is 0.5"),
        ({"l2": 1e-4, "workers": 3}, "written by 2 workers, and this run has 3: give --workers 2"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, now, said):
    kept(tmp_path / "c.h5", 1)

    def checked(now, **options):
        with job(tmp_path / "c.h5", **options) as found:
            found.check(now)

    with pytest.raises(UsageError) as caught:
        checked(now)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    checked({"l2": 1e-5, "workers": 2})
    checked(now, resume="never")


@pytest.mark.parametrize("train", [False, True])
def test_a_checkpoint_knows_its_rows_and_not_only_their_number(tmp_path, train):
    def identity_of(seed):
        write_shards(WORLD, from_spec(f"rcv1:rows=40,cols=30,per_row=4,seed={seed}"), tmp_path / "d.h5", overwrite=True)
        source = Dataset.open(tmp_path / "d.h5")
        given = {"workers": 2, "nonzeros": 160}  # as where the sets are of one shape
        return (training.identity(Train(), {}, source, WORLD) if train else solving.identity(Solve(), source, WORLD)) | given

    kept(tmp_path / "c.h5", 1, identity=identity_of(1))
    with job(tmp_path / "c.h5") as found:
        found.check(identity_of(1))
        with pytest.raises(UsageError, match=r"c.h5 is of other rows than .*d.h5 has now .*bring back the data set"):
            found.check(identity_of(2))
        found.check(identity_of(1))


def test_resume_says_whether_there_must_be_one(tmp_path):
    with pytest.raises(DataError, match="no checkpoint"), job(tmp_path / "c.h5", resume="must"):
        pass
    assert not list(tmp_path.iterdir())
    kept(tmp_path / "c.h5", 4)
    for resume, expected in (("must", 4), ("auto", 4), ("never", None)):
        with job(tmp_path / "c.h5", resume=resume) as found:
            assert found.round == expected
    for options in ({"every_rounds": 3}, {"every_seconds": 1.0}, {"resume": "must"}):
        with pytest.raises(UsageError, match="give --checkpoint"):
            complete(Solve(**options))


def test_a_run_file_is_replaced_by_the_run_that_left_it_and_by_no_other(tmp_path):
    out, path = tmp_path / "r.h5", tmp_path / "c.h5"
    with RunFile(out, {"run_id": "name", "checkpoint": str(path)}):
        pass
    for options, run_id in (({}, "name"), ({"resume": "never"}, None), ({"out": tmp_path / "other.h5"}, None)):
        with job(path, **{"out": out, **options}) as looked:  # killed before its first checkpoint
            assert looked.run_id == run_id or (run_id is None and looked.run_id != "name")
    with RunFile(out, {"run_id": "name", "checkpoint": str(path)}, past={"round": [0, 1], "objective": [2.0, 1.0]}) as file:
        file.add({"round": 2, "objective": 0.5})
        file.finish(np.zeros(2), 0.0, {"reason": "GAP"})
    assert read_run(out).history["objective"].tolist() == [2.0, 1.0, 0.5]
    with job(path, out=out) as looked:
        assert looked.run_id != "name"
    kept(path, 1)
    with job(path, out=out) as looked:
        claim(out, run_id=looked.run_id)
    with pytest.raises(DataError, match="exists"):
        claim(out, run_id="another")


def _data_set(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(schema="mpiopt-data", note="mpiopt-checkpoint")


def _run_file(path: Path) -> None:
    with RunFile(path, {"checkpoint": "mpiopt-checkpoint"}):
        pass


@pytest.mark.parametrize("resume", ["never", "auto"])
@pytest.mark.parametrize("generation", ["c.h5", "c.h5.1", "c.h5.partial"])
@pytest.mark.parametrize("make", [lambda path: path.write_text("a letter"), _data_set, _run_file])
def test_only_checkpoints_are_replaced(tmp_path, make, generation, resume):
    path = tmp_path / generation
    make(path)
    before, names = path.read_bytes(), {path.name for path in tmp_path.iterdir()}
    with pytest.raises((UsageError, DataError), match="move it away"), job(tmp_path / "c.h5", resume=resume):
        pass
    assert path.read_bytes() == before and {path.name for path in tmp_path.iterdir()} == names


def test_a_damaged_checkpoint_is_one_of_ours_all_the_same(tmp_path):
    path = tmp_path / "c.h5"
    for harm in (lambda: _truncate(path, 5000), lambda: _flip(path, 2000), lambda: path.write_bytes(b"")):
        kept(path, 1)
        harm()
        with job(path, resume="never") as found:
            assert found.round is None
    kept(path, 1, 2)
    path.write_bytes(b"damaged beyond recognition")  # but beside a checkpoint before it
    with job(path) as found:
        found.check({"l2": 1e-5, "workers": 2})
        found.keepers(TEAM)[0](standing(7), Reason.GAP)
    assert [loaded(tmp_path / name).run.round for name in ("c.h5", "c.h5.1")] == [7, 1]


def test_no_other_job_has_a_checkpoint_that_a_job_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr(held_name, "PATIENCE", 0.0)
    path = tmp_path / "c.h5"
    with job(path) as mine:
        for k in range(3):
            with pytest.raises(DataError, match=r"c.h5 is being written by another job"), job(path, resume="never"):
                pass
            mine.keepers(TEAM)[0](standing(k), Reason.GAP)
    with job(path) as found:
        assert found.round == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "c.h5.1"]


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_generation_before_is_no_other_job_s_either(tmp_path, monkeypatch, rounds):
    """Two jobs whose names differ by the ending of the older generation: the second one is kept out, or left alone."""
    monkeypatch.setattr(held_name, "PATIENCE", 0.0)
    first, second = tmp_path / "c.h5", tmp_path / "c.h5.1"
    with job(first) as mine:
        for k in range(rounds):
            mine.keepers(TEAM)[0](standing(k), Reason.GAP)
        if rounds > 1:
            with pytest.raises(DataError, match=r"c.h5.1 is being written by another job"), job(second, resume="never"):
                pass
            return
        with job(second, resume="never") as other:
            other.keepers(TEAM)[0](standing(10), Reason.GAP)
            mine.keepers(TEAM)[0](standing(rounds), Reason.GAP)
            assert "another job" in mine._failure
        assert loaded(second).run.round == 10 and loaded(first).run.round == 0


@pytest.mark.parametrize("generation", ["c.h5", "c.h5.1"])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_a_file_put_there_meanwhile_is_not_replaced(tmp_path, generation, rounds):
    path = tmp_path / generation
    with job(tmp_path / "c.h5") as mine:
        for k in range(rounds + 1):
            if k == rounds:
                path.unlink(missing_ok=True)
                path.write_text("a letter")
            mine.keepers(TEAM)[0](standing(k), Reason.GAP)
        assert "move it away" in mine._failure
        assert path.read_text() == "a letter"
        path.unlink()
        mine.keepers(TEAM)[0](standing(8), Reason.GAP)
    assert loaded(tmp_path / "c.h5").run.round == 8


@pytest.mark.parametrize(
    "options, written",
    [
        ({"every_rounds": 3}, [3, 6, 9]),
        ({"every_seconds": 0.35}, [4, 8]),
        ({"every_rounds": 5, "every_seconds": 0.35}, [4, 8]),
        ({}, []),
    ],
)
def test_checkpoints_are_written_when_due_and_at_the_end(tmp_path, options, written):
    found = []
    with job(tmp_path / "c.h5", **options) as keeping:
        for k in range(11):
            keeping.keepers(TEAM)[0](standing(k), None)
            if (tmp_path / "c.h5").exists():
                found.append(loaded(tmp_path / "c.h5").run.round)
    assert sorted(set(found)) == written


def test_signals_are_words_and_handlers_go_back_to_what_they_were():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with Signals() as word:
        assert word() == ""
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert word() == "SIGUSR2"
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # as a terminal and a launcher together send it
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    with Signals(time.time() - 1) as word:
        assert "Slurm" in word()


def test_the_end_of_a_slurm_job_is_read_from_the_environment():
    told, end = [], int(time.time()) + 1000
    assert end_of_job(60.0, told.append, {"SLURM_JOB_END_TIME": str(end)}) == end - 60
    assert end_of_job(60.0, told.append, {}) is None and told == []
    assert end_of_job(60.0, told.append, {"SLURM_JOB_END_TIME": str(end - 1001)}) is None  # not to stop at once, and again
    assert len(told) == 1 and "the clock of this host is past the end of the Slurm job" in told[0]
