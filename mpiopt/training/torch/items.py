"""Rows out of a dataset of torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.flaws import finite, first
from mpiopt.problems.model import chunks
from mpiopt.problems.torch_draws import following
from mpiopt.training.torch.library import torch_module


@dataclass(frozen=True, eq=False)
class Items:
    """The items (input, answer) of a map-style torch dataset, as `Examples`; they are fetched one by one.

    What it draws for them, by torch, Python or NumPy, follows from torch's generator.
    """

    dataset: Any

    @property
    def rows(self) -> int:
        """Items of the dataset."""
        return len(self.dataset)

    def take(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Examples.take`."""
        numbers = range(*rows.indices(self.rows)) if isinstance(rows, slice) else rows.tolist()
        with following(torch_module()):
            items = torch_module().utils.data.default_collate([self.dataset[number] for number in numbers])
        return items[0].numpy().astype(dtype, copy=False), items[1].numpy()

    def flawed(self) -> int | None:
        """See `Examples.flawed`."""
        parts = (self.take(cut, np.dtype(np.float32)) for cut in chunks(None, self.rows))
        return first(finite(x) & finite(y) for x, y in parts)
