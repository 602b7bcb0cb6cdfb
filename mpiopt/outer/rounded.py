"""A point of which only rounded weights are seen: training of models of few bits.

Rounded(rule, bits)                  the exact point is moved, by gradients taken where it is rounded
Rounded(rule, bits, feedback=False)  what rounding takes off is gone: steps shorter than half of a level lead nowhere
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Joint, Outer, PerWorker
from mpiopt.engine.placed import placed
from mpiopt.numerics.schedules import demand
from mpiopt.problems.model import Block, blocks_of
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.transforms.transform import State, Transform


class Unrounded(NamedTuple):
    """The exact point (dim,), what its rule keeps, and the point rounded."""

    x: Array
    rule: State
    shown: Array


@dataclass(frozen=True)
class Rounded(Outer):
    """The common point moved by a rule; workers see, and the answer is, the point rounded to 2^bits - 1 levels a matrix.

    Levels are even, from minus to plus the largest magnitude; with one bit they are the two means of magnitude, plus and
    minus. Vectors such as biases stay as they are; a model without matrices is rounded as one. feedback : what rounding takes
    off is the memory of an error feedback, as in `Prune`: Courbariaux, Bengio, David, BinaryConnect: training deep neural
    networks with binary weights during propagations, NIPS 2015, algorithm 1, with nearest levels. Raises UsageError unless
    1 <= bits <= 16.
    """

    rule: Transform
    bits: int = 8
    feedback: bool = True

    def __post_init__(self) -> None:
        demand(1 <= self.bits <= 16 and self.bits == int(self.bits), "the bits of a weight", self.bits, "1 to 16")

    def init(self, x: Array, team: Team) -> Unrounded:
        """At x. Not collective."""
        shown = self._round(x, team)
        return Unrounded(
            x.copy() if self.feedback else shown.copy(), placed(self.rule, team.sites[0].loss, True).init(x), shown
        )

    def __call__(self, agreed: Message | None, points: PerWorker, state: Unrounded, here: Joint) -> tuple[PerWorker, Unrounded]:
        """Not collective; spends ``agreed``."""
        if agreed is None:
            return points, state
        inner = placed(self.rule, here.team.sites[0].loss, True).move(agreed.vector, state.x, state.rule, here.round)
        shown = self._round(state.x, here.team)
        state = Unrounded(state.x if self.feedback else shown.copy(), inner, shown)
        return self.seen(state, here.team), state

    def seen(self, state: Unrounded, team: Team) -> PerWorker:
        """What the workers of this rank look at, each the same: where the rule looks, rounded."""
        look = Point(self._round(placed(self.rule, team.sites[0].loss, True).look(state.x, state.rule), team))
        return PerWorker(look for _ in team.sites)

    def answer(self, points: PerWorker, state: Unrounded) -> Point:
        """The point itself, rounded."""
        return Point(state.shown)

    def step_size(self, round: int) -> float:  # noqa: A002 - the field's word
        """The rule's."""
        return self.rule.step_size(round)

    def _round(self, x: Array, team: Team) -> Array:
        loss = team.sites[0].loss
        return rounded(x, blocks_of(loss), self.bits)


def rounded(x: Array, blocks: Sequence[Block], bits: int) -> Array:
    """x (dim,) with each matrix of a model at the nearest of its levels; see `Rounded`."""
    xp, matrices = namespace(x), [len(block.shape) > 1 for block in blocks]
    bounds = [0, *accumulate(prod(block.shape) for block in blocks)] if any(matrices) else [0, x.size]
    out = x.copy()
    for (lo, hi), matrix in zip(pairwise(bounds), matrices if any(matrices) else [True], strict=True):
        part = out[lo:hi]
        if not matrix or not part.size:
            continue
        if bits == 1:
            part[:] = xp.where(part < 0, -1, 1) * abs(part).mean()
            continue
        top = abs(part).max() / ((1 << (bits - 1)) - 1)
        if top > 0:
            part[:] = xp.rint(part / top) * top
    return out
