"""What the columns of a table have become: kept with a data set and the runs on it, so that other tables are read alike."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal, get_args

from mpiopt.errors import DataError

Kind = Literal["number", "category", "list", "bag"]
Missing = Literal["refuse", "zero", "indicator", "mean"]
KINDS, POLICIES = get_args(Kind), get_args(Missing)


@dataclass(frozen=True)
class FeatureColumn:
    """A column of a table and its features, those from number ``first`` on.

    kind : a number; a category, of which every one is a feature; a list of numbers, every place a feature; a bag, a list of
    categories. count : of features, with the last one for a missing value where ``indicator``. fill : what stands for one.
    """

    name: str
    kind: Kind
    first: int = 0
    count: int = 0
    indicator: bool = False
    fill: float = 0.0

    def called(self, keys: Iterable[str]) -> list[str]:
        """The names of features; keys : the categories, or the places in a list."""
        before, after = (f"{self.name}[", "]") if self.kind == "list" else (f"{self.name}=", "")
        return [f"{before}{key}{after}" for key in keys]

    def keys(self, names: tuple[str, ...]) -> list[str]:
        """The categories, or places in a list, from the names of all features."""
        own = names[self.first : self.first + self.count - self.indicator]
        skip = len(self.name) + 1
        return [name[skip:-1] if self.kind == "list" else name[skip:] for name in own]

    @property
    def absent(self) -> str:
        """The name of the feature that says that a value is missing."""
        return f"{self.name} (missing)"


@dataclass(frozen=True)
class Recipe:
    """How a table is read. cols : features in all. hashed : whether features are the hashes of their names, which are not kept.

    label : the column of the labels; classes : their texts, label 0 being the first; none where they are numbers. tokens :
    different names that were hashed; shared : those of them whose feature is another's too.
    """

    columns: tuple[FeatureColumn, ...]
    cols: int
    label: str | None = None
    classes: tuple[str, ...] = ()
    missing: Missing = "refuse"
    hashed: bool = False
    tokens: int = 0
    shared: int = 0

    def text(self) -> str:
        """As JSON, for `read`."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str, cols: int) -> "Recipe":
        """From JSON, for a data set of so many features. Raises ValueError with a few words."""
        told = json.loads(text)
        try:
            columns = tuple(FeatureColumn(**entry) for entry in told.pop("columns"))
            recipe = Recipe(columns, **{**told, "classes": tuple(told["classes"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("its recipe for tables is none") from error
        if not (recipe.cols == cols and recipe._sound()):
            raise ValueError("its recipe for tables does not fit its features")
        return recipe

    def _sound(self) -> bool:
        held = all(map(_column_sound, self.columns)) and all(isinstance(text, str) for text in self.classes)
        named = isinstance(self.label, str | None) and self.missing in POLICIES and isinstance(self.hashed, bool)
        counts = all(type(number) is int and number >= 0 for number in (self.tokens, self.shared))
        if not (held and named and counts) or len({column.name for column in self.columns}) < len(self.columns):
            return False
        ends = [0, *(column.first + column.count for column in self.columns)]
        starts = [*(column.first for column in self.columns), self.cols]
        return self.hashed or not self.columns or (starts == ends and all(a <= b for a, b in pairwise(ends)))

    def label_of(self, text: str) -> str:
        """The label, as it is shown, of a class; the text itself where it is none, such as a rule."""
        return str(self.classes.index(text)) if text in self.classes else text

    def class_of(self, label: str) -> str:
        """The class of a label as it is shown; the label itself where it has no other name."""
        return self.classes[int(label)] if label.isdigit() and int(label) < len(self.classes) else label

    def demand(self, present: set[str], named: str) -> None:
        """See that a table has every column. Raises DataError."""
        if lacking := [column.name for column in self.columns if column.name not in present]:
            more = f" and {len(lacking) - 1:,} more" * (len(lacking) > 1)
            raise DataError(
                f"{named} has no column {lacking[0]!r}{more}, of which features were made: give a table that has it"
            )


def _column_sound(column: FeatureColumn) -> bool:
    numbers = (column.first, column.count, column.fill)
    return (
        isinstance(column.name, str)
        and column.kind in KINDS
        and isinstance(column.indicator, bool)
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        and isinstance(column.first, int)
        and isinstance(column.count, int)
        and 0 <= column.first < 2**31
        and 0 <= column.count < 2**31
        and abs(column.fill) <= 1e300
    )
