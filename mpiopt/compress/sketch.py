"""Count sketch: every coordinate added, with a random sign, to a random column of each of several rows."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Stream, demand, peak
from mpiopt.compress.reducer import NOTHING, Reducer
from mpiopt.compress.sparse import DEFAULT
from mpiopt.kernels import host


@dataclass(frozen=True)
class CountSketch(Reducer):
    """``rows`` x ``columns`` sums with random signs, the same for all workers, so that sketches can be added up.

    Charikar, Chen, Farach-Colton, Finding frequent items in data streams, 2002; for gradients: Rothchild, Panda, Ullah, Ivkin,
    Stoica, Braverman, Gonzalez, Arora, FetchSGD: communication-efficient federated learning with sketching, 2020.

    fraction : numbers sent over d, 0.01 unless columns are given. estimate : "mean" over the rows, whose variance is known, or
    "median", which outliers do not move. keep : decode only the so many largest estimates; 0 for all.
    """

    gpu: ClassVar[bool] = False  # sums in the order that a card comes to them would differ from run to run
    fraction: float | None = None
    rows: int = 5
    columns: int | None = None
    estimate: str = "mean"
    keep: int = 0

    def __post_init__(self) -> None:
        demand(self.fraction is None or self.columns is None, "columns", self.columns, "a fraction or columns, not both")
        demand(self.fraction is None or 0 < self.fraction <= 1, "the fraction sent", self.fraction, "one above 0, up to 1")
        demand(1 <= self.rows <= 99, "rows", self.rows, "a number from 1 to 99")
        demand(self.columns is None or 1 <= self.columns < 1 << 31, "columns", self.columns, "a number from 1 to 2^31 - 1")
        demand(self.estimate in ("mean", "median"), "the estimate", repr(self.estimate), "mean or median")
        demand(self.estimate == "mean" or self.rows % 2 == 1, "rows", self.rows, "an odd number for a median")
        demand(self.keep >= 0, "keep", self.keep, "a positive number, or 0 for all")

    @property
    def unbiased(self) -> bool:
        """Unless only the largest are kept: signs make the errors symmetric."""
        return not self.keep

    @property
    def linear(self) -> bool:
        """Yes: the sum of sketches is the sketch of the sum, whatever is decoded from it."""
        return True

    @property
    def selects(self) -> bool:
        """No."""
        return False

    def omega(self, d: int) -> float | None:
        """(d - 1) / (rows columns) for the mean: a row's variance for coordinate j is (|x|^2 - x_j^2) / columns."""
        return (d - 1) / self.length(d) if self.estimate == "mean" and not self.keep else None

    def width(self, d: int) -> int:
        """Columns."""
        demand(self.keep <= d, "keep", self.keep, f"at most the {d} coordinates that there are")
        return self.columns or max(1, round((self.fraction or DEFAULT) * d / self.rows))

    def length(self, d: int) -> int:
        """rows times columns."""
        return self.rows * self.width(d)

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """The table, row by row."""
        peak(x)
        table = np.zeros((self.rows, self.width(x.size)), x.dtype)
        host.sketch(x, np.uint64(stream.shared), table)
        return table.reshape(-1), NOTHING

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """One estimate a coordinate."""
        table, key = kept.reshape(self.rows, -1), np.uint64(stream.shared)
        if not self.keep:
            host.estimate(table, key, self.estimate == "median", scale, False, out)
            return
        guessed, chosen = np.empty_like(out), np.empty(self.keep, np.int64)
        host.estimate(table, key, self.estimate == "median", 1.0, True, guessed)
        host.largest(guessed.view(np.uint32 if out.itemsize == 4 else np.uint64), self.keep, chosen)
        host.scatter(guessed[chosen], chosen, scale, out)
