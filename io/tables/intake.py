"""The rows of a table: its columns brought to features, missing values, labels; agreed on by all ranks at the end."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.beside import fault, faulty
from mpiopt.io.dataset.scaling import moments
from mpiopt.io.tables import cells
from mpiopt.io.tables.agreement import Vocabulary, agreed
from mpiopt.io.tables.classes import Classes
from mpiopt.io.tables.hashing import Seen
from mpiopt.io.tables.plan import CellType, TablePlan
from mpiopt.io.tables.rows import RowBuilder
from mpiopt.io.tables.sheet import TableFormat, TableRows
from mpiopt.io.tables.terms import GrowingTerms, HashedTerms, KnownTerms, Terms
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore
from mpiopt.io.text.parts import Part

GATHERED = 1 << 20  # nonzeros of a run
READ_AS: Mapping[str, CellType] = {"number": "number", "category": "text", "list": "numbers", "bag": "texts"}


class TableIntake(Intake):
    """Reads parts of tables of one format by a plan."""

    def __init__(self, sheet: TableFormat, store: RunStore, asked: RowRequest) -> None:
        super().__init__(store, asked)
        assert isinstance(asked.plan, TablePlan)
        self._sheet, self.plan = sheet, asked.plan
        numbers, self.seen = count(), Seen(max(self.plan.hashed, 1))
        self.terms = [self._terms_of(k, numbers) for k in range(len(self.plan.features))]
        self.classes = Classes(self.plan.label or "", self.plan.recipe.classes if self.plan.recipe else None)
        self._held: list[MemoryRun] = []
        self._greatest = 0

    @property
    def least(self) -> int:
        """0: what is no svmlight text counts from there."""
        return 0

    @property
    def greatest(self) -> int:
        """The greatest index, once all is settled."""
        return self._greatest

    @property
    def shares_features(self) -> bool:
        """Whether features are hashes, of which one may come twice in a row."""
        return bool(self.plan.hashed)

    def _terms_of(self, k: int, numbers: Iterator[int]) -> Terms:
        column = self.plan.features[k]
        if self.plan.hashed:
            return HashedTerms(column, self.plan.hashed, self.seen)
        if self.plan.recipe is not None:
            return KnownTerms(column, self.plan.names)
        return GrowingTerms(column, numbers, self.plan.options.vocabulary)

    def wanted(self) -> dict[str, CellType]:
        """The columns to read and as what."""
        plan = self.plan
        wanted: dict[str, CellType] = {column.name: READ_AS[column.kind] for column in plan.features}
        if plan.label is not None:
            wanted[plan.label] = "text" if plan.label_text else "number"
        return wanted | dict.fromkeys(plan.beside.values(), "number")

    def read(self, part: Part, each: Callable[[int], bool]) -> list[int]:
        """See `Intake.read`."""
        before = len(self.store.runs)
        for batch in self._sheet.batches(part, self.wanted(), self.plan.layout):
            self._held.append(self._run(batch))
            if sum(len(run.data) for run in self._held) >= GATHERED:
                self._gather()
            if not each(batch.nbytes):
                break
        self._gather()
        return [run.rows for run in self.store.runs[before:]]

    def _gather(self) -> None:
        if not self._held:
            return
        runs, self._held = self._held, []
        ends = np.cumsum([0, *(len(run.data) for run in runs)])
        indptr = np.concatenate([[0], *(run.indptr[1:] + end for run, end in zip(runs, ends, strict=False))])
        columns = [np.concatenate([getattr(run, name) for run in runs]) for name in ("y", "indices", "data", "beside")]
        run = MemoryRun(columns[0], indptr, *columns[1:])
        if self.shares_features and len(run.indices):
            run.ascend(True, "")
        self.keep(run)

    def count(self, y: np.ndarray) -> None:
        """Count labels; those that are texts once all are known."""
        if not self.plan.label_text:
            super().count(y)

    def _run(self, batch: TableRows) -> MemoryRun:
        builder = RowBuilder(batch.rows)
        for terms in self.terms:
            _ADD[terms.column.kind](self, builder, terms, batch)
        indptr, indices, data = builder.built()
        with np.errstate(over="ignore"):
            stored = data.astype(self.values)
        if np.isinf(stored).any():
            at = int(np.isinf(stored).argmax())
            row = int(np.searchsorted(indptr, at, side="right")) - 1
            raise DataError(f"{batch.where(row)}: the value {data[at]:g} is not finite, or too large for {self.values}")
        self.dropped = sum(terms.dropped for terms in self.terms)
        return MemoryRun(self._labels(batch), indptr, indices, stored, self._beside(batch))

    def _labels(self, batch: TableRows) -> np.ndarray:
        label = self.plan.label
        if label is None:
            return np.zeros(batch.rows)
        if self.plan.label_text:
            found = cells.texts(batch.columns[label])
            y = self.classes.numbers(found, batch.where)
            return y
        y = cells.numbers(batch.columns[label])
        _demand_whole(~np.isfinite(y), batch, label, "the label")
        return y

    def _beside(self, batch: TableRows) -> np.ndarray:
        out = np.ones((batch.rows, self.store.width))
        for k, name in enumerate(self.store.columns):
            if name in self.plan.beside:
                out[:, k] = cells.numbers(batch.columns[self.plan.beside[name]])
                if (wrong := faulty(name, out[:, k])).any():
                    row = int(wrong.argmax())
                    raise DataError(f"{batch.where(row)}: the {name} {out[row, k]:g} {fault(name, out[row, k])}")
        return out

    def missing(self, builder: RowBuilder, terms: Terms, where: np.ndarray, batch: TableRows) -> None:
        """What becomes of rows whose value of a column is missing, where : (rows,) bool. Raises DataError."""
        terms.missing += int(where.sum())
        if self.plan.missing == "refuse":
            _demand_whole(where, batch, terms.column.name, "a value")
        elif self.plan.missing == "indicator":
            feature, sign = terms.absent()
            if feature >= 0:
                builder.numbers(sign * where, feature)

    def settle(self, world: World) -> None:
        """Give categories their final numbers, the same from any number of ranks; fill in means. See `Intake.settle`."""
        with world.together("agreeing on features"):
            mine = [vocabulary_of(terms) for terms in self.terms]
        found = agreed(world, self.plan, mine)
        classes, made = self.classes.agreed(world), found.recipe
        if self.plan.hashed and self.plan.recipe is None:
            tokens, shared = self.seen.shared(world)
            made = replace(made, tokens=tokens, shared=shared)
        with world.together("numbering features"):
            if found.numbers is not None or self.plan.label_text:
                self.store.change(lambda run: self._final(run, found.numbers))
            for run in self.store.each() if self.plan.label_text else ():
                super().count(run.y)
        self.recipe, self.names, self._greatest = replace(made, classes=classes), found.names, made.cols - 1
        if self.plan.missing == "mean" and self.plan.recipe is None:
            self._fill(world)

    def _fill(self, world: World) -> None:
        """Put the means of columns of numbers where values are missing. Collective."""
        assert self.recipe is not None
        (rows,) = world.total([np.array([self.rows])])
        found = moments(world, self.store.each, self.recipe.cols, int(rows))
        missing = world.total([np.array([terms.missing for terms in self.terms], np.int64)])
        columns, means = [], np.zeros(self.recipe.cols)
        for column, gaps in zip(self.recipe.columns, missing.tolist(), strict=True):
            if column.kind == "number" and gaps:
                j, known = column.first, int(rows) - gaps
                zeros = known - int(found.count[j])
                means[j] = (found.total[j] - zeros * found.centre[j]) / max(known, 1) + found.centre[j]
            columns.append(replace(column, fill=float(means[column.first])) if column.kind == "number" else column)
        self.recipe = replace(self.recipe, columns=tuple(columns))
        with world.together("filling in means"):
            self.store.change(lambda run: _filled(run, means))

    def _final(self, run: MemoryRun, numbers: np.ndarray | None) -> None:
        if numbers is not None and len(run.indices):
            run.indices = numbers[run.indices]
            if any(terms.column.kind == "bag" for terms in self.terms):
                run.ascend(False, "")
        if self.plan.label_text:
            run.y = self.classes.final(run.y)


def _demand_whole(missing: np.ndarray, batch: TableRows, column: str, what: str) -> None:
    if missing.any():
        more = "" if what == "the label" else ": say by `missing` what stands for it (zero, indicator or mean)"
        raise DataError(
            f"{batch.where(int(missing.argmax()))}: {what} of the column {column!r} is missing or no finite number{more}"
        )


def _filled(run: MemoryRun, means: np.ndarray) -> None:
    gaps = np.isnan(run.data)
    run.data[gaps] = means[run.indices[gaps]]


def vocabulary_of(terms: Terms) -> Vocabulary:
    """What a rank knows of a column."""
    if isinstance(terms, GrowingTerms):
        return Vocabulary(terms.found, terms.own, terms.absent()[0], terms.missing)
    return Vocabulary({}, -1, -1, terms.missing)


def _add_number(intake: TableIntake, builder: RowBuilder, terms: Terms, batch: TableRows) -> None:
    values = cells.numbers(batch.columns[terms.column.name])
    where = np.isnan(values)
    feature, sign = terms.number()
    if where.any():
        if intake.plan.missing != "mean":
            values = np.where(where, 0.0, values)
        elif intake.plan.recipe is not None:
            values = np.where(where, terms.column.fill, values)
    builder.numbers(values if sign == 1 else sign * values, feature)
    if where.any():
        intake.missing(builder, terms, where, batch)


def _add_category(intake: TableIntake, builder: RowBuilder, terms: Terms, batch: TableRows) -> None:
    found = cells.texts(batch.columns[terms.column.name])
    features, signs = terms.categories(found.distinct)
    where = found.codes < 0
    of = np.append(features, -1)[found.codes]
    terms.dropped += int(((of < 0) & ~where).sum())
    builder.entries(np.arange(batch.rows + 1), of, np.append(signs, 0)[found.codes])
    if where.any():
        intake.missing(builder, terms, where, batch)


def _add_list(intake: TableIntake, builder: RowBuilder, terms: Terms, batch: TableRows) -> None:
    found = cells.lists(batch.columns[terms.column.name])
    values = cells.numbers(found.values)
    if (gaps := np.isnan(values)).any():
        if intake.plan.missing == "refuse":
            row = int(np.searchsorted(found.bounds, gaps.argmax(), side="right")) - 1
            _demand_whole(np.arange(batch.rows) == row, batch, terms.column.name, "a value")
        values = np.where(gaps, 0.0, values)
    lengths = np.diff(found.bounds)
    features, signs = terms.categories([str(k) for k in range(int(lengths.max(initial=0)))])
    at = np.arange(len(values)) - np.repeat(found.bounds[:-1], lengths)
    terms.dropped += int((features[at] < 0).sum())
    builder.entries(found.bounds, np.where(values == 0, -1, features[at]), values * signs[at])
    if found.missing.any():
        intake.missing(builder, terms, found.missing, batch)


def _add_bag(intake: TableIntake, builder: RowBuilder, terms: Terms, batch: TableRows) -> None:
    found = cells.lists(batch.columns[terms.column.name])
    words = cells.texts(found.values)
    rows = np.repeat(np.arange(batch.rows), np.diff(found.bounds))[words.codes >= 0]
    pairs, counts = np.unique(np.stack([rows, words.codes[words.codes >= 0]]), axis=1, return_counts=True)
    features, signs = terms.categories(words.distinct)
    of = features[pairs[1]]
    terms.dropped += int((of < 0).sum())
    builder.entries(np.searchsorted(pairs[0], np.arange(batch.rows + 1)), of, counts * signs[pairs[1]])
    if found.missing.any():
        intake.missing(builder, terms, found.missing, batch)


_ADD: dict[str, Callable[[TableIntake, RowBuilder, Terms, TableRows], Any]] = {
    "number": _add_number,
    "category": _add_category,
    "list": _add_list,
    "bag": _add_bag,
}
