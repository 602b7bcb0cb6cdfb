"""A watchdog: where every rank is, and who keeps the others waiting when a job hangs.

Every rank has a thread that writes a line into a small file of its own now and then: a beat, the number of collectives it
has come to, the one it waits in, and where its main thread stands. A rank that has waited too long reads the others' files.

Files rather than messages: a second thread may call MPI only where the library allows it (MPI_THREAD_MULTIPLE), which
slows all calls down; MPI's own progress may be what hangs; and files are left for whoever looks after a kill. Clocks of
hosts are never compared: a rank is silent when its beat stands still while this one's goes on.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mpiopt.comm.gate import ALONE, GROUP, WHOLE
from mpiopt.comm.world import World
from mpiopt.errors import UsageError

LENGTH = 2048  # bytes of a file: one write, which a reader sees whole


class Beat(NamedTuple):
    """What a rank's file says: ``calls`` collectives so far; ``name`` of the one it is in, or ""; seconds in or since it."""

    rank: int
    host: str
    pid: int
    beat: int
    calls: int
    name: str
    seconds: float
    phase: str
    where: str


class Watchdog:
    """While entered, watches over the collectives of ``world``; without one nothing is spent. Collective to enter and leave.

    folder : a new one on a file system that all hosts share. warn, abort : seconds that a rank waits before it says so,
    and before it ends the job (None: never). say : where to say it. phase : what the job is doing, in words.
    Raises UsageError on every rank where the hosts do not share the folder.
    """

    def __init__(
        self,
        world: World,
        folder: Path,
        warn: float,
        say: Callable[[str], None],
        phase: Callable[[], str] = str,
        abort: float | None = None,
    ) -> None:
        self.world, self.folder, self.say, self.phase = world, folder, say, phase
        self.warn, self.abort = warn, abort
        self.period = min(10.0, max(0.1, min(warn, abort or warn) / 5))
        self._calls, self._moves, self._beats = 0, 0, 0
        self._inside: list[str] = []  # the calls that this rank is in, one within the other
        self._waited, self._seen, self._due, self._told = 0.0, -1, warn, False
        self._main = threading.main_thread().ident or 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.world.watches.append(self)
        self._thread.start()  # before the ranks meet for the first time
        try:
            self._begin()
        except BaseException:
            self._leave()
            raise
        return self

    def _begin(self) -> None:
        """See that all ranks write into one folder. Collective. Raises UsageError on every rank."""
        world = self.world
        with world.together("starting the watchdog"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write()
        with world.together("starting the watchdog"):
            missing = [rank for rank in range(world.size) if self._read(rank) is None] if world.rank == 0 else []
            if missing:
                raise UsageError(
                    f"the watchdog's folder {self.folder} is not the same one on every host (rank {missing[0]} does not see "
                    "it): give `out` or `checkpoint` on a file system that they share"
                )

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._end.set()
        self._thread.join()
        self.world.watches.remove(self)
        self._file(self.world.rank).unlink(missing_ok=True)
        with suppress(OSError):  # the last one finds it empty
            self.folder.rmdir()

    # ------------------------------------------------------------------------------------------ at the gate
    def entered(self, name: str, who: str) -> None:
        """See `comm.gate.Watch`; all ranks come to a call of theirs equally often, and what lies within one is no move."""
        self._moves += not self._inside
        self._calls += who == WHOLE
        self._inside.append(name + who)

    def left(self, who: str) -> None:
        """See `comm.gate.Watch`."""
        self._inside.pop()
        self._calls += who == WHOLE
        self._moves += not self._inside

    @property
    def _name(self) -> str:
        """The outermost call that this rank is in, or ""."""
        return next(iter(self._inside), "")

    # ------------------------------------------------------------------------------------------ this rank's thread
    def _watch(self) -> None:
        last = time.monotonic()
        while not self._end.wait(self.period):
            now = time.monotonic()
            passed, last = min(now - last, 3 * self.period), now  # a job that was suspended as a whole has not waited
            if self._moves != self._seen:
                if self._told:
                    self.say(f"the ranks go on, after {self._waited:.0f} s")
                self._seen, self._waited, self._due, self._told = self._moves, 0.0, self.warn, False
            else:
                self._waited += passed
            self._beat()
            if self._name and self._waited >= self._due:
                self._due *= 2
                self._report()
            if self._name and self.abort is not None and self._waited >= self.abort and self._reporter():
                self.say(f"ending the job: a rank has waited for {self._waited:.0f} s (`watchdog_abort={self.abort:g}`)")
                time.sleep(0.3)  # for the launcher to pass the line on before it kills
                last_resort = threading.Timer(5.0, os.kill, (os.getpid(), signal.SIGKILL))
                last_resort.daemon = True
                last_resort.start()
                self.world.abort(1)

    def _beat(self) -> None:
        self._beats += 1
        with suppress(OSError):  # a full disk must not end the watch
            self._write()

    def _pause(self, beats: int) -> None:
        """Let time pass in which the others' files may change, without falling silent."""
        for _ in range(beats):
            self._end.wait(self.period)
            self._beat()

    def _reporter(self) -> bool:
        """Whether no lower rank can speak: this one speaks for all that wait."""
        return all(self._stands(rank) for rank in range(self.world.rank))

    def _stands(self, rank: int) -> bool:
        """Whether a rank is silent, or at work and not waiting."""
        before = self._read(rank)
        if before is None or not before.name:
            return True
        self._pause(2)
        after = self._read(rank)
        return after is None or after.beat == before.beat

    def _report(self) -> None:
        name, calls, moves = self._name, self._calls, self._moves
        if not self._reporter() or self._moves != moves:
            return
        before = self._all()
        self._pause(3)
        after = self._all()
        if self._moves != moves or self._end.is_set():
            return
        self._told = True
        late = _missing(before, after, None if name.endswith((GROUP, ALONE)) else calls)
        missing = " ".join(late) or "All have come, but it does not end: MPI or the network hangs."
        self.say(f"rank {self.world.rank} waits in {name} for {self._waited:.0f} s ({self.phase()}). {missing}")

    def _all(self) -> list[Beat | None]:
        return [self._read(rank) for rank in range(self.world.size)]

    # ------------------------------------------------------------------------------------------ files
    def _file(self, rank: int) -> Path:
        return self.folder / str(rank)

    def _write(self) -> None:
        world, where = self.world, _where(self._main)[:120]
        found = Beat(
            world.rank,
            world.host,
            os.getpid(),
            self._beats,
            self._calls,
            self._name,
            round(self._waited, 1),
            self.phase()[:120],
            where,
        )
        text = json.dumps(found).encode()[:LENGTH].ljust(LENGTH)
        file = os.open(self._file(world.rank), os.O_WRONLY | os.O_CREAT, 0o644)  # closed again, so that NFS passes it on
        try:
            os.pwrite(file, text, 0)
        finally:
            os.close(file)

    def _read(self, rank: int) -> Beat | None:
        """What a rank says; None where it says nothing."""
        try:
            return Beat(*json.loads(self._file(rank).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def _missing(before: list[Beat | None], after: list[Beat | None], calls: int | None) -> Iterator[str]:
    """A sentence for every rank that is silent or has not come as far as ``calls``; None: to some ranks, whose calls differ."""
    for rank, (then, now) in enumerate(zip(before, after, strict=True)):
        if now is None:
            if calls is not None:
                yield f"rank {rank} has left, or has not begun."
            continue
        who, doing = f"rank {rank} on host {now.host} (pid {now.pid})", f"{now.phase or 'at work'}, in {now.where}"
        if then is not None and then.beat == now.beat:
            yield f"{who} is silent: stopped, swapped out, or its host is down. It was last {doing}."
        elif not now.name if calls is None else now.calls < calls:
            yield f"{who} has not come: {doing}, for {now.seconds:.0f} s."


def _where(thread: int) -> str:
    """The innermost place of ours in a thread's stack: module.function, line."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("mpiopt."):
            return f"{module}.{frame.f_code.co_name}, line {frame.f_lineno}"
        frame = frame.f_back
    return "code of others"
