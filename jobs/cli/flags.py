"""From parameters to flags: what the library's sentences name in backquotes becomes what the command line calls it.

The library speaks of parameters, for it may be used from Python: ``give `l2` above 0, or use `method=fista` ``.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

NAMED = re.compile(r"`([a-z]\w*)(?:=([^`]*))?`")


def flag(field: str) -> str:
    """The option of a job's field: ``every_rounds`` is --every-rounds, ``from_`` is --from."""
    return "--" + field.rstrip("_").replace("_", "-")


def switches(job: Any) -> dict[str, bool]:
    """The options of a job by name, and whether each is a switch, which is given without a value."""
    return {field.name.rstrip("_"): isinstance(field.default, bool) for field in fields(job)}


def flagged(text: str, options: Mapping[str, bool]) -> str:
    """The text with every option that it names as a flag; what takes a value and is no option is a method's parameter.

    options : as `switches` has them; other names in backquotes stay as they are.
    """

    def said(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name in options and not (options[name] and value is not None):
            return flag(name) if value is None else f"{flag(name)} {value}"
        return match[0] if value is None or "set" not in options else f"--set {name}={value}"

    return NAMED.sub(said, text)
