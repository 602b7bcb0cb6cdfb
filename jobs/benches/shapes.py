"""Shapes of problems, drawn by a seed over many decades: what a rule that chooses has to be right on."""

from typing import NamedTuple

import numpy as np

from mpiopt.numerics.streams import Streams

LARGEST = 2e7  # nonzeros and numbers in a vector of every worker, together
LITTLE = 1e4  # of so many every shape is taken, of more the fewer the larger they are: else the largest would be all the work


class Drawn(NamedTuple):
    """A generated data set, as `open_source` takes it, and the problem on it."""

    data: str
    nonzeros: float  # about
    cols: int
    l2: float
    workers: int

    @property
    def size(self) -> float:
        """Numbers that a pass over the rows and the workers' vectors touches."""
        return self.nonzeros + self.workers * self.cols

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.data} --l2 {self.l2:.3g} --workers {self.workers}"


def shapes(count: int, seed: int) -> list[Drawn]:
    """The first ``count`` shapes of a seed that are taken, the smallest first.

    One of a size s is taken with the chance log(LARGEST / s) / log(LARGEST / LITTLE).
    """
    found: list[Drawn] = []
    streams, tries = Streams(seed), 0
    while len(found) < count:
        stream = streams("shape", tries)
        shape = _drawn(stream, tries)
        tries += 1
        if shape.size <= _even(stream, LITTLE, LARGEST):
            found.append(shape)
    return sorted(found, key=lambda shape: shape.size)


def _drawn(stream: np.random.Generator, number: int) -> Drawn:
    """Sizes even in their logarithm; a third of the sets with twins, with lone columns, and with units far apart."""
    rows, cols = round(_even(stream, 1e2, 1e6)), round(_even(stream, 10, 1e7))
    twins, lone, scales = (float(stream.random() < 1 / 3) * stream.uniform(0, most) for most in (0.25, 0.5, 4))
    per_row = max(1.0, min(_even(stream, 3, 1000), 0.8 * (1 - twins - lone) * cols))
    workers = min(2 ** int(stream.integers(7)), rows // 4)
    text = (
        f"default:rows={rows},cols={cols},per_row={per_row:.3g},exponent={stream.uniform(0, 2):.3g},"
        f"binary={stream.integers(2)},signal={stream.uniform(1, 6):.2g},twins={twins:.2g},lone={lone:.2g},"
        f"scales={scales:.2g},seed={number}"
    )
    return Drawn(text, rows * per_row, cols, float(f"{_even(stream, 1e-9, 1e-1):.2g}"), workers)


def _even(stream: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is as likely everywhere between."""
    return float(np.exp(stream.uniform(np.log(low), np.log(high))))
