"""A linear model for Vowpal Wabbit (Langford, Li, Strehl, 2007): weights of features by number or by hash (extra: vw)."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.io.runs.coefficients import Coefficients

LOSSES = {
    "logistic": "logistic",
    "squared_hinge": "hinge",
    "least_squares": "squared",
    "huber": "squared",
    "poisson": "poisson",
}
CONSTANT = 11650396  # the number of the feature that every row has
MOST_BITS = 30


def write_vw(found: Coefficients, file: BinaryIO) -> None:
    """Write a model that ``vw -i MODEL -t`` applies: raw predictions are margins, in single precision.

    Features go by their names, or their numbers in the text, in the unnamed namespace: ``1 | 3:0.5 17:1``. There are at least
    4 places for each. Raises CapabilityError, also where two features that are not 0 have one place.
    """
    try:
        from vowpalwabbit import Workspace
    except ImportError as error:
        raise CapabilityError(
            f"models of vw are written by vowpalwabbit, which is not here ({error}): pip install 'mpiopt[vw]'"
        ) from error
    model = found.model
    if model.family.name not in LOSSES:
        raise CapabilityError(f"vw has no model of the {model.family.name} loss: export to csv or json")
    bits = max(18, (4 * len(model.x) + found.base).bit_length())
    if bits > MOST_BITS:
        raise CapabilityError(f"vw has 2^{MOST_BITS} places at most, too few for {len(model.x):,} features: export to csv")
    given = {"quiet": True, "bit_precision": bits, "loss_function": LOSSES[model.family.name]}
    space = Workspace(**given, **({} if found.intercept else {"noconstant": True}))
    try:
        _fill(space, found, bits)
        with TemporaryDirectory() as folder:
            space.save(str(Path(folder) / "model"))
            file.write((Path(folder) / "model").read_bytes())
    finally:
        space.finish()


def _fill(space: Any, found: Coefficients, bits: int) -> None:
    mask, taken = (1 << bits) - 1, {}
    if found.intercept:
        taken[CONSTANT & mask] = "the intercept"
        space.set_weight(CONSTANT & mask, 0, found.model.intercept)
    seed = space.hash_space(" ")
    for block in found.nonzero():
        for name, told in block:
            place = (int(name) if name.isdigit() else space.hash_feature(name, seed)) & mask
            if place in taken:
                raise CapabilityError(f"{name!r} and {taken[place]!r} have one place of vw: export to csv or json")
            taken[place] = name
            space.set_weight(place, 0, float(np.float32(told["coefficient"])))
