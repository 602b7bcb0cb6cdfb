"""What a study expects beside what it found, and whether that is near enough.

Near(1.6e-3, 3)       within a factor of 3
Equal(233, 1)         at most 1 off
Below(1e-20)          at most that
Above(3)              at least that
"""

import csv
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple, Protocol

from mpiopt.jobs.cli.console import table


class Wanted(Protocol):
    """What a number should be."""

    def holds(self, found: float) -> bool:
        """Whether it is."""

    @property
    def expected(self) -> str:
        """The number, in a few characters."""

    @property
    def tolerance(self) -> str:
        """How far from it is near enough, in a few characters."""


class Near(NamedTuple):
    """Within a factor, either way."""

    value: float
    factor: float

    def holds(self, found: float) -> bool:
        """See `Wanted`."""
        return self.value / self.factor <= found <= self.value * self.factor

    @property
    def expected(self) -> str:
        """See `Wanted`."""
        return short(self.value)

    @property
    def tolerance(self) -> str:
        """See `Wanted`."""
        return f"x {self.factor:g}"


class Equal(NamedTuple):
    """The same number, but for ``slack``."""

    value: float
    slack: float = 0

    def holds(self, found: float) -> bool:
        """See `Wanted`."""
        return abs(found - self.value) <= self.slack

    @property
    def expected(self) -> str:
        """See `Wanted`."""
        return short(self.value)

    @property
    def tolerance(self) -> str:
        """See `Wanted`."""
        return f"+- {self.slack:g}" if self.slack else "exact"


class Below(NamedTuple):
    """At most ``limit``; ``value`` is what was published."""

    limit: float
    value: float | None = None

    def holds(self, found: float) -> bool:
        """See `Wanted`."""
        return found <= self.limit

    @property
    def expected(self) -> str:
        """See `Wanted`."""
        return short(self.limit if self.value is None else self.value)

    @property
    def tolerance(self) -> str:
        """See `Wanted`."""
        return f"<= {short(self.limit)}"


class Above(NamedTuple):
    """At least ``limit``; ``value`` is what was published."""

    limit: float
    value: float | None = None

    def holds(self, found: float) -> bool:
        """See `Wanted`."""
        return found >= self.limit

    @property
    def expected(self) -> str:
        """See `Wanted`."""
        return short(self.limit if self.value is None else self.value)

    @property
    def tolerance(self) -> str:
        """See `Wanted`."""
        return f">= {short(self.limit)}"


class Check(NamedTuple):
    """One line of a study's table. spread : the standard deviation over ``seeds`` of which ``found`` is the mean."""

    what: str
    wanted: Wanted
    found: float
    spread: float = 0.0
    seeds: int = 1

    @staticmethod
    def over(what: str, wanted: Wanted, values: Sequence[float]) -> "Check":
        """Of the mean of what was found with several seeds."""
        spread = stdev(values) if len(values) > 1 else 0.0
        return Check(what, wanted, fmean(values), spread, len(values))

    @property
    def holds(self) -> bool:
        """Whether what was found is near enough; what is not finite never is."""
        return bool(isfinite(self.found) and self.wanted.holds(self.found))

    @property
    def facts(self) -> dict[str, Any]:
        """As columns of a file."""
        return {
            "what": self.what,
            "expected": self.wanted.expected,
            "tolerance": self.wanted.tolerance,
            "found": self.found,
            "spread": self.spread,
            "seeds": self.seeds,
            "holds": self.holds,
        }


def short(value: float) -> str:
    """A number in at most eight characters: whole ones as they are, others with two or three digits."""
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"


def shown(checks: Sequence[Check]) -> str:
    """A table for a terminal."""
    several = any(check.seeds > 1 for check in checks)
    rows = [
        [
            check.what,
            check.wanted.expected,
            check.wanted.tolerance,
            short(check.found),
            *[short(check.spread) if check.seeds > 1 else ""] * several,
            "yes" if check.holds else "NO",
        ]
        for check in checks
    ]
    return table(["", "expected", "tolerance", "found", *["+-"] * several, "holds"], rows, "lrrr" + "r" * several + "l")


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A table for other programs, of rows with the same columns. Raises OSError."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table_of = csv.DictWriter(file, list(rows[0]) if rows else [])
        table_of.writeheader()
        table_of.writerows(rows)
