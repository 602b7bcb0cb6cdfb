"""Kashin compression: a vector written with many small coefficients in a redundant frame, so that coarse rounding costs little.

A tight frame U (n, D), U U^T = I, turns x = U a into coefficients a; Kashin's have |a|_inf <= K |x| / sqrt(D) with a K that
does not depend on n. Each is rounded at random to one of 2^bits points from -|a|_inf to |a|_inf.
Lyubarskii, Vershynin, Uncertainty principles and vector quantization, 2010, algorithm 1 and theorem 3.5;
Safaryan, Shulgin, Richtarik, Uncertainty principle for communication compression in distributed and federated learning and
the search for an optimal compressor, 2021, section 5.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Payload, Stream, demand, mixed, peak, segment
from mpiopt.compress.quantise import rounded_up
from mpiopt.compress.signs import Bucketed
from mpiopt.kernels import host
from mpiopt.numerics.streams import Streams

_BATCH = 1 << 15  # coefficients treated at once, which stay in the second-level cache
_LARGEST = 4096  # columns of an orthogonal frame


@dataclass(frozen=True)
class Orthogonal:
    """The first n rows of a random orthogonal D x D matrix; always the same one."""

    n: int
    big: int

    def analyse(self, x: np.ndarray) -> np.ndarray:
        """U^T x of every column of x (n, R), a new array (D, R)."""
        return _orthogonal(self.n, self.big) @ x

    def synthesise(self, a: np.ndarray) -> np.ndarray:
        """U a of every column of a (D, R), which is spent; a new array (n, R)."""
        return _orthogonal(self.n, self.big).T @ a


@lru_cache(maxsize=4)
def _orthogonal(n: int, big: int) -> np.ndarray:
    return np.linalg.qr(Streams(0)("kashin frame", n, big).standard_normal((big, n)))[0]


class RandomHadamard:
    """n random rows of H_D / sqrt(D), each with a random sign: U = S H_D / sqrt(D). All its columns have length sqrt(n / D).

    Signs on the side of x keep a fixed x from being close to a column.
    """

    def __init__(self, n: int, big: int, key: int) -> None:
        self.big, self._rows, self._signs = big, np.empty(n, np.int64), np.empty(n)
        host.subset(np.uint64(key), 0, big, self._rows)
        host.random_signs(np.uint64(mixed(key)), self._signs)

    def analyse(self, x: np.ndarray) -> np.ndarray:
        """U^T x of every column of x (n, R), a new array (D, R)."""
        a = np.empty((self.big, x.shape[1]))
        host.place(x, self._rows, self._signs, a)
        host.hadamard(a)
        return a

    def synthesise(self, a: np.ndarray) -> np.ndarray:
        """U a of every column of a (D, R), which is spent; a new array (n, R)."""
        host.hadamard(a)
        x = np.empty((len(self._rows), a.shape[1]))
        host.pick(a, self._rows, self._signs, x)
        return x


Frame = Orthogonal | RandomHadamard


def democratic(frame: Frame, x: np.ndarray, eta: float, support: float, rounds: int) -> np.ndarray:
    """Coefficients a (D, R) of the columns of x (n, R), U a = x, with small largest entries, by some rounds of clipping.

    While the frame has the uncertainty principle with (eta, delta), that is |U a| <= eta |a| where at most delta D entries of
    a are not 0, a round leaves eta of what was to be written; what is left in the end is written without clipping.
    """
    a, rest = np.zeros((frame.big, x.shape[1])), x.copy()
    level = np.linalg.norm(x, axis=0) / np.sqrt(support * frame.big)
    for _ in range(rounds):
        part = frame.analyse(rest)
        cut = host.clip_into(part, level, a)
        if not cut:
            return a
        rest -= frame.synthesise(part)
        level *= eta
    a += frame.analyse(rest)
    return a


@dataclass(frozen=True)
class Kashin(Bucketed):
    """Kashin coefficients of each bucket, rounded at random to ``bits`` bits each.

    redundancy : coefficients for one coordinate at least, lambda; frame : "hadamard", whose D is a power of two and whose
    rows and signs are drawn each round, the same for all workers; or "orthogonal", one matrix of at most 4096 columns for
    all time. eta, support (delta) : the uncertainty principle that the clipping relies on; rounds : of clipping, at most.
    bucket : coordinates written together.
    """

    bits: int = 1
    frame: str = "hadamard"
    redundancy: float = 2.0
    eta: float = 0.7
    support: float = 0.5
    rounds: int = 8
    bucket: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(1 <= self.bits <= 16, "bits", self.bits, "a number from 1 to 16")
        demand(self.frame in ("hadamard", "orthogonal"), "the frame", repr(self.frame), "hadamard or orthogonal")
        demand(1 < self.redundancy <= 16, "the redundancy", self.redundancy, "a number above 1 and up to 16")
        demand(0 < self.eta < 1, "eta", self.eta, "a number between 0 and 1")
        demand(0 < self.support < 1, "support", self.support, "a number between 0 and 1")
        demand(0 <= self.rounds <= 1000, "rounds", self.rounds, "a number from 0 to 1000")

    @property
    def unbiased(self) -> bool:
        """Yes."""
        return True

    @property
    def spread(self) -> float:
        """K = 1 / ((1 - eta) sqrt(delta)), Lyubarskii and Vershynin's bound of |a|_inf sqrt(D) / |x|."""
        return 1 / ((1 - self.eta) * self.support**0.5)

    def coefficients(self, n: int) -> int:
        """D for a bucket of n coordinates."""
        least = max(8, int(np.ceil(self.redundancy * n)))
        if self.frame == "hadamard":
            return 1 << (least - 1).bit_length()
        big = -(-least // 8) * 8
        demand(big <= _LARGEST, "the bucket of an orthogonal frame", n, f"one of {_LARGEST} coefficients at most")
        return big

    def omega(self, d: int) -> float:
        """K^2 / (lambda (2^bits - 1)^2), lambda = D / n: the step is 2 |a|_inf / (2^bits - 1).

        A coefficient has at most the variance of half a step, and a column of U the squared length 1 / lambda.
        It holds for x on which clipping works as the uncertainty principle says: random orthogonal frames have that principle,
        with columns of about that length; partial Hadamard frames do so for x chosen without knowledge of the signs.
        """
        n, tail = self.width(d), d % self.width(d)
        part = min(self.coefficients(m) / m for m in (n, tail or n))
        return self.spread**2 / (part * ((1 << self.bits) - 1) ** 2)

    def pieces(self, d: int) -> list[tuple[int, int, int]]:
        """First coordinate, buckets and their length, of batches of equal buckets."""
        n = self.width(d)
        step, whole = max(1, _BATCH // self.coefficients(n)), d // n
        out = [(i * n, min(step, whole - i), n) for i in range(0, whole, step)]
        return out + ([(whole * n, 1, d % n)] if d % n else [])

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """A scale for each bucket in the type of x, then the coefficients."""
        n = self.width(d)
        count = d // n * self.coefficients(n) + (self.coefficients(d % n) if d % n else 0)
        return self.buckets(d) * np.dtype(dtype).itemsize + count * self.bits // 8

    def frames(self, d: int, stream: Stream) -> dict[int, Frame]:
        """The frame of every length that a bucket has."""
        lengths = {n: self.coefficients(n) for _, _, n in self.pieces(d)}
        if self.frame == "orthogonal":
            return {n: Orthogonal(n, big) for n, big in lengths.items()}
        return {n: RandomHadamard(n, big, mixed(stream.shared, n)) for n, big in lengths.items()}

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The largest coefficients, then the rounded ones."""
        largest = peak(x)
        unit = 2.0 ** np.floor(np.log2(largest)) if largest else 1.0  # a power of two: squares neither overflow nor vanish
        payload = np.empty(self.nbytes(x.size, x.dtype), np.uint8)
        at, i, frames = self.buckets(x.size) * x.itemsize, 0, self.frames(x.size, stream)
        for first, rows, n in self.pieces(x.size):
            some = (x[first : first + rows * n].reshape(rows, n) / unit).T.astype(np.float64, order="C")
            a = np.ascontiguousarray(democratic(frames[n], some, self.eta, self.support, self.rounds).T)
            tops = rounded_up(abs(a).max(axis=1) * unit, x.dtype)
            payload[i * x.itemsize : (i + rows) * x.itemsize] = tops.view(np.uint8)
            self._round(a, tops.astype(np.float64) / unit, stream.part(first).own, payload, at)
            at, i = at + a.size * self.bits // 8, i + rows
        return payload

    def _round(self, a: np.ndarray, tops: np.ndarray, key: int, payload: Payload, at: int) -> None:
        room = np.empty(host.CHUNK, np.uint16)
        host.grid(a.reshape(-1), tops, a.shape[1], self.bits, np.uint64(key), payload, at, room)

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        tops = segment(payload, 0, self.buckets(out.size), out.dtype).astype(np.float64)
        at, i, frames = self.buckets(out.size) * out.itemsize, 0, self.frames(out.size, stream)
        table, room = np.linspace(-1.0, 1.0, 1 << self.bits), np.empty(host.CHUNK, np.uint16)
        for first, rows, n in self.pieces(out.size):
            a = np.empty((rows, frames[n].big))
            host.look_up(payload, at, self.bits, table, tops[i : i + rows], frames[n].big, scale, True, a.reshape(-1), room)
            found = frames[n].synthesise(np.ascontiguousarray(a.T)).T.reshape(-1)
            if fresh:
                out[first : first + rows * n] = found
            else:
                out[first : first + rows * n] += found.astype(out.dtype)
            at, i = at + a.size * self.bits // 8, i + rows
