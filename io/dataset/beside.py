"""What may stand beside the label of a row: a sample weight, and an offset of its margin."""

import numpy as np

WEIGHT, OFFSET = "weight", "offset"
COLUMNS = (WEIGHT, OFFSET)


def fault(name: str, value: float) -> str:
    """What is wrong with a weight or an offset, "" for nothing."""
    if not np.isfinite(value):
        return "is not finite"
    return "is negative" if name == WEIGHT and value < 0 else ""


def faulty(name: str, values: np.ndarray) -> np.ndarray:
    """Which of the values (n,) are no weights or offsets, (n,) bool."""
    wrong = ~np.isfinite(values)
    return wrong | (values < 0) if name == WEIGHT else wrong
