"""Rows out of a dataset of torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.flaws import first
from mpiopt.problems.model import chunks
from mpiopt.problems.torch_draws import following
from mpiopt.training.torch.library import torch_module
from mpiopt.training.torch.parted import unsound


@dataclass(frozen=True, eq=False)
class Items:
    """Items of a map-style torch dataset, one worker's; they are fetched one by one.

    What it draws for them, by torch, Python or NumPy, follows from torch's generator. order : the numbers of the items (rows,),
    None for all. collate : items -> a batch; torch's own unless given.
    """

    dataset: Any
    order: Array | None = None
    collate: Callable[[list[Any]], Any] | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.dataset) if self.order is None else len(self.order)

    def batch(self, rows: slice | Array) -> Any:
        """These rows, put together. Raises UsageError where the dataset fails or does not fit together."""
        numbers = np.arange(*rows.indices(self.rows)) if isinstance(rows, slice) else rows
        wanted = (numbers if self.order is None else self.order[numbers]).tolist()
        with following(torch_module()):
            try:
                return (self.collate or torch_module().utils.data.default_collate)([self.dataset[number] for number in wanted])
            except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as fault:
                told = str(fault).partition("\n")[0]
                raise UsageError(
                    f"items {wanted[:3]} of the data set cannot be put together ({type(fault).__name__}: {told}): let all have "
                    "tensors or numbers of the same shapes, or give a DataLoader whose collate_fn can"
                ) from fault

    def flawed(self) -> int | None:
        """See `Examples.flawed`."""
        return first(~unsound(self.batch(cut)) for cut in chunks(None, self.rows))


def items_of(dataset: Any, worker: int = 0, workers: int = 1) -> Items:
    """Anything that holds rows, as items: a dataset of torch, a DataLoader over one, or a tuple of tensors or arrays.

    An IterableDataset is read once, and every ``workers``-th item kept from ``worker`` on. Of a DataLoader its dataset and its
    ``collate_fn`` are taken; who looks at which rows when is the training's. Raises UsageError.
    """
    data = torch_module().utils.data
    if isinstance(dataset, data.DataLoader):
        if dataset.num_workers:
            raise UsageError(
                f"the DataLoader has {dataset.num_workers} processes of its own, and rows are fetched by the ranks: give "
                "num_workers=0, or the data set itself"
            )
        found = items_of(dataset.dataset, worker, workers)
        return Items(found.dataset, found.order, dataset.collate_fn)
    if isinstance(dataset, data.IterableDataset):
        return Items([item for number, item in enumerate(dataset) if number % workers == worker])
    if isinstance(dataset, tuple | list) and dataset and all(hasattr(part, "shape") for part in dataset):
        dataset = data.TensorDataset(*map(torch_module().as_tensor, dataset))
    if isinstance(dataset, str) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise UsageError(
            f"a {type(dataset).__name__} is no data set: give one of torch, with rows by number and a length, a DataLoader, an "
            "IterableDataset, or a tuple of tensors or arrays"
        )
    return Items(dataset)
