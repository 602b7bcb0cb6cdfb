"""Whole rules in one pass over memory, each the same step as its chain of transforms: on a GPU, and Adam's on the CPU too.

    MomentumStep(rate, gamma, form)      Scale -> Momentum or Nesterov: "inside";  Momentum -> Scale: "outside";
                                         SimplifiedNesterov -> Scale: "nesterov"
    AdamStep(rate, b1, b2, eps)          Adam -> Scale
    AdamPass(rate, b1, b2, eps, decay)   Adam -> Decay -> Scale, on the CPU, to the same bits

Each is (g, x, state, step) -> the next state, in place on g, x and the chain's own state.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from mpiopt.arrays import Array
from mpiopt.kernels import device
from mpiopt.kernels.adam_pass import adam_host_step
from mpiopt.kernels.replicated import power
from mpiopt.numerics.schedules import Schedule
from mpiopt.transforms.momentum import Velocity
from mpiopt.transforms.transform import State


@dataclass(frozen=True)
class MomentumStep:
    """The state is that of the chain: a Velocity, after the state of the step size where that is inside v, else before it."""

    rate: Schedule
    gamma: float
    form: Literal["inside", "outside", "nesterov"]

    def __call__(self, g: Array, x: Array, state: State, step: int) -> State:
        """Five vectors are moved: g, and v and x both ways."""
        (found,) = (part for part in state if isinstance(part, Velocity))
        device.momentum_step(x, g, found.v, self.rate(step), self.gamma, self.form)
        return state


@dataclass(frozen=True)
class AdamStep:
    """The state is that of the chain: FadingMeans, and that of the step size."""

    rate: Schedule
    b1: float
    b2: float
    eps: float

    def __call__(self, g: Array, x: Array, state: State, step: int) -> State:
        """Seven vectors are moved: g, and m, s and x both ways."""
        found, rest = state
        device.adam_step(x, g, found.m, found.s, found.t + 1, self.rate(step), self.b1, self.b2, self.eps)
        return found._replace(t=found.t + 1), rest


@dataclass(frozen=True)
class AdamPass:
    """The state is that of the chain, with FadingMeans first. decay : 0 where the chain has no Decay."""

    rate: Schedule
    b1: float
    b2: float
    eps: float
    decay: float = 0.0

    def __call__(self, g: Array, x: Array, state: State, step: int) -> State:
        """One pass; g, x and what is kept are of one type."""
        found, *rest = state
        t = found.t + 1
        root = sqrt(1 - power(self.b2, t))
        gain = root / (1 - power(self.b1, t))
        adam_host_step(x, g, found.m, found.s, (self.b1, self.b2), self.eps * root, gain, self.decay, self.rate(step))
        return found._replace(t=t), *rest
