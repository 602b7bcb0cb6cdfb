"""What a wrapper of a loss takes over from it."""

from dataclasses import dataclass

from mpiopt.problems.protocols import Loss


@dataclass(frozen=True)
class Wrapped:
    """``loss``, of which a subclass changes something: its length, rows and weight stay."""

    loss: Loss

    @property
    def dim(self) -> int:
        """The length of x."""
        return self.loss.dim

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.loss.rows

    @property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return self.loss.weight
