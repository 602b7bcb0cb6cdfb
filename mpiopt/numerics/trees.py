"""State as a tree: NamedTuples, sequences, and leaves that are arrays or plain values."""

from collections.abc import Iterable, Sequence
from typing import Any


def names(node: tuple) -> Sequence[str] | range:
    """What the children of a node are called: the fields of a NamedTuple, or their places in a sequence."""
    kind: Any = type(node)
    return kind._fields if hasattr(kind, "_fields") else range(len(node))


def like(node: tuple, children: Iterable[Any]) -> tuple:
    """A node of the same kind with other children."""
    kind: Any = type(node)
    return kind._make(children) if hasattr(kind, "_fields") else kind(children)
