"""Rows made of columns: what each column adds to them, and then all of it at once."""

from collections.abc import Callable

import numpy as np

from mpiopt.kernels.host.table import put_entries, put_numbers

Put = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class RowBuilder:
    """``rows`` rows under way, their entries in the order in which columns come."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._counts = np.zeros(rows, np.int64)
        self._puts: list[Put] = []

    def numbers(self, values: np.ndarray, feature: int) -> None:
        """One number a row, (rows,) float64; zeros are not stored."""
        self._counts += values != 0
        self._puts.append(lambda at, indices, data: put_numbers(values, feature, at, indices, data))

    def entries(self, bounds: np.ndarray, features: np.ndarray, values: np.ndarray) -> None:
        """bounds : (rows + 1,) of features and values; a feature -1 is left out."""
        kept = np.concatenate(([0], np.cumsum(features >= 0)))
        self._counts += kept[bounds[1:]] - kept[bounds[:-1]]
        self._puts.append(lambda at, indices, data: put_entries(bounds, features, values, at, indices, data))

    def built(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row pointers (rows + 1,) int64, indices int32 and data float64."""
        indptr = np.concatenate(([0], np.cumsum(self._counts)))
        indices, data, at = np.empty(indptr[-1], np.int32), np.empty(indptr[-1]), indptr[:-1].copy()
        for put in self._puts:
            put(at, indices, data)
        return indptr, indices, data
