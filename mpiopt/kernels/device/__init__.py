"""The GPU kernels under one roof, on CuPy arrays: the names of `kernels.host`, and what else a device does itself.

Bytes that must move between the card's memory and its cores, per call, with s bytes an entry (float32: 4) and v bytes a
vector element (float64: 8) for a matrix of N rows, d columns and Z nonzeros; the vectors' random accesses are counted once,
as if the caches were perfect:

    dot            Z (4 + s) + 8 N + v (d + N)             entries, row offsets, x, A x
    tdot           Z (4 + s) + 8 d + v (d + N)             the same of the copy by columns
    hvp            both, and v N for h and 2 v N for A v   the atomic variant: Z (4 + s) + 8 N + v (N + 2 d)
    squares        as tdot
    row_squares    Z s + 8 N + v N
    value_residual 3 v N, and v N with weights             of a loss's `DeviceRows`: margins, labels; residuals
    curvature      3 v N, and v N with weights
    plane          (2 + k) v N, and v N with weights
    bregman        3 v N, and v N with weights
    gradient_step  3 v n;   momentum_step  5 v n;   adam_step  7 v n
    largest        7 v n (float32: 4) + (8 + v) k + v n    six (three) passes of counting, one more, and the one that writes
    signs          v n + n / 8;   pack  4 n + b n / 8

What compressors need of these and of further ones is in `device.codes`, under the names of `host.codes`:

    dither, powers v n + 4 n, and pack;   look_up  4 n + v n (2 v n where it adds), and unpack;   choose  n / 8 + v n
    peaks, measure, two_means  v n;       scatter  8 k + 3 v k;   subset  8 k
"""

from mpiopt.kernels.device.csr import DeviceCSR
from mpiopt.kernels.device.data import binary_rows
from mpiopt.kernels.device.launch import choose_device, demand, free_bytes, library
from mpiopt.kernels.device.margins import DeviceRows
from mpiopt.kernels.device.vectors import (
    adam_step,
    gradient_step,
    inner,
    largest,
    momentum_step,
    pack,
    signed,
    signs,
    unpack,
)

__all__ = [
    "DeviceCSR",
    "DeviceRows",
    "adam_step",
    "binary_rows",
    "choose_device",
    "demand",
    "free_bytes",
    "gradient_step",
    "inner",
    "largest",
    "library",
    "momentum_step",
    "pack",
    "signed",
    "signs",
    "unpack",
]
