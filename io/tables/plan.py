"""What each column of a table is to become: agreed before a row is read, from the names and types of the first file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.beside import OFFSET, WEIGHT
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.dataset.recipe import FeatureColumn, Kind, Missing, Recipe

CellType = Literal["number", "text", "numbers", "texts", "other"]
MADE: dict[CellType, Kind] = {"number": "number", "text": "category", "numbers": "list", "texts": "bag"}
FORCED: dict[CellType, Kind] = {"number": "category", "text": "category", "numbers": "bag", "texts": "bag"}
WIDEST_HASH = 2**31 - 1


class Layout(NamedTuple):
    """How a table of text is written: its columns, what stands between values, whether a line of names comes first.

    flags : columns of true and false.
    """

    names: tuple[str, ...] = ()
    delimiter: str = ","
    header: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How the columns of a table are read.

    label : the column of labels. columns : names or patterns of those that become features, all others where there are none;
    drop : of those that do not. categorical : of those whose values are categories even where they are numbers. hash : so many
    features by hashing their names, 0 for a feature each. missing : what becomes of missing values. header : whether text
    begins with the names of its columns. vocabulary : the most categories of a column. layer : of an AnnData file.
    unlabelled : whether rows read like others may have no labels, and are given 0.
    """

    label: str | None = None
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    hash: int = 0
    missing: Missing = "refuse"
    header: bool = True
    vocabulary: int = 1 << 20
    layer: str | None = None
    unlabelled: bool = False


PLAIN_TABLE = TableOptions()


@dataclass(frozen=True)
class TablePlan:
    """The columns that are read. features : that become features; the recipe and names of a training set where it is made so.

    label : None where rows are scored that have none. label_text : whether labels are texts. weight, offset : columns.
    """

    features: tuple[FeatureColumn, ...]
    label: str | None
    label_text: bool
    weight: str | None
    offset: str | None
    layout: Layout
    options: TableOptions
    recipe: Recipe | None = None
    names: tuple[str, ...] = ()

    @property
    def beside(self) -> dict[str, str]:
        """What stands beside the labels in columns of the table, by the name that data sets have for it."""
        return {name: column for name, column in ((WEIGHT, self.weight), (OFFSET, self.offset)) if column is not None}

    @property
    def hashed(self) -> int:
        """The number of features that names are hashed to, 0 for none."""
        if self.recipe is not None:
            return self.recipe.cols if self.recipe.hashed else 0
        return self.options.hash

    @property
    def missing(self) -> Missing:
        """What becomes of missing values."""
        return self.options.missing if self.recipe is None else self.recipe.missing


def planned(
    named: str,
    types: Mapping[str, CellType],
    layout: Layout,
    options: TableOptions,
    beside: tuple[str | None, str | None],
) -> TablePlan:
    """The plan for a table of these columns. beside : the columns of weights and offsets. Raises UsageError."""
    weight, offset = beside
    if options.hash and options.missing == "mean":
        raise UsageError(
            "`missing=mean` is of columns, which `hash` does not keep apart: give `missing=zero` or `missing=indicator`"
        )
    if not 0 <= options.hash <= WIDEST_HASH:
        raise UsageError(f"`hash={options.hash}` is not between 1 and {WIDEST_HASH:,}")
    if options.label is None:
        raise UsageError(f"{named}: say by `label` which column holds the labels; its columns are {shown(list(types))}")
    _demand(named, types, [options.label])
    label = types[options.label]
    if label not in ("number", "text"):
        raise UsageError(f"{named}: the column {options.label!r} holds lists or nested values, which are no labels")
    apart = {options.label, weight, offset}
    chosen = [name for name in types if name not in apart]
    for patterns, kept in ((options.columns, True), (options.drop, False)):
        if patterns:
            found = _matching(named, chosen, patterns, "features" if kept else "drop")
            chosen = [name for name in chosen if (name in found) == kept]
    forced = _matching(named, chosen, options.categorical, "categorical")
    if odd := [name for name in chosen if types[name] == "other"]:
        raise UsageError(
            f"{named}: the column {odd[0]!r} holds neither numbers nor texts nor lists of them: leave it out by `drop={odd[0]}`"
        )
    if not chosen:
        raise UsageError(f"{named}: no column is left to make features of")
    features = tuple(FeatureColumn(name, (FORCED if name in forced else MADE)[types[name]]) for name in chosen)
    return TablePlan(features, options.label, label == "text", weight, offset, layout, options)


def planned_like(
    named: str,
    types: Mapping[str, CellType],
    layout: Layout,
    made: Made,
    options: TableOptions,
    beside: tuple[str | None, str | None],
) -> TablePlan:
    """The plan by which another table was read, of which ``made`` has the recipe. Raises DataError, UsageError."""
    recipe = made.recipe
    assert recipe is not None
    recipe.demand(set(types), named)
    label = options.label or recipe.label
    if label not in types:
        if options.label is not None or not options.unlabelled:
            _demand(named, types, [label or ""], ", which is to hold the labels (`label` may name another)")
        label = None
    text = label is not None and bool(recipe.classes)
    return TablePlan(recipe.columns, label, text, *beside, layout, options, recipe, made.names or ())


def shown(names: Sequence[str]) -> str:
    """Names of columns in a few words."""
    return ", ".join([*names[:12], f"... ({len(names):,} in all)"] if len(names) > 12 else names)


def _demand(named: str, types: Mapping[str, CellType], wanted: list[str], more: str = "") -> None:
    for name in wanted:
        if name not in types:
            raise UsageError(f"{named} has no column {name!r}{more}: its columns are {shown(list(types))}")


def _matching(named: str, names: Sequence[str], patterns: Sequence[str], option: str) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        here = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not here:
            raise UsageError(f"{named} has no column {pattern!r} for `{option}`: its columns are {shown(names)}")
        found |= here
    return found


def demand_number(found: Mapping[str, CellType], columns: Sequence[str | None], named: str) -> None:
    """See that columns hold numbers. Raises DataError."""
    for column in columns:
        if column is not None and found.get(column, "other") != "number":
            raise DataError(f"{named}: the column {column!r} does not hold numbers")
