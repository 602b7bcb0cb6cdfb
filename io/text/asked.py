"""What is asked of whatever reads rows."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Order = Literal["refuse", "sort", "sum"]


class ReadingPlan(Protocol):
    """How columns are read, of what is no svmlight text."""

    @property
    def beside(self) -> dict[str, str]:
        """The columns of what stands beside labels, by the name that data sets have for it."""


@dataclass(frozen=True, kw_only=True)
class RowRequest:
    """values : type of the stored values. base : the least index that is no error. limit : the least index of which entries are
    left out, None for none. weighted : labels of text may be LABEL:WEIGHT. order : what becomes of indices that do not ascend
    within a row: an error, sorted, or sorted with the values of one that comes twice added up. picked : the label that becomes
    1, and all others -1, where a row of text may have several, 1,3,4. compact : whether those features that occur become
    columns, whatever their numbers; known : (n,) uint64, such of a training set. plan : of a table or a matrix.
    """

    values: np.dtype
    base: int = 0
    limit: int | None = None
    weighted: bool = False
    order: Order = "refuse"
    picked: float | None = None
    compact: bool = False
    known: np.ndarray | None = None
    plan: ReadingPlan | None = None
