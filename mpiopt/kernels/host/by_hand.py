"""Losses whose kernels are written by hand, to use the widest vectors there are."""

from collections.abc import Callable, Mapping

import numpy as np

from mpiopt.kernels.host import margins
from mpiopt.kernels.host.logistic_step import logistic_dual_step
from mpiopt.kernels.host.rowwise import HostRows


class LogisticRows(HostRows):
    """Those of `host.margins`, and `host.logistic_step`; what is missing there is made from the scalar functions."""

    def __init__(self, scalars: Mapping[str, Callable], title: str) -> None:
        super().__init__({**scalars, "dual_step": logistic_dual_step}, (), title)

    def value_residual(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, residual: np.ndarray) -> float:
        """See `host.rowwise`."""
        return margins.logistic(m, y, w, residual)

    def curvature(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, h: np.ndarray) -> None:
        """See `host.rowwise`."""
        margins.curvature(m, w, h)

    def plane(self, m: np.ndarray, p: np.ndarray, c: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """See `host.rowwise`."""
        return margins.plane(m, p, c, y, w)

    def bregman(self, m: np.ndarray, delta: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
        """See `host.rowwise`."""
        return margins.bregman(m, delta, y, w)
