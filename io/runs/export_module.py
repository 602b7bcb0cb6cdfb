"""The answer of a training as a file of named tensors.

state_dict    what torch.save writes of it, for ``module.load_state_dict(torch.load(FILE))`` (extra: torch)
safetensors   the same without torch: 8 bytes for the length of a JSON header, the header, the bytes of all tensors
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.naming import Naming, read_naming
from mpiopt.io.runs.run_file import read_solution
from mpiopt.problems.model import split
from mpiopt.training.torch.library import Module
from mpiopt.training.torch.loading import load as put_into

KINDS = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bool": "BOOL", "uint8": "U8",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
}  # fmt: skip


def arrays_of(path: str | Path) -> dict[str, np.ndarray]:
    """The answer of a run by the names of its ``state_dict``, or of its blocks where it is no module of torch.

    Not collective. Raises DataError, UsageError.
    """
    layout, (x, _) = read_naming(path), read_solution(path)
    return named(x, read_buffers(path), layout)


def named(x: np.ndarray, buffers: Mapping[str, np.ndarray], layout: Naming) -> dict[str, np.ndarray]:
    """The same of an answer x (dim,); tied entries are one array."""
    parts = dict(zip((block.name for block in layout.blocks), split(x, layout.blocks), strict=True)) | dict(buffers)
    return {key: parts[name] for key, name in layout.keys.items()} if layout.keys else parts


def load(path: str | Path, module: Module) -> None:
    """Put the answer of a training into a module of torch of the same layers, in place. Not collective.

    Raises DataError, and UsageError where the module is another or there is no such answer.
    """
    put_into(module, arrays_of(path))


def write_safetensors(arrays: Mapping[str, np.ndarray], file: BinaryIO) -> None:
    """Raises CapabilityError for a type that the format does not know."""
    header, at = {}, 0
    for name, array in arrays.items():
        if array.dtype.name not in KINDS:
            raise CapabilityError(f"safetensors has no {array.dtype.name}, the type of {name}: export to state_dict")
        header[name] = {"dtype": KINDS[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
