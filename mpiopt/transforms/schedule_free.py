"""Steps without a schedule: the point is a mean of where AdamW's steps lead, and gradients are taken between both.

    y = (1 - b1) z + b1 x                                    where the gradient g is taken
    s <- b2 s + (1 - b2) g^2
    z <- z - lr [g / (sqrt(s) + eps) + decay y],   lr = the schedule's, times sqrt(1 - b2^t)
    x <- (1 - c) x + c z,   c = w / (sum of all w so far),   w = t^r (largest lr so far)^power

What is kept is z - x, which stays what it is where x is moved by an agreement.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.kernels.replicated import power
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.transforms.transform import Transform


class BesideMean(NamedTuple):
    """z - x and the fading mean of squares, (dim,) each; how many steps, the largest step size, the sum of the weights."""

    d: Array
    s: Array
    t: int
    peak: float
    weights: float


@dataclass(frozen=True)
class ScheduleFree(Transform):
    """AdamW by a mean of its points in place of momentum and of a falling step size; a whole rule.

    Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky, The road less scheduled, NeurIPS 2024, arXiv 2405.15682, as in the
    authors' reference code (facebookresearch/schedule_free, adamw_schedulefree_reference.py), with r = 0 and power 2 of its
    weights. Raises UsageError unless 0 <= b1, b2 < 1, 0 < eps < infinity, 0 <= decay < infinity.
    """

    schedule: Schedule
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    decay: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in {"b1": self.b1, "b2": self.b2}.items():
            demand(0 <= rate < 1, name, rate, "a number from 0 to below 1")
        demand(0 < self.eps < inf, "eps", self.eps, "a finite number above 0")
        demand(0 <= self.decay < inf, "decay", self.decay, "a finite number of at least 0")

    def init(self, x: Array) -> BesideMean:
        """z = x."""
        return BesideMean(namespace(x).zeros_like(x), namespace(x).zeros_like(x), 0, 0.0, 0.0)

    def look(self, x: Array, state: BesideMean) -> Array:
        """y = x + (1 - b1) (z - x), a new array."""
        y = (1 - self.b1) * state.d
        y += x
        return y

    def __call__(self, u: Array, x: Array, state: BesideMean, step: int) -> tuple[Array, BesideMean]:
        """c (z - x), from the gradient at y."""
        d, s, t = state.d, state.s, state.t + 1
        rate = self.schedule(step) * sqrt(1 - power(self.b2, t))
        peak = max(rate, state.peak)
        weights = state.weights + peak * peak
        part = peak * peak / weights if weights else 0.0
        s *= self.b2
        s += (1 - self.b2) * (u * u)
        u /= namespace(u).sqrt(s) + self.eps
        if self.decay:
            u += self.decay * self.look(x, state)
        u *= -rate
        d += u
        namespace(u).multiply(d, part, out=u)
        d *= 1 - part
        return u, BesideMean(d, s, t, peak, weights)

    def step_size(self, step: int) -> float:
        """The schedule's."""
        return self.schedule(step)
