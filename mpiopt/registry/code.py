"""Code of one's own by name, ``package.module:name``: loaded from where the program is started, once in a process.

It is named by whoever starts a program, never by a file that a program reads: to load it is to run it.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mpiopt.errors import MpioptError, UsageError

_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")


def is_code(text: str) -> bool:
    """Whether a text has the form of such a name, and is no file."""
    return _NAME.fullmatch(text) is not None and not Path(text).exists()


def load_code(text: str) -> Any:
    """What is called so; modules are also looked for in the working folder. Not collective. Raises UsageError."""
    module, _, name = text.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        told = str(error) if isinstance(error, MpioptError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{text} cannot be loaded ({told}): give MODULE:NAME, of a module in the working folder or that is installed"
        ) from error
    return found
