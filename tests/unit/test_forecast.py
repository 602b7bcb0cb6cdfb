"""`mpiopt solve --dry-run`: what it forecasts is what a run then takes, and no row is read for it."""

import json
from pathlib import Path

import pytest

from mpiopt.jobs.node import memory_limit, memory_room
from mpiopt.methods import catalogue

JOBS = ["-m", "mpiopt.jobs"]
TINY = "default:rows=300,cols=200,per_row=5"
TAKEN = """
import json, sys
from pathlib import Path
from mpiopt.jobs.environment import limit_threads
from mpiopt.jobs.memory import keep_freed

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
WRITE = """
import sys
from mpiopt.comm.world import World
from mpiopt.io.synthetic import from_spec
from mpiopt.io.write import write_shards
write_shards(World(), from_spec(sys.argv[1]), sys.argv[2])
"""


def foretold(launch, ranks: int, *argv: str) -> dict:
    done = launch(ranks, [*JOBS, "solve", *argv, "--dry-run", "--json"], timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def taken(launch, tmp_path: Path, ranks: int, *argv: str) -> list[int]:
    """The growth of every rank while it solves, in bytes."""
    (tmp_path / "taken.py").write_text(TAKEN)
    done = launch(ranks, [str(tmp_path / "taken.py"), TINY, *argv], timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(ranks)]
    return [after - before for before, after in ends]


def compared(launch, tmp_path: Path, ranks: int, *argv: str) -> None:
    forecast = foretold(launch, ranks, *argv)
    for rank, grown in zip(forecast["per_rank"], taken(launch, tmp_path, ranks, *argv), strict=True):
        expected = rank["total"] - rank["program"]
        assert 0.85 * expected < grown < 1.15 * expected, (argv, rank, grown)


def test_a_run_takes_what_was_forecast(launch, tmp_path):
    (tmp_path / "write.py").write_text(WRITE)
    data = "default:rows=100000,cols=300000,per_row=20"
    assert launch(2, [str(tmp_path / "write.py"), data, str(tmp_path / "a.h5")], timeout=100).returncode == 0
    compared(launch, tmp_path, 2, str(tmp_path / "a.h5"))


SHAPES = {"wide": "default:rows=3000,cols=2000000,per_row=10", "tall": "default:rows=1500000,cols=1000,per_row=4",
          "dense": "default:rows=200000,cols=20000,per_row=80,spread=0"}  # fmt: skip


@pytest.mark.study
@pytest.mark.parametrize("ranks, workers", [(1, 1), (2, 2), (2, 4)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", catalogue())
def test_every_method_takes_what_was_forecast(launch, tmp_path, method, shape, ranks, workers):
    compared(launch, tmp_path, ranks, SHAPES[shape], "--method", method, "--workers", str(workers), "--l2", "1e-3")


def test_messages_are_those_of_a_run(launch, tmp_path):
    argv = ["rcv1:rows=3000,cols=500,per_row=20", "--method", "gradient"]
    forecast = foretold(launch, 2, *argv)
    done = launch(2, [*JOBS, "solve", *argv, "--rounds", "12", "--json"], timeout=100)
    history = json.loads(done.stdout)["history"]
    for name in ("messages", "vector_rounds"):
        assert forecast[f"{name}_a_round"] == pytest.approx((history[name][-1] - history[name][0]) / 12)
    sent = (history["bytes_sent"][-1] - history["bytes_sent"][0]) / 12
    assert forecast["bytes_a_round"] == pytest.approx(sent, rel=0.02) and forecast["largest_message"] == 8 * 500


def test_too_little_memory_is_told_before_any_row_is_read(launch, tmp_path):
    done = launch(2, [*JOBS, "solve", "kdd2010:rows=1000000000", "--dry-run"], timeout=100)
    assert done.returncode == 1 and "DOES NOT FIT" in done.stdout and "1,000,000,000 rows" in done.stdout
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80


def test_no_shard_is_read(launch, tmp_path):
    (tmp_path / "write.py").write_text(WRITE)
    assert launch(1, [str(tmp_path / "write.py"), TINY, str(tmp_path / "a.h5")], timeout=100).returncode == 0
    shard = tmp_path / "a.shards" / "0000.h5"
    shard.write_bytes(bytes(shard.stat().st_size))  # of the same size, and useless
    done = launch(3, [*JOBS, "solve", str(tmp_path / "a.h5"), "--dry-run", "--json"], timeout=100)
    found = json.loads(done.stdout)
    assert [rank["rows_held"] for rank in found["per_rank"]] == [100] * 3 or found["rows"] == 300


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
