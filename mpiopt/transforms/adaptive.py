"""A step size for every coordinate, from the squares of its past gradients (g here; powers and roots coordinate by coordinate).

    Adagrad     s += g^2;                      u <- g / (sqrt(s) + eps)
    RmsProp     s <- rho s + (1 - rho) g^2;    u <- g / (sqrt(s) + eps)
    Adadelta    s as in RmsProp;               u <- g sqrt(w + eps) / sqrt(s + eps);  w <- rho w + (1 - rho) u^2
    Adam        m <- b1 m + (1 - b1) g;  s <- b2 s + (1 - b2) g^2;  u <- [m / (1 - b1^t)] / (sqrt(s / (1 - b2^t)) + eps)

Scale comes after them. They work in place on the gradient and their averages, with at most one vector beside these.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.kernels.replicated import power
from mpiopt.numerics.schedules import demand
from mpiopt.transforms.transform import Transform


class SquareSums(NamedTuple):
    """The sum of the squares of past gradients, or their fading mean, (dim,)."""

    s: Array


class SquareMeans(NamedTuple):
    """Fading means of the squares of gradients and of steps, (dim,) each."""

    s: Array
    w: Array


class FadingMeans(NamedTuple):
    """Fading means of gradients and of their squares, (dim,) each, and how many steps were made."""

    m: Array
    s: Array
    t: int


@dataclass(frozen=True)
class Adagrad(Transform):
    """The sum of all squares.

    Duchi, Hazan, Singer, Adaptive subgradient methods, JMLR 2011, eq. 1 with the diagonal matrix. Raises UsageError
    unless 0 < eps < infinity.
    """

    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check(self.eps)

    def init(self, x: Array) -> SquareSums:
        """s = 0."""
        return SquareSums(namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: SquareSums, step: int) -> tuple[Array, SquareSums]:
        """g / (sqrt(s) + eps)."""
        s, square = state.s, u * u
        s += square
        return _over_root(u, s, self.eps, square), state


@dataclass(frozen=True)
class RmsProp(Transform):
    """A fading mean of the squares.

    Tieleman and Hinton, Lecture 6.5: RMSProp, Coursera 2012. Raises UsageError unless 0 <= rho < 1, 0 < eps < infinity.
    """

    rho: float = 0.9
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check(self.eps, rho=self.rho)

    def init(self, x: Array) -> SquareSums:
        """s = 0."""
        return SquareSums(namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: SquareSums, step: int) -> tuple[Array, SquareSums]:
        """g / (sqrt(s) + eps)."""
        s, square = state.s, u * u
        _fade(s, self.rho, square)
        return _over_root(u, s, self.eps, square), state


@dataclass(frozen=True)
class Adadelta(Transform):
    """Steps as long as the last ones were: no step size to choose.

    Zeiler, ADADELTA: an adaptive learning rate method, 2012, arXiv 1212.5701, algorithm 1. Raises UsageError unless
    0 <= rho < 1 and 0 < eps < infinity.
    """

    rho: float = 0.95
    eps: float = 1e-6

    def __post_init__(self) -> None:
        _check(self.eps, rho=self.rho)

    def init(self, x: Array) -> SquareMeans:
        """s = 0, w = 0."""
        return SquareMeans(namespace(x).zeros_like(x), namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: SquareMeans, step: int) -> tuple[Array, SquareMeans]:
        """g sqrt(w + eps) / sqrt(s + eps)."""
        s, w, square = state.s, state.w, u * u
        _fade(s, self.rho, square)
        ratio = w + self.eps
        ratio /= s + self.eps
        u *= namespace(u).sqrt(ratio, out=ratio)
        namespace(u).multiply(u, u, out=square)
        _fade(w, self.rho, square)
        return u, state


@dataclass(frozen=True)
class Adam(Transform):
    """Fading means of the gradient and of its square, both freed of their start at 0.

    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv 1412.6980, algorithm 1, computed as at the
    end of its section 2: sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(s) + eps sqrt(1 - b2^t)). Raises UsageError unless
    0 <= b1, b2 < 1 and 0 < eps < infinity.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check(self.eps, b1=self.b1, b2=self.b2)

    def init(self, x: Array) -> FadingMeans:
        """m = 0, s = 0, t = 0."""
        return FadingMeans(namespace(x).zeros_like(x), namespace(x).zeros_like(x), 0)

    def __call__(self, u: Array, x: Array, state: FadingMeans, step: int) -> tuple[Array, FadingMeans]:
        """The mean gradient over the root of the mean square."""
        m, s, t = state.m, state.s, state.t + 1
        root = sqrt(1 - power(self.b2, t))
        m *= self.b1
        m += (1 - self.b1) * u
        u *= u
        _fade(s, self.b2, u)
        namespace(u).sqrt(s, out=u)
        u += self.eps * root
        namespace(u).divide(m, u, out=u)
        u *= root / (1 - power(self.b1, t))
        return u, FadingMeans(m, s, t)


def _fade(mean: Array, rho: float, term: Array) -> None:
    """mean <- rho mean + (1 - rho) term, in place; spends ``term``."""
    mean *= rho
    term *= 1 - rho
    mean += term


def _over_root(u: Array, s: Array, eps: float, scratch: Array) -> Array:
    """u / (sqrt(s) + eps), in place; spends ``scratch``."""
    namespace(u).sqrt(s, out=scratch)
    scratch += eps
    u /= scratch
    return u


def _check(eps: float, **rates: float) -> None:
    demand(0 < eps < inf, "eps", eps, "a finite number above 0")
    for name, rate in rates.items():
        demand(0 <= rate < 1, name, rate, "a number from 0 to below 1")
