"""Conjugate gradients for several systems of one size at once, whose products are made together."""

from collections.abc import Callable

import numpy as np

from mpiopt.arrays import Array

SLACK = 0.5  # of the systems at most that are done are carried on with the others


def columns(product: Callable[[Array, Array], Array], b: Array, inverse: Array, ratio: float, limit: int) -> Array:
    """x (n, k) of H_k x_k = b_k, until |b_k - H_k x_k| <= ratio |b_k| or ``limit`` products, each system for itself.

    product(which, p) : H_k p_k of systems by number (m,), (n, m); inverse : (n, k), of the preconditioner's diagonal. Systems
    that are done leave, once there are many. Not collective.
    """
    x, which = np.zeros_like(b), np.arange(b.shape[1])
    found, r = np.zeros_like(b), b.copy()
    goal = ratio * ratio * _dots(b, b)
    p = inverse * r
    rz, rr = _dots(r, p), _dots(r, r)
    for _ in range(limit):
        going = rr > goal
        if not going.any():
            break
        if going.mean() < SLACK:
            x[:, which] = found
            which, goal, rz, rr = which[going], goal[going], rz[going], rr[going]
            found, r, p, inverse = (np.ascontiguousarray(each[:, going]) for each in (found, r, p, inverse))
            going = going[going]
        hp = product(which, p)
        bent = _dots(p, hp)
        going &= bent > 0
        if not going.any():
            break
        alpha = np.divide(rz, bent, out=np.zeros_like(rz), where=going)
        found += alpha * p
        r -= alpha * hp
        z = inverse * r
        before = rz
        rz = _dots(r, z)
        rr = np.where(going, _dots(r, r), 0.0)
        p *= np.divide(rz, before, out=np.zeros_like(rz), where=going)
        p += z
    x[:, which] = found
    return x


def _dots(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->j", a, b)
