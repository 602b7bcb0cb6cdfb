"""Code from outside that registers losses, methods, compressors and readers: installed packages, and files that are named.

Files are named by whoever starts a program, never by a file that a program reads: to load one is to run it.
"""

import sys
from collections.abc import Mapping
from hashlib import blake2b
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType

from mpiopt.errors import MpioptError, UsageError

_LOADED: dict[str, str] = {}  # of this process
_GROUPS: set[str] = set()


def loaded() -> Mapping[str, str]:
    """What this process has loaded, and which content or version of it: must be the same on all ranks."""
    return MappingProxyType(_LOADED)


def load_file(path: str | Path) -> None:
    """Run a file of Python, once in a process, so that what it registers is known. Not collective. Raises UsageError.

    It becomes the module of its stem, or of its stem and digest where there is another of that name.
    """
    path = Path(path)
    what = f"the plugin {path}"
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {(error.strerror or str(error)).lower()}") from error
    digest = blake2b(source, digest_size=16).hexdigest()
    if _LOADED.get(what) == digest:
        return
    module = ModuleType(path.stem if path.stem not in sys.modules else f"{path.stem}_{digest}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise _failed(what, error) from error
    _LOADED[what] = digest


def load_installed(group: str) -> None:
    """Load the entry points of a group, once in a process. Raises UsageError naming the package whose code fails."""
    if group in _GROUPS:
        return
    for point in entry_points(group=group):
        what = f"the plugin {point.name} of {_package(point)}"
        try:
            point.load()
        except (Exception, SystemExit) as error:
            raise _failed(what, error) from error
        _LOADED[what] = point.dist.version if point.dist is not None else ""
    _GROUPS.add(group)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _failed(what: str, error: BaseException) -> UsageError:
    told = str(error) if isinstance(error, MpioptError) else f"{type(error).__name__}: {error}"
    return UsageError(f"{what} cannot be loaded: {told}")
