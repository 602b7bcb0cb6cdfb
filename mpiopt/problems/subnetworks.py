"""A network divided among workers: which coordinates of x each of them trains, and which all do."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.problems.optional import Divisible, Subnetwork
from mpiopt.problems.protocols import Loss, offers


def hidden(loss: Loss) -> Sequence[int]:
    """Neurons of the layers that can be divided: none of a loss without such."""
    return tuple(loss.hidden) if offers(loss, Divisible) else ()


def part(loss: Loss, kept: Sequence[np.ndarray], workers: int) -> Subnetwork:
    """The network of some neurons, one of so many parts; a loss without hidden layers as it is."""
    if offers(loss, Divisible) and kept:
        return loss.part(kept, float(workers))
    return Subnetwork(loss, np.arange(loss.dim), lambda: None)


class Division(NamedTuple):
    """Of all coordinates (dim,): those that every worker trains, bool, and by worker the places of its own."""

    common: np.ndarray
    own: list[np.ndarray]


def divided(loss: Loss, kept: Sequence[Sequence[np.ndarray]]) -> Division:
    """What the workers train who have these neurons each."""
    places = [part(loss, own, len(kept)).places for own in kept]
    times = np.zeros(loss.dim, np.int64)
    for own in places:
        times[own] += 1
    common = times == len(kept) if hidden(loss) else np.ones(loss.dim, bool)
    return Division(common, [own[~common[own]] for own in places])
