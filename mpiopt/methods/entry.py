"""What the catalogue says of a method."""

from dataclasses import dataclass, replace

from mpiopt.engine.method import Method
from mpiopt.errors import UsageError
from mpiopt.registry.entry import Registered


@dataclass(frozen=True)
class Entry(Registered):
    """One named method.

    build : parameters -> Method; paper : authors, title, year; needs : what it must know or find itself. rule : the name of
    the local rule of a training that takes no other, and steady : whether its step size has to stay the same.
    """

    needs: str = "nothing"
    smooth_only: bool = True
    shared: bool = False  # whether all workers had better draw from the same rows
    rule: str | None = None
    steady: bool = False

    def make(self, **given: object) -> Method:
        """Build the method. Raises UsageError naming the parameters that it takes."""
        try:
            return replace(super().make(**given), name=self.name)
        except TypeError as error:  # text where a number was wanted
            told = ", ".join(f"{name}={value}" for name, value in given.items() if isinstance(value, str))
            raise UsageError(
                f"{self.name} cannot be made with {told or 'what it was given'}: give values of the kinds that "
                f"mpiopt methods {self.name} shows"
            ) from error
