"""Certified predictions of a smoothed classifier g(x) = argmax_c P(f(x under noise) = c), by votes.

Cohen, Rosenfeld, Kolter, Certified adversarial robustness via randomized smoothing, ICML 2019, section 3.2.2: a few votes
name the class, many others bound its probability from below (Clopper, Pearson, The use of confidence or fiducial limits, 1934,
one-sided at level alpha); where the bound is at most 1/2 there is no answer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.smoothing.laws import NoiseLaw

Outputs = Callable[[np.ndarray], np.ndarray]  # rows (b, *shape) -> (b, classes)
AT_ONCE = 1000  # noisy copies of a row


class CertifiedClass(NamedTuple):
    """What is certified of a row. guess : the class, -1 where there is no answer."""

    guess: int
    lower: float  # bound of the class's probability
    radius: float


@dataclass(frozen=True)
class Ballot:
    """How many votes. first : to name the class; samples : to bound its probability; alpha : the chance to be wrong.

    Raises UsageError where all votes for one class would still certify nothing.
    """

    first: int = 100
    samples: int = 1000
    alpha: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"`alpha` is {self.alpha:g}: give a chance to be wrong above 0 and below 0.5, as 0.001")
        if self.first < 1:
            raise UsageError(f"the number of votes that name the class is {self.first}: give at least 1")
        least = ceil(-log2(self.alpha)) + (2.0 ** ceil(-log2(self.alpha)) * self.alpha == 1)
        if self.samples < least:
            raise UsageError(
                f"`samples` is {self.samples}: at `alpha` {self.alpha:g} so many votes for one class certify nothing; give at "
                f"least {least}"
            )


def lower_bound(votes: int, samples: int, alpha: float) -> float:
    """What the probability of an event seen so many times is not below, but for a chance of alpha."""
    return float(betaincinv(votes, samples - votes + 1, alpha)) if votes else 0.0


def certified(outputs: Outputs, row: np.ndarray, law: NoiseLaw, ballot: Ballot, stream: np.random.Generator) -> CertifiedClass:
    """The vote of one row (*shape); equal streams give equal votes."""
    guess = int(_counts(outputs, row, law, ballot.first, stream).argmax())
    votes = int(_counts(outputs, row, law, ballot.samples, stream)[guess])
    lower = lower_bound(votes, ballot.samples, ballot.alpha)
    return CertifiedClass(guess, lower, law.radius(lower)) if lower > 0.5 else CertifiedClass(-1, lower, 0.0)


def certified_rows(
    outputs: Outputs, rows: np.ndarray, numbers: Sequence[int], law: NoiseLaw, ballot: Ballot, seed: int = 0
) -> Iterator[CertifiedClass]:
    """The votes of rows (n, *shape); the noise follows from a row's number in its set, whoever looks at it."""
    streams = Streams(seed)
    return (certified(outputs, x, law, ballot, streams("certify", number)) for x, number in zip(rows, numbers, strict=True))


def _counts(outputs: Outputs, row: np.ndarray, law: NoiseLaw, count: int, stream: np.random.Generator) -> np.ndarray:
    """Votes for each class (classes,)."""
    found = np.zeros(1, np.int64)
    for lo in range(0, count, AT_ONCE):
        copies = np.repeat(row[None], min(AT_ONCE, count - lo), axis=0)
        z = outputs(law.shaken(copies, stream))
        found = found + np.bincount(z.argmax(axis=1), minlength=z.shape[1])
    return found


def certified_accuracy(votes: Sequence[CertifiedClass], y: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The share of rows (n,) that are classified rightly with a radius of at least each of ``radii`` (k,)."""
    right = np.array([vote.radius if vote.guess == label else -1.0 for vote, label in zip(votes, y, strict=True)])
    return (right[None, :] >= radii[:, None]).mean(axis=1)


def average_radius(votes: Sequence[CertifiedClass], y: np.ndarray) -> float:
    """The mean certified radius, 0 where the class is not the right one.

    Zhai et al., MACER, ICLR 2020, section 3.2 (ACR).
    """
    return float(np.mean([vote.radius * (vote.guess == label) for vote, label in zip(votes, y, strict=True)]))
