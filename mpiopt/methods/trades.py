"""What a worker gives to a centre that nobody serves, and what it takes from there."""

from dataclasses import dataclass
from typing import Protocol

from mpiopt.arrays import Array
from mpiopt.comm.window import Window


class Trade(Protocol):
    """What a worker does at the centre after its steps. Not collective."""

    def __call__(self, x: Array, read: Array, centre: Window, delay: int) -> Array:
        """Move the worker's x in place and add to the centre; what it has read there, to be kept until the next time.

        read : what it read the last time. delay : how many additions the others made since then.
        """


@dataclass(frozen=True)
class Stretch:
    """e = pull (x - c): the worker gives it, the centre takes it. The elastic exchange of Zhang et al., algorithm 1."""

    pull: float

    def __call__(self, x: Array, read: Array, centre: Window, delay: int) -> Array:
        """See `Trade`."""
        pull = self.pull * (x - centre.get(read))
        x -= pull
        centre.add(pull)
        return read


@dataclass(frozen=True)
class Pour:
    """The centre takes how far the worker came, over 1 + delay where ``damped``; the worker goes on from the centre.

    Dean et al., Large scale distributed deep networks, NIPS 2012, algorithm 7.1.
    """

    damped: bool = False

    def __call__(self, x: Array, read: Array, centre: Window, delay: int) -> Array:
        """See `Trade`."""
        came = x - read
        if self.damped:
            came /= 1 + delay
        centre.add(came)
        x[:] = centre.get(read)
        return read
