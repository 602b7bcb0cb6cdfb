"""A linear model as a file that other programs read.

csv         feature,coefficient: a line for the intercept and for every coefficient that is not 0; where there are standard
            errors also these, z, p and the ends of the 95 % interval
json        the same as one object, with the loss and what the classes are called
parquet     the columns of csv
liblinear   a model file of LIBLINEAR (Fan, Chang, Hsieh, Wang, Lin, LIBLINEAR: a library for large linear classification,
            JMLR 2008), for its predict
onnx        a graph from rows (n, features) to margins, probabilities and classes (`runs.export_onnx`)
vw          a model of Vowpal Wabbit (`runs.export_vw`)
"""

import csv
import json
import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.disk.held_name import HeldName
from mpiopt.io.runs.coefficients import INTERCEPT, KNOWN, PIECE, Coefficients
from mpiopt.io.runs.export_onnx import write_onnx
from mpiopt.io.runs.export_vw import write_vw
from mpiopt.io.tables.coefficient_table import write_parquet

CSV = b"feature,coefficient"
REGRESSION = "L2R_L2LOSS_SVR"
SOLVERS = {"logistic": "L2R_LR", "squared_hinge": "L2R_L2LOSS_SVC", "least_squares": REGRESSION, "huber": REGRESSION}


class ExportFormat(NamedTuple):
    """How names of its files end, with which bytes they begin, and what writes one."""

    suffix: str
    mark: bytes
    writer: Callable[[Any, BinaryIO], None]


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
    if found.base != 1 or found.gaps:
        other = "has numbers with gaps" if found.gaps else "has a feature 0"
        raise UsageError(f"LIBLINEAR counts features from 1 on, and this model {other}: export to csv or json")
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


def _parquet(found: Coefficients, file: BinaryIO) -> None:
    first = [(INTERCEPT, found.known(len(found.model.x)))] if found.intercept else []
    write_parquet([first, *found.nonzero()], file, KNOWN if found.errors is not None else KNOWN[:1])


FORMATS: Mapping[str, ExportFormat] = {
    "csv": ExportFormat(".csv", CSV, _csv),
    "json": ExportFormat(".json", b'{"schema": "mpiopt-model"', _json),
    "parquet": ExportFormat(".parquet", b"PAR1", _parquet),
    "liblinear": ExportFormat(".model", b"solver_type ", _liblinear),
    "onnx": ExportFormat(".onnx", b"\x08", write_onnx),
    "vw": ExportFormat(".vw", b"\x07\x00\x00\x00", write_vw),
}


def write(found: Any, path: Path, form: ExportFormat, *, overwrite: bool = False) -> None:
    """Write a model as a file, which has its name once it is whole. Not collective.

    found : coefficients, such as the format's writer takes.
    overwrite : whether one that begins alike may be replaced; nothing else ever is. Raises UsageError, DataError, OSError, and
    CapabilityError where the model cannot be said so, or what says it is not installed.
    """
    if path.exists() and not (overwrite and _begins(path, form.mark)):
        advice = "name another file" if overwrite else "name another file, or give `overwrite` to replace an export"
        raise UsageError(f"{path} exists{' and is no such export' if overwrite else ''}: {advice}")
    held = HeldName(path, lambda leftover: True)
    try:
        form.writer(found, held.draft())
        held.publish()
    finally:
        held.close()


def _begins(path: Path, mark: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark
