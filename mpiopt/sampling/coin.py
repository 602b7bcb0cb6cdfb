"""A coin that all workers share: whoever asks about a round is told the same."""

from dataclasses import dataclass

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams


@dataclass(frozen=True)
class Coin:
    """Heads with a probability, and in round 0 always. Raises UsageError unless it is above 0, at most 1."""

    probability: float

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the probability of a refresh is {self.probability}: give a number above 0, at most 1")

    def __call__(self, streams: Streams, round: int) -> bool:  # noqa: A002 - the field's word
        """Whether a round has heads."""
        return round == 0 or streams("refresh", round).random() < self.probability
