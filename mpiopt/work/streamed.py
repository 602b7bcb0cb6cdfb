"""Local steps that never stop for an agreement: of a point's fragments one after the other is agreed on, and taken in later.

    theta_p <- outer rule(mean over the workers of theta_p - x_p)      what was agreed on fragment p, delay steps ago
    x_p <- alpha x_p + (1 - alpha) theta_p

theta is the outer point, which every worker keeps a copy of; x its own.
"""

from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.blocks import even
from mpiopt.engine.phase import Local
from mpiopt.numerics.schedules import demand
from mpiopt.problems.model import blocks_of
from mpiopt.problems.problem import Message, Site
from mpiopt.problems.protocols import Loss
from mpiopt.transforms.transform import State, Transform
from mpiopt.work.drift import Free


class Outside(NamedTuple):
    """What a worker keeps beside its own point.

    fragment : (dim,) int16, that of each coordinate. agreed : on the fragment of the round before, until it is taken in.
    """

    theta: Array
    fragment: Array
    rules: tuple[State, ...]  # what the outer rule keeps of every fragment
    round: int
    steps: int  # made in the round
    agreed: Array | None


@dataclass(frozen=True)
class Streaming(Free):
    """Round k is about fragment k modulo their number; what was agreed in it is taken in ``delay`` steps after its end.

    Douillard, Donchev, Rush, Kale, Charles, Garrett, Teston, Lacey, McIlroy, Shen, Rame, Szlam, Ranzato, Barham, Streaming
    DiLoCo with overlapping communication, 2025, arXiv 2501.18512, algorithm 2, in the form of pytorch/torchft, local_sgd.py;
    the mixture by alpha, which is not in that code, as recalled from the paper. A fragment is some of the model's blocks, each
    given to the smallest one so far, which is ours (the paper has layers in strides); of models with fewer blocks a piece of
    x. Raises UsageError.
    """

    outer: Transform
    fragments: int = 4
    delay: int = 1
    alpha: float = 0.5

    def __post_init__(self) -> None:
        demand(self.fragments >= 1, "fragments", self.fragments, "at least 1")
        demand(self.delay >= 0, "the delay in steps", self.delay, "at least 0")
        demand(0 <= self.alpha <= 1, "alpha", self.alpha, "a number from 0 to 1")

    def init(self, x: Array, site: Site) -> Outside:
        """At the common start. Raises UsageError for more fragments than coordinates."""
        which = fragments_of(site.loss, x.size, self.fragments)
        rules = tuple(self.outer.init(x[namespace(x).asarray(which == p)]) for p in range(self.fragments))
        return Outside(x.copy(), namespace(x).asarray(which), rules, 0, 0, None)

    def begin(self, x: Array, agreed: Message | None, memory: Outside, here: Local) -> Outside:
        """What was agreed waits, or is taken in where there is no delay."""
        memory = memory._replace(round=here.round, steps=0, agreed=None if agreed is None else agreed.vector.copy())
        return memory if self.delay else self._taken(x, memory)

    def after(self, x: Array, memory: Outside) -> Outside:
        """One step later."""
        memory = memory._replace(steps=memory.steps + 1)
        return self._taken(x, memory) if memory.steps == self.delay else memory

    def say(self, x: Array, memory: Outside) -> Array:
        """How far the fragment of this round came, as a gradient."""
        part = memory.fragment == memory.round % self.fragments
        return memory.theta[part] - x[part]

    def _taken(self, x: Array, memory: Outside) -> Outside:
        if memory.agreed is None:
            return memory
        theta, rules = self._outer(memory.theta, memory.rules, memory.agreed, memory.fragment, memory.round - 1)
        part = memory.fragment == (memory.round - 1) % self.fragments
        x[part] = self.alpha * x[part] + (1 - self.alpha) * theta[part]
        return memory._replace(rules=rules, agreed=None)

    def _outer(
        self, theta: Array, rules: tuple[State, ...], g: Array, fragment: Array, round_: int
    ) -> tuple[Array, tuple[State, ...]]:
        """theta, its fragment of a round moved in place; spends g."""
        turn, p = divmod(round_, self.fragments)
        part = fragment == p
        moved = theta[part]
        state = self.outer.move(g, moved, rules[p], turn)
        theta[part] = moved
        return theta, (*rules[:p], state, *rules[p + 1 :])

    def outside(self, memory: Outside, agreed: Message | None) -> Array:
        """theta with what was agreed last, a new array."""
        theta = memory.theta.copy()
        if agreed is None:
            return theta
        return self._outer(theta, deepcopy(memory.rules), agreed.vector.copy(), memory.fragment, memory.round)[0]


def fragments_of(loss: Loss, dim: int, count: int) -> np.ndarray:
    """The fragment of each coordinate, (dim,) int16. Raises UsageError for more fragments than coordinates."""
    demand(count <= dim, "fragments", count, f"at most the {dim} coordinates that there are")
    sizes = [prod(block.shape) for block in blocks_of(loss)]
    if len(sizes) < count:
        return np.repeat(np.arange(count, dtype=np.int16), np.diff(even(dim, count)))
    filled, whose = [0] * count, []
    for size in sizes:
        whose.append(filled.index(min(filled)))
        filled[whose[-1]] += size
    return np.repeat(np.array(whose, np.int16), sizes)
