"""What is asked of whatever reads rows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mpiopt.io.tables.plan import TablePlan

Order = Literal["refuse", "sort", "sum"]


@dataclass(frozen=True, kw_only=True)
class RowRequest:
    """values : type of the stored values. base : the least index that is no error. limit : the least index of which entries are
    left out, None for none. weighted : labels of text may be LABEL:WEIGHT. order : what becomes of indices that do not ascend
    within a row: an error, sorted, or sorted with the values of one that comes twice added up. plan : of a table.
    """

    values: np.dtype
    base: int = 0
    limit: int | None = None
    weighted: bool = False
    order: Order = "refuse"
    plan: TablePlan | None = None
