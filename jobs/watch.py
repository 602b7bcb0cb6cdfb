"""``mpiopt watch``: follow a run from another shell by reading its run file."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import fcntl
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiopt.errors import DataError, UsageError
from mpiopt.jobs.cli.configuration import parsed
from mpiopt.jobs.cli.console import Console, size
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.io.runs.run_file import RunData

UNCONVERGED = 3  # the exit code of a run that ended without reaching a tolerance, as of mpiopt solve --strict
LINES = 10  # records shown at once
SILENT = 30.0  # seconds without a record that are worth a word
TORN = 5.0  # seconds for which a file may be unreadable because it is being written
WINDOW = 30  # records that an estimate looks back
WIDTHS = (6, 14, 8, 8, 7, 8, 8, 14)
HEAD = ("round", "objective", "|grad F|", "gap", "sent", "solving", "a round", "left")
ROUND = (("objective", "#.11g"), ("gradient_norm", ".1e"), ("gap", ".1e"))
LESSON = (("objective", ".4f"), ("epoch", ".2f"), ("accuracy", ".2%"))
MOVE = (("objective", ".3e"), ("merit", ".1e"), ("distance", ".1e"))
PLAYING = ("round", "residual", "merit", "distance", "sent", "playing", "a round", "left")  # of a game
LEARNING = ("round", "running loss", "epoch", "accuracy", "sent", "training", "a round", "left")  # of a training


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Follow a run that writes RUN.h5, from any shell that sees the file: a line per record, until the run ends.

    The last column says how long the run has to go at its present rate, and to what: a tolerance, or a limit of rounds,
    epochs or seconds. The exit code is 0 where the run reached a tolerance and 3 where it ended without. The run is never
    disturbed: its file is only read. With --json, every line is one JSON object. Over NFS records may come half a minute
    late.
    """

    run: Path = field(kw_only=False)
    """Run file that the --out of mpiopt solve or train is writing, or has written."""
    once: bool = False
    """Say where the run stands and end."""
    wait: bool = False
    """Wait for a file that is not there yet."""
    every: float = 2.0
    """Seconds between two looks at the file."""
    patience: float | None = None
    """End with exit code 1 after so many seconds without a new record. [default: never]"""


def run(job: Watch, world: None, console: Console) -> dict[str, Any]:
    """Follow one run to its end. Raises DataError where the file is missing or damaged, UsageError for times below 0."""
    for name in ("every", "patience"):
        if getattr(job, name) is not None and not getattr(job, name) > 0:
            raise UsageError(f"--{name} {getattr(job, name):g}: give a number of seconds above 0")
    if not job.run.exists() and not job.wait:
        raise DataError(f"there is no file {job.run}: name one that the --out of mpiopt solve or train writes, or give --wait")
    if not job.run.exists():
        console.note(f"waiting for {job.run}")
        while not job.run.exists():
            time.sleep(min(job.every, 0.5))
    follower = Follower(job.run, console)
    while not follower.look() and not job.once:
        if job.patience is not None and follower.silent >= job.patience:
            raise DataError(follower.silence())
        time.sleep(job.every)
    return follower.end()


class Follower:
    """What has been seen of a run so far, and what has been said of it."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self._console = path, console
        self._data: RunData | None = None
        self._shown = 0
        self._since, self._word = time.monotonic(), SILENT  # when the last record was seen, when to speak of silence

    @property
    def silent(self) -> float:
        """Seconds since this process saw a new record; its own clock, as the file's may be another host's."""
        return time.monotonic() - self._since

    def look(self) -> bool:
        """Read the file, tell what is new; whether the run has ended. Raises DataError."""
        before, data = self._data, _read(self.path)
        self._data, rounds = data, len(data.history.get("round", ()))
        if before is None:
            self._begin(data, rounds)
        elif rounds < self._shown or data.attributes.get("created") != before.attributes.get("created"):
            self._console.note(f"the run was taken up again, after {counted(max(0, rounds - 1), 'round')}")
            self._shown = min(self._shown, rounds)
        if rounds > self._shown:
            self._since, self._word = time.monotonic(), SILENT
            self._tell(data, rounds)
        ended = data.attributes.get("reason") != "RUNNING"
        if not ended and self.silent >= self._word:
            self._console.note(self.silence())
            self._word *= 2
        return ended

    def _begin(self, data: "RunData", rounds: int) -> None:
        about = data.attributes
        ranks = f" on {counted(about['world_size'], 'rank')}" if "world_size" in about else ""
        head = _line(_kind(data.history)[0])
        self._console.show(f"{about.get('method', 'a run')}{ranks}: {about.get('dataset', self.path)}\n{head}")
        if not self._console.json:
            self._shown = max(0, rounds - LINES)

    def _tell(self, data: "RunData", rounds: int) -> None:
        limits, first = _limits(data), self._shown
        if not self._console.json and rounds - first > LINES:
            self._console.show(f"{'...':>{WIDTHS[0]}}")
            first = rounds - LINES
        for k in range(first, rounds):
            record = {name: column[k].item() for name, column in data.history.items()}
            record |= pace(data.history, k, limits)
            self._console.show(_row(record))
            self._console.result({"event": "record", **record})
        self._shown = rounds

    def silence(self) -> str:
        """That nothing has come for a while, and what can be known of why."""
        why = {
            True: "the run's process is there: a long round, or it hangs",
            False: "no process of this host has the file open: the run was killed, or runs on another host",
            None: "the run may be slow, hung or killed",
        }[_held(self.path)]
        return f"no record for {_duration(self.silent)}: {why}"

    def end(self) -> dict[str, Any]:
        """Say why the run ended, or that it had not; the job's result."""
        about = {} if self._data is None else self._data.attributes
        found = {
            "event": "ended",
            **{name: about.get(name) for name in ("reason", "reason_text", "converged")},
            "records": self._shown,
        }
        if about.get("reason") != "RUNNING":
            self._console.show(f"\n{about.get('reason_text', 'The run has ended.')}")
            return {**found, "exit_code": 0 if about.get("converged", True) else UNCONVERGED}
        age = max(0.0, time.time() - self.path.stat().st_mtime)
        held = {True: "runs", False: "is not held open by any process of this host", None: "has not ended"}[_held(self.path)]
        self._console.show(f"\nThe run {held}; no record for {_duration(age)}.")
        return {**found, "event": "running", "silent": age, "exit_code": 0}


def _read(path: Path) -> "RunData":
    """The run file, read again for a while where it is caught half written."""
    from mpiopt.io.runs.run_file import read_run

    end = time.monotonic() + TORN
    while True:
        try:
            return read_run(path)
        except DataError:
            if not path.is_file() or time.monotonic() > end:
                raise
            time.sleep(0.1)


def _held(path: Path) -> bool | None:
    """Whether some process writes the file, by the lock that HDF5 holds; None where locks do not work."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _limits(data: "RunData") -> dict[str, float]:
    """The stopping rules of the run's configuration."""
    try:
        config = parsed(data.attributes.get("config", ""), data.path)
    except UsageError:
        return {}
    return {
        name: config[name]
        for name in ("gap_tol", "gradient_tol", "residual_tol", "rounds", "seconds", "epochs")
        if isinstance(config.get(name), int | float) and config[name] > 0
    }


def pace(history: Mapping[str, Any], k: int, limits: dict[str, float]) -> dict[str, Any]:
    """Seconds a round before record k, seconds left at this rate, and which stopping rule that is; None where unknown.

    history : columns of equal length, ``round`` and ``seconds`` among them. limits : stopping rules by name.
    """
    first = max(0, k - WINDOW, k - max(4, k // 3))
    seconds, rounds = history["seconds"][first : k + 1], history["round"][first : k + 1]
    passed = rounds[-1] - rounds[0]
    each = (seconds[-1] - seconds[0]) / passed if passed > 0 else math.nan
    left = [((limits["seconds"] - seconds[-1]), "seconds")] if "seconds" in limits else []
    left += [((limits["rounds"] - rounds[-1]) * each, "rounds")] if "rounds" in limits else []
    if "epochs" in limits and "epoch" in history:
        epochs = history["epoch"][first : k + 1]
        went = epochs[-1] - epochs[0]
        left.append(((limits["epochs"] - epochs[-1]) * (seconds[-1] - seconds[0]) / went if went > 0 else math.nan, "epochs"))
    for name, column in (("gap_tol", "gap"), ("gradient_tol", "gradient_norm"), ("residual_tol", "objective")):
        if name in limits and column in history:
            left.append((_time_to(limits[name], seconds, history[column][first : k + 1]), column.partition("_")[0]))
    left = sorted((max(0.0, float(time)), what) for time, what in left if math.isfinite(time))
    found = left[0] if left else (None, None)
    return {"seconds_a_round": float(each) if math.isfinite(each) else None, "seconds_left": found[0], "until": found[1]}


def _time_to(tolerance: float, seconds: Any, values: Any) -> float:
    """Seconds from the last of ``values`` until they fall to the tolerance, by the line through their logarithms."""
    points = [(float(t), math.log(v)) for t, v in zip(seconds, values, strict=True) if v > 0 and math.isfinite(v)]
    if values[-1] <= tolerance:
        return 0.0
    if len(points) < 3:
        return math.nan
    middle, level = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((t - middle) ** 2 for t, _ in points)
    slope = sum((t - middle) * (v - level) for t, v in points) / spread if spread > 0 else 0.0
    return (math.log(tolerance) - points[-1][1]) / slope if slope < 0 else math.nan


def _kind(history: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The head of the table, and the columns of what kind of run this is."""
    return (LEARNING, LESSON) if "epoch" in history else (PLAYING, MOVE) if "merit" in history else (HEAD, ROUND)


def _row(record: dict[str, Any]) -> str:
    """One record in 80 columns; "-" for what is not known."""
    left = record["seconds_left"]
    return _line(
        [
            f"{record['round']:d}",
            *(_told(record.get(name), form) for name, form in _kind(record)[1]),
            size(record.get("bytes_sent", 0)),
            _duration(record.get("seconds")),
            _duration(record["seconds_a_round"]),
            "-" if left is None else f"{_duration(left)} {record['until']}",
        ]
    )


def _line(cells: Any) -> str:
    return " ".join(f"{cell:>{width}s}" for cell, width in zip(cells, WIDTHS, strict=True))


def _told(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{form}}"


def _duration(seconds: float | None) -> str:
    """Seconds for people: 0.012 s, 45 s, 3.4 min, 5.2 h, 12 d."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    for unit, length, until in (("s", 1, 99.5), ("min", 60, 99.5), ("h", 3600, 47.5)):
        if seconds < until * length:
            return f"{seconds / length:.2g} {unit}" if seconds >= 1e-3 * length or not seconds else f"{1e6 * seconds:.0f} us"
    return f"{seconds / 86400:.0f} d"
