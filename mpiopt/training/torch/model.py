"""Any torch module with its loss, seen as one flat vector: its parameters are views of one buffer, and so are gradients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, begins
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.examples import Dense, Examples
from mpiopt.problems.heads import CrossEntropy
from mpiopt.problems.model import Block, ScoreSums, chunks
from mpiopt.problems.optional import Subnetwork
from mpiopt.problems.problem import Point
from mpiopt.problems.torch_draws import drawing
from mpiopt.training.torch import parts
from mpiopt.training.torch.items import Items
from mpiopt.training.torch.judging import Judge, right_by, unknown
from mpiopt.training.torch.library import Module, torch_module
from mpiopt.training.torch.making import fed, made, sayable, taken
from mpiopt.training.torch.memory import HostMemory, Memory, demand_one_kind, joined, kept_beside, plain, variances
from mpiopt.training.torch.parted import BatchParts, parted

if TYPE_CHECKING:
    import torch

CHUNK = 512  # rows
ACCURACY = "accuracy"  # the one metric that has a place of its own in records


class TorchModel:
    """One worker's rows seen by a torch module; a `Model` whose ``x`` (dim,) is the very memory of the parameters.

    make : builds the module, a new one at every call, whose start torch's generator draws. data : rows in memory, or `Items`
    of a dataset; whole numbers beyond bytes stay whole. loss : (outputs, answers) -> mean over the rows, a tensor, or one
    number a row; cross-entropy if None. What a batch is to both: `training.torch.parted`. chunk : rows that go through the
    module at once; batch normalisation sees them apart. metrics : figures by name, each as ``loss``, to be examined; accuracy
    has a column of its own, and some losses bring it themselves (`training.torch.judging`). bf16 : run the module under
    autocast to bfloat16. memory : in which it computes, and x and gradients lie; rows stay in that of the CPU, and buffers are
    told there. A point at ``x`` costs no copy; any other is copied into it. Parameters that need no gradient are kept among the
    ``buffers``. What the module and its dataset draw (dropout, augmentation) follows in a gradient from `reseed`, and from
    fixed seeds elsewhere; generators are left as they were. Raises UsageError without torch, for a module without parameters,
    for parameters of several types or made on a GPU, and for rows that the module or its loss cannot take; DataError for class
    numbers beyond its outputs.
    """

    def __init__(
        self,
        make: Callable[[], Module],
        data: Examples | Items,
        loss: Judge | None = None,
        chunk: int = CHUNK,
        metrics: Mapping[str, Judge] = MappingProxyType({}),
        *,
        bf16: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self._torch, self._memory = torch_module(), memory or HostMemory()
        self.make, self.data, self.chunk, self.bf16 = make, data, chunk, bf16
        self.loss = loss or self._torch.nn.functional.cross_entropy
        self.metrics = {name: metric for name, metric in metrics.items() if name != ACCURACY}
        self._right = metrics.get(ACCURACY) or right_by(self.loss)
        self.seed = 0
        self._smaller: dict[tuple[float, ...], TorchModel] = {}
        with drawing(self._torch, 0):
            self.module = made(self.make, self.data)
        named = [(name, p) for name, p in plain(self.module).named_parameters() if p.requires_grad]
        self.blocks = tuple(Block(name, tuple(p.shape)) for name, p in named)
        self._parameters = [p for _, p in named]
        demand_one_kind(self._parameters)
        self.module.to(self._memory.place)
        flat = joined(self._torch, self._parameters)
        for p, view in self._views(flat):
            p.data = view
        self.x = self._memory.array(flat)
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
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in kept_beside(self.module).items()}

    @property
    def keys(self) -> dict[str, str]:
        """For every entry of the module's ``state_dict`` the block or buffer that it is: of tied parameters there is one."""
        places = {p.data_ptr(): name for name, p in plain(self.module).named_parameters() if p.numel()}
        places |= {tensor.data_ptr(): name for name, tensor in kept_beside(self.module).items() if tensor.numel()}
        return {key: places.get(tensor.data_ptr(), key) for key, tensor in plain(self.module).state_dict().items()}

    def restore(self, buffers: Buffers) -> None:
        """Put them back. Raises UsageError for those of another model."""
        tensors = kept_beside(self.module)
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
        return variances(self.module)

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
            self._smaller[form] = TorchModel(make, self.data, self.loss, self.chunk, bf16=self.bf16, memory=self._memory)
        model = self._smaller[form]
        beside = kept_beside(self.module), kept_beside(model.module), axes
        parts.put_in(*beside)
        return Subnetwork(model, parts.places(self.blocks, axes), partial(parts.put_back, *beside))

    def point(self, x: Array) -> Point:
        """x (dim,) alone."""
        return Point(x)

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`; in training mode, so that running statistics move. The module holds no gradient after.

        Raises UsageError where the module or its loss fails.
        """
        self._move(at.x)
        self.module.train()
        with sayable("train on a batch"), drawing(self._torch, self.seed):
            value, gradient = self._pulled(rows)
        return value, gradient.astype(at.x.dtype, copy=False)

    def reseed(self, stream: np.random.Generator) -> None:
        """Let what the next gradient draws follow from a stream."""
        self.seed = int(stream.integers(2**63))

    def _pulled(self, rows: Array | None) -> tuple[float, Array]:
        """The mean loss at the parameters and its gradient (dim,), in their type."""
        gradient, value = self._torch.zeros(self.dim, dtype=self._parameters[0].dtype, device=self._memory.place), 0.0
        for p, view in self._views(gradient):
            p.grad = view
        count = self.rows if rows is None else len(rows)
        try:
            for batch in self._batches(rows):
                part = self._loss(self._outputs(batch), batch.answers) * (batch.rows / count)
                part.backward()
                value += part.item()
            self._gathered(gradient)
        finally:
            for p in self._parameters:
                p.grad = None
        return value, self._memory.array(gradient)

    def _gathered(self, gradient: "torch.Tensor") -> None:
        """Copy what torch has put elsewhere than into ``gradient`` (dim,), as it does with sparse ones."""
        for p, view in self._views(gradient):
            if p.grad is not None and p.grad.data_ptr() != view.data_ptr():
                view.copy_(p.grad.to_dense() if p.grad.is_sparse else p.grad)

    def _outputs(self, batch: BatchParts) -> Any:
        if not self.bf16:
            return batch.through(self.module)
        with self._torch.autocast(self._memory.place.partition(":")[0], self._torch.bfloat16):
            return batch.through(self.module)

    def _loss(self, outputs: Any, answers: Any) -> "torch.Tensor":
        """The mean loss of a batch, in the parameters' type."""
        found = self.loss(outputs, answers)
        if not (self._torch.is_tensor(found) and found.is_floating_point()):
            raise TypeError(f"the loss is a {type(found).__name__}, not a floating-point tensor")
        return (found.mean() if found.ndim else found).to(self._parameters[0].dtype)

    def initial(self, stream: np.random.Generator) -> Array:
        """The parameters of a module made under the stream's seed, on the CPU; buffers are set back to that module's.

        Not collective.
        """
        with drawing(self._torch, int(stream.integers(2**63))):
            fresh = made(self.make, self.data)
        self.restore({name: tensor.detach().numpy() for name, tensor in kept_beside(fresh).items()})
        return joined(self._torch, [p for p in fresh.parameters() if p.requires_grad]).numpy()

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """See `Model.evaluate`; in evaluation mode. Raises UsageError where the module, its loss or a metric fails."""
        self._move(x)
        self.module.eval()
        with sayable("be examined"), drawing(self._torch, 0), self._torch.inference_mode():
            marks = [self._marks(batch) for batch in self._batches(rows)]
        found = ScoreSums.total(mark[:3] for mark in marks)
        return found._replace(figures=tuple(map(sum, zip(*(mark.figures for mark in marks), strict=True))))

    def outputs(self, x: Array, rows: Array) -> Array:
        """What rows (b, *shape) of any kind give at x (dim,), (b, outputs); in evaluation mode."""
        self._move(x)
        self.module.eval()
        with drawing(self._torch, 0), self._torch.inference_mode():
            batch = self._torch.from_numpy(np.ascontiguousarray(rows, self.x.dtype)).to(self._memory.place)
            return self.module(batch).cpu().numpy()

    def said(self, x: Array) -> Array:
        """What its own rows give at x (dim,), (rows, ...); in evaluation mode. Raises UsageError where that is no tensor."""
        self._move(x)
        self.module.eval()
        with sayable("say something of rows"), drawing(self._torch, 0), self._torch.inference_mode():
            return np.concatenate([self._outputs(batch).float().cpu().numpy() for batch in self._batches(None)])

    def _marks(self, batch: BatchParts) -> ScoreSums:
        """Of a chunk."""
        z = self._outputs(batch)
        judges = [self._right or unknown, *self.metrics.values()]
        figures = (self._torch.as_tensor(judge(z, batch.answers)).double().mean() for judge in judges)
        sums = (self._loss(z, batch.answers), *figures)
        loss, correct, *rest = (float(each) * batch.rows for each in sums)
        return ScoreSums(loss, round(correct, 9), batch.rows, tuple(rest))  # a whole number where rows are right or wrong

    def settled(self, x: Array, rows: Array | None = None) -> dict[str, Array]:
        """The buffers, with statistics of batch normalisation taken anew at x; the model stays as it is.

        They are means over the chunks of ``rows``, at least 2, None for all.
        """
        own, kept = self.x.copy(), self.buffers
        self._move(x)
        with drawing(self._torch, 0):
            self._torch.optim.swa_utils.update_bn(self._batches(rows), fed(self._torch, self.module))
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
        self.module.eval()
        with drawing(self._torch, 0), self._torch.inference_mode():
            batch = next(self._batches(np.zeros(1, int)))
            shape = ", ".join(str(tuple(each.shape[1:])) for each in batch.inputs if self._torch.is_tensor(each))
            with sayable(f"take rows of shape {shape}" if shape else "take a row"):
                z = self._outputs(batch)
            if classes and isinstance(self.data, Dense) and self.data.y.ndim == 1:
                CrossEntropy().check(self.data.y, z.shape[1])
            with sayable("take a row, loss and metrics included"):
                self._marks(batch)

    def _move(self, x: Array) -> None:
        """Make x the parameters: nothing to do where it is their memory. Raises UsageError for another model's."""
        if x.shape != self.x.shape:
            raise UsageError(
                f"a vector of shape {x.shape} was given to a model of {self.dim} parameters: is it another model's?"
            )
        if begins(x) != begins(self.x):
            self.x[:] = x

    def _views(self, flat: "torch.Tensor") -> "Iterator[tuple[torch.nn.Parameter, torch.Tensor]]":
        parts = flat.split([p.numel() for p in self._parameters])
        return ((p, part.view(p.shape)) for p, part in zip(self._parameters, parts, strict=True))

    def _batches(self, rows: Array | None) -> Iterator[BatchParts]:
        """Rows and answers as tensors, chunk by chunk."""
        count = self.rows if rows is None else len(rows)
        even = -(-count // max(1, -(-count // self.chunk)))  # no chunk of one row is left over, which has no variance
        for cut in chunks(rows, self.rows, max(1, even)):
            batch = taken(self.data, cut, np.dtype(self.x.dtype))
            yield parted(batch, self.module, self._parameters[0].dtype, self._memory.place)
