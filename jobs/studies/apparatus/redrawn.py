"""Rows for a step of a study, drawn with replacement."""

from dataclasses import dataclass

import numpy as np

from mpiopt.numerics.streams import Streams


@dataclass(frozen=True)
class Redrawn:
    """``batch`` of the ``rows`` of each chunk, the chunks one after the other, drawn anew in every step."""

    rows: int
    batch: int
    worker: int
    seed: int
    chunks: int = 1

    def __call__(self, step: int) -> np.ndarray:
        """Row numbers of a step, (chunks * batch,)."""
        drawn = Streams(self.seed)("rows", step, self.worker).integers(self.rows, size=(self.chunks, self.batch))
        return (drawn + self.rows * np.arange(self.chunks)[:, None]).ravel()
