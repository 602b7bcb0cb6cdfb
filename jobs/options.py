"""Types of options that cyclopts lacks: whole numbers that are not rounded, and KEY=VALUE pairs."""

import re
import tomllib
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token

Scalar = bool | int | float | str

_NUMBER = re.compile(r"[+-]?\d+\.?\d*(e[+-]?\d+)?", re.IGNORECASE)


def whole(_kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, also written 1e6; anything else is refused, where cyclopts would round."""
    text, source = tokens[0].value, tokens[0].source
    number = float(text) if _NUMBER.fullmatch(text) else 0.5
    if not number.is_integer():
        raise ValueError(f'"{text}" is not a whole number{"" if source in ("", "cli") else f", in {source}"}.')
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def settings(_kind: Any, tokens: Sequence[Token]) -> tuple[tuple[str, Scalar], ...]:
    """``KEY=VALUE`` tokens as pairs, the last of a key counting; values are read as TOML, else as text."""
    found: dict[str, Scalar] = {}
    for token in tokens:
        key, equals, value = token.value.partition("=")
        if not (equals and key.strip()):
            raise ValueError(f'"{token.value}" is not KEY=VALUE, as in --set accuracy=0.1')
        found[key.strip()] = _scalar(value.strip())
    return tuple(found.items())


def _scalar(text: str) -> Scalar:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, Scalar) else text


Whole = Annotated[int, Parameter(converter=whole)]
MaybeWhole = Annotated[int | None, Parameter(converter=whole)]
Settings = Annotated[
    tuple[tuple[str, Scalar], ...],
    Parameter(converter=settings, n_tokens=1, metavar="KEY=VALUE", show_default=False),
]
