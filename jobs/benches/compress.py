"""``mpiopt bench compress``: encoding and decoding on one core against copying the same vector in float64, and bytes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mpiopt.comm.world import World
from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor, Stream
from mpiopt.errors import UsageError
from mpiopt.jobs.benches.race import race
from mpiopt.jobs.cli.console import Console, table
from mpiopt.numerics.streams import Streams

TEXTS = (
    "identity",
    "bf16",
    "topk:0.01",
    "randk:0.01",
    "scaled_sign",
    "two_means",
    "qsgd:bits=4",
    "terngrad",
    "natural",
    "natural_dithering",
    "topk:0.01+natural",
    "sketch:0.01",
    "kashin:bits=1",
)
_LEAST = 2_000_000  # numbers treated between two looks at the clock


def compressing(text: str | None, largest: float, runs: int, world: World, console: Console) -> dict[str, Any]:
    """Time the compressor that ``text`` names, or a choice of them, for d = 10^4, 10^5, ... up to ``largest``, on one rank.

    The vectors are standard normal, float64. The copy goes into memory that is already in use, as decoding does.
    Raises UsageError on every rank.
    """
    if not 1e4 <= largest <= 1e9:
        raise UsageError(f"--largest {largest:g}: give a number from 1e4 to 1e9")
    chosen, sizes = _chosen((text,) if text else TEXTS), _sizes(int(largest))
    for compressor in chosen.values():
        compressor.nbytes(sizes[0])  # refuses what cannot be
    if world.rank:
        return {}
    found = [row for d in sizes for row in _rows(chosen, d, runs, console)]
    console.show(
        f"standard normal float64 vectors, one core; nanoseconds per number, medians of {runs}; shorter: than 4 d bytes\n"
    )
    head = ["compressor", "d", "shorter", "encode", "decode", "copy", "both / copy"]
    times = ("shorter", "encode_ns", "decode_ns", "copy_ns")
    lines = [[r["compressor"], f"{r['d']:,}", *(f"{r[k]:.3g}" for k in times), f"{r['ratio']:.1f}"] for r in found]
    console.show(table(head, lines, "lrrrrrr"))
    return {"runs": runs, "type": "float64", "races": found}


def _chosen(texts: tuple[str, ...]) -> dict[str, Compressor]:
    found = {}
    for text in texts:
        compressor = find(text)
        if not isinstance(compressor, Compressor):
            raise UsageError(f"{text} works on the matrices of a model, not on a vector: choose another compressor to measure")
        found[text] = compressor.among(1)
    return found


def _sizes(largest: int) -> list[int]:
    """10^4, 10^5, ... and the largest itself."""
    return [10**p for p in range(4, 10) if 10**p < largest] + [largest]


def _rows(chosen: dict[str, Compressor], d: int, runs: int, console: Console) -> Iterator[dict[str, Any]]:
    x = np.random.default_rng(0).standard_normal(d)
    out, copied = np.zeros_like(x), np.zeros_like(x)
    for text, compressor in chosen.items():
        console(f"timing {text}, d = {d:,}")
        yield {"compressor": text, "d": d} | _race(compressor, x, out, copied, runs)


def _race(compressor: Compressor, x: np.ndarray, out: np.ndarray, copied: np.ndarray, runs: int) -> dict[str, Any]:
    """Nanoseconds per number of encoding, decoding and copying, and (encoding + decoding) / copying, run by run."""
    key = Stream.of(Streams(0), "bench")
    payload = compressor.encode(x, key)
    times = max(1, _LEAST // x.size)

    def copy() -> None:
        np.copyto(copied, x)

    def both() -> None:
        compressor.decode(compressor.encode(x, key), x, key, out)

    each, encode = race(_repeat(both, times), _repeat(copy, times), runs), lambda: compressor.encode(x, key)
    parts = race(_repeat(encode, times), _repeat(lambda: compressor.decode(payload, x, key, out), times), runs)
    ns = 1e9 / times / x.size
    return {
        "bytes": payload.nbytes,
        "shorter": 4 * x.size / payload.nbytes,
        "encode_ns": parts.ours * ns,
        "decode_ns": parts.peer * ns,
        "copy_ns": each.peer * ns,
        "ratio": each.ratio,
    }


def _repeat(act: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            act()

    return run
