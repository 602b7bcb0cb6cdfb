"""What a module keeps: trained parameters, one flat tensor, and the rest beside it."""

from typing import TYPE_CHECKING, Any

from mpiopt.errors import UsageError
from mpiopt.training.torch.library import Module

if TYPE_CHECKING:
    import torch


def kept_beside(module: Module) -> "dict[str, torch.Tensor]":
    """Its buffers, and the parameters that need no gradient."""
    inner = plain(module)
    return dict(inner.named_buffers()) | {name: p for name, p in inner.named_parameters() if not p.requires_grad}


def plain(module: Module) -> Module:
    """The module itself where torch.compile has wrapped it: its parts have names without the wrapping."""
    return getattr(module, "_orig_mod", module)


def joined(torch: Any, parameters: "list[torch.nn.Parameter]") -> "torch.Tensor":
    """A new flat tensor of their values."""
    return torch.cat([p.detach().reshape(-1) for p in parameters])


def demand_one_kind(parameters: "list[torch.nn.Parameter]") -> None:
    """Raise UsageError unless all are of one type that numpy can hold, in the memory of the CPU."""
    kinds = sorted({f"{p.dtype} on {p.device.type}" for p in parameters})
    if kinds not in (["torch.float32 on cpu"], ["torch.float64 on cpu"]):
        raise UsageError(
            f"the module's trainable parameters are {' and '.join(kinds) or 'none'}: they must be all float32 or all float64, "
            "in the memory of the CPU"
        )
