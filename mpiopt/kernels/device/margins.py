"""The row-wise kernels of any loss on the GPU; see `host.rowwise` for what they compute.

m, y, w, residual, h, delta : (rows,) of one type, float64 or float32, w also (0,) for all ones. Sums are kept in float64
with compensation, in an order that depends on the number of rows alone, and come back to the host: each call waits for
the card once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.device.launch import THREADS, blocks_for, kernel, library, run, same_kind, sums
from mpiopt.kernels.device.vectors import inner

WIDEST = 4  # directions that a plane kernel is compiled for
ARGUMENTS = {"value": "m y", "slope": "m y", "bend": "m y", "conjugate": "u y", "rise": "m d y"}


@dataclass(frozen=True)
class DeviceRows:
    """The kernels of one loss, compiled when first called; the functions of `host.rowwise.HostRows`.

    lines : a C expression for each of its scalar functions, "" for no ``rise``, and ``helpers``, functions that they call.
    theta : its parameters by name.
    """

    lines: Mapping[str, str]
    theta: Mapping[str, float]

    @property
    def text(self) -> str:
        """What the compiler reads before margins.cu."""
        given = [f"    static constexpr double {name} = {value!r};" for name, value in self.theta.items()]
        for name, arguments in ARGUMENTS.items():
            if self.lines[name]:
                takes = ", ".join(f"double {argument}" for argument in arguments.split())
                given.append(f"    static __device__ inline double {name}({takes}) {{ return {self.lines[name]}; }}")
        mark = "#define HAS_RISE\n" if self.lines["rise"] else ""
        infinite = "__device__ inline double infinite() { return -log(0.0); }"
        return "\n".join([mark, infinite, self.lines["helpers"], "struct Row {", *given, "};", ""])

    def _sums(self, name: str, width: int, m: Array, *arguments: object) -> np.ndarray:
        return sums("margins", name, width, m.dtype, m.size, m, *arguments, before=self.text)

    def value_residual(self, m: Array, y: Array, w: Array, residual: Array) -> float:
        """The sum of losses; residual_i = the derivative in m_i, overwritten."""
        same_kind(m, y, residual, weights=w)
        return float(self._sums("value_residual", 1, m, y, w, _given(w), residual)[0])

    def curvature(self, m: Array, y: Array, w: Array, h: Array) -> None:
        """h_i = w_i times the second derivative, overwritten."""
        same_kind(m, y, h, weights=w)
        made = kernel("margins", "curvature", m.dtype, before=self.text)
        run(made, blocks_for(m.size) * THREADS, np.int64(m.size), m, y, w, _given(w), h)

    def plane(self, m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
        """The loss at the margins m + sum_j c_j p_j: value, gradient and upper Hessian triangle in c, on the host.

        p : (k, rows) C-contiguous; c : (k,) on the host. One pass for k up to 4, k^2 of them beyond.
        """
        same_kind(m, p, y, weights=w)
        k = len(c)
        if not 1 <= k <= WIDEST:
            return self._wide_plane(m, p, c, y, w)
        width = 1 + k + k * (k + 1) // 2
        factors = library().asarray(np.asarray(c, np.float64))
        return self._sums(f"plane_{k}", width, m, p, factors, y, w, _given(w))

    def _wide_plane(self, m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
        xp, k = library(), len(c)
        at = m.copy()
        for j in range(k):
            at += float(c[j]) * p[j]
        slope, bend = xp.empty(m.size, m.dtype), xp.empty(m.size, m.dtype)
        value = self.value_residual(at, y, w, slope)
        self.curvature(at, y, w, bend)
        gradient = [inner(p[j], slope) for j in range(k)]
        hessian = [inner(p[j] * bend, p[i]) for j in range(k) for i in range(j, k)]
        return np.array([value, *gradient, *hessian])

    def bregman(self, m: Array, delta: Array, y: Array, w: Array) -> float:
        """The sum of losses at m + delta, less their linearisation at m, without cancellation."""
        same_kind(m, delta, y, weights=w)
        return float(self._sums("bregman", 1, m, delta, y, w, _given(w))[0])

    def conjugates(self, m: Array, y: Array, w: Array, scale: Array) -> float:
        """The sum of the convex conjugates at the derivatives times ``scale``."""
        same_kind(m, scale, y, weights=w)
        return float(self._sums("conjugates", 1, m, scale, y, w, _given(w))[0])


def _given(w: Array) -> np.int32:
    return np.int32(w.size > 0)
