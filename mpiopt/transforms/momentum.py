"""Step size and momentum. The order says which form is meant; they differ only where the step size changes.

Scale, Momentum              v <- gamma v - lr g;  x += v                   the step size is inside v
Scale, Nesterov              v <- gamma v - lr grad f(x + gamma v);  x += v
Momentum, Scale              v <- gamma v + g;  x -= lr v                   PyTorch: a change of lr rescales v at once
SimplifiedNesterov, Scale    v <- gamma v + g;  x -= lr (g + gamma v)       PyTorch's nesterov=True
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.kernels import device
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.transforms.transform import State, Transform


@dataclass(frozen=True)
class Scale(Transform):
    """u <- -schedule(step) u: a gradient becomes a step downhill."""

    schedule: Schedule

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """One pass."""
        u *= -self.schedule(step)
        return u, state

    def step_size(self, step: int) -> float:
        """The schedule's."""
        return self.schedule(step)

    def move(self, g: Array, x: Array, state: State, step: int) -> State:
        """See `Transform.move`; one pass on a GPU."""
        if namespace(x) is np:
            return super().move(g, x, state, step)
        device.gradient_step(x, g, self.schedule(step))
        return state


@dataclass(frozen=True)
class Divide(Transform):
    """u <- u / schedule(step): how far something went, in units of a step size; as it is where that is 0."""

    schedule: Schedule

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """One pass."""
        u /= self.schedule(step) or 1.0
        return u, state

    def step_size(self, step: int) -> float:
        """1 / schedule(step)."""
        return 1 / (self.schedule(step) or 1.0)


class Velocity(NamedTuple):
    """Where the steps lead, (dim,)."""

    v: Array


@dataclass(frozen=True)
class Momentum(Transform):
    """v <- gamma v + u;  u <- v: Polyak's heavy ball.

    Polyak, Some methods of speeding up the convergence of iteration methods, 1964, eq. 9. Raises UsageError unless
    0 <= gamma < 1.
    """

    gamma: float = 0.9

    def __post_init__(self) -> None:
        demand(0 <= self.gamma < 1, "gamma", self.gamma, "a number from 0 to below 1")

    def init(self, x: Array) -> Velocity:
        """v = 0."""
        return Velocity(namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: Velocity, step: int) -> tuple[Array, Velocity]:
        """Three passes."""
        v = state.v
        v *= self.gamma
        v += u
        u[:] = v
        return u, state


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum with the gradient taken at x + gamma v, where the velocity leads; stands after Scale, so that v is a step.

    Nesterov, A method for solving the convex programming problem with convergence rate O(1/k^2), 1983, in the form of
    Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum, ICML 2013, eqs. 3-4.
    """

    def look(self, x: Array, state: Velocity) -> Array:
        """x + gamma v, a new array."""
        ahead = self.gamma * state.v
        ahead += x
        return ahead


@dataclass(frozen=True)
class SimplifiedNesterov(Momentum):
    """v <- gamma v + u;  u <- u + gamma v, the gradient taken at x.

    Bengio, Boulanger-Lewandowski, Pascanu, Advances in optimizing recurrent networks, ICASSP 2013, eq. 7: under a constant
    step size x is the point that Nesterov looks at.
    """

    def __call__(self, u: Array, x: Array, state: Velocity, step: int) -> tuple[Array, Velocity]:
        """Four passes."""
        v = state.v
        v *= self.gamma
        v += u
        u += self.gamma * v
        return u, state
