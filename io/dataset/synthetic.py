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
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host.hashing import draw, mix, unit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Generator = TypeVar("Generator", bound="DataclassInstance")  # with ``kind``, its specification's first word
_PROBE = 2048  # rows whose mean margin is taken for that of all


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """A data set in the manner of text: a `Source` that needs no file and no communication.

    rows, cols : its shape. per_row : mean nonzeros of a row; the lengths are log-normal with deviation ``spread`` of the
    logarithm. exponent : feature c is drawn with frequency proportional to (c + 10)^-exponent, so features are numbered
    by popularity. binary : equal values in a row, otherwise positive ones that favour rare features, as tf-idf does; rows
    have norm 1. planted : share of the features that the labels depend on. signal : standard deviation of the true
    log-odds; labels are drawn from them, so the larger, the less noise. twins : share of the columns that equal another one;
    lone : share that about one row each has; scales : decades over which the columns' units are spread (`dataset.spoilt`).
    seed : everything follows from it.
    """

    kind: str = "default"
    rows: int = 50_000
    cols: int = 20_000
    per_row: float = 30.0
    spread: float = 0.5
    exponent: float = 1.0
    binary: bool = False
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

    @cached_property
    def nnz(self) -> int:
        """Stored entries of the whole set: counted, at some 20 ns a row."""
        step = 1 << 20
        length = (
            (lambda lo, hi: self.read(lo, hi).matrix.nnz) if self._spoilt else (lambda lo, hi: int(self._indptr(lo, hi)[-1]))
        )
        return sum(length(lo, min(lo + step, self.rows)) for lo in range(0, self.rows, step))

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
        _lengths(self._key, lo, indptr, self.per_row, self.spread, self._drawn)
        return indptr

    def _fill(self, lo: int, matrix: CSR, y: np.ndarray, offset: float) -> None:
        arrays = matrix.indptr, matrix.indices, matrix.data, y
        scale = self.signal * np.sqrt(6.0 / self.planted)
        _fill(self._key, lo, *arrays, self._drawn, self.exponent, self.binary, self.planted, scale, offset)

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
    "0 <= exponent <= 4, 0 < planted <= 1, signal >= 0, 0 <= twins <= 0.4, 0 <= lone <= 0.9, 0 <= scales <= 12"
)

PRESETS = {
    "default": Synthetic(),
    "rcv1": Synthetic(kind="rcv1", rows=200_000, cols=47_000, per_row=52.0),
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


_LENGTH, _COLUMN, _VALUE, _LABEL, _WEIGHT = (np.uint64(k << 56) for k in range(1, 6))
_21, _42 = np.uint64(21), np.uint64(42)


@njit(cache=True)
def _stream(key, purpose, row):
    """The key of the random numbers of one row."""
    return mix(mix(key ^ purpose) + np.uint64(row))


@njit(cache=True, nogil=True)
def _lengths(key, lo, indptr, mean, spread, cols):
    """Fill indptr : (rows + 1,) from log-normal lengths (Box and Muller, 1958), between 1 and the number of columns."""
    for i in range(indptr.size - 1):
        stream = _stream(key, _LENGTH, lo + i)
        radius, angle = unit(draw(stream, np.uint64(0))), unit(draw(stream, np.uint64(1)))
        normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
        length = np.int64(mean * np.exp(spread * normal - 0.5 * spread * spread) + 0.5)
        indptr[i + 1] = indptr[i] + min(max(length, 1), cols)


@njit(cache=True, nogil=True)
def _columns(stream, index, gaps, cols, exponent):
    """Fill one row's columns: ascending, distinct, column c with frequency proportional to (c + 10)^-exponent.

    Ascending uniforms are partial sums of exponential gaps over the sum of all (Devroye, Non-uniform random variate
    generation, 1986, V.3.1); the inverse of the distribution function keeps their order, and equals move up by one.
    """
    n = index.size
    total = 0.0
    for j in range(n + 1):
        gaps[j] = -np.log(unit(draw(stream, np.uint64(j))))
        total += gaps[j]
    straight = abs(exponent - 1.0) < 1e-9
    span = np.log1p(cols / 10.0)
    power = 1.0 - exponent
    gain = np.expm1(power * span)
    sofar, last = 0.0, -1
    for j in range(n):
        sofar += gaps[j]
        u = sofar / total
        z = u * span if straight else np.log1p(u * gain) / power
        column = np.int64(10.0 * np.expm1(z))
        last = max(last + 1, min(column, cols - n + j))
        index[j] = last


@njit(cache=True, nogil=True)
def _row_values(stream, index, value, exact, cols, binary):
    """Fill one row's values and bring the row to norm 1."""
    n = index.size
    if binary:
        value[:] = 1.0 / np.sqrt(n)
        return
    squares = 0.0
    for j in range(n):
        rarity = np.log((cols + 10.0) / (index[j] + 5.0))
        exact[j] = rarity * (0.5 + unit(draw(stream, np.uint64(j))))
        squares += exact[j] * exact[j]
    scale = 1.0 / np.sqrt(squares)
    for j in range(n):
        value[j] = exact[j] * scale


@njit(cache=True, nogil=True)
def _log_odds(weights, index, value, planted):
    """The row's product with the planted model, whose weights (variance 1/6 where planted) are a hash of the column."""
    margin = 0.0
    for j in range(index.size):
        bits = draw(weights, np.uint64(index[j]))
        if np.float64(bits >> _42) < planted * 4194304.0:
            first, second = np.float64(bits & np.uint64(0x1FFFFF)), np.float64((bits >> _21) & np.uint64(0x1FFFFF))
            margin += value[j] * (first - second) / 2097152.0
    return margin


@njit(cache=True, nogil=True)
def _fill(key, lo, indptr, indices, data, y, cols, exponent, binary, planted, scale, offset):
    """Fill the rows from ``lo`` on and their labels; with offset NaN the log-odds in place of the labels."""
    weights = _stream(key, _WEIGHT, 0)
    scratch = np.empty(np.max(np.diff(indptr)) + 1)
    for i in range(y.size):
        row = lo + i
        index, value = indices[indptr[i] : indptr[i + 1]], data[indptr[i] : indptr[i + 1]]
        _columns(_stream(key, _COLUMN, row), index, scratch, cols, exponent)
        _row_values(_stream(key, _VALUE, row), index, value, scratch, cols, binary)
        odds = scale * _log_odds(weights, index, value, planted)
        if np.isnan(offset):
            y[i] = odds
        else:
            chance = 1.0 / (1.0 + np.exp(offset - odds))
            y[i] = 1.0 if unit(draw(_stream(key, _LABEL, row), np.uint64(0))) < chance else -1.0
