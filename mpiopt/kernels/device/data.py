"""Synthetic sets made on the GPU: nothing of them crosses to it."""

from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.device.csr import DeviceCSR
from mpiopt.kernels.device.launch import demand, kernel, library, run

PROBE = 2048  # rows whose mean log-odds are taken off, so that about half the labels are positive


def binary_rows(made: Any, vector: Any = np.float64, atomic: bool = False) -> tuple[DeviceCSR, Array]:
    """All rows and labels (rows,) -1/+1 of ``made``, a binary set of `mpiopt.io.dataset.synthetic`; float32 entries.

    Up to the last digit of exp and log they are those that the CPU makes: now and then a column is one further, or a
    label the other. Raises UsageError where the set is of another kind or does not fit into the card's memory.
    """
    if not made.binary or (made.own, made.topics, made.twins, made.lone, made.scales) != (0, 1, 0, 0, 0):
        raise UsageError(
            f"{made.name} is not binary, or has topics or odd columns: the GPU makes plain sets whose entries in a row are "
            "equal, such as kdd2010"
        )
    cupy, vector = library(), np.dtype(vector)
    rows, key = np.int64(made.rows), np.uint64(made.seed & 0xFFFFFFFFFFFFFFFF)
    indptr = cupy.zeros(made.rows + 1, np.int64)
    run(
        kernel("generate", "row_lengths", vector),
        made.rows,
        rows,
        key,
        np.float64(made.per_row),
        np.float64(made.spread),
        np.int64(made.cols),
        indptr[1:],
    )
    indptr[1:] = cupy.cumsum(indptr[1:])
    nnz = int(indptr[-1])
    demand(8 * nnz + vector.itemsize * made.rows, f"a matrix of {nnz:,} nonzeros")
    arrays = indptr, cupy.empty(nnz, np.int32), cupy.empty(nnz, np.float32), cupy.empty(made.rows, vector)
    scale, probe = made.signal * np.sqrt(6.0 / made.planted), min(made.rows, PROBE)
    offset = np.nan
    for count in (probe, made.rows):
        numbers = map(np.float64, (made.exponent, made.planted, scale, offset))
        run(kernel("generate", "fill_binary_rows", vector), count, np.int64(count), key, np.int64(made.cols), *numbers, *arrays)
        offset = float(arrays[3][:probe].mean())
    return DeviceCSR(*arrays[:3], (made.rows, made.cols), vector, atomic), arrays[3]
