"""How features were made, in the HDF5 files of data sets and of runs: names, scale, the recipe of a table."""

from collections.abc import Sequence
from typing import NamedTuple, overload

import h5py
import numpy as np

from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.disk.foreign_hdf5 import FLOAT, TEXTS, column, group

TEXT = h5py.string_dtype()


class Numbers(Sequence[str]):
    """Features that are called by their numbers in the text, (n,) uint64 ascending, in place of a text for each."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...

    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        return Numbers(self._ids[at]) if isinstance(at, slice) else str(self._ids[at])

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self._place(text) is not None

    def index(self, text: str, start: int = 0, stop: int | None = None) -> int:
        """The place of a feature, see `Sequence`."""
        place = self._place(text)
        if place is None or not start <= place < (len(self) if stop is None else stop):
            raise ValueError(f"there is no feature {text}")
        return place

    def _place(self, text: str) -> int | None:
        if not (text.isdecimal() and text == str(int(text)) and int(text) < 2**64):
            return None
        place = int(np.searchsorted(self._ids, np.uint64(text)))
        return place if place < len(self) and str(self._ids[place]) == text else None


class Made(NamedTuple):
    """names : of the features. scale : (features,), what values were multiplied by. recipe : of a table. ids : (features,)
    uint64 ascending, the numbers that features had in the text, where they are those that occurred. None for none.
    """

    names: tuple[str, ...] | None = None
    scale: np.ndarray | None = None
    recipe: Recipe | None = None
    ids: np.ndarray | None = None

    @property
    def called(self) -> Sequence[str] | None:
        """What features are called, None where it is their places."""
        return self.names if self.ids is None else Numbers(self.ids)

    def write(self, place: h5py.Group) -> None:
        """Put what there is into a group. Raises OSError."""
        if self.names:
            place.create_dataset("names", data=list(self.names), dtype=TEXT)
        if self.scale is not None:
            place["scale"] = np.asarray(self.scale, np.float64)
        if self.ids is not None:
            place["ids"] = self.ids
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
        ids = column(file, f"{place}/ids", ("u8",), (cols,))[()].astype(np.uint64) if "ids" in found else None
        if ids is not None and not (ids[1:] > ids[:-1]).all():
            raise ValueError("its features had numbers that do not ascend")
        return Made(tuple(names) or None, scale, None if text is None else Recipe.read(text, cols), ids)


NO_MADE = Made()
