"""The coefficients of a linear model by name, as a run file has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError
from mpiopt.inference.normal import Estimates
from mpiopt.io.runs.beside_solution import read_errors, read_made
from mpiopt.io.runs.fitted import Fitted
from mpiopt.io.runs.run_file import read_run

INTERCEPT = "(intercept)"
KNOWN = ("coefficient", "standard_error", "z", "p", "low", "high")
PIECE = 1 << 16  # coefficients handed out at once


@dataclass(frozen=True)
class Coefficients:
    """A model of features before they were scaled, and by what these go: names, or numbers in the text from ``base`` on."""

    model: Fitted
    names: Sequence[str] | None
    base: int
    intercept: bool
    normalize: str
    errors: np.ndarray | None = None  # standard errors, the intercept's last
    gaps: bool = False  # between the numbers by which features go

    @staticmethod
    def read(path: str | Path) -> "Coefficients":
        """Those of a run of ``mpiopt solve``. Not collective. Raises DataError, UsageError."""
        model, told = Fitted.read(path), read_run(path).attributes
        base, made, errors = int(told.get("number_base", 1)), read_made(path), read_errors(path)
        intercept = bool(told.get("intercept"))
        if errors is not None and errors.shape != (len(model.x) + intercept,):
            raise DataError(f"{path} has standard errors of shape {errors.shape} for {len(model.x):,} features: fit it again")
        if made.scale is not None:
            model = replace(model, x=model.x * made.scale)
            errors = None if errors is None else errors * np.append(made.scale, np.ones(intercept))
        normalize = str(told.get("normalize", "none"))
        return Coefficients(model, made.called, base, intercept, normalize, errors, made.ids is not None)

    def name(self, feature: int) -> str:
        """What a feature is called, by its place from 0 on."""
        return str(feature + self.base) if self.names is None else self.names[feature]

    def known(self, feature: int) -> dict[str, float]:
        """A coefficient by its place, the intercept's behind the features', and what its error says of it."""
        value = float(self.model.x[feature]) if feature < len(self.model.x) else self.model.intercept
        if self.errors is None:
            return {"coefficient": value}
        about = Estimates(np.array([value]), self.errors[[feature]])
        numbers = (about.x, about.errors, about.z, about.p, *about.interval)
        return dict(zip(KNOWN, (float(each[0]) for each in numbers), strict=True))

    @property
    def asked(self) -> list[int]:
        """The features that errors were asked of by name; none where they were of all."""
        some = np.zeros(0, int) if self.errors is None else np.flatnonzero(np.isfinite(self.errors[: len(self.model.x)]))
        return some.tolist() if some.size < len(self.model.x) - 1 else []  # one may say clusters

    def largest(self, count: int) -> list[int]:
        """The features with the largest coefficients in size, at most ``count``, none of which is 0."""
        size = abs(self.model.x)
        count = min(count, int(np.count_nonzero(size)))
        some = np.argpartition(-size, count - 1)[:count] if count else np.empty(0, int)
        return sorted(some.tolist(), key=lambda j: (-size[j], j))

    def nonzero(self) -> Iterator[list[tuple[str, dict[str, float]]]]:
        """Names of coefficients that are not 0 and what is `known` of them, in the order of the features, some at a time."""
        at = np.flatnonzero(self.model.x)
        for lo in range(0, len(at), PIECE):
            yield [(self.name(j), self.known(j)) for j in at[lo : lo + PIECE].tolist()]
