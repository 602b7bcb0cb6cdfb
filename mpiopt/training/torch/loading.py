"""Arrays by the names of a ``state_dict`` put into a module, or into a file of torch's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.training.torch.library import Module, torch_module
from mpiopt.training.torch.memory import plain

if TYPE_CHECKING:
    import torch


def state_of(arrays: Mapping[str, Array]) -> "dict[str, torch.Tensor]":
    """Tensors of their own, arrays that are one (of tied parameters) staying one."""
    torch = torch_module()
    made = {id(array): torch.from_numpy(np.array(array, order="C")) for array in arrays.values()}
    return {name: made[id(array)] for name, array in arrays.items()}


def load(module: Module, arrays: Mapping[str, Array]) -> None:
    """Put them into a module in place. Raises UsageError where it has other names or shapes."""
    try:
        plain(module).load_state_dict(state_of(arrays))
    except RuntimeError as fault:
        told = " ".join(str(fault).split()[:40])
        raise UsageError(f"the module is another than was trained ({told}): give one of the same layers") from fault


def save(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """As ``torch.save`` writes a ``state_dict``."""
    torch_module().save(state_of(arrays), file)
