"""Any torch module with its loss, seen as one flat vector: its parameters are views of one buffer, and so are gradients.

Models stay in the memory of the CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.examples import Dense, Examples
from mpiopt.problems.heads import CrossEntropy, Squares
from mpiopt.problems.model import Block, ScoreSums, chunks
from mpiopt.problems.optional import Subnetwork
from mpiopt.problems.problem import Point
from mpiopt.problems.torch_draws import drawing
from mpiopt.training.torch import parts
from mpiopt.training.torch.library import Module, torch_module

if TYPE_CHECKING:
    import torch


class TorchModel:
    """One worker's rows seen by a torch module; a `Model` whose ``x`` (dim,) is the very memory of the parameters.

    make : builds the module, a new one at every call, whose start torch's generator draws. loss : (outputs, answers) -> mean
    over the rows, a tensor; cross-entropy if None. chunk : rows that go through the module at once; batch normalisation sees
    them apart. A point at ``x`` costs no copy; any other is copied into it. Parameters that need no gradient are kept among
    the ``buffers``. What the module and its dataset draw (dropout, augmentation) follows in a gradient from `reseed`, and
    from fixed seeds elsewhere; generators are left as they were. Raises UsageError without torch, for a module without
    parameters, for parameters of several types or on a GPU, and for rows that the module cannot take; DataError for class
    numbers beyond its outputs.
    """

    def __init__(
        self,
        make: Callable[[], Module],
        data: Examples,
        loss: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None" = None,
        chunk: int = 512,
    ) -> None:
        self._torch = torch_module()
        self.make, self.data, self.chunk = make, data, chunk
        self.loss = loss or self._torch.nn.functional.cross_entropy
        self.seed = 0
        self._smaller: dict[tuple[float, ...], TorchModel] = {}
        with drawing(self._torch, 0):
            self.module = make()
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.blocks = tuple(Block(name, tuple(p.shape)) for name, p in named)
        self._parameters = [p for _, p in named]
        _alike(self._parameters)
        flat = _joined(self._torch, self._parameters)
        for p, view in self._views(flat):
            p.data = view
        self.x = flat.numpy()
        if self.rows:
            self._try(loss is None)

    @property
    def dim(self) -> int:
        """Numbers in all parameters."""
        return self.x.size

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.data.rows

    @property
    def weight(self) -> float:
        """Every row weighs 1."""
        return float(self.rows)

    @property
    def buffers(self) -> dict[str, Array]:
        """Copies of the buffers (running statistics, counters) and of the parameters that need no gradient, by torch's name."""
        return {name: tensor.detach().numpy().copy() for name, tensor in _kept(self.module).items()}

    def restore(self, buffers: Buffers) -> None:
        """Put them back. Raises UsageError for those of another model."""
        tensors = _kept(self.module)
        kept, given = ({name: tuple(a.shape) for name, a in those.items()} for those in (tensors, buffers))
        if given != kept:
            odd = next(name for name in {**kept, **given} if kept.get(name) != given.get(name))
            raise UsageError(
                f"what was kept beside x is another model's: {odd} is of shape {given.get(odd, 'none')}, and this "
                f"model's of {kept.get(odd, 'none')}; give that of a model of the same layers"
            )
        for name, tensor in tensors.items():
            tensor.detach().copy_(self._torch.as_tensor(np.asarray(buffers[name])))

    @property
    def around(self) -> dict[str, str]:
        """The names of the buffers that are variances, and of the means that they are about."""
        norms = self._torch.nn.modules.batchnorm._NormBase
        ends = [
            f"{name}." if name else ""
            for name, part in self.module.named_modules()
            if isinstance(part, norms) and part.running_var is not None
        ]
        return {f"{end}running_var": f"{end}running_mean" for end in ends}

    @property
    def form(self) -> str:
        """See `Model.form`."""
        return f"{self.module} {self.x.dtype} {self.loss}"

    @property
    def hidden(self) -> tuple[int, ...]:
        """See `Divisible.hidden`."""
        return tuple(self.module[before].out_features for before, _ in parts.layers(self._torch, self.module))

    def part(self, kept: Sequence[Array], gain: float) -> Subnetwork:
        """See `Divisible.part`; of one form is made once, and then used again."""
        form, axes = (*map(len, kept), gain), parts.axes_of(self._torch, self.module, kept)
        if form not in self._smaller:
            make = partial(parts.smaller, self._torch, self.module, kept, gain)
            self._smaller[form] = TorchModel(make, self.data, self.loss, self.chunk)
        model = self._smaller[form]
        beside = _kept(self.module), _kept(model.module), axes
        parts.put_in(*beside)
        return Subnetwork(model, parts.places(self.blocks, axes), partial(parts.put_back, *beside))

    def point(self, x: Array) -> Point:
        """x (dim,) alone."""
        return Point(x)

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`; in training mode, so that running statistics move. The module holds no gradient after."""
        self._move(at.x)
        self.module.train()
        with drawing(self._torch, self.seed):
            value, gradient = self._pulled(rows)
        return value, gradient.astype(at.x.dtype, copy=False)

    def reseed(self, stream: np.random.Generator) -> None:
        """Let what the next gradient draws follow from a stream."""
        self.seed = int(stream.integers(2**63))

    def _pulled(self, rows: Array | None) -> tuple[float, Array]:
        """The mean loss at the parameters and its gradient (dim,), in their type."""
        gradient, value = np.zeros(self.dim, self.x.dtype), 0.0
        for p, view in self._views(self._torch.from_numpy(gradient)):
            p.grad = view
        count = self.rows if rows is None else len(rows)
        for inputs, y in self._batches(rows):
            part = self.loss(self.module(inputs), y) * (len(y) / count)
            part.backward()
            value += part.item()
        for p in self._parameters:
            p.grad = None
        return value, gradient

    def initial(self, stream: np.random.Generator) -> Array:
        """The parameters of a module made under the stream's seed; buffers are set back to that module's. Not collective."""
        with drawing(self._torch, int(stream.integers(2**63))):
            fresh = self.make()
        self.restore({name: tensor.detach().numpy() for name, tensor in _kept(fresh).items()})
        return _joined(self._torch, [p for p in fresh.parameters() if p.requires_grad]).numpy()

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """See `Model.evaluate`; in evaluation mode. Right is the largest output, or, for real answers, less than 1/2 off."""
        self._move(x)
        self.module.eval()
        with drawing(self._torch, 0), self._torch.inference_mode():
            return ScoreSums.total(self._marks(*batch) for batch in self._batches(rows))

    def outputs(self, x: Array, rows: Array) -> Array:
        """What rows (b, *shape) of any kind give at x (dim,), (b, outputs); in evaluation mode."""
        self._move(x)
        self.module.eval()
        with drawing(self._torch, 0), self._torch.inference_mode():
            return self.module(self._torch.from_numpy(np.ascontiguousarray(rows, self.x.dtype))).numpy()

    def _marks(self, inputs: "torch.Tensor", y: "torch.Tensor") -> tuple[float, int | Array, int]:
        """Sum of losses, right answers and rows of a chunk."""
        z, head = self.module(inputs), Squares() if y.is_floating_point() else CrossEntropy()
        return self.loss(z, y).item() * len(y), head.correct(z.numpy(), y.numpy()), len(y)

    def settled(self, x: Array, rows: Array | None = None) -> dict[str, Array]:
        """The buffers, with statistics of batch normalisation taken anew at x; the model stays as it is.

        They are means over the chunks of ``rows``, at least 2, None for all.
        """
        own, kept = self.x.copy(), self.buffers
        self._move(x)
        with drawing(self._torch, 0):
            self._torch.optim.swa_utils.update_bn((inputs for inputs, _ in self._batches(rows)), self.module)
        found = self.buffers
        self.restore(kept)
        self.x[:] = own
        return found

    def flawed(self) -> int | None:
        """See `Model.flawed`."""
        with drawing(self._torch, 0):
            return self.data.flawed()

    def _try(self, classes: bool) -> None:
        """See that one row goes through, and that there is an output for each class."""
        inputs, _ = next(self._batches(np.zeros(1, int)))
        self.module.eval()
        try:
            with drawing(self._torch, 0), self._torch.inference_mode():
                z = self.module(inputs)
        except (RuntimeError, ValueError, IndexError) as fault:
            raise UsageError(
                f"the module cannot take rows of shape {tuple(inputs.shape[1:])}: {str(fault).splitlines()[0]}; make it for "
                "rows of this shape"
            ) from fault
        if classes and isinstance(self.data, Dense) and self.data.y.ndim == 1:
            CrossEntropy().check(self.data.y, z.shape[1])

    def _move(self, x: Array) -> None:
        """Make x the parameters: nothing to do where it is their memory. Raises UsageError for another model's."""
        if x.shape != self.x.shape:
            raise UsageError(
                f"a vector of shape {x.shape} was given to a model of {self.dim} parameters: is it another model's?"
            )
        if x.ctypes.data != self.x.ctypes.data:
            self.x[:] = x

    def _views(self, flat: "torch.Tensor") -> "Iterator[tuple[torch.nn.Parameter, torch.Tensor]]":
        parts = flat.split([p.numel() for p in self._parameters])
        return ((p, part.view(p.shape)) for p, part in zip(self._parameters, parts, strict=True))

    def _batches(self, rows: Array | None) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Rows and answers as tensors, chunk by chunk."""
        count = self.rows if rows is None else len(rows)
        even = -(-count // max(1, -(-count // self.chunk)))  # no chunk of one row is left over, which has no variance
        for cut in chunks(rows, self.rows, max(1, even)):
            inputs, y = self.data.take(cut, self.x.dtype)
            y = y.astype(np.int64 if y.dtype.kind in "iu" else self.x.dtype, copy=False)
            yield tuple(self._torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in (inputs, y))


def _kept(module: Module) -> "dict[str, torch.Tensor]":
    return dict(module.named_buffers()) | {name: p for name, p in module.named_parameters() if not p.requires_grad}


def _joined(torch: Any, parameters: "list[torch.nn.Parameter]") -> "torch.Tensor":
    """A new flat tensor of their values."""
    return torch.cat([p.detach().reshape(-1) for p in parameters])


def _alike(parameters: "list[torch.nn.Parameter]") -> None:
    kinds = sorted({f"{p.dtype} on {p.device.type}" for p in parameters})
    if kinds not in (["torch.float32 on cpu"], ["torch.float64 on cpu"]):
        raise UsageError(
            f"the module's trainable parameters are {' and '.join(kinds) or 'none'}: they must be all float32 or all float64, "
            "in the memory of the CPU"
        )
