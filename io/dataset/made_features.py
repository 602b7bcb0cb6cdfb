"""How features were made, in the HDF5 files of data sets and of runs: names, scale, the recipe of a table."""

from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.disk.foreign_hdf5 import FLOAT, TEXTS, column, group

TEXT = h5py.string_dtype()


class Made(NamedTuple):
    """names : of the features. scale : (features,), what values were multiplied by. recipe : of a table. None for none."""

    names: tuple[str, ...] | None = None
    scale: np.ndarray | None = None
    recipe: Recipe | None = None

    def write(self, place: h5py.Group) -> None:
        """Put what there is into a group. Raises OSError."""
        if self.names:
            place.create_dataset("names", data=list(self.names), dtype=TEXT)
        if self.scale is not None:
            place["scale"] = np.asarray(self.scale, np.float64)
        if self.recipe is not None:
            place["recipe"] = np.frombuffer(self.recipe.text().encode(), np.uint8)

    @staticmethod
    def read(file: h5py.File, place: str, cols: int) -> "Made":
        """What a group has of so many features. Raises ValueError."""
        found = set(group(file, place))
        names = column(file, f"{place}/names", TEXTS, (cols,)).asstr()[()].tolist() if "names" in found else ()
        scale = column(file, f"{place}/scale", FLOAT, (cols,))[()].astype(np.float64) if "scale" in found else None
        if scale is not None and not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("its scale is not of positive numbers")
        text = column(file, f"{place}/recipe", ("u1",), (None,))[()].tobytes().decode() if "recipe" in found else None
        return Made(tuple(names) or None, scale, None if text is None else Recipe.read(text, cols))


NO_MADE = Made()
