"""svmlight text: ``LABEL [qid:N] INDEX:VALUE ... [# comment]`` to rows in memory, and rows to text."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import WIDEST
from mpiopt.io.dataset.source import Source
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.compaction import Compaction
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import ROOM, MemoryRun, RunStore
from mpiopt.io.text.parts import Part, blocks, where
from mpiopt.kernels.host import text as kernel

LONGEST = 4096  # characters of a number that the kernel leaves aside
_ODDS = 1 << 14
_PLAIN_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMPACT = "`compact` makes columns of the features that occur, whatever their numbers up to 2^64 - 1"
_END = re.compile(rb"[ \t\r\n#]")
_NO_NUMBER = re.compile(rb"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class Parser(Intake):
    """svmlight text: LABEL INDEX:VALUE INDEX:VALUE ..., with comments and query numbers, which are left out.

    Weights behind labels are the first of what stands beside a label. Nothing but `settle` is collective.
    """

    def __init__(self, store: RunStore, asked: RowRequest) -> None:
        super().__init__(store, asked)
        self._weighted, self._weights = asked.weighted, np.empty(0)
        self._order, self._path, self._picked = asked.order, Path(), asked.picked
        self._compaction = Compaction(asked.known) if asked.compact else None
        self._counters = np.array([0, 0, np.iinfo(np.int64).max, 0, 0, 0])
        self._odd = np.empty((_ODDS, 2), np.int64)
        self._run = self._fresh()

    @property
    def least(self) -> int:
        """The least index so far."""
        return int(self._counters[kernel.LEAST]) if self.ids is None else 0

    @property
    def greatest(self) -> int:
        """The greatest index so far, or column once all is settled."""
        return int(self._counters[kernel.GREATEST]) if self._compaction is None else len(self._compaction.ids) - 1

    def _fresh(self, scale: int = 1) -> MemoryRun:
        run = MemoryRun.empty(self.values, nonzeros=scale * ROOM, indices=np.int32 if self._compaction is None else np.uint64)
        if self._weighted:
            self._weights = np.ones(len(run.y))
        return run

    def read(self, part: Part, each: Callable[[int], bool]) -> list[int]:
        """Read one part; ``each(bytes)`` is told of every block and ends the reading by False.

        Returns the rows of each run that this made. Raises DataError naming file and line.
        """
        before, self._path = len(self.store.runs), part.path
        for text, end, at in blocks(part):
            self._block(text, end, part.path, at)
            if not each(end):
                break
        self._close()
        return [run.rows for run in self.store.runs[before:]]

    def _block(self, text: np.ndarray, end: int, path: Path, at: int) -> None:
        begin = 0
        while begin < end:
            run = self._run
            arrays = run.y, run.indptr, run.indices, run.data, self._odd, self._counters
            status, stopped = kernel.parse(text, begin, end, *arrays, self.base, self._order == "refuse")
            self._settle(text, path, at)
            if status == kernel.DONE:
                return
            if status > kernel.ODD_FULL:
                widest = 2**64 - 1 if self._compaction else WIDEST
                raise DataError(_complaint(status, _token(text, stopped), path, at + stopped, widest))
            self._make_room(status, stuck=stopped == begin)
            begin = stopped

    def _make_room(self, status: int, stuck: bool) -> None:
        if status == kernel.ODD_FULL:
            self._odd = np.empty((len(self._odd) * (2 if stuck else 1), 2), np.int64)
            return
        empty, room = not self._counters[kernel.ROWS], len(self._run.data)
        self._close()
        self._run = self._fresh(2 * room // ROOM if empty and status == kernel.FULL else 1)

    def _close(self) -> None:
        """Hand the rows of the current run to the store and begin another."""
        rows = int(self._counters[kernel.ROWS])
        if rows:
            self._run.trim(rows)
            if self._picked is not None:
                self._run.y = np.where(self._run.y == self._picked, 1.0, -1.0)
            if self._compaction is not None:
                self.dropped += self._compaction.narrow(self._run)
            if self._counters[kernel.UNSORTED]:
                self._run.ascend(self._order == "sum", str(self._path), self._called)
            if self._weighted:
                self._run.beside = np.ones((rows, self.store.width))
                self._run.beside[:, 0] = self._weights[:rows]
            self.keep(self._run)
        self._counters[[kernel.ROWS, kernel.NONZEROS, kernel.UNSORTED]] = 0
        self._run = self._fresh()

    def _called(self, index: int) -> int:
        return int(index) if self._compaction is None else self._compaction.called(index)

    def settle(self, world: World) -> None:
        """Make columns of the features that occur, if that is asked for. See `Intake.settle`."""
        if self._compaction is not None:
            self._compaction.settle(world, self.store)
            self.ids = self._compaction.ids

    def _settle(self, text: np.ndarray, path: Path, at: int) -> None:
        """Read the numbers that the kernel left aside."""
        for position, place in self._odd[: self._counters[kernel.ODDS]].tolist():
            token = _token(text, position)
            try:
                if place < 0:
                    self._run.y[-1 - place] = self._label(token, -1 - place)
                else:
                    self._run.data[place] = _single(token) if self.values == np.float32 else _double(token)
            except ValueError as error:
                what = f"the label {_quoted(token)}" if place < 0 else f"the value {_quoted(token)}"
                raise DataError(f"{where(path, at + position)}: {what} {error}") from None
        self._counters[kernel.ODDS] = 0

    def _label(self, token: bytes, row: int) -> float:
        """The label of a row of the run, and its weight put aside. Raises ValueError in a few words."""
        if b"," in token:
            return self._one_of(token)
        label, colon, weight = token.partition(b":")
        if not colon:
            return _double(token)
        if not self._weighted:
            told = "is not a number (if it is LABEL:WEIGHT, say so by `weights=label`)"
            raise ValueError(told if all(map(_PLAIN_NUMBER.fullmatch, (label, weight))) else "is not a number")
        self._weights[row] = _double(weight)
        if self._weights[row] < 0:
            raise ValueError("has a negative weight")
        return _double(label)

    def _one_of(self, token: bytes) -> float:
        """Of several labels the one that is picked, NaN where it is not among them."""
        labels = [_double(part) for part in token.split(b",")]
        if self._picked is None:
            raise ValueError("names several labels: say by `label=N` which becomes 1, and the others -1")
        return self._picked if self._picked in labels else np.nan


def picked(label: str | None) -> float | None:
    """The label that is to become 1. Raises UsageError."""
    try:
        return None if label is None else float(label)
    except ValueError:
        raise UsageError(f"`label={label}` is no number, as labels of text are: give the one that becomes 1") from None


def _token(text: np.ndarray, position: int) -> bytes:
    return _END.split(text[position : position + LONGEST + 1].tobytes(), 1)[0]


def _double(token: bytes) -> float:
    if len(token) > LONGEST:
        raise ValueError(f"has more than {LONGEST} characters")
    if _NO_NUMBER.fullmatch(token):
        raise ValueError("is not finite")
    if not _PLAIN_NUMBER.fullmatch(token):
        raise ValueError("is not a number")
    value = float(token)
    if not np.isfinite(value):
        raise ValueError("is too large")
    return value


def _single(token: bytes) -> np.float32:
    """The nearest float32, the even one of two equally near: by way of a double it may be the wrong one."""
    value = _double(token)
    if abs(value) > 3.4028235677973366e38:
        raise ValueError("is too large for single precision (`values=float64` stores double)")
    if value == 0:
        return np.float32(value)
    exact, guess = Fraction(token.decode()), np.float32(min(max(value, -3.4028235e38), 3.4028235e38))
    with np.errstate(over="ignore"):
        near = [guess, *(n for n in (np.nextafter(guess, s * np.float32(np.inf)) for s in (-1, 1)) if np.isfinite(n))]
    return min(near, key=lambda n: (abs(Fraction(float(n)) - exact), int(n.view(np.uint32)) & 1))


def _complaint(status: int, token: bytes, path: Path, position: int, widest: int) -> str:
    if re.match(rb"\d{19,}:", token):
        status = kernel.WIDE
    what = {
        kernel.BAD_PAIR: f"{_quoted(token)} is not INDEX:VALUE with a whole, non-negative index",
        kernel.WIDE: f"the index of {_quoted(token)} is above {widest}"
        + (f", the greatest that a matrix here can have: {COMPACT}" if widest == WIDEST else ": it has more than 64 bits"),
        kernel.ZERO_INDEX: f"{_quoted(token)} has index 0, but with `base=1` (given, or of the set in `like`) the first "
        "feature is number 1; give `base=0` or auto, or number them alike",
        kernel.BAD_ORDER: f"the index of {_quoted(token)} is not above the one before it; indices must ascend within a "
        "row, each at most once (`indices=sort` sorts them, `indices=sum` also adds up what comes twice)",
    }
    return f"{where(path, position)}: {what[status]}"


def _quoted(token: bytes) -> str:
    shown = token.decode("utf-8", "backslashreplace")
    return repr(shown if len(shown) <= 40 else shown[:37] + "...")


def write_svmlight(source: Source, path: str | Path, base: int = 1) -> None:
    """Write any source as text, nine digits a value, which give the same float32 back. Not collective. Raises OSError."""
    step = max(1, (1 << 18) * source.rows // max(source.nnz, 1))
    with open(path, "w", encoding="ascii") as file:
        for lo in range(0, source.rows, step):
            matrix, y, *_ = source.read(lo, min(lo + step, source.rows))
            columns, values, ends = (matrix.indices + base).tolist(), matrix.data.tolist(), matrix.indptr.tolist()
            pairs = [f"{column}:{value:.9g}" for column, value in zip(columns, values, strict=True)]
            file.writelines(" ".join([f"{y[i]:.17g}", *pairs[ends[i] : ends[i + 1]]]) + "\n" for i in range(len(y)))
