"""From the command line to the exit code: start MPI where a job needs it, and end every rank whatever happens.

Exit codes: 0 done; 1 error; 2 usage; 3 not converged, with --strict; 75 interrupted with a checkpoint, the same command
goes on; 130 interrupted without.
Files are closed and ranks have met before any of them exits: Open MPI ends a job at the first non-zero exit.
"""

import os
import shlex
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING

from mpiopt.errors import MpioptError
from mpiopt.jobs.cli.commands import Call, parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import switches
from mpiopt.jobs.machine.environment import Launch, detect, limit_threads
from mpiopt.jobs.machine.memory import keep_freed

if TYPE_CHECKING:
    from mpiopt.comm.runtime import RollCall
    from mpiopt.comm.world import World

PATIENCE = 3.0  # seconds that a failed rank waits for the others to fail as it did
GRACE = 20  # seconds that failed ranks have to leave MPI together


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``argv`` (this process's by default) and return the exit code. Collective."""
    limit_threads()
    keep_freed()
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # a warning that comes before a run or after it must not kill
        signal.signal(number, signal.SIG_IGN)
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # an escape in place of what the terminal's encoding lacks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # numpy's: what overflows is found where it matters
    launch = detect()
    console = Console(first=launch.first, live=launch.launcher is None)
    end = Ending(launch, console, debug="--debug" in argv)
    try:
        asked = parse(argv)
        if isinstance(asked, Call):
            console.json, console.options = asked.session.json, switches(asked.job)
            return _run(asked, launch, console, end)
        end.see_others({"the command": shlex.join(argv or ["--help"])})
        return _print_once(asked, launch)
    except KeyboardInterrupt:
        return end.interrupted()
    except (Exception, SystemExit) as error:
        return end.failed(error)


def _print_once(show: Callable[[], None], launch: Launch) -> int:
    if launch.first:
        try:
            show()
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # the reader has gone, of which rich makes an exit: mpiopt solve --help | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(call: Call, launch: Launch, console: Console, end: "Ending") -> int:
    from mpiopt.jobs.running.started_alike import started

    if not call.needs.mpi:
        end.see_others(started(call.name, call.job))
        return _finish(call.run(call.job, None, console), console) if launch.first else 0
    end.demand_alike(started(call.name, call.job))
    from mpiopt.comm.world import World

    end.world = world = World(
        workers=getattr(call.job, "workers", None),
        deterministic=getattr(call.job, "deterministic", False),
        expected=launch.size if call.needs.size else None,
    )
    console.first = world.rank == 0
    code = _finish(call.run(call.job, world, console), console)
    world.barrier()
    world.free()  # windows that are left open make the MPI library complain at its end
    return code


def _finish(result: dict | None, console: Console) -> int:
    result = result or {}
    console.close_line()
    compiling = sys.modules.get("mpiopt.kernels.compiling")  # which is not loaded by what computes nothing
    if compiling is not None and compiling.unkept():
        console.note(
            f"warning: compiled kernels could not be kept ({compiling.unkept()}): every run compiles them anew; make "
            "room there, or name another folder by NUMBA_CACHE_DIR"
        )
    console.result(result)
    return int(result.get("exit_code", 0))


class Ending:
    """How ranks end when something went wrong: together where all failed alike, by force where some did not."""

    def __init__(self, launch: Launch, console: Console, debug: bool) -> None:
        self._launch, self._console, self._debug = launch, console, debug
        self._calls: RollCall | None = None
        self.world: World | None = None  # once it is there
        self.alone = launch.size in (None, 1)  # until MPI starts: no other process will come to a roll call

    def see_others(self, facts: Mapping[str, str]) -> None:
        """Before what one rank does by itself: the others were asked for the same, not for what waits for this one.

        Collective. Raises UnlikeError. From here on MPI has ended, since ranks that are done would wait for the one at work.
        """
        if not self.alone:
            self.demand_alike(facts)
            self.start_mpi().end_mpi()
        self._calls, self.alone = None, True

    def demand_alike(self, facts: Mapping[str, str]) -> None:
        """See that all ranks were started alike, by what each says of its start. Collective. Raises UnlikeError."""
        from mpiopt.jobs.running.started_alike import demand_alike

        demand_alike(facts, self.start_mpi().tell_all, "start all ranks by the same command, of one installation")

    def start_mpi(self) -> "RollCall":
        """Start MPI and open the channel on which failed ranks meet, and which is returned. Collective."""
        from mpiopt.comm.runtime import RollCall

        warnings.filterwarnings("ignore", "suspicious MPI")  # World says it in a sentence, once
        self._calls = self._calls or RollCall()
        return self._calls

    def failed(self, error: BaseException) -> int:
        """Say what happened, once; return the exit code if every rank failed, end all ranks if not."""
        code = error.exit_code if isinstance(error, MpioptError) else 1
        if self._calls is None and self.alone:
            self._say(error)
            return code
        calls = self.start_mpi()
        speaker = calls.alike(f"{type(error).__name__}: {error}", PATIENCE)
        if speaker is None:
            self._say(error, lonely=True)
            time.sleep(0.3)  # for the launcher to pass the line on before it kills
            calls.abort(code)
        elif speaker == calls.rank:
            self._say(error)
        signal.alarm(GRACE)
        self._clear()
        return code

    def _clear(self) -> None:
        """Give back what the ranks, all here and failed alike, hold of MPI: windows left open make its library complain."""
        if self.world is not None:
            self.world.free()

    def interrupted(self) -> int:
        """Leave quietly, with every other rank."""
        if self._calls is not None and self._calls.size > 1:
            self._calls.abort(130)
        return 130

    def _say(self, error: BaseException, lonely: bool = False) -> None:
        if self._calls is not None and self._calls.size == 1 and not self._launch.first:
            return  # many processes, each alone in an MPI of its own: the first speaks for all
        if self._debug:
            traceback.print_exception(error)
        if isinstance(error, MpioptError):
            self._console.error(f"{self._where()}: {error}" if lonely else str(error))
        else:
            hint = "" if self._debug else " (--debug shows the traceback)"
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._console.error(f"{self._where()} failed while {self._console.phase}: {what}{hint}")

    def _where(self) -> str:
        rank = self._calls.rank if self._calls is not None else (self._launch.rank or 0)
        return f"rank {rank} on host {socket.gethostname()}"
