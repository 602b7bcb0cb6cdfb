"""Whose rows are whose of a dataset of torch, and what makes modules that are alike."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Literal

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.training.torch.items import Items, items_of
from mpiopt.training.torch.library import Module, torch_module


def shared_out(
    dataset: Any, world: World, ownership: Literal["sharded", "shared"], seed: int, collate: Callable | None = None
) -> list[Items]:
    """What every hosted worker draws from, in worker order.

    sharded : the rows, in an order that follows from ``seed``, in blocks; of an IterableDataset every so many-th. shared : each
    all of them. Collective. Raises UsageError on every rank.
    """
    with world.together("sharing out the rows"):
        if ownership == "shared":
            return [_collated(items_of(dataset), collate)] * len(world.hosted)
        if isinstance(dataset, torch_module().utils.data.IterableDataset):
            return [_collated(items_of(dataset, worker, world.workers), collate) for worker in world.hosted]
        whole = _collated(items_of(dataset), collate)
        order = Streams(seed)("rows").permutation(whole.rows) if whole.order is None else whole.order
        bounds = even(whole.rows, world.workers)
        return [Items(whole.dataset, order[bounds[w] : bounds[w + 1]], whole.collate) for w in world.hosted]


def _collated(items: Items, collate: Callable | None) -> Items:
    return items if collate is None else Items(items.dataset, items.order, collate)


def maker_of(given: Any) -> Callable[[], Module]:
    """What makes modules: copies of one that is given, its values with it, or what a class or a function makes.

    Raises UsageError.
    """
    if isinstance(given, torch_module().nn.Module):
        return partial(deepcopy, given)
    if not callable(given):
        raise UsageError(f"a {type(given).__name__} is no module: give a torch.nn.Module, a class of such, or what makes one")
    return given


def total_rows(world: World, rows: list[int], ownership: str) -> int:
    """Rows of all workers, each once, from those of the hosted ones. Collective."""
    return rows[0] if ownership == "shared" else int(world.total([np.array([each], np.float64) for each in rows])[0])
