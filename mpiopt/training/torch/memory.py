"""What a module keeps: trained parameters, one flat tensor, and the rest beside it; and the memory that it lies in."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.kernels.device import library
from mpiopt.problems.device_rows import take_card
from mpiopt.training.torch.library import Module, torch_module

if TYPE_CHECKING:
    import torch


class Memory(Protocol):
    """Where a module computes. place : as torch names it."""

    place: str

    def array(self, tensor: "torch.Tensor") -> Array:
        """A tensor's values, a view of the same bytes."""

    def put(self, array: np.ndarray) -> Array:
        """An array of the CPU, here."""


class HostMemory:
    """That of the CPU."""

    place = "cpu"

    def array(self, tensor: "torch.Tensor") -> Array:
        """See `Memory`."""
        return tensor.numpy()

    def put(self, array: np.ndarray) -> Array:
        """See `Memory`."""
        return array


class CardMemory:
    """That of the GPU that this rank has taken. Raises UsageError where torch, or CuPy, finds none."""

    def __init__(self) -> None:
        torch, self._cupy = torch_module(), library()
        if not torch.cuda.is_available():
            raise UsageError(
                f"`device=gpu`: torch {torch.__version__} finds no usable GPU here, though CuPy does: install torch for the "
                "CUDA version of the driver, or use `device=cpu`"
            )
        self.place = f"cuda:{self._cupy.cuda.Device().id}"
        torch.backends.cudnn.allow_tf32 = False  # convolutions in the float32 that is asked for

    def array(self, tensor: "torch.Tensor") -> Array:
        """See `Memory`."""
        return self._cupy.asarray(tensor)

    def put(self, array: np.ndarray) -> Array:
        """See `Memory`."""
        return self._cupy.asarray(array)


def memory_of(device: str, world: World) -> Memory:
    """What an option says, cpu or gpu; a GPU is taken for every rank. Collective. Raises UsageError on every rank."""
    if device not in ("cpu", "gpu"):
        raise UsageError(f"`device={device}`: give cpu or gpu")
    if device == "cpu":
        return HostMemory()
    take_card(world)
    with world.together("choosing a GPU"):
        return CardMemory()


def kept_beside(module: Module) -> "dict[str, torch.Tensor]":
    """Its buffers, and the parameters that need no gradient."""
    inner = plain(module)
    return dict(inner.named_buffers()) | {name: p for name, p in inner.named_parameters() if not p.requires_grad}


def variances(module: Module) -> dict[str, str]:
    """The names of its buffers that are variances, and of the means that they are about."""
    norms = torch_module().nn.modules.batchnorm._NormBase
    parts = plain(module).named_modules()
    found = [f"{name}." if name else "" for name, part in parts if isinstance(part, norms) and part.running_var is not None]
    return {f"{start}running_var": f"{start}running_mean" for start in found}


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
