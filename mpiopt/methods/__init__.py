"""Named methods, each a composition of a few lines, in files by family."""

from collections.abc import Mapping

from mpiopt.errors import UsageError
from mpiopt.methods.averaging import ENTRIES as AVERAGING
from mpiopt.methods.catalyst import ENTRIES as CATALYST
from mpiopt.methods.cocoa import ENTRIES as COCOA
from mpiopt.methods.compression import ENTRIES as COMPRESSION
from mpiopt.methods.dane import ENTRIES as DANE
from mpiopt.methods.elastic import ENTRIES as ELASTIC
from mpiopt.methods.entry import Entry
from mpiopt.methods.federated import ENTRIES as FEDERATED
from mpiopt.methods.first_order import ENTRIES as FIRST_ORDER
from mpiopt.methods.leader import ENTRIES as LEADER
from mpiopt.methods.newton import ENTRIES as NEWTON
from mpiopt.methods.one_sided import ENTRIES as ONE_SIDED
from mpiopt.methods.pruning import ENTRIES as PRUNING
from mpiopt.methods.spag import ENTRIES as SPAG

__all__ = ["Entry", "catalogue", "find", "training"]


def catalogue() -> dict[str, Entry]:
    """Every method that solves convex problems, the default first, then by family."""
    return {entry.name: entry for entry in (*DANE, *CATALYST, *SPAG, *NEWTON, *COCOA, *FIRST_ORDER, *COMPRESSION)}


def training() -> dict[str, Entry]:
    """Every method that trains, the default first, then by family."""
    return {entry.name: entry for entry in (*AVERAGING, *LEADER, *ELASTIC, *ONE_SIDED, *FEDERATED, *PRUNING)}


def find(name: str, known: Mapping[str, Entry] | None = None) -> Entry:
    """The entry of a name, among all methods unless others are given. Raises UsageError with the known names."""
    known = catalogue() | training() if known is None else known
    if name not in known:
        other = "mpiopt solve has it; " * (name in catalogue()) + "mpiopt train has it; " * (name in training())
        raise UsageError(f"there is no method {name!r}: {other}choose one of {', '.join(known)}")
    return known[name]
