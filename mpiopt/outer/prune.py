"""A point of which only the largest weights are seen: training of sparse models.

Prune(rule, sparsity)                  the dense point is moved, by gradients taken where it is pruned
Prune(rule, sparsity, feedback=False)  what is pruned is gone for good
Gradual(n, s_f, t0, s_i)               the sparsity of every step, from s_i at t0 to s_f after n more
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.compressor import kernels
from mpiopt.engine.phase import Joint, Outer, PerWorker
from mpiopt.engine.placed import placed
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.problems.model import Block, blocks_of
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.transforms.transform import State, Transform


@dataclass(frozen=True)
class Gradual:
    """s_f + (s_i - s_f) (1 - (t - t0) / n)^3 from step t0 on, s_f from t0 + n on, and s_i before t0.

    Zhu, Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017, eq. 1. With n = 0
    a jump. Raises UsageError unless 0 <= s_i <= s_f < 1 and the steps are not negative.
    """

    steps: int
    final: float
    start: int = 0
    initial: float = 0.0

    def __post_init__(self) -> None:
        demand(0 <= self.final < 1, "the sparsity", self.final, "a number from 0 to below 1")
        demand(0 <= self.initial <= self.final, "the sparsity at first", self.initial, f"0 to the final {self.final:g}")
        demand(self.start >= 0, "the step at which pruning starts", self.start, "at least 0")
        demand(self.steps >= 0, "the number of steps over which weights are pruned", self.steps, "at least 0")

    def __call__(self, step: int) -> float:
        """The sparsity of a step."""
        if step < self.start:
            return float(self.initial)
        left = max(0.0, 1 - (step - self.start) / self.steps) if self.steps else 0.0
        return self.final + (self.initial - self.final) * (left * left * left)


class Pruned(NamedTuple):
    """The dense point (dim,), what its rule keeps, and the mask (dim,) of bool: what is seen of it."""

    x: Array
    rule: State
    mask: Array


@dataclass(frozen=True)
class Prune(Outer):
    """The common point moved by a rule; workers see, and the answer is, the point with its smallest weights set to 0.

    Every ``every`` rounds the mask keeps the weights of largest magnitude, of equal ones the first; how many follows from
    the sparsity of that round. Weights are the entries of matrices, of all together; biases and scales are never pruned. A
    model without matrices is pruned anywhere.

    feedback : what is not seen keeps its value and is moved too, so that it may come back: what the mask hides is the
    memory of an error feedback. Lin, Stich, Barba, Dmitriev, Jaggi, Dynamic model pruning with feedback, ICLR 2020,
    algorithm 1. Without it hidden weights are 0 and stay so.
    """

    rule: Transform
    sparsity: Schedule
    every: int = 16
    feedback: bool = True

    def __post_init__(self) -> None:
        demand(self.every >= 1, "the number of rounds between two masks", self.every, "at least 1")

    def init(self, x: Array, team: Team) -> Pruned:
        """At x, with the mask of round 0. Not collective."""
        mask = self._mask(x, namespace(x).ones(x.size, bool), 0, team)
        return Pruned(self._kept(x.copy(), mask), placed(self.rule, team.sites[0].loss, True).init(x), mask)

    def __call__(self, agreed: Message | None, points: PerWorker, state: Pruned, here: Joint) -> tuple[PerWorker, Pruned]:
        """Not collective; spends ``agreed``."""
        x, mask = state.x, state.mask
        if agreed is None:
            return points, state
        inner = placed(self.rule, here.team.sites[0].loss, True).move(agreed.vector, x, state.rule, here.round)
        if (here.round + 1) % self.every == 0:
            mask = self._mask(x, mask, here.round + 1, here.team)
        state = Pruned(self._kept(x, mask), inner, mask)
        return self.seen(state, here.team), state

    def seen(self, state: Pruned, team: Team) -> PerWorker:
        """What the workers of this rank look at, each the same: where the rule looks, pruned."""
        look = Point(placed(self.rule, team.sites[0].loss, True).look(state.x, state.rule) * state.mask)
        return PerWorker(look for _ in team.sites)

    def answer(self, points: PerWorker, state: Pruned) -> Point:
        """The point itself, pruned."""
        return Point(state.x * state.mask)

    def step_size(self, round: int) -> float:  # noqa: A002 - the field's word
        """The rule's."""
        return self.rule.step_size(round)

    def _kept(self, x: Array, mask: Array) -> Array:
        if not self.feedback:
            x *= mask
        return x

    def _mask(self, x: Array, before: Array, step: int, team: Team) -> Array:
        """The next mask (dim,)."""
        loss = team.sites[0].loss
        weights = namespace(x).asarray(prunable(blocks_of(loss), x.size))
        total = int(weights.sum())
        kept = total - round(self.sparsity(step) * total)
        able = weights if self.feedback else weights & before
        if not self.feedback and kept >= int(able.sum()):
            return before
        mask = ~weights
        mask[largest(x, able, kept)] = True
        return mask


def prunable(blocks: Sequence[Block], dim: int) -> np.ndarray:
    """The entries (dim,) that may be pruned: those of matrices, and all where there is none."""
    if not any(len(block.shape) > 1 for block in blocks):
        return np.ones(dim, bool)
    return np.repeat([len(block.shape) > 1 for block in blocks], [prod(block.shape) for block in blocks])


def largest(x: Array, able: Array, count: int) -> Array:
    """Where the ``count`` entries of largest magnitude are, of those that are ``able``; of equal ones the first."""
    places = namespace(x).flatnonzero(able)
    return places[kernels(x).largest(x[places], count)] if count else places[:0]
