"""Preconditioned conjugate gradients as plain state, so that one product can be one round of a distributed method.

    alpha = r.z / p.Hp;  x += alpha p;  r -= alpha Hp;  z = M^-1 r;  p = z + (r.z / previous r.z) p

Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952; preconditioned form of
Nocedal and Wright, Numerical Optimization, 2006, algorithm 5.3.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace

FLAT = 1e-14  # of the steepest curvature, seen through the preconditioner: below it is rounding

Map = Callable[[Array], Array]
Dots = Callable[[Sequence[tuple[Array, Array]]], Sequence[float]]


def alone(pairs: Sequence[tuple[Array, Array]]) -> list[float]:
    """The inner products of pairs of vectors, found by this rank for itself."""
    return [float(x @ y) for x, y in pairs]


class CG(NamedTuple):
    """H x = b under way: the iterate, the residual b - H x, the direction, r.z, r.r, and b.x (all (dim,) or numbers)."""

    x: Array
    r: Array
    p: Array
    rz: float
    rr: float
    bx: float
    products: int
    pp: float = 0.0  # p.M p for the preconditioner M
    steepest: float = 0.0  # the largest p.H p / p.M p so far

    @property
    def residual(self) -> float:
        """|b - H x|."""
        return sqrt(self.rr)


def begin(b: Array, precondition: Map, dots: Dots = alone) -> CG:
    """CG from x = 0; ``p`` is the first direction to multiply by H. dots : `World.dots` where all ranks solve one system."""
    r = b.copy()
    z = precondition(r)
    rz, rr = dots([(r, z), (r, r)])
    return CG(namespace(b).zeros_like(b), r, z.copy() if z is r else z, rz, rr, 0.0, 0, rz)


def advance(cg: CG, hp: Array, precondition: Map, dots: Dots = alone) -> CG:
    """One step, given hp = H cg.p; spends ``cg``. A direction without curvature beyond rounding ends the descent: x stays."""
    (php,) = dots([(cg.p, hp)])
    steepest = max(cg.steepest, php / cg.pp) if cg.pp > 0 else 0.0
    if not php > FLAT * steepest * cg.pp or not np.isfinite(php):
        return cg._replace(products=cg.products + 1, rz=0.0)
    alpha = cg.rz / php
    x, r = cg.x, cg.r
    p = cg.p
    hp *= alpha
    r -= hp
    x += namespace(p).multiply(p, alpha, out=hp)
    del hp
    z = precondition(r)
    rz, rr = dots([(r, z), (r, r)])
    ratio = rz / cg.rz
    p *= ratio
    p += z
    return CG(x, r, p, rz, rr, cg.bx + alpha * cg.rz, cg.products + 1, rz + ratio * ratio * cg.pp, steepest)


def solve(product: Map, b: Array, precondition: Map, ratio: float, limit: int, dots: Dots = alone, floor: float = 0.0) -> CG:
    """CG until both residual and energy are settled to ``ratio``, or ``limit`` products. Collective where its arguments are.

    floor : of (r.M^-1 r)^(1/2), where b is known no better: what is left of the residual then is noise, and where H is
    singular the part of it that H cannot see would be followed for 1/FLAT times its length.

    The residual alone says little where H is ill-conditioned: |r| <= ratio |b| may leave most of the decrease undone. The
    energy counts as settled once a step as useful as the last, repeated k times, would add less than ``ratio`` of the
    decrease so far (the rule of Nash, A survey of truncated-Newton methods, 2000, section 4.1).
    """
    cg = begin(b, precondition, dots)
    target, before = ratio * cg.residual, 0.0
    while cg.products < limit and cg.rz > floor * floor:
        cg = advance(cg, product(cg.p), precondition, dots)
        settled = cg.products * (cg.bx - before) <= ratio * cg.bx
        before = cg.bx
        if settled and cg.residual <= target:
            break
    return cg
