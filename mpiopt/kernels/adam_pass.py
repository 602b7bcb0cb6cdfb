"""A step of Adam in one pass over memory, the very numbers that its transforms come to one after the other.

Every operation is rounded by itself, in the type of the vectors: nothing is contracted or reordered, so that all CPUs find the
same bits.
"""

import numpy as np

from mpiopt.kernels.compiling import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _step(x, g, m, s, b1, c1, b2, c2, eps, gain, decay, rate):
    for i in range(x.size):
        u = g[i]
        m[i] = m[i] * b1 + c1 * u
        s[i] = s[i] * b2 + (u * u) * c2
        u = m[i] / (np.sqrt(s[i]) + eps) * gain
        x[i] += (u + decay * x[i]) * rate


def adam_host_step(
    x: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    rates: tuple[float, float],
    eps: float,
    gain: float,
    decay: float,
    step: float,
) -> None:
    """x, m and s (dim,) after the gradient g (dim,), all of one type, in place.

    rates : b1 and b2. eps, gain : as freed of their start at 0. decay : 0 for none. step : the step size.
    """
    b1, b2 = rates
    numbers = (b1, 1 - b1, b2, 1 - b2, eps, gain, decay, -step)
    _step(x, g, m, s, *(x.dtype.type(number) for number in numbers))
