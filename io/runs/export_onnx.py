"""A linear model as a graph of ONNX: margins, and of two classes also probabilities and classes (extra: onnx)."""

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError
from mpiopt.io.runs.coefficients import Coefficients

MOST = 2**31 - (1 << 20)  # bytes of a graph
OPSET = 17
LINKS = {"logistic": "Sigmoid", "poisson": "Exp"}


def write_onnx(found: Coefficients, file: BinaryIO) -> None:
    """Write a graph of double precision: X (rows, features) to margin, probability, class, or to prediction, (rows,).

    Rows are those of the original features, in their order, without offsets. Raises CapabilityError.
    """
    saved(lambda make, kinds: _graph(found, make, kinds), found.model.x, file)


def saved(graph_of: Callable[[Any, Any], Any], x: Array, file: BinaryIO) -> None:
    """Write the graph that ``graph_of`` makes by onnx's helpers and types. x : its coefficients. Raises CapabilityError."""
    try:
        import onnx
    except ImportError as error:
        raise CapabilityError(f"models are written by onnx, which is not here ({error}): pip install 'mpiopt[onnx]'") from error
    if x.nbytes > MOST:
        raise CapabilityError(f"a graph of ONNX holds 2 GB, and {x.size:,} coefficients are more: export to csv")
    graph = graph_of(onnx.helper, onnx.TensorProto)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="mpiopt")
    model.ir_version = 8  # that of this opset, which older programs read too
    onnx.checker.check_model(model)
    file.write(model.SerializeToString())


def weights_of(x: Array, make: Any, kinds: Any) -> Any:
    """The coefficients w, (features, columns), as a constant of a graph."""
    return make.make_tensor("w", kinds.DOUBLE, x.shape, np.ascontiguousarray(x, "<f8").tobytes(), raw=True)


def _graph(found: Coefficients, make: Any, kinds: Any) -> Any:
    model = found.model
    constants = [weights_of(model.x[:, None], make, kinds), make.make_tensor("b", kinds.DOUBLE, (1,), [model.intercept])]
    constants.append(make.make_tensor("flat", kinds.INT64, (1,), [-1]))
    nodes = [
        make.make_node("MatMul", ["X", "w"], ["products"]),
        make.make_node("Reshape", ["products", "flat"], ["flattened"]),
        make.make_node("Add", ["flattened", "b"], ["margin"]),
    ]
    outs = {"margin": kinds.DOUBLE}
    if link := LINKS.get(model.family.name):
        name = "prediction" if model.classes is None else "probability"
        nodes.append(make.make_node(link, ["margin"], [name]))
        outs[name] = kinds.DOUBLE
    if model.classes is not None:
        constants.append(make.make_tensor("zero", kinds.DOUBLE, (1,), [0.0]))
        constants += [make.make_tensor(f"c{k}", kinds.STRING, (1,), [name.encode()]) for k, name in enumerate(model.classes)]
        nodes += [
            make.make_node("Greater", ["margin", "zero"], ["above"]),
            make.make_node("Where", ["above", "c0", "c1"], ["class"]),
        ]
        outs["class"] = kinds.STRING
    outputs = [make.make_tensor_value_info(name, kind, ("rows",)) for name, kind in outs.items()]
    rows = make.make_tensor_value_info("X", kinds.DOUBLE, ("rows", len(model.x)))
    return make.make_graph(nodes, "linear model", [rows], outputs, constants)
