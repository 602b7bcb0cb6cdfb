"""Modules that users have written: made, fed with rows, and what goes wrong in them told in a sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.examples import Dense, Examples
from mpiopt.training.torch.items import Items
from mpiopt.training.torch.library import Module, torch_module
from mpiopt.training.torch.parted import parted

ALIGNED = 64  # bytes
FAULTS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError)  # of what users have written


def made(make: Callable[[], Module], data: Examples | Items) -> Module:
    """A new module, its lazy layers, if any, told the shapes of a row. Raises UsageError where there is no row."""
    torch, module = torch_module(), make()
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"what makes the module makes a {type(module).__name__}: give a torch.nn.Module, or what makes one")
    lazy = torch.nn.parameter.is_lazy
    if any(lazy(each) for each in (*module.parameters(), *module.buffers())):
        if not data.rows:
            raise UsageError("a module with lazy layers learns its shapes from a row, and this worker has none: give it some")
        module.eval()
        with sayable("take a row"), torch.no_grad():
            row = taken(data, np.zeros(1, int), np.dtype(np.float32))
            parted(row, module, torch.get_default_dtype()).through(module)
    return module


@contextmanager
def sayable(doing: str) -> Iterator[None]:
    """What goes wrong in a user's module, loss or metric, as a UsageError."""
    try:
        yield
    except FAULTS as fault:
        told = (str(fault).splitlines() or [type(fault).__name__])[0].rstrip(".")
        raise UsageError(f"the module cannot {doing}: {told}; make module, loss and rows for each other") from fault


def taken(data: Examples | Items, cut: slice | Array, dtype: np.dtype) -> Any:
    """Rows as they come, in tensors; numbers in arrays become ``dtype``, whole ones beyond bytes int64."""
    if isinstance(data, Items):
        return data.batch(cut)
    stored = data.x.dtype if isinstance(data, Dense) and data.scaled is None else dtype
    whole = stored.kind in "iu" and stored != np.uint8  # not pixels
    arrays = data.take(cut, np.dtype(np.int64) if whole else dtype)
    found = (torch_module().from_numpy(np.require(array, requirements=["C", "W"])) for array in arrays)
    # in memory as torch's own lies, upon which the last bits of products depend
    return tuple(each.clone() if each.data_ptr() % ALIGNED else each for each in found)


def fed(torch: Any, module: Module) -> Module:
    """The module, to be called with what it is to be fed with."""

    class Fed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, batch):
            return batch.through(self.module)

    return Fed()
