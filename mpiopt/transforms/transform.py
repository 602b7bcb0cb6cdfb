"""What every transform does, and how transforms are put together.

    g = gradient at rule.look(x, S)
    u, S = rule(g, x, S, step)
    x += u

or, for the last two lines, S = rule.move(g, x, S, step), which a GPU may do in one pass over its memory.

State is plain: NamedTuples of arrays and numbers. Both the u and the S given to a transform are spent: it writes into them,
and what it returns may be the same arrays. The u it returns is never part of the state, so the caller may write into it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from mpiopt.arrays import Array, Shaped, namespace
from mpiopt.numerics.schedules import demand
from mpiopt.numerics.trees import like

State = Any  # NamedTuples of arrays and numbers, () for none, and a tuple of the parts' for a chain

BLOCK = 32768  # coordinates: three to five such vectors stay in the second-level cache


class Transform(Protocol):
    """A local rule or a part of one. Unless it says otherwise it keeps no state and looks where it stands."""

    @property
    def shaped(self) -> bool:
        """Whether what it does depends on the blocks that x is made of, which `on` has to tell it first."""
        return False

    def on(self, blocks: Sequence[Shaped], replicated: bool = False) -> "Transform":
        """This rule for an x of these blocks; replicated : whether all ranks move the same x by it."""
        return self

    def init(self, x: Array) -> State:
        """The state before the first step, for points (dim,) like x."""
        return ()

    def look(self, x: Array, state: State) -> Array:
        """Where the next gradient is to be taken, (dim,); x itself or a new array."""
        return x

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """The transformed u (dim,) and the next state; spends u and ``state``, leaves the point x alone."""

    def step_size(self, step: int) -> float:
        """What u is multiplied by whatever it is: the part of a rule that schedules change."""
        return 1.0

    def move(self, g: Array, x: Array, state: State, step: int) -> State:
        """x <- x + u in place, u being what becomes of g; the next state. Spends g and ``state``."""
        u, state = self(g, x, state, step)
        x += u
        return state


@dataclass(frozen=True)
class Chain(Transform):
    """One transform after the other."""

    parts: tuple[Transform, ...]

    @property
    def shaped(self) -> bool:
        """If a part is."""
        return any(part.shaped for part in self.parts)

    def on(self, blocks: Sequence[Shaped], replicated: bool = False) -> "Chain":
        """Every part."""
        return Chain(tuple(part.on(blocks, replicated) for part in self.parts))

    def init(self, x: Array) -> State:
        """The parts' states, in order."""
        return tuple(part.init(x) for part in self.parts)

    def look(self, x: Array, state: State) -> Array:
        """Where the parts look, each from where the one before it does."""
        for part, inner in zip(self.parts, state, strict=True):
            x = part.look(x, inner)
        return x

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """u through all parts."""
        after = []
        for part, inner in zip(self.parts, state, strict=True):
            u, inner = part(u, x, inner, step)
            after.append(inner)
        return u, tuple(after)

    def step_size(self, step: int) -> float:
        """The product of the parts'."""
        return prod(part.step_size(step) for part in self.parts)

    def move(self, g: Array, x: Array, state: State, step: int) -> State:
        """g through all parts but the last, which moves x."""
        if not self.parts:
            return super().move(g, x, state, step)
        after = []
        for part, inner in zip(self.parts[:-1], state[:-1], strict=True):
            g, inner = part(g, x, inner, step)
            after.append(inner)
        return *after, self.parts[-1].move(g, x, state[-1], step)


def chain(*parts: Transform) -> Chain:
    """One transform after the other; chains among them are opened, so that chaining is associative."""
    return Chain(tuple(leaf for part in parts for leaf in (part.parts if isinstance(part, Chain) else (part,))))


@dataclass(frozen=True)
class Blocked(Transform):
    """``inner`` applied to ``block`` coordinates at a time, so that long vectors pass through the cache once.

    inner : acts on every coordinate by itself and in place, as all of `momentum`, `adaptive`, Scale and Decay
    do. On a GPU, and for vectors of at most one block, it is applied at once. fused : (g, x, state, step) -> the next
    state, what `Transform.move` of ``inner`` is on a GPU, in one pass; host : the same on the CPU. Raises
    UsageError unless block >= 1.
    """

    inner: Transform
    block: int = BLOCK
    fused: Callable[[Array, Array, State, int], State] | None = None
    host: Callable[[Array, Array, State, int], State] | None = None

    def __post_init__(self) -> None:
        demand(self.block >= 1, "the length of a block", self.block, "at least 1 coordinate")

    def init(self, x: Array) -> State:
        """The state of ``inner``."""
        return self.inner.init(x)

    def look(self, x: Array, state: State) -> Array:
        """Where ``inner`` looks."""
        return self.inner.look(x, state)

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """The same u and state as those of ``inner``."""
        if u.size <= self.block or namespace(u) is not np:
            return self.inner(u, x, state, step)
        for start in range(0, u.size, self.block):
            cut = slice(start, start + self.block)
            _, after = self.inner(u[cut], x[cut], _cut(state, cut), step)
        return u, _joined(state, after)

    def step_size(self, step: int) -> float:
        """That of ``inner``."""
        return self.inner.step_size(step)

    def move(self, g: Array, x: Array, state: State, step: int) -> State:
        """See `Transform.move`."""
        if namespace(x) is not np:
            return (self.fused or self.inner.move)(g, x, state, step)
        if self.host is not None and g.dtype == x.dtype:
            return self.host(g, x, state, step)
        return super().move(g, x, state, step)


def _cut(state: State, cut: slice) -> State:
    """The state of a block: views of the arrays, and the numbers."""
    if isinstance(state, tuple):
        return like(state, (_cut(part, cut) for part in state))
    return state[cut] if isinstance(state, np.ndarray) else state


def _joined(state: State, after: State) -> State:
    """The arrays, written block by block, and the numbers as any block left them."""
    if isinstance(state, tuple):
        return like(state, (_joined(*parts) for parts in zip(state, after, strict=True)))
    return state if isinstance(state, np.ndarray) else after
