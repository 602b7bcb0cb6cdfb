"""Passes over observed entries (i, j, value) of a matrix modelled as U V^T. Nothing is checked and nothing communicates."""

import numpy as np

from mpiopt.kernels.compiling import njit

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def factor_gradient(i, j, values, rows, u, v, grad_u, grad_v):
    """Sum over the entries ``rows`` of (u_i.v_j - value)^2 / 2; its gradient is added to grad_u and grad_v.

    i, j, values : (entries,); rows : (b,) entry numbers; u, grad_u : (n, r); v, grad_v : (m, r). float64 sums.
    """
    total = 0.0
    for k in range(rows.size):
        p = rows[k]
        a, b = i[p], j[p]
        error = -np.float64(values[p])
        for t in range(u.shape[1]):
            error += np.float64(u[a, t]) * v[b, t]
        total += error * error
        for t in range(u.shape[1]):
            grad_u[a, t] += error * v[b, t]
            grad_v[b, t] += error * u[a, t]
    return 0.5 * total


@_kernel
def factor_errors(i, j, values, rows, u, v, out):
    """out = u_i.v_j - value of the entries ``rows``; out : (b,), overwritten."""
    for k in range(rows.size):
        p = rows[k]
        error = -np.float64(values[p])
        for t in range(u.shape[1]):
            error += np.float64(u[i[p], t]) * v[j[p], t]
        out[k] = error
