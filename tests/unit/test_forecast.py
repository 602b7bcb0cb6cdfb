"""`mpiopt solve --dry-run`: what it forecasts is what a run then takes, and no row is read for it."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import Synthetic, from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.machine.node import memory_limit, memory_room
from mpiopt.jobs.running import forecast, rehearsal
from mpiopt.jobs.solve import method_of
from mpiopt.methods import catalogue
from mpiopt.methods.reducing import Reducing
from mpiopt.problems.penalties import ElasticNet

JOBS = ["-m", "mpiopt.jobs"]
TINY = "default:rows=300,cols=200,per_row=5"
TAKEN = """
import json, sys
from pathlib import Path
from mpiopt.jobs.machine.environment import limit_threads
from mpiopt.jobs.machine.memory import keep_freed

limit_threads()
keep_freed()
from mpi4py import MPI
from mpiopt.jobs.launch import main

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

rest = sys.argv[3:]
assert main(["solve", sys.argv[1], "--rounds", "2", *rest]) == 0  # what is loaded once is no growth
before = peak()
assert main(["solve", sys.argv[2], "--rounds", "12", *rest]) == 0
Path(f"{MPI.COMM_WORLD.rank}.json").write_text(json.dumps([before, peak()]))
"""


def foretold(launch, ranks: int, *argv: str) -> dict:
    return read(launch(ranks, [*JOBS, "solve", *argv, "--dry-run", "--json"], timeout=120))


def read(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def taken(launch, tmp_path: Path, ranks: int, *argv: str) -> tuple[list[int], bool]:
    """The growth of every rank while it solves, in bytes, and whether it did so in fewer coordinates."""
    (tmp_path / "taken.py").write_text(TAKEN)
    done = launch(ranks, [str(tmp_path / "taken.py"), TINY, *argv], timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(ranks)]
    return [after - before for before, after in ends], " coordinates" in " ".join(done.stdout.split())


def compared(launch, tmp_path: Path, ranks: int, *argv: str, told: dict | None = None) -> None:
    forecast = told or foretold(launch, ranks, *argv)
    grown, fewer = taken(launch, tmp_path, ranks, *argv)
    for rank, more in zip(forecast["per_rank"], grown, strict=True):
        expected = rank["total" if fewer else "once"] - rank["program"]
        least = 0.6 if forecast["method"] == "spcg" else 0.85  # some may hold less of its rows twice than is known unread
        assert least * expected < more < 1.15 * expected, (argv, rank, more)


def test_a_run_takes_what_was_forecast(launch, world, tmp_path):
    write_shards(world, from_spec("default:rows=100000,cols=300000,per_row=20"), tmp_path / "a.h5")
    compared(launch, tmp_path, 2, str(tmp_path / "a.h5"), "--set", "replicate=never")  # h of rows is not known unread


EACH = [
    "default:rows=400000,cols=6000,per_row=8",  # tall
    "kdd2010:rows=200000,cols=500000",  # rows that are held twice, in fewer coordinates
    "text12:rows=8000,cols=500000",
]


@pytest.mark.parametrize("shape", EACH)
def test_spcg_takes_what_was_forecast_of_any_shape(launch, told, tmp_path, shape):
    compared(launch, tmp_path, 2, shape, "--l2", "1e-5", told=read(told[shape]))


def test_what_a_data_set_brings_is_known(launch, world, tmp_path):
    place = str(tmp_path / "a.h5")
    found = write_shards(world, from_spec("text12:rows=8000,cols=500000"), place, reduce=True).reduced
    compared(launch, tmp_path, 2, place, "--l2", "1e-5")
    forecast = foretold(launch, 2, place, "--l2", "1e-5")
    assert forecast["coordinates"] == found.cols and "perhaps" not in forecast["form_why"]
    assert all(rank["once"] == rank["total"] for rank in forecast["per_rank"])
    assert forecast["largest_message"] == 8 * found.cols
    for more in (["--l1", "1e-3"], ["--values", "float64"], ["--method", "lbfgs"]):
        assert foretold(launch, 2, place, "--l2", "1e-5", *more)["coordinates"] is None


SHAPES = {
    "wide": "default:rows=3000,cols=2000000,per_row=10",
    "tall": "default:rows=1500000,cols=1000,per_row=4",
    "dense": "default:rows=200000,cols=20000,per_row=80,spread=0",
}


@pytest.mark.study
@pytest.mark.parametrize("ranks, workers", [(1, 1), (2, 2), (2, 4)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", catalogue())
def test_every_method_takes_what_was_forecast(launch, tmp_path, method, shape, ranks, workers):
    compared(launch, tmp_path, ranks, SHAPES[shape], "--method", method, "--workers", str(workers), "--l2", "1e-3")


COCOA = ["rcv1:rows=3000,cols=500,per_row=20", "--method", "cocoa"]  # whose rounds are all alike, searching nothing


@pytest.fixture(scope="module")
def told(series, tmp_path_factory):
    """What two ranks say of `EACH` shape, of COCOA before and after, of a set with useless shards, and of one too large."""
    folder, world = tmp_path_factory.mktemp("told"), World()
    write_shards(world, from_spec(TINY), folder / "a.h5")
    world.free()
    shard = folder / "a.shards" / "0000.h5"
    shard.write_bytes(bytes(shard.stat().st_size))  # of the same size, and useless
    asked = {
        "cocoa": [*COCOA, "--dry-run", "--json"],
        "run": [*COCOA, "--rounds", "12", "--json"],
        "useless": [str(folder / "a.h5"), "--dry-run", "--json"],
        **{shape: [shape, "--l2", "1e-5", "--dry-run", "--json"] for shape in EACH},
        "large": ["kdd2010:rows=1000000000", "--dry-run"],
    }
    return dict(zip(asked, series(2, *(["solve", *argv] for argv in asked.values())), strict=True))


def test_messages_are_those_of_a_run(told):
    forecast, history = json.loads(told["cocoa"].stdout), json.loads(told["run"].stdout)["history"]
    for name in ("messages", "vector_rounds", "bytes_sent"):
        foretold = forecast["bytes_a_round" if name == "bytes_sent" else f"{name}_a_round"]
        assert foretold == (history[name][-1] - history[name][0]) / 12, name
    assert forecast["largest_message"] == 8 * 500


def test_a_summed_hessian_is_the_longest_message(launch):
    argv = ["solve", "default:rows=400,cols=60", "--set", "form=hessian", "--no-intercept", "--dry-run", "--json"]
    assert json.loads(launch(1, [*JOBS, *argv]).stdout)["largest_message"] == 4 * 60 * 61 // 2  # in float32


SENT = {  # methods whose rounds are all alike after the first
    "gradients": {"method": "nesterov"},
    "broadcasts": {"method": "spag"},
    "products": {"method": "disco"},
    "gathered": {"method": "ef"},
    "more than the rehearsal has": {"method": "ef", "set": (("compress", "topk:k=3000"),)},
    "coded": {"method": "diana", "set": (("compress", "qsgd:bits=4"),)},
    "whole at first": {"method": "ef21"},
    "twice": {"method": "rand_diana", "set": (("probability", 1.0),)},
    "small": {"method": "marina", "set": (("probability", 1e-9),)},
    "added": {"method": "gdci", "set": (("compress", "randk:0.1,shared=yes"),)},
    "one of two": {"method": "dane", "compress": "topk:0.01+natural", "error_feedback": True},
    "votes": {"method": "dane", "compress": "vote"},
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("how", SENT)
def test_what_a_round_sends_is_what_a_run_sends(worlds, comm, monkeypatch, how):
    monkeypatch.setattr(rehearsal, "WIDE", 1 << 10)
    monkeypatch.setattr(rehearsal, "TALL", 1 << 6)
    dim, job, world = 5001, Solve(l2=1.0, intercept=True, **SENT[how]), worlds(workers=3, deterministic=comm.size == 1)
    found = rehearsal.rehearse(job, method_of, world, dim).traffic
    team = team_of(Synthetic(rows=30, cols=dim - 1, per_row=4.0), world, ElasticNet(0.0, 1.0, free=1))
    records = []
    with np.errstate(all="ignore"):
        solve(method_of(job), team, np.zeros(dim), Stop(rounds=13), [records.append])
    first, last = records[1], records[-1]
    assert last.round == 13
    near = {"rel": 1e-6 if how not in ("gradients", "products") else 0.3, "abs": 1e-6}
    expected = [(getattr(last, name) - getattr(first, name)) / 12 for name in ("bytes_sent", "messages", "vector_rounds")]
    assert [sum(world.tell_all(found.nbytes)), found.messages, found.vector_rounds] == pytest.approx(expected, **near)


def test_a_coin_has_its_expectation(world, monkeypatch):
    monkeypatch.setattr(rehearsal, "WIDE", 1 << 10)
    monkeypatch.setattr(rehearsal, "TALL", 1 << 6)

    def sent(method, p):
        job = Solve(method=method, l2=1.0, set=(("probability", p),))
        found = rehearsal.rehearse(job, method_of, world, 5000).traffic
        return np.array([found.messages, found.vector_rounds, found.long, found.nbytes])

    for method in ("marina", "rand_diana"):
        assert sent(method, 0.25) == pytest.approx(0.75 * sent(method, 1e-9) + 0.25 * sent(method, 1.0), rel=1e-6)


def test_a_compressor_that_asks_for_too_much_is_refused(world):
    with pytest.raises(UsageError, match="k is 600: give at most the 500 coordinates"):
        rehearsal.rehearse(Solve(method="ef", set=(("compress", "topk:k=600"),)), method_of, world, 500)


def test_what_is_compressed_is_told(worlds, capsys):
    job = Solve(data=TINY, method="ef", set=(("compress", "topk:k=50"),))
    found = forecast.forecast(job, method_of, worlds(workers=2), Console())
    out = capsys.readouterr().out
    assert "compressed 450 B in place of 1.6 kB (28.1 %), by each worker" in out
    assert "sent       932 B a round, by all ranks" in out  # of each 50 numbers, 50 bytes of indices, its loss, a flag
    assert found["payload"] == 450 and found["bytes_a_round"] == 932 and found["long_messages_a_round"] == 0


NARROW, WIDEST, FEW_ROWS = 1 << 6, 1 << 13, 8
SPARE = 4  # vectors that a number may be too large by; the interpreter itself takes up to one
VARIANTS = [
    *((name, {}, 0.0) for name in catalogue() if name != "spcg"),
    ("spcg", {"form": "counts"}, 0.0),
    ("spcg", {"form": "dual"}, 0.0),
    ("spcg", {"form": "gathered"}, 0.0),
    ("spcg", {"form": "counts", "jacobi": True}, 0.0),
    ("lbfgs", {"memory": 3}, 0.0),
    ("lbfgs", {"jacobi": True}, 0.0),
    ("spag", {"adaptive": True}, 0.0),
    ("fista", {}, 1e-4),
]


@pytest.mark.parametrize("name, given, l1", VARIANTS, ids=str)
def test_no_method_holds_more_vectors_than_it_says(world, name, given, l1):
    method, held = catalogue()[name].make(**given), []
    method = method.inner if isinstance(method, Reducing) else method  # in all coordinates
    widest = min(WIDEST, getattr(method, "most", None) or WIDEST)
    for dim in (NARROW, widest, NARROW, widest):  # what is compiled or loaded once, for either size, must not count
        team = team_of(Synthetic(rows=FEW_ROWS, cols=dim, per_row=4.0), world, ElasticNet(l1, 1e-3))
        if len(held) > 1:
            tracemalloc.start()
        with np.errstate(all="ignore"):
            solve(method, team, np.zeros(dim), Stop(rounds=12 if name in ("lbfgs", "owlqn") else 4))
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grown = (held[-1] - held[-2]) / (8 * (widest - NARROW))  # what does not grow with the dimension is no vector
    assert grown <= method.dvectors, held
    assert grown >= method.dvectors - SPARE or l1 or widest < WIDEST, held  # with working sets fewer


def test_too_little_memory_is_told_before_any_row_is_read(told):
    done = told["large"]
    assert done.returncode == 1 and "DOES NOT FIT" in done.stdout and "1,000,000,000 rows" in done.stdout
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80


def test_a_form_that_fewer_coordinates_may_lead_to_is_named(world):
    """How many there will be is not known before rows are read."""
    source, spcg = from_spec("text12:per_row=600"), catalogue()["spcg"].make()
    form, why = rehearsal.settled(spcg, Solve(l2=1e-6), source, 2)[1]
    assert form == "gathered" and "perhaps counts in fewer coordinates, if the rows have such" in why
    for job, data in ((Solve(l2=1e-6), "rcv1:cols=4000"), (Solve(l2=1e-6, l1=0.1), "text12")):  # nothing to reduce
        assert "perhaps" not in rehearsal.settled(spcg, job, from_spec(data), 2)[1].why


def test_no_shard_is_read(told):
    found = json.loads(told["useless"].stdout)
    assert [rank["rows_held"] for rank in found["per_rank"]] == [150] * 2 and found["rows"] == 300


def group(root: Path, path: str, **files: str) -> None:
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_room_is_what_control_groups_leave(tmp_path):
    assert memory_room(tmp_path) > 0 and memory_limit(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    group(tmp_path, "job", memory__max="1000000", memory__current="600000", memory__stat="anon 5\ninactive_file 100000\n")
    group(tmp_path, "job/step", memory__max="max", memory__current="9")
    assert memory_limit(tmp_path) == 1_000_000 and memory_room(tmp_path) == 500_000
    group(tmp_path, "job/step", memory__max="300000", memory__current="400000")
    assert memory_limit(tmp_path) == 300_000 and memory_room(tmp_path) == 0
