"""torch, imported when a model is made, so that everything else works without it."""

from typing import TYPE_CHECKING, Any, TypeAlias

from mpiopt.errors import UsageError

if TYPE_CHECKING:
    import torch

Module: TypeAlias = "torch.nn.Module"
Tensor: TypeAlias = "torch.Tensor"


def torch_module() -> Any:
    """torch itself. Raises UsageError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise UsageError("this model needs torch, which is not installed: pip install 'mpiopt[torch]'") from None
    return torch


def use_threads(count: int) -> None:
    """Let torch compute on ``count`` threads in this process. Raises UsageError without torch."""
    torch_module().set_num_threads(count)
