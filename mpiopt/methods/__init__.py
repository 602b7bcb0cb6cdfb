"""Named methods, each a composition of a few lines, in files by family."""

from mpiopt.errors import UsageError
from mpiopt.methods.catalyst import ENTRIES as CATALYST
from mpiopt.methods.cocoa import ENTRIES as COCOA
from mpiopt.methods.dane import ENTRIES as DANE
from mpiopt.methods.entry import Entry
from mpiopt.methods.first_order import ENTRIES as FIRST_ORDER
from mpiopt.methods.newton import ENTRIES as NEWTON
from mpiopt.methods.spag import ENTRIES as SPAG

__all__ = ["Entry", "catalogue", "find"]


def catalogue() -> dict[str, Entry]:
    """Every named method, the default first, then by family."""
    return {entry.name: entry for entry in (*DANE, *CATALYST, *SPAG, *NEWTON, *COCOA, *FIRST_ORDER)}


def find(name: str) -> Entry:
    """The entry of a name. Raises UsageError with the known names."""
    known = catalogue()
    if name not in known:
        raise UsageError(f"there is no method {name!r}: choose one of {', '.join(known)}")
    return known[name]
