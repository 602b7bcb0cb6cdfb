"""What a run file says of itself, in attributes of known types."""

from typing import Any

import h5py
import numpy as np

from mpiopt.io.runs.expected_forms import expected

NUMBER = (float, int)
ALWAYS = {"schema_version": int, "version": str, "created": str, "reason": str, "reason_text": str}
PERHAPS = {
    **dict.fromkeys(
        ("method", "config", "dataset", "loss", "run_id", "checkpoint", "compress", "link", "model", "rule", "study"), str
    ),
    **dict.fromkeys(("positive", "label_positive", "label_negative", "normalize", "multiclass", "class_names"), str),
    **dict.fromkeys(
        ("rows", "features", "group_count", "nonzeros", "classes", "parameters", "world_size", "workers", "seed"), int
    ),
    "number_base": int,
    **dict.fromkeys(
        ("l1", "group_l1", "l2", "objective", "gradient_norm", "gap", "tight_gap", "test_loss", "accuracy"), NUMBER
    ),
    **dict.fromkeys(("converged", "intercept"), bool),
}


def said(file: h5py.File) -> dict[str, Any]:
    """The attributes of an open run file. Raises ValueError where one is missing or of another type."""
    found = {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()}
    return expected(found, ALWAYS | {name: kind for name, kind in PERHAPS.items() if name in found}, "its heading")
