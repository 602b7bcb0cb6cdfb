"""Which labels a loss takes, and the sentence where a data set has others."""

from dataclasses import dataclass
from typing import Protocol

from mpiopt.errors import DataError


class Summary(Protocol):
    """What is known of the labels of a whole data set, such as `mpiopt.io.dataset.labels.Labels`."""

    @property
    def least(self) -> float:
        """The smallest."""

    @property
    def one(self) -> bool:
        """Whether every row has the same."""


@dataclass(frozen=True)
class LabelRule:
    """A rule.

    text : what a label is. classes : whether labels are two classes, -1 and +1, to which others have to be mapped.
    """

    text: str
    classes: bool = False
    least: float = float("-inf")

    def takes(self, found: Summary) -> bool:
        """Whether a data set with these labels can be fitted; of more than two classes, one against the rest."""
        return not found.one if self.classes else found.least >= self.least

    def check(self, found: Summary, loss: str) -> None:
        """Raises DataError, with what to do, where ``loss`` cannot be fitted to these labels as they are."""
        if not self.classes and not self.takes(found):
            raise DataError(
                f"the {loss} loss takes {self.text}, and the labels go down to {found.least:g}: give other labels, or "
                "another loss"
            )


SIGNS = LabelRule("two classes", classes=True)
REAL = LabelRule("real numbers")
COUNTS = LabelRule("numbers of at least 0", least=0.0)
