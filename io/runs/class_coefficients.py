"""The coefficients of a model of several classes by name, as a run file has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpiopt.io.runs.beside_solution import read_made
from mpiopt.io.runs.class_fitted import ClassFitted
from mpiopt.io.runs.coefficients import PIECE
from mpiopt.io.runs.run_file import read_run


@dataclass(frozen=True)
class ClassCoefficients:
    """A model of features before they were scaled, and by what these go: names, or numbers in the text from ``base`` on."""

    model: ClassFitted
    names: Sequence[str] | None
    base: int
    intercept: bool
    normalize: str
    gaps: bool = False  # between the numbers by which features go

    @staticmethod
    def read(path: str | Path) -> "ClassCoefficients":
        """Those of a run of ``mpiopt solve`` on several classes. Not collective. Raises DataError."""
        model, told, made = ClassFitted.read(path), read_run(path).attributes, read_made(path)
        if made.scale is not None:
            model = replace(model, x=model.x * made.scale[:, None])
        base, normalize = int(told.get("number_base", 1)), str(told.get("normalize", "none"))
        return ClassCoefficients(model, made.called, base, bool(told.get("intercept")), normalize, made.ids is not None)

    def name(self, feature: int) -> str:
        """What a feature is called, by its place from 0 on."""
        return str(feature + self.base) if self.names is None else self.names[feature]

    def largest(self, k: int, count: int) -> dict[str, float]:
        """The largest coefficients in size of a class, at most ``count``, none of which is 0."""
        column = self.model.x[:, k]
        size = abs(column)
        count = min(count, int(np.count_nonzero(size)))
        some = np.argpartition(-size, count - 1)[:count] if count else np.empty(0, int)
        return {self.name(j): float(column[j]) for j in sorted(some.tolist(), key=lambda j: (-size[j], j))}

    def nonzero(self, k: int) -> Iterator[list[tuple[str, float]]]:
        """Names and values of a class's coefficients that are not 0, in the order of the features, some at a time."""
        at = np.flatnonzero(self.model.x[:, k])
        for lo in range(0, len(at), PIECE):
            yield [(self.name(j), float(self.model.x[j, k])) for j in at[lo : lo + PIECE].tolist()]
