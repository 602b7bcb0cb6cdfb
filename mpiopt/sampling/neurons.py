"""Who has which neurons of a network in a round: a random partition of every hidden layer, the same on every rank.

Yuan, Wolfe, Dun, Tang, Kyrillidis, Jermaine, Distributed learning of fully connected neural networks using independent subnet
training, VLDB 2022, section 3.
"""

from collections.abc import Sequence

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams


def neurons(widths: Sequence[int], workers: int, streams: Streams, round: int) -> list[list[np.ndarray]]:  # noqa: A002
    """For every worker the neurons of every hidden layer, ascending; numbers differ by one at most.

    Raises UsageError where a layer has fewer neurons than there are workers.
    """
    for width in widths:
        if width < workers:
            raise UsageError(
                f"a hidden layer of {width} neurons cannot be divided among {workers} workers: make it wider, or start fewer"
            )
    stream = streams("neurons", round)
    layers = [np.array_split(stream.permutation(width), workers) for width in widths]
    return [[np.sort(layer[worker]) for layer in layers] for worker in range(workers)]
