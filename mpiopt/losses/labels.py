"""Which labels a loss takes, and the sentence where a data set has others."""

from dataclasses import dataclass
from typing import Protocol

from mpiopt.arrays import Array
from mpiopt.errors import DataError

CHUNK = 1 << 16  # labels that are looked at together
LARGEST = 1e150  # of a number beside a row: its square is finite


def bounded(values: Array) -> bool:
    """Whether numbers (n,), at least one, are all finite and at most LARGEST in size."""
    return -LARGEST <= float(values.min()) <= float(values.max()) <= LARGEST


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

    @property
    def asked(self) -> str:
        """What the labels of rows are, once two classes have been mapped."""
        return "-1 and +1" if self.classes else self.text

    def fit(self, y: Array) -> bool:
        """Whether all labels (rows,) of some rows are such."""
        if self.classes:
            return all(bool((abs(y[at : at + CHUNK]) == 1).all()) for at in range(0, len(y), CHUNK))
        return not len(y) or (bounded(y) and float(y.min()) >= self.least)

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
