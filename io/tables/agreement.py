"""The features that all ranks agree on: column by column, categories in the order of their texts."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.index import WIDEST
from mpiopt.io.dataset.recipe import FeatureColumn, Recipe
from mpiopt.io.tables.plan import TablePlan
from mpiopt.io.tables.terms import too_many


class Vocabulary(NamedTuple):
    """What a rank has found in a column: categories with the numbers that it gave them, its own two numbers, missing values."""

    found: dict[str, int]
    own: int
    absent: int
    missing: int


class Agreed(NamedTuple):
    """numbers : the final number of each of this rank's, (n,) int32; None where they are final. names : of the features."""

    recipe: Recipe
    names: tuple[str, ...] | None
    numbers: np.ndarray | None


def agreed(world: World, plan: TablePlan, mine: list[Vocabulary]) -> Agreed:
    """What all ranks make of their vocabularies. Collective. Raises DataError on every rank."""
    if plan.recipe is not None:
        return Agreed(plan.recipe, None if plan.hashed else plan.names, None)
    if plan.hashed:
        return Agreed(Recipe(plan.features, plan.hashed, plan.label, (), plan.missing, True), None, None)
    told = world.tell_all([(list(one.found), one.missing) for one in mine])
    numbers = np.full(1 + max((max((one.absent, *one.found.values())) for one in mine), default=0), -1, np.int32)
    columns: list[FeatureColumn] = []
    names: list[str] = []
    for column, own, every in zip(plan.features, mine, zip(*told, strict=True), strict=True):
        keys = _ordered(column, {key for found, _ in every for key in found})
        if len(keys) > plan.options.vocabulary:
            raise DataError(too_many(column.name, len(keys), plan.options.vocabulary))
        absent = plan.missing == "indicator" and any(missing for _, missing in every)
        first = len(names)
        names += column.called(keys) if column.kind != "number" else [column.name]
        names += [column.absent] * absent
        if len(names) > WIDEST:
            raise DataError(f"the table has more than {WIDEST:,} features: leave columns out, or hash (`hash=2**22`)")
        columns.append(replace(column, first=first, count=len(names) - first, indicator=absent))
        place = {key: first + k for k, key in enumerate(keys)}
        numbers[own.own] = first
        numbers[own.absent] = len(names) - 1 if absent else -1
        for key, number in own.found.items():
            numbers[number] = place[key]
    _demand_different(names)
    return Agreed(Recipe(tuple(columns), len(names), plan.label, (), plan.missing), tuple(names), numbers)


def _ordered(column: FeatureColumn, keys: set[str]) -> list[str]:
    """Categories in the order of their texts, places in a list in that of the list."""
    if column.kind == "list":
        return [str(k) for k in range(1 + max(map(int, keys), default=-1))]
    return sorted(keys)


def _demand_different(names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"two columns make a feature {twice!r}: rename one of them, or leave it out")
