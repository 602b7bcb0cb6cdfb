"""Whether the parts of a state that was read are of the kinds that its class says: they come from a file."""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from mpiopt.arrays import is_array

NUMBERS: Mapping[Any, tuple[type, ...]] = {
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (float, int, np.floating, np.integer),
}


@cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # of somebody's own class, with names that only a type checker sees
        return {}


def strange(kind: type, parts: Mapping[str, Any]) -> str:
    """The first part that is not what a NamedTuple says of it, or ""."""
    return next((name for name, value in parts.items() if not fits(value, _hints(kind).get(name, Any))), "")


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a kind; of kinds that say nothing of it, such as Any, it always is."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if origin is tuple:  # of any number of one kind
        return type(value) is tuple and all(fits(item, get_args(hint)[0]) for item in value)
    if hint is np.ndarray:
        return is_array(value)
    if hint in NUMBERS:
        return isinstance(value, NUMBERS[hint]) and (hint is bool or not isinstance(value, bool))
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)
