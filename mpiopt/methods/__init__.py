"""Named methods, each a composition of a few lines, in files by family."""

from mpiopt.errors import UsageError
from mpiopt.methods.dane import ENTRIES as DANE
from mpiopt.methods.entry import Entry

__all__ = ["Entry", "catalogue", "find"]


def catalogue() -> dict[str, Entry]:
    """Every named method, the default first, then by family."""
    return {entry.name: entry for entry in DANE}


def find(name: str) -> Entry:
    """The entry of a name. Raises UsageError with the known names."""
    known = catalogue()
    if name not in known:
        raise UsageError(f"there is no method {name!r}: choose one of {', '.join(known)}")
    return known[name]
