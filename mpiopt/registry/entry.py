"""What a registry says of a named thing; its parameters are those of what builds it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, get_args

from mpiopt.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default: what builds a thing is a function, or is known to be more

    B = TypeVar("B", bound=Callable[..., Any], covariant=True, default=Callable[..., Any])
else:
    from typing import TypeVar

    B = TypeVar("B", bound=Callable[..., Any], covariant=True)


@dataclass(frozen=True)
class Registered(Generic[B]):
    """One named thing.

    build : parameters -> the thing; paper : authors, title, year. name : on the command line, that of what builds it unless
    given. called : in sentences, its name unless given.
    """

    build: B
    paper: str
    name: str = field(default="", kw_only=True)
    called: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.build.__name__)
        object.__setattr__(self, "called", self.called or self.name)

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return " ".join((inspect.getdoc(self.build) or "").split("\n\n")[0].splitlines()).rstrip(".").replace("``", "")

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Names, types and defaults."""
        return inspect.signature(self.build).parameters if takes(self.build) else {}

    def make(self, **given: object) -> Any:
        """Build it. Raises UsageError naming the parameters that it takes."""
        if unknown := sorted(set(given) - set(self.parameters)):
            raise UsageError(f"{self._takes()}; got {', '.join(unknown)}: leave that out")
        return self.build(**given)

    def _takes(self) -> str:
        return f"{self.called} takes {', '.join(self.parameters) or 'no parameters'}"


@dataclass(frozen=True)
class Spelt(Registered[B]):
    """A named thing with its parameters in a line of text. first : the parameter that needs no name."""

    first: str = ""

    def spelt(self, text: str) -> Any:
        """Build it from "0.01,shared=yes". Raises UsageError."""
        given: dict[str, object] = {}
        for item in filter(None, text.split(",")):
            name, _, value = item.rpartition("=")
            name = name.strip() or self._unnamed(value)
            if name not in self.parameters or name in given:
                raise UsageError(f"{self._takes()}; got {item!r}: leave that out")
            given[name] = self._value(name, value.strip())
        return self.build(**given)

    def _unnamed(self, value: str) -> str:
        """The parameter that a bare value is for: of a fraction and a count, the count if it is a whole number."""
        return "k" if self.first == "fraction" and "k" in self.parameters and value.strip().isdigit() else self.first

    def _value(self, name: str, text: str) -> object:
        annotation = inspect.signature(self.build, eval_str=True).parameters[name].annotation
        kind = (get_args(annotation) or (annotation,))[0]
        try:
            return {"yes": True, "true": True, "no": False, "false": False}[text] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            wanted = {int: "a whole number", float: "a number", bool: "yes or no"}.get(kind, f"a {kind.__name__}")
            raise UsageError(f"{name} of {self.called} is {text!r}: give {wanted}") from error


def takes(build: Callable[..., Any]) -> bool:
    """Whether anything can be said to what builds: not to a class without an ``__init__`` of its own."""
    return not (inspect.isclass(build) and build.__init__ is object.__init__)
