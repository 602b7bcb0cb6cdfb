"""pyarrow, where it is there, and what its types are to us."""

from types import ModuleType
from typing import Any

from mpiopt.errors import CapabilityError
from mpiopt.io.tables.plan import CellType


def arrow(module: str = "pyarrow") -> ModuleType:
    """pyarrow or a module of it. Raises CapabilityError where it is not installed."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise CapabilityError(
            f"tables and zstd are read by pyarrow, which is not here ({error}): pip install 'mpiopt[arrow]'"
        ) from error


def cell_type(kind: Any) -> CellType:
    """What a column of an Arrow type holds."""
    types = arrow("pyarrow.types")
    if types.is_dictionary(kind):
        return "text" if cell_type(kind.value_type) == "text" else "other"
    if (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    ):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        within: dict[CellType, CellType] = {"number": "numbers", "text": "texts"}
        return within.get(cell_type(kind.value_type), "other")
    return "other"
