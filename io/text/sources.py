"""The files that are meant: what is given, what a folder holds, what a pattern matches."""

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from mpiopt.errors import DataError
from mpiopt.io.text.readers import READERS


def expanded(sources: Sequence[Path]) -> list[Path]:
    """In place of a folder the files in it, at any depth, that some reader knows by their names, in order; of a pattern what it
    matches. Not collective. Raises DataError where that is nothing.
    """
    out: list[Path] = []
    for source in sources:
        found = [source]
        if source.is_dir():
            suffixes = tuple(suffix for reader in READERS.all().values() for suffix in reader.suffixes)
            found = sorted(path for path in source.rglob("*") if path.name.endswith(suffixes) and not _hidden(path, source))
            if not found:
                raise DataError(f"{source} is a folder in which no file ends in {', '.join(suffixes)}: name the files")
        elif has_magic(str(source)) and not source.exists():
            found = sorted(map(Path, glob(str(source), recursive=True)))
            if not found:
                raise DataError(f"{source} matches no file")
        out += found
    return out


def _hidden(path: Path, folder: Path) -> bool:
    """Whether a file is one that writers of tables leave beside the rows."""
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
