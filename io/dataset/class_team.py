"""From a source of rows of several classes to the team of sites that a method runs on: softmax, or one against the rest."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.io.dataset.class_weight import BALANCED
from mpiopt.io.dataset.labels import FEW, shown
from mpiopt.io.dataset.linear_team import recipe_of
from mpiopt.io.dataset.reduced_rows import with_fewer
from mpiopt.io.dataset.source import Share, Source, shares
from mpiopt.losses.registry import catalogue, find
from mpiopt.problems.multinomial import Multinomial
from mpiopt.problems.one_against_rest import OneAgainstRest
from mpiopt.problems.problem import Team
from mpiopt.problems.reduced import exact_for

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.losses.family import Family
    from mpiopt.problems.protocols import Penalty

MULTINOMIAL, OVR = "multinomial", "ovr"
Multiclass = Literal["multinomial", "ovr"]
ClassLoss = Multinomial | OneAgainstRest


def class_team_of(
    source: Source,
    world: "World",
    penalty: "Penalty",
    kind: Multiclass,
    *,
    loss: str = "logistic",
    values: Literal["float32", "float64"] | None = None,
    seed: int = 0,
    class_weight: str | None = None,
    fewer: bool = False,
) -> Team[ClassLoss]:
    """Read every worker's rows and team them up; free coordinates of the penalty, one a class, are intercepts. Collective.

    kind, loss : the softmax of the logistic loss, or any loss of two classes for each against the rest. class_weight :
    "balanced", such that all classes weigh the same. fewer : as for `team_of`. Raises DataError, UsageError or CapabilityError
    on every rank.
    """
    known = np.array(class_labels(source))
    family = class_family(kind, loss)
    found = shares(source, world, None if values is None else np.dtype(values))
    if fewer and exact_for(penalty):
        found = with_fewer(source, world, found)
    with world.together("mapping labels"):
        losses = [_loss(share, known, kind, family, bool(penalty.free)) for share in found]
    if class_weight is not None:
        losses = _balanced(world, losses, class_weight)
    return Team.of(world, losses, penalty, seed)


def class_labels(source: Source) -> tuple[float, ...]:
    """The labels of the classes, ascending. Raises DataError for one alone, and for more than are taken for classes."""
    labels = source.labels
    if labels.one:
        raise DataError(f"every row has the label {shown(labels.least)}: there are no classes to tell apart")
    if labels.distinct is None:
        raise DataError(
            f"the labels are {labels.text()}, more than the {FEW} that are taken for classes: leave `multiclass` out"
        )
    return labels.distinct


def class_names(source: Source) -> tuple[str, ...]:
    """What they are called: as in the column of a table, or the labels themselves. Raises as `class_labels`."""
    names, recipe = [shown(label) for label in class_labels(source)], recipe_of(source)
    return tuple(names if recipe is None else map(recipe.class_of, names))


def class_family(kind: Multiclass, loss: str) -> "Family":
    """The loss of a margin. Raises UsageError for one that does not go with it."""
    family = find(loss)
    if kind == MULTINOMIAL and family.name != "logistic":
        raise UsageError(
            f"`multiclass={MULTINOMIAL}` is the softmax of the logistic loss, and {family.name} has none: use {OVR}"
        )
    if not family.labels.classes:
        able = " and ".join(name for name, entry in catalogue().items() if entry.build.labels.classes)
        raise UsageError(f"`multiclass={OVR}` is for losses of two classes, {able}: {family.name} is none")
    return family


def _loss(share: Share, known: np.ndarray, kind: Multiclass, family: "Family", intercept: bool) -> ClassLoss:
    if share.offset is not None and share.offset.any():
        raise CapabilityError("the rows have offsets, which are for one margin a row: leave them, or `multiclass`, out")
    y = np.searchsorted(known, share.labels).astype(np.int64)
    weights = np.empty(0) if share.weight is None else np.asarray(share.weight, np.float64)
    if kind == MULTINOMIAL:
        return Multinomial(share.matrix, y, known.size, weights, intercept)
    return OneAgainstRest(share.matrix, y, known.size, weights, intercept, family=family)


def _balanced(world: "World", losses: list[ClassLoss], text: str) -> list[ClassLoss]:
    """With weights such that all classes weigh the same. Collective. Raises UsageError, DataError on every rank."""
    if text != BALANCED:
        raise UsageError(f"`class_weight={text}` is for two classes: give {BALANCED}, or weights of the rows")
    every = [each.weights if each.weights.size else np.ones(each.rows) for each in losses]
    sums = world.total([np.bincount(one.y, each, one.classes) for one, each in zip(losses, every, strict=True)], "classes")
    if not sums.min() > 0:
        raise DataError(f"`class_weight={BALANCED}` needs weight in every class, and the rows of one weigh 0")
    factors = sums.sum() / (sums.size * sums)
    return [replace(one, weights=each * factors[one.y]) for one, each in zip(losses, every, strict=True)]
