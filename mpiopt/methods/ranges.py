"""Checks of the numbers that methods take; None, for a number that the method finds itself, passes."""

from math import inf, isfinite

from mpiopt.errors import UsageError


def within(low: float, high: float = inf, **given: float | None) -> None:
    """Raises UsageError for a number that is not finite or not in low <= number <= high."""
    for name, value in given.items():
        if value is not None and not (low <= value <= high and isfinite(value)):
            bounds = f"of at least {low:g}" if high == inf else f"from {low:g} to {high:g}"
            raise UsageError(f"{name} is {value:g}: give a finite number {bounds}")


def above(low: float, **given: float | None) -> None:
    """Raises UsageError for a number that is not finite or not above ``low``."""
    for name, value in given.items():
        if value is not None and not (value > low and isfinite(value)):
            raise UsageError(f"{name} is {value:g}: give a finite number above {low:g}")
