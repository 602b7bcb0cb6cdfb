"""What a batch of rows is to a module and its loss, however it was put together.

(input, answer)          module(input), loss(outputs, answer); of several inputs all but the last, module(a, b)
{name: tensor, ...}      module(name=tensor, ...) with the entries that its ``forward`` names, loss(outputs, the whole batch)
a tensor alone           module(batch), loss(outputs, batch)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.training.torch.library import Module, torch_module
from mpiopt.training.torch.memory import plain


@dataclass(frozen=True, eq=False)
class BatchParts:
    """One batch. inputs, named : what the module is called with. answers : what the loss is, besides the outputs."""

    inputs: tuple[Any, ...]
    answers: Any
    rows: int
    named: Mapping[str, Any] = field(default_factory=dict)

    def through(self, module: Module) -> Any:
        """What the module says of it."""
        return module(*self.inputs, **self.named)


def parted(batch: Any, module: Module, dtype: Any, place: str = "cpu") -> BatchParts:
    """A batch as above, in the memory that torch calls ``place``. Raises UsageError for no tensor.

    dtype : what floating-point numbers become; whole ones stay.
    """
    batch = _mapped(batch, lambda leaf: leaf.to(place, dtype if leaf.is_floating_point() else leaf.dtype))
    first = next(_leaves(batch), None)
    if first is None or not first.ndim:
        raise UsageError(f"a batch is a {type(batch).__name__} without a tensor of rows: let the data set give some")
    rows = len(first)
    if isinstance(batch, Mapping):
        wanted = _named(module)
        return BatchParts((), batch, rows, {name: part for name, part in batch.items() if wanted is None or name in wanted})
    if isinstance(batch, tuple | list):
        *inputs, answers = batch
        return BatchParts(tuple(inputs or [answers]), _counted(answers), rows)
    return BatchParts((batch,), batch, rows)


def unsound(batch: Any) -> Array:
    """Whether each row of a batch holds a number that is not finite, (b,) bool."""
    torch, bad = torch_module(), np.zeros(0, bool)
    for leaf in _leaves(batch):
        if leaf.ndim:
            found = ~torch.isfinite(leaf).reshape(len(leaf), -1).all(dim=1).numpy()
            bad = bad | found if bad.size else found
    return bad


def _counted(answers: Any) -> Any:
    """Class numbers in the type that torch's losses ask for."""
    torch = torch_module()
    small = (torch.uint8, torch.int8, torch.int16, torch.int32)
    return answers.long() if torch.is_tensor(answers) and answers.dtype in small else answers


def _named(module: Module) -> set[str] | None:
    """The parameters of a module's ``forward``; None where it takes any."""
    found = signature(getattr(plain(module), "forward", module)).parameters.values()
    return None if any(each.kind is Parameter.VAR_KEYWORD for each in found) else {each.name for each in found}


def _mapped(batch: Any, act: Callable[[Any], Any]) -> Any:
    if torch_module().is_tensor(batch):
        return act(batch)
    if isinstance(batch, Mapping):
        return {name: _mapped(part, act) for name, part in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_mapped(part, act) for part in batch))
    return type(batch)(_mapped(part, act) for part in batch) if isinstance(batch, tuple | list) else batch


def _leaves(batch: Any) -> Any:
    """Its tensors, in order."""
    if torch_module().is_tensor(batch):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _leaves(part)
