"""Seeded sparse data sets of any size, made row by row: any rank makes any block for itself, the same for any rank count."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.errors import UsageError
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.sparse_rows import SparseRows
from mpiopt.io.dataset.spoilt import spoil
from mpiopt.io.dataset.synthetic_rows import BINARY, COUNTS, RARE, add_own, fill_columns, fill_values, lengths
from mpiopt.kernels.compiling import side_by_side
from mpiopt.kernels.csr import CSR

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Generator = TypeVar("Generator", bound="DataclassInstance")  # with ``kind``, its specification's first word
_PROBE = 2048  # rows whose mean margin is taken for that of all


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """A data set in the manner of text: a `Source` that needs no file and no communication.

    rows, cols : its shape. per_row : mean nonzeros of a row; the lengths are log-normal with deviation ``spread`` of the
    logarithm. exponent : feature c is drawn with frequency proportional to (c + 10)^-exponent, so features are numbered
    by popularity. binary : equal values in a row, otherwise positive ones that favour rare features, as tf-idf does, or with
    ``counts`` whole numbers that favour frequent ones in some rows more than in others, as words are repeated; rows have norm
    1. own : share of the features that occur in one row only, the last ones. topics : each row has one of so many, which half
    of its features follow. planted : share of the features that the labels depend on. signal : standard deviation of the
    true log-odds; labels are drawn from them, so the larger, the less noise. twins : share of the columns that equal another
    one; lone : share that about one row each has; scales : decades over which the columns' units are spread
    (`dataset.spoilt`). seed : everything follows from it.
    """

    kind: str = "default"
    rows: int = 50_000
    cols: int = 20_000
    per_row: float = 30.0
    spread: float = 0.5
    exponent: float = 1.0
    binary: bool = False
    counts: bool = False
    own: float = 0.0
    topics: int = 1
    planted: float = 0.2
    signal: float = 4.0
    twins: float = 0.0
    lone: float = 0.0
    scales: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "rows": self.rows >= 1,
            "cols": 1 <= self.cols < 2**31,
            "twins": 0 <= self.twins <= 0.4,
            "lone": 0 <= self.lone <= 0.9,
            "scales": 0 <= self.scales <= 12,
            "per_row": 1 <= self.per_row <= self._drawn,
            "spread": 0 <= self.spread <= 2,
            "exponent": 0 <= self.exponent <= 4,
            "planted": 0 < self.planted <= 1,
            "signal": self.signal >= 0,
            "own": 0 <= self.own < 1 and self.own * self._drawn <= (self.per_row - 1) * self.rows,
            "topics": 1 <= self.topics <= self.cols,
            "counts": not (self.counts and self.binary),
        }
        for field, fine in limits.items():
            if not fine:
                raise UsageError(f"a synthetic set with {field}={getattr(self, field)} cannot be made; {_LIMITS}")

    @property
    def name(self) -> str:
        """The specification that `from_spec` reads back."""
        return named(self, PRESETS[self.kind])

    @property
    def content(self) -> str:
        """The specification makes the rows."""
        return self.name

    @property
    def values(self) -> Literal["float32"]:
        """Type of the stored values."""
        return "float32"

    @property
    def labels(self) -> Labels:
        """-1 and +1, not counted."""
        return Labels((-1.0, 1.0), None, -1.0, 1.0, float("nan"))

    @property
    def shared(self) -> int:
        """Columns that are not one row's alone, the first of those that are drawn."""
        return self._drawn - round(self.own * self._drawn)

    @cached_property
    def nnz(self) -> int:
        """Stored entries of the whole set: counted, at some 20 ns a row."""
        step = 1 << 20
        length = (
            (lambda lo, hi: self.read(lo, hi).matrix.nnz) if self._spoilt else (lambda lo, hi: int(self._indptr(lo, hi)[-1]))
        )
        return sum(length(lo, min(lo + step, self.rows)) for lo in range(0, self.rows, step))

    @property
    def foreseen(self) -> int:
        """Stored entries without a long count: as many as are meant, of more rows than one block of the count."""
        return self.nnz if self.rows <= 1 << 20 else round(self.rows * self.per_row)

    def blocks(self, workers: int) -> np.ndarray:
        """Row bounds (workers + 1,) int64: equally many rows, which here have equally many nonzeros on average."""
        return even(self.rows, workers)

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = None) -> SparseRows:
        """Rows lo <= i < hi with labels, without weights or offsets; see `Source.read`."""
        indptr = self._indptr(lo, hi)
        matrix = CSR.empty(hi - lo, int(indptr[-1]), self._drawn, dtype or np.float32)
        matrix.indptr[:] = indptr
        y = np.empty(hi - lo)
        if hi > lo:
            self._fill(lo, matrix, y, self._offset)
        if self._spoilt:
            matrix = spoil(matrix, self.cols, *self._behind, self.scales, (lo, self.rows), self._key)
        return SparseRows(matrix, y)

    @property
    def _behind(self) -> tuple[int, int]:
        """Columns that are twins, and that are lone."""
        return int(self.twins * self.cols), int(self.lone * self.cols)

    @property
    def _drawn(self) -> int:
        return self.cols - sum(self._behind)

    @property
    def _spoilt(self) -> bool:
        return any(self._behind) or self.scales > 0

    def _indptr(self, lo: int, hi: int) -> np.ndarray:
        indptr = np.zeros(hi - lo + 1, np.int64)
        own = self._drawn - self.shared
        lengths(self._key, lo, indptr, self.per_row - own / self.rows, self.spread, self.shared)
        if own:
            add_own(self._key, lo, indptr, self.rows, own)
        return indptr

    def _fill(self, lo: int, matrix: CSR, y: np.ndarray, offset: float) -> None:
        self._fill_columns(lo, matrix)
        self._fill_values(lo, matrix, y, offset)

    def _fill_columns(self, lo: int, matrix: CSR) -> None:
        shape = self.rows, self._drawn
        fill_columns(self._key, lo, matrix.indptr, matrix.indices, shape, self.shared, self.exponent, self.topics)

    def _fill_values(self, lo: int, matrix: CSR, y: np.ndarray, offset: float) -> None:
        arrays = matrix.indptr, matrix.indices, matrix.data, y
        scale = self.signal * np.sqrt(6.0 / self.planted)
        kind = BINARY if self.binary else COUNTS if self.counts else RARE
        fill_values(self._key, lo, *arrays, self._drawn, kind, self.planted, scale, offset)

    def ready(self, dtype: np.typing.DTypeLike | None = None) -> None:
        """Compile what makes rows, with what ranks of this node that do the same. Not collective."""
        empty = CSR.empty(0, 0, self._drawn, dtype or np.float32)
        side_by_side(
            [
                lambda: self._fill_values(0, empty, np.empty(0), 0.0),
                lambda: self._fill_columns(0, empty),
                lambda: self._indptr(0, 0),
            ]
        )

    @property
    def _key(self) -> np.uint64:
        return np.uint64(self.seed & 0xFFFFFFFFFFFFFFFF)

    @cached_property
    def _offset(self) -> float:
        """What is taken off the log-odds so that about half the labels are positive: the mean over the first rows."""
        indptr = self._indptr(0, min(self.rows, _PROBE))
        matrix = CSR.empty(len(indptr) - 1, int(indptr[-1]), self._drawn, np.float32)
        matrix.indptr[:] = indptr
        margins = np.empty(len(indptr) - 1)
        self._fill(0, matrix, margins, np.nan)
        return float(margins.mean())


_LIMITS = (
    "rows and cols are at least 1, cols below 2^31, 1 <= per_row <= cols that are neither twins nor lone, 0 <= spread <= 2, "
    "0 <= exponent <= 4, 0 < planted <= 1, signal >= 0, 0 <= twins <= 0.4, 0 <= lone <= 0.9, 0 <= scales <= 12, 0 <= own < 1 "
    "with own cols / rows below per_row, 1 <= topics <= cols, and values are binary or counts, not both"
)

PRESETS = {
    "default": Synthetic(),
    "rcv1": Synthetic(kind="rcv1", rows=200_000, cols=47_000, per_row=52.0),
    "text12": Synthetic(
        kind="text12", rows=25_000, cols=1_520_000, per_row=348.0, spread=0.6, counts=True, own=0.66, topics=32
    ),
    "kdd2010": Synthetic(kind="kdd2010", rows=8_407_752, cols=20_216_830, per_row=36.0, spread=0.3, binary=True),
}


def from_spec(spec: str) -> Synthetic:
    """The generator that ``PRESET:key=value,...`` names, such as "rcv1:rows=60000,seed=3". Raises UsageError."""
    kind, _, changes = spec.partition(":")
    if kind not in PRESETS:
        raise UsageError(f"there is no synthetic set {kind!r}; there are {', '.join(PRESETS)}")
    return changed(PRESETS[kind], changes)


def changed(preset: Generator, changes: str) -> Generator:
    """A generator with some of its fields given as ``key=value,...``. Raises UsageError."""
    pairs = [pair.partition("=") for pair in changes.split(",") if pair]
    return replace(preset, **{key: _value(preset, key, value) for key, _, value in pairs})


def named(generator: Any, base: Any) -> str:
    """The specification that makes ``generator`` from its preset ``base``."""
    changes = [
        f"{field.name}={_plain(getattr(generator, field.name))}"
        for field in fields(generator)
        if getattr(generator, field.name) != getattr(base, field.name)
    ]
    return generator.kind + (":" + ",".join(changes) if changes else "")


def _value(preset: Any, key: str, value: str) -> int | float | bool:
    kind, keys = preset.kind, [field.name for field in fields(preset) if field.name != "kind"]
    if key not in keys:
        raise UsageError(f"the synthetic set {kind} has no {key!r}; it has {', '.join(keys)}")
    wanted = type(getattr(preset, key))
    try:
        number = float(value)
        if wanted(number) != number:
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(f"{kind}:{key}={value}: {key} needs {'0 or 1' if wanted is bool else wanted.__name__}") from None
    return int(value) if wanted is int and value.isdigit() else wanted(number)


def _plain(value: int | float | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else repr(value)
