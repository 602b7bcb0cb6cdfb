"""Start programs under mpiexec and end them completely: the one place of the tests that knows launchers.

MPICH and Open MPI are told apart by what ``mpiexec --version`` says. Output goes to files, so that a process that
outlives mpiexec can never block a reader.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import monotonic, sleep, time

import psutil

ROOT = Path(__file__).resolve().parents[1]
OPEN_MPI = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
SINGLE_THREAD = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"]
QUIET = {"UCX_LOG_LEVEL": "error", "TERM": "dumb"}  # Open MPI gives ranks a terminal that nobody reads
RESTING = {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}  # MPICH's ranks that wait sleep now and then, for they may outnumber cores
PR_SET_PDEATHSIG = 1
STREAMS = ("stdout", "stderr")
SERIES = """
import json, os, signal, sys
from pathlib import Path
from mpi4py import MPI
from mpiopt.jobs.launch import main

rank = MPI.COMM_WORLD.rank
for k, argv in enumerate(json.loads(sys.argv[1])):
    sys.stdout.flush(), sys.stderr.flush()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{k}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    try:
        code = main(argv)
    finally:
        signal.alarm(0)  # which ends what failed and does not leave
    Path(f"{k}.code.{rank}").write_text(str(code))
"""
BEGAN = time()


@cache
def mpiexec() -> tuple[str, ...]:
    """The launcher beside this interpreter, else the one on PATH, with the options it needs; empty if there is none."""
    beside = Path(sys.executable).parent / "mpiexec"
    path = str(beside) if beside.exists() else shutil.which("mpiexec")
    if path is None:
        return ()
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60).stdout
    return (path, *(OPEN_MPI if "Open MPI" in said or "open-mpi" in said else []))


def command(size: int, program: list[str]) -> list[str]:
    """The command line that runs ``program`` on ``size`` ranks; 0: without mpiexec."""
    return [*mpiexec(), "-n", str(size), *program] if size else program


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """One thread per rank, which rests while it waits, this checkout on the path, no chatter; modules are compiled once."""
    env = dict(os.environ) | dict.fromkeys(SINGLE_THREAD, "1") | QUIET | RESTING
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    return env | (extra or {})


def start(argv: list[str], *, cwd: Path, env: dict[str, str], out: Path, err: Path | None = None) -> subprocess.Popen:
    """Start in a session of its own, output to files; it gets SIGTERM should this process die first."""
    with out.open("wb") as stdout, (err or out).open("wb" if err else "ab") as stderr:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(process: subprocess.Popen, others: list[psutil.Process] | None = None) -> None:
    """End the process, all its descendants and ``others``; return when they are gone.

    The launcher is asked first: only then does it remove its own scratch files.
    """
    victims = list(others or [])
    try:
        top = psutil.Process(process.pid)
        victims += [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        pass
    process.terminate()
    _gone(victims, 3.0)
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            pass
    _gone(victims, 10.0)
    if process.wait() != 0:
        sweep()


def _gone(victims: list[psutil.Process], seconds: float) -> None:
    deadline = monotonic() + seconds
    while any(map(_runs, victims)) and monotonic() < deadline:
        sleep(0.005)


def sweep(folder: Path = Path("/dev/shm")) -> None:
    """Remove the shared memory that ranks ended before MPI_Finalize have left since these tests began.

    MPICH and Open MPI leave 2 MB and more each time, and a container may have 64 MB in all.
    """
    left = [path for pattern in ("mpich_shm_*", "sm_segment.*") for path in folder.glob(pattern)]
    if left:
        mapped = "".join(_maps(process.pid) for process in psutil.process_iter())
        for path in left:
            # a younger one may belong to a job that is just starting
            with suppress(FileNotFoundError):  # other tests may sweep too
                if BEGAN < path.stat().st_mtime < time() - 0.05 and str(path) not in mapped:
                    path.unlink(missing_ok=True)


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return ""


def _runs(victim: psutil.Process) -> bool:
    try:
        return victim.status() != psutil.STATUS_ZOMBIE  # where nobody reaps orphans, they stay as zombies
    except psutil.NoSuchProcess:
        return False


def run(
    size: int | None, program: str | list[str], folder: Path, timeout: float, env: dict[str, str] | None, cwd: Path | None
) -> subprocess.CompletedProcess:
    """Run Python on ``size`` ranks, its output in ``folder``; fail the test if it does not end in time."""
    if isinstance(program, str):
        (folder / "program.py").write_text(program)
        program = [str(folder / "program.py")]
    argv = [sys.executable, *program] if size is None else command(size, [sys.executable, *program])
    out, err = folder / "stdout", folder / "stderr"
    process = start(argv, cwd=cwd or folder, env=environment(env), out=out, err=err)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        end(process)
    done = subprocess.CompletedProcess(argv, code, out.read_text(errors="replace"), err.read_text(errors="replace"))
    assert code is not None, f"not over after {timeout:g} s: {' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done


def series(size: int, argvs: list[list[str]], folder: Path, timeout: float = 200.0) -> list[subprocess.CompletedProcess]:
    """Run command lines of mpiopt one after the other on the same ranks, which thus begin but once.

    The return code of each is the greatest that a rank gave back, as mpiexec has it. What makes one end by force must have
    a launch of its own, and what needs no MPI, and ends it, can only be the last.
    """
    (folder / "series.py").write_text(SERIES)
    whole = run(size, [str(folder / "series.py"), json.dumps(argvs)], folder, timeout, None, None)
    assert whole.returncode == 0, "".join(path.read_text() for path in folder.glob("*stderr"))
    found = []
    for k, argv in enumerate(argvs):
        code = max(int((folder / f"{k}.code.{rank}").read_text()) for rank in range(size))
        found.append(subprocess.CompletedProcess(argv, code, *((folder / f"{k}.{name}").read_text() for name in STREAMS)))
    return found
