"""A model of several classes as a file that other programs read.

csv         class,feature,coefficient: a line for every intercept and for every coefficient that is not 0
json        the same as one object, with the kind of the model and what the classes are called
liblinear   a model file of LIBLINEAR, whose predict takes the class of the largest margin (see `runs.exports`)
onnx        a graph from rows (n, features) to margins, probabilities (n, classes) and classes (n,)
"""

import csv
import json
import re
from collections.abc import Mapping
from io import StringIO
from typing import Any, BinaryIO

import numpy as np

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.class_team import MULTINOMIAL
from mpiopt.io.runs.class_coefficients import ClassCoefficients
from mpiopt.io.runs.coefficients import INTERCEPT, PIECE
from mpiopt.io.runs.export_onnx import saved, weights_of
from mpiopt.io.runs.exports import SOLVERS, ExportFormat

CLASS_CSV = b"class,feature,coefficient"


def _csv(found: ClassCoefficients, file: BinaryIO) -> None:
    file.write(CLASS_CSV + b"\n")
    for k, name in enumerate(found.model.classes):
        first = [(INTERCEPT, float(found.model.intercept[k]))] if found.intercept else []
        for block in (first, *found.nonzero(k)):
            text = StringIO()
            csv.writer(text, lineterminator="\n").writerows((name, feature, repr(value)) for feature, value in block)
            file.write(text.getvalue().encode())


def _json(found: ClassCoefficients, file: BinaryIO) -> None:
    model = found.model
    about = {
        "schema": "mpiopt-model",
        "loss": str(model.family),
        "multiclass": model.kind,
        "classes": list(model.classes),
        "features": len(model.x),
        "normalize": found.normalize,
        "intercept": dict(zip(model.classes, model.intercept.tolist(), strict=True)),
    }
    file.write((json.dumps(about)[:-1] + ', "coefficients": {').encode())
    for k, name in enumerate(model.classes):
        file.write((", " * (k > 0) + json.dumps(name) + ": {").encode())
        separator = ""
        for block in found.nonzero(k):
            file.write((separator + ", ".join(f"{json.dumps(each)}: {value!r}" for each, value in block)).encode())
            separator = ", "
        file.write(b"}")
    file.write(b"}}\n")


def _liblinear(found: ClassCoefficients, file: BinaryIO) -> None:
    """Feature number i of the text stays number i; labels that are no whole numbers go by their places from 0 on."""
    model = found.model
    if found.base != 1 or found.gaps:
        other = "has numbers with gaps" if found.gaps else "has a feature 0"
        raise UsageError(f"LIBLINEAR counts features from 1 on, and this model {other}: export to csv or json")
    if len(model.classes) == 2:
        raise CapabilityError("LIBLINEAR keeps one margin for two classes, and this model has two: export to csv or json")
    whole = all(re.fullmatch(r"[+-]?\d{1,9}", name) for name in model.classes)
    labels = model.classes if whole else tuple(map(str, range(len(model.classes))))
    lines = [f"solver_type {SOLVERS[model.family.name]}", f"nr_class {len(model.classes)}", f"label {' '.join(labels)}"]
    lines += [f"nr_feature {len(model.x)}", f"bias {1 if found.intercept else -1}", "w"]
    file.write(("\n".join(lines) + "\n").encode())
    table = np.vstack([model.x, model.intercept[None]]) if found.intercept else model.x
    step = max(1, PIECE // len(model.classes))
    for lo in range(0, len(table), step):
        file.write("".join(" ".join(map(repr, line)) + " \n" for line in table[lo : lo + step].tolist()).encode())


def _onnx(found: ClassCoefficients, file: BinaryIO) -> None:
    saved(lambda make, kinds: _graph(found, make, kinds), found.model.x, file)


def _graph(found: ClassCoefficients, make: Any, kinds: Any) -> Any:
    model, count = found.model, len(found.model.classes)
    constants = [
        weights_of(model.x, make, kinds),
        make.make_tensor("b", kinds.DOUBLE, (count,), model.intercept.tolist()),
        make.make_tensor("names", kinds.STRING, (count,), [name.encode() for name in model.classes]),
    ]
    nodes = [make.make_node("MatMul", ["X", "w"], ["products"]), make.make_node("Add", ["products", "b"], ["margin"])]
    if model.kind == MULTINOMIAL:
        nodes.append(make.make_node("Softmax", ["margin"], ["probability"], axis=1))
    elif model.probable:
        nodes += [
            make.make_node("Sigmoid", ["margin"], ["alone"]),
            make.make_node("ReduceL1", ["alone"], ["total"], axes=[1], keepdims=1),
            make.make_node("Div", ["alone", "total"], ["probability"]),
        ]
    nodes += [
        make.make_node("ArgMax", ["margin"], ["place"], axis=1, keepdims=0),
        make.make_node("Gather", ["names", "place"], ["class"]),
    ]
    shapes: dict[str, tuple[Any, tuple[Any, ...]]] = {"margin": (kinds.DOUBLE, ("rows", count))}
    if model.probable:
        shapes["probability"] = (kinds.DOUBLE, ("rows", count))
    shapes["class"] = (kinds.STRING, ("rows",))
    outputs = [make.make_tensor_value_info(name, *shape) for name, shape in shapes.items()]
    rows = make.make_tensor_value_info("X", kinds.DOUBLE, ("rows", len(model.x)))
    return make.make_graph(nodes, "linear model of several classes", [rows], outputs, constants)


CLASS_FORMATS: Mapping[str, ExportFormat] = {
    "csv": ExportFormat(".csv", CLASS_CSV, _csv),
    "json": ExportFormat(".json", b'{"schema": "mpiopt-model"', _json),
    "liblinear": ExportFormat(".model", b"solver_type ", _liblinear),
    "onnx": ExportFormat(".onnx", b"\x08", _onnx),
}
