"""Preconditioned conjugate gradients as plain state, so that one product can be one round of a distributed method.

    alpha = r.z / p.Hp;  x += alpha p;  r -= alpha Hp;  z = M^-1 r;  p = z + (r.z / previous r.z) p

Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952; preconditioned form of
Nocedal and Wright, Numerical Optimization, 2006, algorithm 5.3.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace, norm

Map = Callable[[Array], Array]


class CG(NamedTuple):
    """H x = b under way: the iterate, the residual b - H x, the direction, r.z, and b.x (all (dim,) or numbers)."""

    x: Array
    r: Array
    p: Array
    rz: float
    bx: float
    products: int


def begin(b: Array, precondition: Map) -> CG:
    """CG from x = 0; ``p`` is the first direction to multiply by H."""
    r = b.copy()
    z = precondition(r)
    return CG(namespace(b).zeros_like(b), r, z.copy() if z is r else z, float(r @ z), 0.0, 0)


def advance(cg: CG, hp: Array, precondition: Map) -> CG:
    """One step, given hp = H cg.p; spends ``cg``. A direction without curvature ends the descent: x stays."""
    php = float(cg.p @ hp)
    if not php > 0 or not np.isfinite(php):
        return cg._replace(products=cg.products + 1, rz=0.0)
    alpha = cg.rz / php
    x, r = cg.x, cg.r
    x += alpha * cg.p
    hp *= alpha
    r -= hp
    z = precondition(r)
    rz = float(r @ z)
    p = cg.p
    p *= rz / cg.rz
    p += z
    return CG(x, r, p, rz, cg.bx + alpha * cg.rz, cg.products + 1)


def solve(product: Map, b: Array, precondition: Map, ratio: float, limit: int) -> CG:
    """CG until both residual and energy are settled to ``ratio``, or ``limit`` products. Not collective unless ``product`` is.

    The residual alone says little where H is ill-conditioned: |r| <= ratio |b| may leave most of the decrease undone. The
    energy counts as settled once a step as useful as the last, repeated k times, would add less than ``ratio`` of the
    decrease so far (the rule of Nash, A survey of truncated-Newton methods, 2000, section 4.1).
    """
    cg = begin(b, precondition)
    target, before = ratio * norm(b), 0.0
    while cg.products < limit and cg.rz > 0:
        cg = advance(cg, product(cg.p), precondition)
        settled = cg.products * (cg.bx - before) <= ratio * cg.bx
        before = cg.bx
        if settled and norm(cg.r) <= target:
            break
    return cg
