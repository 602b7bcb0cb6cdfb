"""Entries of one kind by name, and what joins them from outside."""

from collections.abc import Iterable
from typing import Self, TypeVar

from mpiopt.errors import UsageError
from mpiopt.registry.entry import Registered
from mpiopt.registry.plugins import load_installed

E = TypeVar("E", bound=Registered)


class Registry(dict[str, E]):
    """Entries by name, in order: ours, then those from outside.

    what : of what kind they are, in a word. group : the entry points (of packages that are installed) that bring more; they
    are loaded when all entries are asked for, or one that is not known.
    """

    def __init__(self, what: str, entries: Iterable[E] = (), group: str | None = None) -> None:
        super().__init__((entry.name, entry) for entry in entries)
        self.what, self.group = what, group

    def add(self, entry: E) -> None:
        """Make an entry known. Raises UsageError for a name that is taken, unless by the same thing, defined again."""
        before = self.get(entry.name)
        if before is not None and _place(before) != _place(entry):
            raise UsageError(
                f"there is a {self.what} {entry.name!r} already, {'.'.join(_place(before))}: give yours another name"
            )
        self[entry.name] = entry

    def all(self) -> Self:
        """This registry, with what installed packages bring."""
        if self.group is not None:
            load_installed(self.group)
        return self

    def find(self, name: str, hint: str = "", more: str = "") -> E:
        """The entry of a name. Raises UsageError with the known names; hint, more : said before and after these."""
        if name not in self and name not in self.all():
            raise UsageError(f"there is no {self.what} {name!r}: {hint}choose one of {', '.join(self)}{more}")
        return self[name]


def _place(entry: Registered) -> tuple[str, str]:
    return entry.build.__module__, entry.build.__qualname__
