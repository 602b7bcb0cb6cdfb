"""Sparse matrices that others have stored: rows with labels, features by number and perhaps by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.tables.cells import Texts
from mpiopt.io.tables.classes import Classes
from mpiopt.io.tables.plan import PLAIN_TABLE, TableOptions
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore
from mpiopt.io.text.parts import Part

AT_ONCE = 1 << 20  # entries
SUITED = ("label", "layer", "unlabelled")  # of `TableOptions`


class MatrixAbout(NamedTuple):
    """What a file holds. names : of the features, if they have any. texts : whether the labels are texts."""

    rows: int
    cols: int
    names: tuple[str, ...] | None
    texts: bool


class MatrixRows(NamedTuple):
    """Some rows, the first being row ``first`` of the file, and their labels (rows,), None where there are none."""

    first: int
    rows: csr_array
    labels: np.ndarray | Texts | None


@dataclass(frozen=True)
class MatrixPlan:
    """How files of one format are read: which feature each column is (-1 for none), and where the labels are.

    rows : of all files; before : of those before each, since labels may stand in one file for all.
    """

    options: TableOptions
    about: MatrixAbout
    cols: int
    names: tuple[str, ...] | None
    label: str | None
    features: np.ndarray | None = None
    recipe: Recipe | None = None
    rows: int = 0
    before: dict[Path, int] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)


class MatrixFormat(ABC):
    """One format. Nothing is collective; everything may raise DataError.

    inside : whether labels are in the files themselves, so that those of a training set tell where.
    """

    inside = True

    @abstractmethod
    def about(self, path: Path, label: str | None, options: TableOptions) -> MatrixAbout:
        """What a file holds."""

    @abstractmethod
    def size(self, path: Path) -> int | None:
        """Its rows, where these can be divided among ranks; None where it must be read whole."""

    @abstractmethod
    def blocks(self, part: Part, plan: MatrixPlan) -> Iterator[MatrixRows]:
        """The rows part.start to part.stop of a file."""


def plan_matrix(form: MatrixFormat, files: list[Path], options: TableOptions, made: Made | None) -> MatrixPlan:
    """What is to be read of files that hold the same features; made : by which a training set was. Raises UsageError."""
    for name in vars(PLAIN_TABLE):
        if name not in SUITED and getattr(options, name) != getattr(PLAIN_TABLE, name):
            raise UsageError(f"`{name}` is about columns of tables, and {files[0]} is a matrix of numbers: leave it out")
    recipe = None if made is None else made.recipe
    label = options.label or (recipe.label if recipe is not None and form.inside else None)
    if label is None and not (made is not None and options.unlabelled):
        raise UsageError(f"{files[0]}: say by `label` where the labels are: a column of obs, or for npz a file of numbers")
    told = [form.about(path, label, options) for path in files]
    for path, about in zip(files, told, strict=True):
        if (about.cols, about.names) != (told[0].cols, told[0].names):
            raise DataError(f"{path} has other features than {files[0]}: convert files of the same ones together")
    before = dict(zip(files, np.cumsum([0, *(about.rows for about in told)]).tolist(), strict=False))
    first, rows = told[0], sum(about.rows for about in told)
    if made is None:
        return MatrixPlan(options, first, first.cols, first.names, label, rows=rows, before=before)
    if recipe is None or recipe.columns:
        raise UsageError(f"the features of `like` are not those of a matrix, and {files[0]} is one")
    found = _features(first, recipe, made, files[0])
    return MatrixPlan(options, first, recipe.cols, made.names, label, found, recipe, rows, before)


def _features(about: MatrixAbout, recipe: Recipe, made: Made, path: Path) -> np.ndarray:
    """Which feature of a training set each column is, by name where both have names. Raises UsageError."""
    if about.names is None or made.names is None:
        if about.cols != recipe.cols:
            raise UsageError(f"{path} has {about.cols:,} features without names, and {recipe.cols:,} were trained on")
        return np.arange(recipe.cols)
    place = {name: k for k, name in enumerate(made.names)}
    found = np.array([place.get(name, -1) for name in about.names], np.int64)
    if (found < 0).all():
        raise UsageError(f"{path} has none of the {recipe.cols:,} features that were trained on: their names are others")
    return found


class MatrixIntake(Intake):
    """Reads parts of matrices of one format by a plan."""

    def __init__(self, form: MatrixFormat, store: RunStore, asked: RowRequest) -> None:
        super().__init__(store, asked)
        assert isinstance(asked.plan, MatrixPlan)
        self._form, self.plan = form, asked.plan
        self._classes = Classes(self.plan.label or "", self.plan.recipe.classes if self.plan.recipe else None)

    @property
    def least(self) -> int:
        """0: columns count from there."""
        return 0

    @property
    def greatest(self) -> int:
        """The last feature."""
        return self.plan.cols - 1

    def read(self, part: Part, each: Callable[[int], bool]) -> list[int]:
        """See `Intake.read`."""
        before = len(self.store.runs)
        for block in self._form.blocks(part, self.plan):
            self.keep(self._run(block, part.path))
            if not each(block.rows.data.nbytes):
                break
        return [run.rows for run in self.store.runs[before:]]

    def count(self, y: np.ndarray) -> None:
        """Count labels; those that are texts once all are known."""
        if not self.plan.about.texts:
            super().count(y)

    def _run(self, block: MatrixRows, path: Path) -> MemoryRun:
        rows = block.rows
        with np.errstate(over="ignore"):
            data = rows.data.astype(self.values)
        if not np.isfinite(data).all():
            row = int(np.searchsorted(rows.indptr, (~np.isfinite(data)).argmax(), side="right")) - 1
            raise DataError(f"{path}, row {block.first + row + 1} has a value that is not a finite {self.values} number")
        run = MemoryRun(self._labels(block, path), rows.indptr.astype(np.int64), rows.indices, data)
        if self.plan.features is not None:
            self._rename(run)
        if len(run.indices):
            run.ascend(True, str(path))
        return run

    def _rename(self, run: MemoryRun) -> None:
        """Number columns as a training set has them, and leave out those that it has not."""
        assert self.plan.features is not None
        found = self.plan.features[run.indices]
        kept = found >= 0
        run.indptr = np.concatenate(([0], np.cumsum(kept)))[run.indptr]
        run.indices, run.data = found[kept].astype(np.int32), run.data[kept]
        self.dropped += int(kept.size - run.indptr[-1])

    def _labels(self, block: MatrixRows, path: Path) -> np.ndarray:
        if block.labels is None:
            return np.zeros(block.rows.shape[0])
        if isinstance(block.labels, Texts):
            return self._classes.numbers(block.labels, lambda row: f"{path}, row {block.first + row + 1}")
        if (wrong := ~np.isfinite(block.labels)).any():
            raise DataError(f"{path}, row {block.first + int(wrong.argmax()) + 1}: the label is missing or not finite")
        return block.labels

    def settle(self, world: World) -> None:
        """Agree on classes. See `Intake.settle`."""
        classes, texts = self._classes.agreed(world), self.plan.about.texts
        with world.together("naming classes"):
            if texts:
                self.store.change(lambda run: setattr(run, "y", self._classes.final(run.y)))
            for run in self.store.each() if texts else ():
                super().count(run.y)
        self.recipe, self.names = Recipe((), self.plan.cols, self.plan.label, classes), self.plan.names


def pieces(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    """Rows lo to hi of about AT_ONCE entries each, from row pointers."""
    lo, last = 0, len(indptr) - 1
    while lo < last:
        hi = max(lo + 1, int(np.searchsorted(indptr, indptr[lo] + AT_ONCE, side="right")) - 1)
        yield lo, min(hi, last)
        lo = min(hi, last)
