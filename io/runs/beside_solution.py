"""What a run file has beside its solution: names of features, and what a model keeps beside its parameters."""

from pathlib import Path

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.disk import foreign_hdf5
from mpiopt.io.runs.opened_run import opened_run
from mpiopt.io.runs.run_file import BUFFERS

ERRORS = "standard_errors"  # what a solve with inference keeps beside x


def read_made(path: str | Path) -> Made:
    """How the features of a run's solution were made. Not collective. Raises DataError."""
    with opened_run(path) as file:
        if not set(foreign_hdf5.group(file, "solution")) & set(Made._fields):
            return Made()
        shape = foreign_hdf5.column(file, "solution/x", foreign_hdf5.FLOAT, None).shape
        if not shape:
            raise ValueError("its solution is a number")
        return Made.read(file, "solution", shape[0])


def read_errors(path: str | Path) -> np.ndarray | None:
    """The standard errors of a solution, the intercept's last if it has one, (dim,); None where there are none. Not collective.

    Raises DataError.
    """
    found = read_buffers(path).get(ERRORS)
    return None if found is None else np.asarray(found, np.float64)


def read_buffers(path: str | Path) -> dict[str, np.ndarray]:
    """What the model of a training keeps beside x, by name; nothing for most. Not collective.

    Raises DataError also where they are kept as earlier versions did, by number and as one worker had them.
    """
    with opened_run(path) as file:
        found = set(foreign_hdf5.group(file, "solution"))
        if "aux0" in found:
            raise DataError(
                f"{path} keeps what its model has beside its parameters without names and of one worker only, as "
                "earlier versions did: start from a run of this version"
            )
        beside = BUFFERS in found
        names = foreign_hdf5.group(file, f"solution/{BUFFERS}") if beside else ()
        return {name: foreign_hdf5.column(file, f"solution/{BUFFERS}/{name}", foreign_hdf5.NUMBER, None)[()] for name in names}
