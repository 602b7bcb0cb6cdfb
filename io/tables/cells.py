"""The values of one column in some rows, brought into three forms whatever Arrow type they come in."""

from typing import Any, NamedTuple

import numpy as np

from mpiopt.io.tables.arrow import arrow


class Texts(NamedTuple):
    """codes : (n,) of distinct, -1 for a missing one; distinct : the texts."""

    codes: np.ndarray
    distinct: list[str]


class Lists(NamedTuple):
    """bounds : (n + 1,) of the values of each row; a missing list has none, and is in missing : (n,) bool."""

    bounds: np.ndarray
    values: Any
    missing: np.ndarray


def numbers(column: Any) -> np.ndarray:
    """Of an Arrow array of numbers or booleans, (n,) float64 with NaN for missing ones."""
    pa = arrow()
    return _whole(column).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64, copy=False)


def texts(column: Any) -> Texts:
    """Of an Arrow array of texts, or of numbers and booleans that are taken for names."""
    pa = arrow()
    column = _whole(column)
    if pa.types.is_dictionary(column.type):
        # a dictionary may hold texts that do not occur, which are no categories, and one twice
        column = column.cast(column.type.value_type)
    column = column.cast(pa.large_string()).dictionary_encode()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Texts(codes.astype(np.int64), column.dictionary.to_pylist())


def lists(column: Any) -> Lists:
    """Of an Arrow array of lists, of fixed size or not."""
    pa, compute = arrow(), arrow("pyarrow.compute")
    column = _whole(column)
    lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.large_list(column.type.value_type))
    return Lists(bounds, column.flatten(), column.is_null().to_numpy(zero_copy_only=False))


def _whole(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column
