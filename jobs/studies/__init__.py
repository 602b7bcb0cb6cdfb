"""Published comparisons, one file each, found by the file's name; the first line of the file says what it shows.

run(lab) -> Findings          runs methods and compares what came out with what is expected
draw(found) -> Figure         its picture; imports matplotlib only when it is called
animate(found, path)          an animation, where a study has one
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mpiopt.errors import UsageError

if TYPE_CHECKING:
    from mpiopt.jobs.studies.apparatus.checks import Check
    from mpiopt.jobs.studies.apparatus.lab import Trail


@dataclass(frozen=True)
class Findings:
    """What a study found. notes : what the table needs to be understood; facts : what its picture needs beside the trails.

    tables : rows for files of their own, by the files' names without ".csv".
    """

    checks: Sequence["Check"]
    trails: Sequence["Trail"]
    notes: str
    facts: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def trail(self, name: str) -> "Trail":
        """The run of this name."""
        return next(trail for trail in self.trails if trail.name == name)


def listing() -> dict[str, str]:
    """Every study's name and what it shows; none is imported."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return {path.stem.replace("_", "-"): _summary(path) for path in files}


def find(name: str) -> ModuleType:
    """The study of this name. Raises UsageError with the known names."""
    known = listing()
    if name not in known:
        raise UsageError(f"there is no study {name!r}: choose one of {', '.join(known)}")
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def _summary(path: Path) -> str:
    """The first line of the docstring that the file begins with."""
    return path.read_text(encoding="utf-8").removeprefix('"""').partition("\n")[0].rstrip('."')
