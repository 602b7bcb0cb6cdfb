"""What a job says: progress on standard error, results on standard output, both on one rank only."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from mpiopt.jobs.cli.flags import flagged
from mpiopt.words import harmless

WIDTH = 80  # columns of a terminal that nobody has widened


class Console:
    """The voice of a job. Call it on every rank with what happens next ("reading a9a.h5"); one rank prints.

    Whatever is said, text from files with it, has no command to a terminal in it.

    first : whether this process prints. live : whether it may overwrite its line on a terminal; launchers pass lines on.
    json : results are one JSON object, so `show` says nothing.
    ``phase`` is the last thing said: an unexpected error names it. ``options`` : those of the job, once they are known,
    as `flags.switches` has them: notes and errors call them by their flags.
    """

    def __init__(self, *, first: bool = True, live: bool = True, json: bool = False) -> None:
        self.first, self.json = first, json
        self.phase = "starting"
        self.options: Mapping[str, bool] = {}
        self.live = live and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._open_line = False

    def __call__(self, text: str) -> None:
        """Say what happens next. Not collective."""
        self.phase = text
        self.note(text)

    def note(self, text: str) -> None:
        """Print a line of progress on the speaking rank."""
        if self.first:
            self._print(text)

    def show(self, text: str) -> None:
        """Print a result on the speaking rank, unless it prints JSON."""
        if self.first and not self.json:
            self.close_line()
            _tell(text, sys.stdout)

    def error(self, text: str) -> None:
        """Print an error from this rank, whichever it is."""
        self._print(f"mpiopt: {text}")

    def result(self, result: dict[str, Any]) -> None:
        """Print a job's result as JSON, where asked for."""
        if self.first and self.json:
            self.close_line()
            text = json.dumps(plain(result), ensure_ascii=False)
            _tell(text if harmless(text) == text else json.dumps(plain(result)), sys.stdout)

    def live_line(self, text: str) -> None:
        """Put ``text`` in place of the live line (terminals only)."""
        if self.first and self.live:
            width = shutil.get_terminal_size().columns - 1
            _tell(text.replace("\n", " ")[:width], sys.stderr, start="\r\x1b[2K", end="")
            self._open_line = True

    def close_line(self) -> None:
        """Leave the live line as it stands and go to the next."""
        if self._open_line:
            _tell("", sys.stderr)
            self._open_line = False

    def _print(self, text: str) -> None:
        self.close_line()
        _tell(flagged(text, self.options), sys.stderr)


def _tell(text: str, stream: TextIO, start: str = "", end: str = "\n") -> None:
    """Print ``text``, and ``start`` before it, which alone may command a terminal.

    Where the reader has gone (mpiopt methods | head) there is nobody to tell, and the job goes on.
    """
    try:
        print(f"{start}{harmless(text)}", file=stream, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def room(taken: int) -> int:
    """Columns that are left beside so many on a terminal; without one lines are not cut, for who reads may search them."""
    return shutil.get_terminal_size().columns - taken if sys.stdout.isatty() else sys.maxsize


class ProgressLine:
    """A watcher of a run: a live line on a terminal, elsewhere the first rounds and then a line every so often.

    every : seconds between plain lines after the first ``at_once`` rounds; they grow with the run's length.
    """

    def __init__(self, console: Console, every: float = 2.0, at_once: int = 10) -> None:
        self._console, self._every, self._at_once = console, every, at_once
        self._due = 0.0
        self._last: Any = None
        self._printed = True

    def __call__(self, record: Any) -> None:
        """Take note of a round's record."""
        self._console.phase = f"under way, after round {record.round}"
        if not self._console.first:
            return
        self._last, self._printed = record, False
        now = time.monotonic()
        if self._console.live:
            self._console.live_line(line(record))
        elif record.round <= self._at_once or now >= self._due or math.isfinite(getattr(record, "test_loss", math.nan)):
            self._line(now, record)

    def close(self) -> None:
        """Print the last round, if it was not."""
        if self._console.live:
            self._console.close_line()
        elif not self._printed:
            self._line(time.monotonic(), self._last)

    def _line(self, now: float, record: Any) -> None:
        self._console.note(line(record))
        self._printed = True
        self._due = now + max(self._every, record.seconds / 20)


def line(record: Any) -> str:
    """One round in less than 80 columns."""
    if hasattr(record, "epoch"):
        right = f"{100 * record.accuracy:.2f} %, " if math.isfinite(record.accuracy) else ""
        marks = f"  test {right}loss {record.test_loss:.4f}" if math.isfinite(record.test_loss) else ""
        loss = f"{record.objective:8.4f}" if math.isfinite(record.objective) else "       -"
        return f"epoch {record.epoch:6.2f}  loss {loss}{marks:28s}  {size(record.bytes_sent):>7s}  {record.seconds:.1f} s"
    if hasattr(record, "merit"):
        apart = f"  distance {record.distance:.1e}" if math.isfinite(record.distance) else ""
        cost = f"{size(record.bytes_sent):>7s}  {record.seconds:.1f} s"
        return f"round {record.round:5d}  residual {record.objective:.3e}{apart}  {cost}"
    gap = f"  gap <= {record.gap:.1e}" if math.isfinite(record.gap) else ""
    return (
        f"round {record.round:4d}  F {_objective(record.objective)}  |grad F| {record.gradient_norm:.1e}{gap}  "
        f"{size(record.bytes_sent):>7s}  {record.seconds:.1f} s"
    )


def _objective(value: float) -> str:
    """In 13 or 14 columns, with as many digits as they hold."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.8e}"
    return f"{value:.11f}" if abs(value) < 1 else f"{value:#.12g}"


def size(count: float) -> str:
    """Bytes for people: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def table(head: list[str], rows: list[list[str]], right: str = "") -> str:
    """A plain table; ``right`` has a letter r for each column that is aligned to the right."""
    widths = [max(len(row[c]) for row in [head, *rows]) for c in range(len(head))]
    aligned = [
        [
            cell.rjust(w) if right[c : c + 1] == "r" else cell.ljust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in [head, *rows]
    ]
    lines = ["  ".join(row).rstrip() for row in aligned]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def plain(value: Any) -> Any:
    """A result that JSON can hold: no arrays, no infinities."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
