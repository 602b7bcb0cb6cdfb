"""How far the points of `methods.stabilised` move after a trial, and where the next one has its centre."""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

from mpiopt.errors import UsageError


class Strides(NamedTuple):
    """How y and v' are made, and r of the next trial."""

    centre: float  # c
    pull: float  # p
    step: float  # e
    ratio: float  # r'


Rule = Callable[[float, float, float], Strides]  # r, mu and l2 -> how to move
WHOLE = Strides(1.0, 1.0, 0.0, 0.0)  # where nothing pulls, z is the minimiser of what all rows say


def plainly(ratio: float, mu: float, l2: float) -> Strides:
    """S-DANE."""
    return _moves(1.0, 1.0, ratio, mu, l2)


def accelerated(ratio: float, mu: float, l2: float) -> Strides:
    """Acc-S-DANE."""
    t = (1 + sqrt(1 + 4 * mu * ratio)) / 2
    return _moves(t / (ratio * mu + t), t, (ratio * mu + t) / (mu + l2 * t) if mu + l2 > 0 else 0.0, mu, l2)


def _moves(centre: float, t: float, ratio: float, mu: float, l2: float) -> Strides:
    """With t = mu s, which has no quotient by a mu that is small."""
    return Strides(centre, l2 * t / (mu + l2 * t), t / (mu + l2 * t), ratio) if mu > 0 else WHOLE


def sliding(ratio: float, mu: float, l2: float) -> Strides:
    """AEG. Raises UsageError without an l2, from which its steps follow."""
    if not l2 > 0:
        raise UsageError("aeg finds its steps from l2, which is 0: give `l2` above 0, or use `method=acc_s_dane`")
    if not mu > 0:
        return WHOLE
    step = min(1 / (2 * l2), 1 / (sqrt(2 * l2) * sqrt(mu)))  # roots apart: a product may have no room
    return Strides(min(1.0, sqrt(l2) / (sqrt(2) * sqrt(mu))), l2 * step, step, ratio)
