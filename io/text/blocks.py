"""Rows that a reader from outside hands over in blocks: looked at, gathered, kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpiopt.errors import DataError, MpioptError
from mpiopt.io.dataset.index import WIDEST
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore
from mpiopt.io.text.parts import Part

GATHERED = 1 << 20  # nonzeros of a run


class RowBlock(NamedTuple):
    """Some rows, one after the other.

    y : (n,) labels; lengths : (n,) how many entries each row has; indices, data : (sum of lengths,) their features and values.
    """

    y: np.ndarray
    lengths: np.ndarray
    indices: np.ndarray
    data: np.ndarray


Read = Callable[[Path], Iterator[RowBlock]]


class BlockParser(Intake):
    """Reads whole files by a function of a path. What it hands over is looked at as hostile text would be. Not collective."""

    def __init__(self, read: Read, store: RunStore, asked: RowRequest) -> None:
        super().__init__(store, asked)
        self._read = read
        self._least, self._greatest = int(np.iinfo(np.int64).max), 0

    @property
    def least(self) -> int:
        """The least index so far."""
        return self._least

    @property
    def greatest(self) -> int:
        """The greatest index so far."""
        return self._greatest

    def read(self, part: Part, each: Callable[[int], bool]) -> list[int]:
        """Read one file; ``each(bytes)`` is told of every block and ends the reading by False.

        Returns the rows of each run that this made. Raises DataError naming file and row.
        """
        before, held, row = len(self.store.runs), [], 1
        for given in self._blocks(part.path):
            block = self._sound(given, part.path, row)
            held.append(block)
            row += len(block.y)
            if sum(len(one.data) for one in held) >= GATHERED:
                self._gather(held)
                held = []
            if not each(block.data.nbytes):
                break
        self._gather(held)
        return [run.rows for run in self.store.runs[before:]]

    def _blocks(self, path: Path) -> Iterator[RowBlock]:
        try:
            yield from self._read(path)
        except MpioptError:
            raise
        except Exception as error:
            raise DataError(f"{path} cannot be read by its reader ({type(error).__name__}: {error})") from error

    def _gather(self, blocks: list[RowBlock]) -> None:
        if blocks:
            y, lengths, indices, data = (np.concatenate(column) for column in zip(*blocks, strict=True))
            self.keep(MemoryRun(y, np.concatenate(([0], np.cumsum(lengths))), indices, data))

    def _sound(self, block: RowBlock, path: Path, row: int) -> RowBlock:
        """The block in the types of a run. Raises DataError naming the row, counted from 1, and what is wrong with it."""
        try:
            y, indices, data = (
                np.asarray(column, dtype).reshape(-1)
                for column, dtype in ((block.y, np.float64), (block.indices, np.int64), (block.data, np.float64))
            )
            lengths = np.asarray(block.lengths, np.int64).reshape(-1)
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"{path}, row {row}: the reader handed over no block of numbers ({error})") from error
        if len(y) != len(lengths) or len(indices) != len(data) or (lengths < 0).any() or lengths.sum() != len(data):
            raise DataError(
                f"{path}, row {row}: the reader handed over {len(y)} labels, {len(lengths)} lengths that add up to "
                f"{lengths.sum()}, {len(indices)} indices and {len(data)} values"
            )
        of = np.repeat(np.arange(len(y)), lengths)
        with np.errstate(over="ignore"):
            stored = data.astype(self.values)
        falls = np.concatenate(([False], (np.diff(indices) <= 0) & (np.diff(of) == 0))) if len(of) else np.zeros(0, bool)
        for wrong, what in (
            ((indices < self.base) | (indices > WIDEST), f"has an index not from {self.base} to {WIDEST}"),
            (falls, "has an index that is not above the one before it; indices must ascend within a row"),
            (~np.isfinite(stored), f"has a value that is not a finite {self.values} number"),
        ):
            if wrong.any():
                raise DataError(f"{path}, row {row + of[wrong.argmax()]} {what}")
        if not np.isfinite(y).all():
            raise DataError(f"{path}, row {row + int((~np.isfinite(y)).argmax())} has a label that is not finite")
        if len(indices):
            self._least, self._greatest = min(self.least, int(indices.min())), max(self.greatest, int(indices.max()))
        return RowBlock(y, lengths, indices.astype(np.int32), stored)
