"""Rules side by side, each on the parts of x that are its own.

SideBySide        rules on consecutive pieces of x
Groups            the rule of the first pattern that a block's name matches, another for the rest
side_by_side      of a model's blocks, each of the rule that is picked for it
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from math import prod
from typing import NamedTuple

from mpiopt.arrays import Array, Shaped, namespace
from mpiopt.errors import UsageError
from mpiopt.transforms.transform import State, Transform


class EachSide(NamedTuple):
    """What the rules keep, in the order of their pieces."""

    each: tuple[State, ...]


@dataclass(frozen=True)
class SideBySide(Transform):
    """parts : the lengths of the pieces, which make up x, and their rules."""

    parts: tuple[tuple[int, Transform], ...]

    def _pieces(self) -> Iterator[tuple[slice, Transform]]:
        at = 0
        for length, rule in self.parts:
            yield slice(at, at + length), rule
            at += length

    def init(self, x: Array) -> EachSide:
        """That of each, at its piece."""
        return EachSide(tuple(rule.init(x[cut]) for cut, rule in self._pieces()))

    def look(self, x: Array, state: EachSide) -> Array:
        """Where each looks; x itself where all do."""
        here = [x[cut] for cut, _ in self._pieces()]
        there = [rule.look(part, one) for (_, rule), part, one in zip(self._pieces(), here, state.each, strict=True)]
        return x if all(a is b for a, b in zip(here, there, strict=True)) else namespace(x).concatenate(there)

    def __call__(self, u: Array, x: Array, state: EachSide, step: int) -> tuple[Array, EachSide]:
        """Each on its piece, written back into u."""
        after = []
        for (cut, rule), one in zip(self._pieces(), state.each, strict=True):
            moved, one = rule(u[cut], x[cut], one, step)
            u[cut] = moved
            after.append(one)
        return u, EachSide(tuple(after))

    def move(self, g: Array, x: Array, state: EachSide, step: int) -> EachSide:
        """Each on its piece."""
        pairs = zip(self._pieces(), state.each, strict=True)
        return EachSide(tuple(rule.move(g[cut], x[cut], one, step) for (cut, rule), one in pairs))

    def step_size(self, step: int) -> float:
        """The largest."""
        return max((rule.step_size(step) for _, rule in self.parts), default=1.0)


@dataclass(frozen=True)
class Choosing(Transform):
    """A rule that is another for some blocks. Until it knows of blocks, all is ``rest``."""

    rest: Transform

    @property
    def shaped(self) -> bool:
        """Yes."""
        return True

    def pick(self, block: Shaped, replicated: bool) -> Transform:
        """The rule of a block."""
        return self.rest

    def on(self, blocks: Sequence[Shaped], replicated: bool = False) -> Transform:
        """Side by side, as picked."""
        return side_by_side(blocks, lambda block: self.pick(block, replicated), replicated) if blocks else self

    def init(self, x: Array) -> State:
        """That of ``rest``."""
        return self.rest.init(x)

    def look(self, x: Array, state: State) -> Array:
        """Where ``rest`` looks."""
        return self.rest.look(x, state)

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """By ``rest``."""
        return self.rest(u, x, state, step)

    def move(self, g: Array, x: Array, state: State, step: int) -> State:
        """By ``rest``."""
        return self.rest.move(g, x, state, step)

    def step_size(self, step: int) -> float:
        """That of ``rest``."""
        return self.rest.step_size(step)


@dataclass(frozen=True)
class Groups(Choosing):
    """choices : patterns as of files, such as *.bias, and the rules of blocks whose names match; the first that does counts."""

    choices: tuple[tuple[str, Transform], ...]

    def pick(self, block: Shaped, replicated: bool) -> Transform:
        """The first that matches."""
        return next((rule for pattern, rule in self.choices if fnmatchcase(block.name, pattern)), self.rest)

    def on(self, blocks: Sequence[Shaped], replicated: bool = False) -> Transform:
        """Side by side. Raises UsageError for a pattern that no block is of."""
        for pattern, rule in self.choices:
            if not any(self.pick(block, replicated) is rule for block in blocks):
                raise UsageError(
                    f"`group={pattern}` matches no parameter that an earlier group has not: they are "
                    f"{', '.join(block.name for block in blocks) or 'without names'}"
                )
        return super().on(blocks, replicated)


def side_by_side(blocks: Sequence[Shaped], pick: Callable[[Shaped], Transform], replicated: bool = False) -> SideBySide:
    """The rules of a model's blocks, neighbours of one rule in one piece."""
    picked = [(pick(block), block) for block in blocks]
    parts = []
    for _, run in groupby(picked, lambda pair: id(pair[0])):
        rules, own = zip(*run, strict=True)
        parts.append((sum(prod(block.shape) for block in own), rules[0].on(own, replicated)))
    return SideBySide(tuple(parts))
