"""What the catalogue says of a method; its parameters are those of the function that builds it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mpiopt.engine.method import Method
from mpiopt.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """One named method.

    build : parameters -> Method; paper : authors, title, year; needs : what it must know or find itself. rule : the name of
    the local rule of a training that takes no other, and steady : whether its step size has to stay the same.
    """

    build: Callable[..., Method]
    paper: str
    needs: str = "nothing"
    smooth_only: bool = True
    shared: bool = False  # whether all workers had better draw from the same rows
    rule: str | None = None
    steady: bool = False

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.build.__name__

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").splitlines()[0].rstrip(".").replace("``", "")

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Names, types and defaults of the method's own parameters."""
        return inspect.signature(self.build).parameters

    def make(self, **given: object) -> Method:
        """Build the method. Raises UsageError naming the parameters that it takes."""
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            takes = ", ".join(self.parameters) or "no parameters"
            raise UsageError(
                f"{self.name} takes {takes}; got {', '.join(unknown)}: leave that out, or see mpiopt methods {self.name}"
            )
        try:
            return replace(self.build(**given), name=self.name)
        except TypeError as error:  # text where a number was wanted
            told = ", ".join(f"{name}={value}" for name, value in given.items() if isinstance(value, str))
            raise UsageError(f"{self.name} cannot be made with {told or 'what it was given'}: give values of the kinds that "
                             f"mpiopt methods {self.name} shows") from error  # fmt: skip
