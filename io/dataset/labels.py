"""Labels: what a data set holds as given, and what a problem makes of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.errors import DataError, UsageError

FEW = 64  # more distinct labels than this are taken for real numbers

_RULE = re.compile(r"\s*(<=|>=|==|!=|<|>)?\s*(\S+)\s*")
_TESTS = {
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
    "==": np.equal,
    "!=": np.not_equal,
    None: np.equal,
}


@dataclass(frozen=True)
class Labels:
    """The labels of a whole data set, as they stand in the source.

    distinct : ascending; None when there are more than FEW. counts : rows with each of them; None where nobody has
    counted (generators). least, greatest, mean : over all rows (mean is NaN where nobody has counted). positive : the one
    that becomes +1 where a problem of two classes names none, as a test set has it from its training set; None for the
    larger of two.
    """

    distinct: tuple[float, ...] | None
    counts: tuple[int, ...] | None
    least: float
    greatest: float
    mean: float
    positive: float | None = None

    @property
    def plus(self) -> float | None:
        """The label that becomes +1 where nothing else is said; None where that has to be said."""
        if self.positive is None and self.distinct is not None and len(self.distinct) == 2:
            return self.distinct[1]
        return self.positive

    @property
    def one(self) -> bool:
        """Whether every row has the same label."""
        return self.least == self.greatest

    def unknown(self, y: np.ndarray) -> np.ndarray:
        """Those of the labels y : (rows,) that no row should have."""
        if self.distinct is None:
            return y[~((self.least <= y) & (y <= self.greatest))]
        known = np.array(self.distinct)
        return y[known[np.searchsorted(known[:-1], y)] != y]

    def text(self) -> str:
        """The labels in a few words: ``-1, +1`` or ``1, 2, 3, ... 20`` or ``real numbers from 0.5 to 3``."""
        if self.distinct is None:
            return f"real numbers from {self.least:g} to {self.greatest:g}"
        names = [shown(value) for value in self.distinct]
        return ", ".join(names if len(names) <= 8 else [*names[:3], "...", names[-1]])


def shown(label: float) -> str:
    """A label as people write it: 3, -1, 0.5."""
    return str(int(label)) if float(label).is_integer() else repr(label)


def binary_labels(raw: np.ndarray, labels: Labels, positive: str | None = None) -> np.ndarray:
    """Raw labels (rows,) as -1 and +1, float32 (rows,).

    labels : of the whole data set, so that every rank maps alike. Of two distinct labels the one that they say
    (`Labels.plus`) becomes +1; ``positive`` names the class ("3") or the rule ("<=10") that becomes +1 against the rest.
    Not collective, but raises the same on every rank: DataError for one label only, UsageError for more than two without
    ``positive`` or for a rule that all or none satisfy.
    """
    if labels.one:
        raise DataError(f"every row has the label {shown(labels.least)}: logistic regression needs two classes")
    if positive is not None:
        return _signs(_chosen(raw, labels, positive))
    if labels.distinct is None or len(labels.distinct) > 2:
        kind = "real numbers" if labels.distinct is None else f"{len(labels.distinct)} classes"
        raise UsageError(
            f"the labels are {kind} ({labels.text()}), but logistic regression needs two: name the positive class or "
            'a rule with `positive`, such as `positive=3` or `positive="<=10"`'
        )
    return _signs(raw == labels.plus)


def by_rule(raw: np.ndarray, positive: str) -> np.ndarray:
    """Raw labels (rows,) as -1 and +1, float32, by the label or rule that is +1; all may be on one side. Raises UsageError."""
    test, bound = _rule(positive)
    return _signs(test(raw, bound))


class Sides(NamedTuple):
    """What the labels of two classes are called: those that become +1 and -1."""

    positive: str
    negative: str


def sides(labels: Labels, positive: str | None = None) -> Sides:
    """What `binary_labels` makes of which labels, for people: a label, or a rule and "the rest". Raises as it does."""
    known = np.asarray(labels.distinct if labels.distinct is not None else ())
    chosen = binary_labels(known, labels, positive) > 0
    rule = None if positive is None else positive.strip()
    return Sides(_named(known[chosen], rule or "the rest"), _named(known[~chosen], "the rest"))


def _named(labels: np.ndarray, otherwise: str) -> str:
    return shown(float(labels[0])) if len(labels) == 1 else otherwise


def _signs(chosen: np.ndarray) -> np.ndarray:
    return np.where(chosen, np.float32(1), np.float32(-1))


def _chosen(raw: np.ndarray, labels: Labels, positive: str) -> np.ndarray:
    test, bound = _rule(positive)
    known = np.asarray(labels.distinct if labels.distinct is not None else (labels.least, labels.greatest))
    sides = test(known, bound)
    exact = labels.distinct is not None or test not in (np.equal, np.not_equal)
    if exact and (sides.all() or not sides.any()):
        which = "every row" if sides.all() else "no row"
        raise UsageError(f"`positive={positive!r}` holds for {which}: the labels are {labels.text()}")
    return test(raw, bound)


def _rule(positive: str):
    match = _RULE.fullmatch(positive)
    try:
        test, bound = match.groups() if match else (None, positive)
        return _TESTS[test], float(bound)
    except ValueError:
        raise UsageError(
            f"`positive={positive!r}` is neither a label nor a rule: give a number, or <, <=, >, >=, == or != and a number"
        ) from None


class Tallied:
    """Labels counted block by block; the order of the blocks does not matter. None of the means: see `summary`."""

    def __init__(self) -> None:
        self.counts: dict[float, int] | None = {}
        self.least, self.greatest = np.inf, -np.inf

    def add(self, y: np.ndarray) -> None:
        """Count the labels y : (rows,)."""
        if not len(y):
            return
        self.least, self.greatest = min(self.least, float(y.min())), max(self.greatest, float(y.max()))
        if self.counts is not None:
            values, counts = np.unique(y, return_counts=True)
            self._count(self.counts, zip(values.tolist(), counts.tolist(), strict=True))

    def merge(self, other: "Tallied") -> None:
        """Add what another rank has counted."""
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        if other.counts is None:
            self.counts = None
        elif self.counts is not None:
            self._count(self.counts, other.counts.items())

    def _count(self, counts: dict[float, int], pairs: Iterable[tuple[float, int]]) -> None:
        for value, count in pairs:
            counts[value] = counts.get(value, 0) + count
        if len(counts) > FEW:
            self.counts = None

    def summary(self, mean: float) -> Labels:
        """What was counted, with the mean over all rows."""
        if self.counts is None:
            return Labels(None, None, self.least, self.greatest, mean)
        distinct = tuple(sorted(self.counts))
        return Labels(distinct, tuple(self.counts[value] for value in distinct), self.least, self.greatest, mean)
