"""The losses by name, and how a line of text says which one is meant: logistic, huber, huber:delta=2.

A loss is registered by the decorator of its class. Those of the package are the modules of this folder, each of the name of
its loss; another package's, or a program's, are there once its module is imported.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeVar

import mpiopt.losses
from mpiopt.errors import UsageError

if TYPE_CHECKING:
    from mpiopt.losses.family import Family

Kind = TypeVar("Kind", bound="type[Family]")
_KNOWN: dict[str, "Entry"] = {}
FIRST = ("logistic", "least_squares")  # in lists, before the others by name
BASIS = ("family", "labels", "registry")  # modules of this folder that are no losses


@dataclass(frozen=True)
class Entry:
    """One named loss. build : its class; paper : authors, title, year."""

    build: "type[Family]"
    paper: str

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.build.name

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.build) or "").split("\n")[0].rstrip(".").replace("``", "")

    @property
    def parameters(self) -> Mapping[str, Field]:
        """Names and defaults; all are numbers."""
        return {field.name: field for field in fields(self.build)} if is_dataclass(self.build) else {}

    def make(self, text: str = "") -> "Family":
        """Build it from "delta=2". Raises UsageError."""
        given: dict[str, float] = {}
        for item in filter(None, text.split(",")):
            key, _, value = (part.strip() for part in item.partition("="))
            if key not in self.parameters or key in given:
                takes = ", ".join(self.parameters) or "no parameters"
                raise UsageError(f"the {self.name} loss takes {takes}; got {item!r}: leave that out")
            try:
                given[key] = float(value)
            except ValueError:
                raise UsageError(f"{key} of the {self.name} loss is {value!r}: give a number") from None
        return self.build(**given)


def register(paper: str) -> Callable[[Kind], Kind]:
    """The decorator that makes a subclass of `Family` known by its ``name``. Raises UsageError for a name that is taken."""

    def known(kind: Kind) -> Kind:
        before = _KNOWN.get(kind.name)
        if before is not None and (before.build.__module__, before.build.__qualname__) != (kind.__module__, kind.__qualname__):
            raise UsageError(f"there is a loss {kind.name!r} already, {before.build.__module__}.{before.build.__qualname__}: "
                             "give yours another name")  # fmt: skip
        _KNOWN[kind.name] = Entry(kind, paper)
        return kind

    return known


def names() -> list[str]:
    """The names of all losses that are known, the default first; no loss is imported."""
    known = {module.name for module in iter_modules(mpiopt.losses.__path__)} - set(BASIS) | _KNOWN.keys()
    return [*FIRST, *sorted(known - set(FIRST))]


def catalogue() -> dict[str, Entry]:
    """Every loss that is known, the default first."""
    for module in iter_modules(mpiopt.losses.__path__):
        import_module(f"mpiopt.losses.{module.name}")
    return {name: _KNOWN[name] for name in names()}


def find(text: str) -> "Family":
    """The loss that a text describes. Raises UsageError with the known names."""
    name, _, rest = text.strip().partition(":")
    known = catalogue()
    if name not in known:
        raise UsageError(f"there is no loss {name!r}: choose one of {', '.join(known)}")
    return known[name].make(rest)
