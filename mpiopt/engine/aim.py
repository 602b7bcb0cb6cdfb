"""The tolerance of a solve, for methods and blocks that would else work beyond it."""

from typing import Protocol, Self, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Aiming(Protocol):
    """What has a use for the tolerance."""

    def aiming(self, gap: float) -> Self:
        """The same where F - F* <= ``gap`` is all that is asked for."""


def aimed(thing: T, gap: float | None) -> T:
    """What knows the tolerance, if it has a use for it; as it is where there is none."""
    return thing.aiming(gap) if gap is not None and isinstance(thing, Aiming) else thing
