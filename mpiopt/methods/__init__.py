"""Named methods, each a composition of a few lines, in files by family."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mpiopt.errors import UsageError
from mpiopt.methods.averaging import ENTRIES as AVERAGING
from mpiopt.methods.catalyst import ENTRIES as CATALYST
from mpiopt.methods.chosen_descent import ENTRIES as SAMPLED
from mpiopt.methods.cocoa import ENTRIES as COCOA
from mpiopt.methods.compression import ENTRIES as COMPRESSION
from mpiopt.methods.dane import ENTRIES as DANE
from mpiopt.methods.decentralised import SOLVERS as DECENTRALISED_SOLVERS
from mpiopt.methods.decentralised import TRAINERS as DECENTRALISED_TRAINERS
from mpiopt.methods.diloco import ENTRIES as DILOCO
from mpiopt.methods.elastic import ENTRIES as ELASTIC
from mpiopt.methods.entry import Entry
from mpiopt.methods.exact_decentralised import SOLVERS as EXACT_SOLVERS
from mpiopt.methods.exact_decentralised import TRAINERS as EXACT_TRAINERS
from mpiopt.methods.federated import ENTRIES as FEDERATED
from mpiopt.methods.first_order import ENTRIES as FIRST_ORDER
from mpiopt.methods.games import ENTRIES as GAMES
from mpiopt.methods.leader import ENTRIES as LEADER
from mpiopt.methods.model_parallel import ENTRIES as MODEL_PARALLEL
from mpiopt.methods.newton import ENTRIES as NEWTON
from mpiopt.methods.one_sided import ENTRIES as ONE_SIDED
from mpiopt.methods.prox_newton import ENTRIES as PROX_NEWTON
from mpiopt.methods.pruning import ENTRIES as PRUNING
from mpiopt.methods.robust import ENTRIES as ROBUST
from mpiopt.methods.server_rules import ENTRIES as SERVER_RULES
from mpiopt.methods.sketched import ENTRIES as SKETCHED
from mpiopt.methods.spag import ENTRIES as SPAG
from mpiopt.methods.spcg import ENTRIES as SPCG
from mpiopt.methods.stabilised import ENTRIES as STABILISED
from mpiopt.methods.subnetworks import ENTRIES as SUBNETWORKS
from mpiopt.methods.surrogate_likelihood import ENTRIES as SURROGATE_LIKELIHOOD
from mpiopt.methods.weighted_average import ENTRIES as WEIGHTED_AVERAGE
from mpiopt.registry.registry import Registry

Build = TypeVar("Build", bound=Callable[..., Any])

__all__ = ["PLAYERS", "SOLVERS", "TRAINERS", "Entry", "catalogue", "find", "playing", "register", "training"]

GROUP = "mpiopt.methods"  # entry points of packages that bring methods of either kind
SOLVING = (
    SPCG,
    DANE,
    CATALYST,
    SPAG,
    STABILISED,
    NEWTON,
    COCOA,
    PROX_NEWTON,
    SURROGATE_LIKELIHOOD,
    WEIGHTED_AVERAGE,
    FIRST_ORDER,
    COMPRESSION,
    DECENTRALISED_SOLVERS,
    EXACT_SOLVERS,
    SAMPLED,
)
SOLVERS = Registry("method", (entry for family in SOLVING for entry in family), GROUP)
FAMILIES = (
    AVERAGING,
    LEADER,
    ELASTIC,
    ONE_SIDED,
    FEDERATED,
    SERVER_RULES,
    DILOCO,
    ROBUST,
    PRUNING,
    SKETCHED,
    SUBNETWORKS,
    MODEL_PARALLEL,
    DECENTRALISED_TRAINERS,
    EXACT_TRAINERS,
)
TRAINERS = Registry("method", (entry for family in FAMILIES for entry in family), GROUP)
PLAYERS = Registry("method", GAMES, GROUP)


def catalogue() -> Registry[Entry]:
    """Every method that solves convex problems, the default first, then by family."""
    return SOLVERS.all()


def training() -> Registry[Entry]:
    """Every method that trains, the default first, then by family."""
    return TRAINERS.all()


def playing() -> Registry[Entry]:
    """Every method of games, the default first."""
    return PLAYERS.all()


def register(paper: str, *, trains: bool = False, plays: bool = False, **facts: Any) -> Callable[[Build], Build]:
    """The decorator that makes a function of a method's parameters known by its name, to ``solve``, ``train`` or ``play``.

    facts : what else `Entry` says of it. Raises UsageError for a name that is taken.
    """

    def known(build: Build) -> Build:
        entry = Entry(build, paper, **facts)
        home = TRAINERS if trains else PLAYERS if plays else SOLVERS
        for registry in (SOLVERS, TRAINERS, PLAYERS):
            if entry.name in registry:
                registry.add(entry)  # which raises where the name is taken, and says by what
        home.add(entry)
        return build

    return known


def find(name: str, known: Mapping[str, Entry] | None = None) -> Entry:
    """The entry of a name, among all methods unless others are given. Raises UsageError with the known names."""
    found = SOLVERS | TRAINERS | PLAYERS if known is None else known
    if name in found:
        return found[name]
    kinds = {"solve": catalogue(), "train": training(), "play": playing()}  # with what installed packages bring
    known = kinds["solve"] | kinds["train"] | kinds["play"] if known is None else known
    if name not in known:
        other = "".join(f"mpiopt {verb} has it; " for verb, those in kinds.items() if name in those)
        raise UsageError(f"there is no method {name!r}: {other}choose one of {', '.join(known)}")
    return known[name]
