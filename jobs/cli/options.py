"""Types of options that cyclopts lacks: whole numbers that are not rounded, KEY=VALUE pairs, losses, plugins."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from mpiopt.errors import UsageError
from mpiopt.losses import registry

Scalar = bool | int | float | str

_NUMBER = re.compile(r"[+-]?\d+\.?\d*(e[+-]?\d+)?", re.IGNORECASE)


def whole(_kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, also written 1e6; anything else is refused, where cyclopts would round."""
    return _whole(tokens[0].value, tokens[0])


def _whole(text: str, token: Token) -> int:
    """The number that a part of a token is."""
    number = float(text) if _NUMBER.fullmatch(text) else 0.5
    if not number.is_integer():
        raise ValueError(f'"{text}" is not a whole number{_where(token)}.')
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def power(_kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, also written 2**22."""
    base, stars, exponent = tokens[0].value.partition("**")
    if not (stars and base.isdigit() and exponent.isdigit() and int(exponent) < 64):
        return whole(_kind, tokens)
    return int(base) ** int(exponent)


def settings(_kind: Any, tokens: Sequence[Token]) -> tuple[tuple[str, Scalar], ...]:
    """``KEY=VALUE`` tokens as pairs, the last of a key counting; values are read as TOML, else as text."""
    found: dict[str, Scalar] = {}
    for token in tokens:
        key, equals, value = token.value.partition("=")
        if not (equals and key.strip()):
            raise ValueError(f'"{token.value}" is not KEY=VALUE, as in --set accuracy=0.1')
        found[key.strip()] = _scalar(value.strip())
    return tuple(found.items())


def loss(_kind: Any, tokens: Sequence[Token]) -> str:
    """The text of a loss that there is."""
    try:
        registry.find(tokens[0].value)
    except UsageError as error:
        raise ValueError(f"{error}{_where(tokens[0])}") from error
    return tokens[0].value


def _where(token: Token) -> str:
    """The file that a token is from, if it is from one."""
    return "" if token.source in ("", "cli") else f", in {token.source}"


def _scalar(text: str) -> Scalar:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, Scalar) else text


def batches(_kind: Any, tokens: Sequence[Token]) -> int | str:
    """A whole number, or several with commas between them, as they were written."""
    found = [_whole(part.strip(), tokens[0]) for part in tokens[0].value.split(",")]
    return found[0] if len(found) == 1 else ",".join(map(str, found))


Batch = Annotated[int | str, Parameter(converter=batches, metavar="INT[,INT...]")]
Whole = Annotated[int, Parameter(converter=whole)]
MaybeWhole = Annotated[int | None, Parameter(converter=whole)]
MaybeHash = Annotated[int | None, Parameter(converter=power)]
_SETTING = "A parameter of the method, see mpiopt methods NAME; may be repeated. In a job file: a table [set]."
Settings = Annotated[
    tuple[tuple[str, Scalar], ...],
    Parameter(converter=settings, n_tokens=1, metavar="KEY=VALUE", help=_SETTING, show_default=False),
]
_LOSSES = f"Loss of a row: {', '.join(registry.names())}; mpiopt methods losses shows them."
Loss = Annotated[str, Parameter(converter=loss, help=_LOSSES)]
_PLUGIN = (
    "File of Python to run first, which brings losses, methods, compressors or readers; may be repeated. In a job file: "
    "a list; never taken from a run file."
)
Plugins = Annotated[tuple[Path, ...], Parameter(metavar="FILE.py", help=_PLUGIN, show_default=False)]
