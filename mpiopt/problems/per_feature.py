"""PerFeature: an elastic net with a factor of its own for every feature, 0 for those that are not penalised at all.

    l1 sum_j p_j |x_j|  +  (l2/2) sum_j p_j x_j^2

Friedman, Hastie, Tibshirani, Regularization paths for generalized linear models via coordinate descent, 2010, section 2.6, for
what such factors are good for. Their scale is as given: 1 is what an elastic net has.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.kinked import Kinks
from mpiopt.problems.penalties import ElasticNet


@dataclass(frozen=True, eq=False)
class PerFeature:
    """factors : (features,), p, finite and at least 0; beside them the ``free`` coordinates, the intercept. Methods for smooth
    penalties have one l2 for all, so that it counts as one that is not smooth.

    Raises UsageError for factors that cannot be.
    """

    l1: float
    ridge: float
    factors: Array
    free: int = 0
    smooth: ClassVar[bool] = False
    grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        ElasticNet(self.l1, self.ridge)
        p = self.factors
        if not (p.ndim == 1 and p.dtype == np.float64 and (p.size == 0 or 0 <= p.min() <= p.max() < np.inf)):
            raise UsageError("penalty factors are one finite number, at least 0, for each feature, in float64")

    @property
    def l2(self) -> float:
        """What every coordinate has of l2 at least."""
        return self.ridge * float(self.factors.min(initial=1.0))

    def value(self, x: Array) -> float:
        """The penalty at x (dim,)."""
        x = x[: self.factors.size]
        return float(self.factors @ (self.l1 * abs(x) + self.ridge / 2 * x * x))

    def grad(self, x: Array) -> Array:
        """Of the quadratic part, 0 on free coordinates."""
        out = np.zeros_like(x)
        out[: self.factors.size] = self.ridge * self.factors * x[: self.factors.size]
        return out

    def prox(self, z: Array, step: float) -> Array:
        """Soft thresholding by step l1 p, then shrinking by 1 / (1 + step l2 p)."""
        x, inner = z.copy(), z[: self.factors.size]
        inner = np.sign(inner) * np.maximum(abs(inner) - step * self.l1 * self.factors, 0)
        x[: inner.size] = inner / (1 + step * self.ridge * self.factors)
        return x

    def residual(self, x: Array, g: Array) -> Array:
        """The shortest element of g + subdifferential(x), (dim,)."""
        return self.kinks(x.size).shortest(x, g + self.grad(x))

    def conjugate(self, u: Array) -> float:
        """max over z of u.z - penalty(z); infinity where nothing holds against u."""
        inner, p = u[: self.factors.size], self.factors
        beyond = np.maximum(abs(inner) - self.l1 * p, 0)
        bent = self.ridge * p
        if u[p.size :].any() or beyond[bent == 0].any():
            return np.inf
        held = bent > 0
        return float((beyond[held] ** 2 / (2 * bent[held])).sum())

    def support(self, x: Array) -> Array:
        """Mask (dim,) of coordinates away from a kink."""
        return self.kinks(x.size).open(x)

    def kinks(self, dim: int) -> Kinks:
        """What is not smooth in each of ``dim`` coordinates."""
        l1 = np.zeros(dim)
        l1[: self.factors.size] = self.l1 * self.factors
        return Kinks(l1, np.full(dim, -np.inf), np.full(dim, np.inf))

    def cut(self, part: slice, free: int) -> Self:
        """The penalty of some coordinates, of which the last are free."""
        return replace(self, factors=self.factors[part], free=free)

    def times(self, more: float) -> Self:
        """So many times as much."""
        return replace(self, l1=more * self.l1, ridge=more * self.ridge)

    def of(self, features: Array) -> Self:
        """The penalty of some features, (k,), and of what is free."""
        return replace(self, factors=self.factors[features])


Net = ElasticNet | PerFeature


def with_factors(net: ElasticNet, factors: Array | None) -> Net:
    """An elastic net with factors (features,), if there are any."""
    return net if factors is None else PerFeature(net.l1, net.l2, factors, net.free)
