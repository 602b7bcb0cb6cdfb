"""Optimisers of torch as local rules: torch:AdamW, torch:RMSprop(alpha=0.9), ..., by the names of torch.optim.

What an optimiser keeps is taken out of it after every step, as arrays by name, and put into a new one before the next: so it is
state as any other rule's, and goes into checkpoints.
"""

import ast
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array, Shaped
from mpiopt.errors import UsageError
from mpiopt.numerics.schedules import Schedule, scheduled
from mpiopt.registry.entry import Registered
from mpiopt.training.torch.library import Tensor, torch_module
from mpiopt.transforms import rules
from mpiopt.transforms.transform import Transform

MARK = "torch:"
# each of whose coordinates moves by itself: the whole x is one parameter to them, which takes a pass in place of one a block
BY_COORDINATE = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
REFUSED = {
    "LBFGS": "asks for the loss many times in a step",
    "SparseAdam": "is for sparse gradients alone, and those of a flat vector are dense",
}


def rule_named(name: str) -> Registered:
    """The entry of one of our rules, or of an optimiser of torch. Raises UsageError."""
    return _entry(name) if name.startswith(MARK) else rules.find(name)


class OptimizerState(NamedTuple):
    """What an optimiser keeps: PARAMETER/NAME, an array each, of a number without axes."""

    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class OptimizerRule(Transform):
    """x moved by an optimiser of torch.optim, in the memory of the CPU.

    kind : its class there. given : its arguments but for the step size. shapes : of the blocks that x is made of; x is one
    parameter where there are none.
    """

    kind: str
    given: tuple[tuple[str, Any], ...]
    rate: Schedule
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def shaped(self) -> bool:
        """Unless its coordinates move by themselves."""
        return self.kind not in BY_COORDINATE

    def on(self, blocks: Sequence[Shaped], replicated: bool = False) -> "OptimizerRule":
        """With a parameter for every block."""
        return replace(self, shapes=tuple(block.shape for block in blocks)) if self.shaped else self

    def init(self, x: Array) -> OptimizerState:
        """Nothing is kept before the first step."""
        return OptimizerState((), ())

    def __call__(self, u: Array, x: Array, state: OptimizerState, step: int) -> tuple[Array, OptimizerState]:
        """How far x goes."""
        there = x.copy()
        state = self.move(u, there, state, step)
        there -= x
        return there, state

    def step_size(self, step: int) -> float:
        """The schedule's."""
        return self.rate(step)

    def move(self, g: Array, x: Array, state: OptimizerState, step: int) -> OptimizerState:
        """A step of the optimiser. Raises UsageError where it cannot move such parameters."""
        parameters = [torch_module().nn.Parameter(part) for part in self._parts(x)]
        for parameter, part in zip(parameters, self._parts(g), strict=True):
            parameter.grad = part
        with _sayable(self.kind):
            optimizer = _made(self.kind, self.given, parameters, self.rate(step))
            for name, value in zip(*state, strict=True):
                number, _, key = name.partition("/")
                optimizer.state[parameters[int(number)]][key] = torch_module().from_numpy(value)
            optimizer.step()
        return _kept(self.kind, [optimizer.state[parameter] for parameter in parameters])

    def _parts(self, flat: Array) -> "list[Tensor]":
        """x, or what is as long, as tensors on its memory."""
        whole = torch_module().from_numpy(flat)
        if not self.shapes:
            return [whole]
        return [part.view(shape) for part, shape in zip(whole.split(list(map(prod, self.shapes))), self.shapes, strict=True)]


def _kept(kind: str, states: "Sequence[dict[str, Any]]") -> OptimizerState:
    named = {
        f"{number}/{key}": value for number, state in enumerate(states) for key, value in state.items() if value is not None
    }
    if odd := [name for name, value in named.items() if not torch_module().is_tensor(value)]:
        raise UsageError(f"{MARK}{kind} keeps {odd[0].partition('/')[2]}, which is no tensor and fits into no checkpoint")
    return OptimizerState(tuple(named), tuple(value.numpy() for value in named.values()))


def _made(kind: str, given: tuple[tuple[str, Any], ...], parameters: "list[Any]", lr: float) -> Any:
    return getattr(torch_module().optim, kind)(parameters, lr=lr, **dict(given))


@contextmanager
def _sayable(kind: str) -> Iterator[None]:
    """What goes wrong in an optimiser, as a UsageError."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as fault:
        told = (str(fault).splitlines() or [type(fault).__name__])[0].rstrip(".")
        raise UsageError(f"{MARK}{kind} cannot be the rule here: {told}") from fault


def _entry(text: str) -> Registered:
    """The entry of a text such as torch:AdamW(weight_decay=0.1); its parameter is the step size. Raises UsageError."""
    kind, given = _spelt(text)
    optim = torch_module().optim
    known = sorted(
        name
        for name, found in vars(optim).items()
        if isinstance(found, type) and issubclass(found, optim.Optimizer) and found is not optim.Optimizer
    )
    if kind in REFUSED:
        raise UsageError(f"{MARK}{kind} {REFUSED[kind]}: take another rule, such as {MARK}AdamW")
    if kind not in known:
        raise UsageError(
            f"torch.optim has no {kind!r}: choose one of {', '.join(name for name in known if name not in REFUSED)}"
        )
    if "lr" in dict(given):
        raise UsageError(f"{text} names its step size, which schedules change: give it as `lr`")
    default = float(inspect.signature(getattr(optim, kind)).parameters["lr"].default)
    with _sayable(kind):
        _made(kind, given, [torch_module().nn.Parameter(torch_module().zeros(2, 2))], default)

    def build(lr: float | Schedule = default) -> Transform:
        return OptimizerRule(kind, given, scheduled(lr))

    return Registered(build, "-", name=text)


def _spelt(text: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The class and the arguments of a text: values are numbers, tuples, True, False or None. Raises UsageError."""
    body = text.removeprefix(MARK).strip()
    try:
        call = ast.parse(body, mode="eval").body
        call = call if isinstance(call, ast.Call) else ast.Call(call, [], [])
        if not isinstance(call.func, ast.Name) or call.args or not all(each.arg for each in call.keywords):
            raise ValueError
        return call.func.id, tuple((str(each.arg), ast.literal_eval(each.value)) for each in call.keywords)
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"{text} is not to be read: give an optimiser of torch, such as {MARK}AdamW(weight_decay=0.1)"
        ) from error
