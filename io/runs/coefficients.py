"""The coefficients of a linear model by name, as a run file has them, and files that other programs read.

csv         feature,coefficient: a line for the intercept and for every coefficient that is not 0; where there are standard
            errors also these, z, p and the ends of the 95 % interval
json        the same as one object, with the loss and what the classes are called
liblinear   a model file of LIBLINEAR (Fan, Chang, Hsieh, Wang, Lin, LIBLINEAR: a library for large linear classification,
            JMLR 2008), for its predict
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.inference.normal import Estimates
from mpiopt.io.disk.held_name import HeldName
from mpiopt.io.runs.beside_solution import read_errors, read_made
from mpiopt.io.runs.fitted import Fitted
from mpiopt.io.runs.run_file import read_run

INTERCEPT = "(intercept)"
CSV = b"feature,coefficient"
KNOWN = ("coefficient", "standard_error", "z", "p", "low", "high")
PIECE = 1 << 16  # coefficients written at once
REGRESSION = "L2R_L2LOSS_SVR"
SOLVERS = {"logistic": "L2R_LR", "squared_hinge": "L2R_L2LOSS_SVC", "least_squares": REGRESSION, "huber": REGRESSION}


@dataclass(frozen=True)
class Coefficients:
    """A model of features before they were scaled, and by what these go: names, or numbers in the text from ``base`` on."""

    model: Fitted
    names: tuple[str, ...] | None
    base: int
    intercept: bool
    normalize: str
    errors: np.ndarray | None = None  # standard errors, the intercept's last

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
        return Coefficients(model, made.names, base, intercept, str(told.get("normalize", "none")), errors)

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


def _csv(found: Coefficients, file: BinaryIO) -> None:
    first = [(INTERCEPT, found.known(len(found.model.x)))] if found.intercept else []
    file.write(",".join(("feature", *(KNOWN if found.errors is not None else KNOWN[:1]))).encode() + b"\n")
    for block in (first, *found.nonzero()):
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows((name, *map(repr, told.values())) for name, told in block)
        file.write(text.getvalue().encode())


def _json(found: Coefficients, file: BinaryIO) -> None:
    model = found.model
    about = {
        "schema": "mpiopt-model",
        "loss": str(model.family),
        "classes": None if model.classes is None else dict(zip(("1", "-1"), model.classes, strict=True)),
        "features": len(model.x),
        "normalize": found.normalize,
        "intercept": model.intercept,
    }
    file.write((json.dumps(about)[:-1] + ', "coefficients": {').encode())
    separator = ""
    for block in found.nonzero():
        file.write((separator + ", ".join(f"{json.dumps(name)}: {told['coefficient']!r}" for name, told in block)).encode())
        separator = ", "
    file.write(b"}")
    if found.errors is not None:
        kept = [found.name(j) for j in range(len(model.x))] + [INTERCEPT] * found.intercept
        errors = {name: error for name, error in zip(kept, found.errors.tolist(), strict=True) if error == error}
        file.write((', "standard_errors": ' + json.dumps(errors)).encode())
    file.write(b"}\n")


def _liblinear(found: Coefficients, file: BinaryIO) -> None:
    """Feature number i of the text stays number i; a label that is no whole number becomes 1 or -1."""
    model = found.model
    if model.family.name not in SOLVERS:
        raise CapabilityError(f"LIBLINEAR has no model of the {model.family.name} loss: export to csv or json")
    if found.base != 1:
        raise UsageError("LIBLINEAR counts features from 1 on, and this model has a feature 0: export to csv or json")
    lines = [f"solver_type {SOLVERS[model.family.name]}", "nr_class 2"]
    if model.classes is not None:
        whole = all(re.fullmatch(r"[+-]?\d{1,9}", name) for name in model.classes)
        lines.append(f"label {' '.join(model.classes if whole else ('1', '-1'))}")
    lines += [f"nr_feature {len(model.x)}", f"bias {1 if found.intercept else -1}", "w"]
    file.write(("\n".join(lines) + "\n").encode())
    for lo in range(0, len(model.x), PIECE):
        file.write("".join(f"{value!r} \n" for value in model.x[lo : lo + PIECE].tolist()).encode())
    if found.intercept:
        file.write(f"{model.intercept!r} \n".encode())


FORMATS: dict[str, tuple[str, bytes, Callable[[Coefficients, BinaryIO], None]]] = {  # suffix, first bytes, and the writer
    "csv": (".csv", CSV, _csv),
    "json": (".json", b'{"schema": "mpiopt-model"', _json),
    "liblinear": (".model", b"solver_type ", _liblinear),
}


def write(found: Coefficients, path: Path, kind: str, *, overwrite: bool = False) -> None:
    """Write a model as a file, which has its name once it is whole. Not collective.

    overwrite : whether one that begins alike may be replaced; nothing else ever is. Raises UsageError, DataError, OSError.
    """
    _, mark, writer = FORMATS[kind]
    if path.exists() and not (overwrite and _begins(path, mark)):
        advice = "name another file" if overwrite else "name another file, or give `overwrite` to replace an export"
        raise UsageError(f"{path} exists{' and is no such export' if overwrite else ''}: {advice}")
    held = HeldName(path, lambda leftover: True)
    try:
        writer(found, held.draft())
        held.publish()
    finally:
        held.close()


def _begins(path: Path, mark: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark
