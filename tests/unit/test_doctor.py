"""`mpiopt doctor`'s judgement: what is amiss in what the ranks have found, a sentence each."""

import re
import stat
import sys

import pytest

from mpiopt.jobs.doctor import warnings
from mpiopt.jobs.machine import node
from mpiopt.jobs.machine.environment import process_manager


def rank(number: int = 0, host: str = "n0", cores=(0, 1), threads: int = 1, clock: float = 1e9) -> dict:
    return {
        "rank": number,
        "host": host,
        "cores": list(cores),
        "node_cores": 4,
        "threads": threads,
        "thread_pools": {},
        "cache_writable": True,
        "cache": "c",
        "clock": clock,
    }


def found(*ranks: dict, **other) -> dict:
    return {
        "launcher": "Slurm srun",
        "promised_ranks": len(ranks),
        "process_manager": "",
        "ranks": len(ranks),
        "hosts": dict.fromkeys(rank["host"] for rank in ranks),
        "mpi": {"library": "MPICH Version 4.2"},
        "per_rank": ranks,
        "folder": {"path": ".", "problem": ""},
        "gpu": {"devices": [], "cupy": False},
        **other,
    }


@pytest.mark.parametrize(
    "given, said",
    [
        (
            found(rank(), promised_ranks=4, process_manager="PMIx, srun --mpi=pmix"),
            "Slurm srun started 4 processes and offers PMIx, srun --mpi=pmix, but MPI sees 1: .* srun --mpi=pmi2",
        ),
        (found(rank(), rank(1), promised_ranks=4, mpi={"library": "Open MPI v5.0.3"}), "but MPI sees 2: .* srun --mpi=pmix"),
        (found(rank(cores=[2]), rank(1, cores=[2])), r"2 ranks are bound to the same 1 of 4 cores: give mpiexec --bind-to"),
        (found(rank(cores=[0, 1], threads=4)), "1 ranks have 4 threads on the 2 cores"),
        (found(rank(cores=[0], threads=2), rank(1, cores=[1, 2, 3])), "ranks 0 have more threads than cores"),
        (found(rank(), rank(1, "n1", clock=1e9 - 60)), r"differ by 60 s \(n1 is behind\)"),
        (found(rank(), gpu={"devices": ["H"], "cupy": False}), "not CuPy to use it"),
    ],
)
def test_what_is_amiss_is_told(given, said):
    assert len(told := [line for line in warnings(given) if line]) >= 1
    assert any(re.search(said, line) for line in told), told


def test_nothing_amiss_is_nothing_told():
    assert warnings(found(rank(cores=[0, 1]), rank(1, cores=[2, 3]), rank(2, "n1", clock=1e9 + 2))) == []


def test_the_process_manager_is_what_the_environment_offers():
    assert process_manager({}) == "" and process_manager({"PMI_RANK": "0"}) == "PMI"
    assert process_manager({"PMIX_RANK": "0", "SLURM_MPI_TYPE": "pmix"}) == "PMIx, srun --mpi=pmix"


@pytest.mark.parametrize(
    "body, said",
    [
        ("exit 0", "yes"),
        ("kill -SEGV $$", "no: messages go by way of host memory"),
        ("sleep 9", "no: a message between GPU buffers hangs"),
    ],
)
def test_a_crash_of_the_gpu_test_is_an_answer(monkeypatch, tmp_path, body, said):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    run = node.subprocess.run
    monkeypatch.setattr(node.subprocess, "run", lambda argv, **options: run(argv, **(options | {"timeout": 2})))
    assert node.cuda_aware({"devices": ["H"], "cupy": True}) == said


def test_without_a_gpu_nothing_is_tried():
    assert node.cuda_aware({"devices": [], "cupy": True}) == "not tested: there is no GPU"
    assert node.cuda_aware({"devices": ["H"], "cupy": False}) == "not tested: there is no CuPy"
