"""Labels that are texts: numbers while rows are read, and in the end their places in the order of the texts."""

from collections.abc import Callable

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.labels import FEW
from mpiopt.io.tables.cells import Texts


class Classes:
    """Those of the column ``label``. known : of a training set, whose order they keep."""

    def __init__(self, label: str, known: tuple[str, ...] | None) -> None:
        self._label, self._fixed = label, known is not None
        self._found = {text: k for k, text in enumerate(known or ())}
        self._final = np.empty(0)

    def numbers(self, found: Texts, where: Callable[[int], str]) -> np.ndarray:
        """Labels (rows,) for now. Raises DataError naming a row."""
        if (found.codes < 0).any():
            raise DataError(f"{where(int((found.codes < 0).argmax()))}: the label of the column {self._label!r} is missing")
        for code, text in enumerate(found.distinct):
            if text not in self._found:
                if self._fixed:
                    place = where(int((found.codes == code).argmax()))
                    raise DataError(f"{place}: the label {text[:40]!r} is none of {', '.join(self._found)}")
                self._found[text] = len(self._found)
        self._demand_few(self._found)
        return np.array([self._found[text] for text in found.distinct], float)[found.codes]

    def _demand_few(self, found: dict[str, int]) -> None:
        if len(found) > FEW:
            raise DataError(
                f"the column {self._label!r} has more than {FEW} different texts ({', '.join(list(found)[:3])}, ...), "
                "which are no classes: name another column by `label`"
            )

    def agreed(self, world: World) -> tuple[str, ...]:
        """The texts of all ranks in order; the label of each is its place. Collective. Raises DataError on every rank."""
        if not self._fixed:
            every = dict.fromkeys(sorted({text for part in world.tell_all(list(self._found)) for text in part}), 0)
            self._demand_few(every)
            place = {text: k for k, text in enumerate(every)}
            self._final = np.array([place[text] for text in self._found], float)
            return tuple(every)
        self._final = np.arange(float(len(self._found)))
        return tuple(self._found)

    def final(self, y: np.ndarray) -> np.ndarray:
        """The labels (rows,) that `numbers` gave, as they stay."""
        return self._final[y.astype(np.int64)]
