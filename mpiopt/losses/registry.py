"""The losses by name, and how a line of text says which one is meant: logistic, huber, huber:delta=2.

A loss is registered by the decorator of its class. Those of the package are the modules of this folder, each of the name of
its loss; another package's, or a program's, are there once its module is imported.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeVar

import mpiopt.losses
from mpiopt.errors import UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry

if TYPE_CHECKING:
    from mpiopt.losses.family import Family

Kind = TypeVar("Kind", bound="type[Family]")
FIRST = ("logistic", "least_squares")  # in lists, before the others by name
BASIS = ("family", "labels", "registry")  # modules of this folder that are no losses


_KNOWN: Registry[Spelt["type[Family]"]] = Registry("loss", group="mpiopt.losses")


def register(paper: str) -> Callable[[Kind], Kind]:
    """The decorator that makes a subclass of `Family` known by its ``name``. Raises UsageError for a name that is taken,
    and for a loss that lacks what all have.
    """

    def known(kind: Kind) -> Kind:
        if missing := kind.lacking():
            raise UsageError(f"the loss {kind.__qualname__} has no {', '.join(missing)}: define them as `Family` says")
        if not kind.__module__.startswith(f"{mpiopt.losses.__name__}."):
            _imported()  # so that the names of ours are taken
        _KNOWN.add(Spelt(kind, paper, name=kind.name, called=f"the {kind.name} loss"))
        return kind

    return known


def names() -> list[str]:
    """The names of all losses that are known, the default first; no loss is imported."""
    return [*_ours(), *(name for name in _KNOWN if name not in _ours())]


def catalogue() -> Registry[Spelt["type[Family]"]]:
    """Every loss that is known, the default first."""
    return _imported().all()


def find(text: str) -> "Family":
    """The loss that a text describes. Raises UsageError with the known names."""
    name, _, rest = text.strip().partition(":")
    return _imported().find(name).spelt(rest)


def _ours() -> list[str]:
    """The names of the package's own losses."""
    found = {module.name for module in iter_modules(mpiopt.losses.__path__)} - set(BASIS)
    return [*FIRST, *sorted(found - set(FIRST))]


def _imported() -> Registry[Spelt["type[Family]"]]:
    """What is known once the package's own losses are imported, in the order of `names` whichever module came first."""
    for name in _ours():
        import_module(f"mpiopt.losses.{name}")
    if list(_KNOWN) != names():
        ordered = {name: _KNOWN[name] for name in names()}
        _KNOWN.clear()
        _KNOWN.update(ordered)
    return _KNOWN
