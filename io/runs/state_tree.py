"""The tree of a Run taken apart into JSON and named arrays, and put together again as it was.

    null, bool, number, text    themselves
    [...]                       a tuple;  {"type": "module.Name", "parts": {...}} a NamedTuple, its parts by name
    {"scalar": "<f8", ...}      a number of NumPy's
    {"array": name}             an array that all workers have in common
    {"own": name}               an array of one worker
    {"each": k, "tag": ...}     one entry per worker: the k-th of every worker's part
    {"each": [...], "tag": ...} the same where one worker wraps what is its own alone

Names are paths (``states/2/alpha``). An array that occurs twice is named after its first place and comes back as one.
Beside the name of an array on a GPU stands "gpu": true: it is taken apart as its copy in host memory, and comes back there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from mpiopt.arrays import Array, is_array, on_host
from mpiopt.engine.phase import PerRow, PerWorker, Tree
from mpiopt.errors import DataError
from mpiopt.io.runs.expected_forms import expected
from mpiopt.io.runs.part_kinds import strange
from mpiopt.kernels.device.launch import library
from mpiopt.numerics.trees import names
from mpiopt.problems.problem import Point

Json = Any
TAGS = {kind.__name__: kind for kind in (PerWorker, PerRow)}
COMMON = ("x", "gradient")  # fields of a Point that its docstring says are one array wherever the workers agree


@dataclass
class FlatTree:
    """A tree taken apart, as one rank sees it.

    tree : what all workers have in common, and arrays : its arrays by name; parts, own : the same per hosted worker;
    alike : names of ``own`` that stand for the common fields of a Point.
    """

    tree: Json = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    parts: list[list[Json]] = field(default_factory=list)
    own: list[dict[str, np.ndarray]] = field(default_factory=list)
    alike: set[str] = field(default_factory=set)


def flatten(tree: Tree, path: str = "run") -> FlatTree:
    """Take a tree apart; arrays of the CPU are not copied. Not collective. Raises TypeError for what is not plain data."""
    flat, each = FlatTree(), []
    known: dict[tuple, str] = {}
    copies: dict[tuple, np.ndarray] = {}

    def leaf(array: Array, path: str) -> Json:
        name = known.setdefault(_place(array), path)
        flat.arrays.setdefault(name, _copied(array, copies))
        return _named("array", name, array)

    def later(node: tuple, path: str) -> Json:
        each.append((node, path))
        return {"each": len(each) - 1, "tag": type(node).__name__}

    flat.tree = _encoded(tree, path, leaf, later)
    for worker in range(len(each[0][0]) if each else 0):
        _add_worker(flat, known, copies, [(node[worker], path) for node, path in each])
    return flat


def _add_worker(
    flat: FlatTree, known: dict[tuple, str], copies: dict[tuple, np.ndarray], nodes: list[tuple[Tree, str]]
) -> None:
    mine: dict[tuple, str] = {}
    own: dict[str, np.ndarray] = {}

    def leaf(array: Array, path: str) -> Json:
        place = _place(array)
        if place in known:
            return _named("array", known[place], array)
        name = mine.setdefault(place, path)
        own.setdefault(name, _copied(array, copies))
        return _named("own", name, array)

    def wrapped(node: tuple, path: str) -> Json:
        inner = [_encoded(child, f"{path}/{k}", leaf, wrapped) for k, child in enumerate(node)]
        return {"each": inner, "tag": type(node).__name__}

    flat.parts.append([_encoded(node, path, leaf, wrapped) for node, path in nodes])
    flat.own.append(own)
    for node, path in nodes:
        if isinstance(node, Point):
            flat.alike |= {f"{path}/{name}" for name in COMMON} & own.keys()


def unflatten(
    tree: Json, arrays: dict[str, np.ndarray], parts: Sequence[list[Json]], own: Sequence[dict[str, np.ndarray]]
) -> Tree:
    """The tree of a rank that hosts the workers of ``parts`` and ``own``. Not collective.

    Raises DataError where the JSON speaks of what this version does not know, and UsageError where an array was on a GPU
    and there is none.
    """
    placed: dict[int, Array] = {}  # on the GPU, by what was read: one array stays one, whichever workers have it
    kinds = _kinds()

    def found(array: np.ndarray, node: Json) -> Array:
        if "gpu" not in node:
            return array
        if id(array) not in placed:
            placed[id(array)] = library().asarray(array)
        return placed[id(array)]

    def decoded(node: Json, own: dict[str, np.ndarray], parts: Sequence[list[Json]]) -> Tree:
        if isinstance(node, list):
            return tuple(decoded(child, own, parts) for child in node)
        if not isinstance(node, dict):
            return node
        if "array" in node:
            return found(_look(arrays, node["array"], "the array"), node)
        if "own" in node:
            return found(_look(own, node["own"], "a worker's array"), node)
        if "scalar" in node:
            return np.dtype(node["scalar"]).type(node["value"])
        if "type" in node:
            named = expected(node.get("parts"), {str: object}, "its state").items()
            return _made(_look(kinds, node["type"], "the part"), {name: decoded(child, own, parts) for name, child in named})
        tag, each = _look(TAGS, node.get("tag"), "the tag"), expected(node.get("each"), (list, int), "its state")
        if isinstance(each, list):
            return tag(decoded(child, own, ()) for child in each)
        return tag(decoded(part[each], mine, ()) for part, mine in zip(parts, all_own, strict=True))

    all_own = own
    try:
        return decoded(tree, {}, parts)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise DataError(f"its state is not what this version of the method keeps ({error})") from error


def _look(table: Mapping[str, Any], name: Any, what: str) -> Any:
    """What has a name; one that is not known is told as what it is."""
    try:
        return table[name]
    except (KeyError, TypeError):
        raise ValueError(f"it has {what} {str(name)[:60]!r}, which is not known") from None


def _made(kind: type[Any], parts: dict[str, Tree]) -> Tree:
    """A NamedTuple by the names of its parts: in any order, and what has a default since then may be missing."""
    known = set(kind._fields)
    if not known - set(kind._field_defaults) <= parts.keys() <= known:
        raise ValueError(f"{kind.__name__} has the parts {', '.join(kind._fields)}, and given are {', '.join(parts)[:60]}")
    if wrong := strange(kind, parts):
        raise ValueError(f"{wrong} of {kind.__name__} is a {type(parts[wrong]).__name__}, which it cannot be")
    return kind(**parts)


def alike(flat: FlatTree, several: bool) -> list[str]:
    """Names of the arrays that all workers of this rank hold as one object. Not collective.

    several : whether some rank hosts more than one worker. Where none does, being one object says nothing, and the
    common fields of Points are all there is.
    """
    names = set.intersection(*(set(own) for own in flat.own))
    one = {name for name in names if len({_place(own[name]) for own in flat.own}) == 1}
    return sorted(one if several else one & flat.alike)


def digest(array: np.ndarray) -> str:
    """The same for arrays of the same shape, type and bits, and for no others."""
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{array.shape} {array.dtype.str} {blake2b(content.data, digest_size=16).hexdigest()}"


def _encoded(node: Tree, path: str, leaf: Callable[..., Json], each: Callable[..., Json]) -> Json:
    if node is None or type(node) in (bool, int, float, str):
        return node
    if is_array(node):
        return leaf(node, path)
    if isinstance(node, np.generic):
        return {"scalar": node.dtype.str, "value": node.item()}
    if isinstance(node, PerWorker | PerRow):
        return each(node, path)
    if not isinstance(node, tuple):
        raise TypeError(f"{path} is a {type(node).__name__}: state is made of tuples, arrays and numbers")
    parts = {name: _encoded(child, f"{path}/{name}", leaf, each) for name, child in zip(names(node), node, strict=True)}
    return list(parts.values()) if type(node) is tuple else {"type": _title(type(node)), "parts": parts}


def _title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Kinds(dict[str, type]):
    """NamedTuples by title. One of this package that has moved to another file since is known by its name alone."""

    def __missing__(self, title: str) -> type:
        package, name = title.partition(".")[0], title.rpartition(".")[2]
        moved = [kind for kind in self.values() if _title(kind).startswith("mpiopt.") and kind.__name__ == name]
        if package != "mpiopt" or len(moved) != 1:
            raise KeyError(title)
        return moved[0]


def _kinds() -> _Kinds:
    return _Kinds((_title(kind), kind) for kind in tuple.__subclasses__() if hasattr(kind, "_fields"))


def _named(kind: str, name: str, array: Array) -> Json:
    return {kind: name} if isinstance(array, np.ndarray) else {kind: name, "gpu": True}


def _copied(array: Array, copies: dict[tuple, np.ndarray]) -> np.ndarray:
    """An array of the CPU itself; for one on a GPU its copy, one and the same wherever it occurs."""
    if isinstance(array, np.ndarray):
        return array
    place = _place(array)
    if place not in copies:
        copies[place] = on_host(array)
    return copies[place]


def _place(array: Array) -> tuple:
    """The same for arrays that are one and the same memory; empty ones are all different."""
    about = array.__array_interface__ if isinstance(array, np.ndarray) else array.__cuda_array_interface__
    return about["data"][0] if array.size else id(array), array.shape, array.strides, array.dtype.str
