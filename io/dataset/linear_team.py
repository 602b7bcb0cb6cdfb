"""From a source of rows to the team of sites that a method runs on."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.dataset.class_weight import weighed
from mpiopt.io.dataset.labels import Labels, binary_labels, sides
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.dataset.reduced_rows import with_fewer
from mpiopt.io.dataset.source import RowSource, Share, Source, shares
from mpiopt.losses.family import Family
from mpiopt.losses.registry import catalogue, find
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Team
from mpiopt.problems.reduced import exact_for

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.problems.protocols import Penalty


def team_of(
    source: Source,
    world: "World",
    penalty: "Penalty",
    *,
    loss: str = "logistic",
    positive: str | None = None,
    values: Literal["float32", "float64"] | None = None,
    seed: int = 0,
    device: Literal["cpu", "gpu"] = "cpu",
    class_weight: str | None = None,
    fewer: bool = False,
) -> Team[Linear]:
    """Read every worker's rows and team them up; a free coordinate of the penalty is the intercept. Collective.

    loss : one of `mpiopt.losses`, such as huber:delta=2. positive : the class or rule that becomes +1, for losses of two
    classes. class_weight : "balanced", or "NEG:POS", by which weights of rows labelled -1 and +1 are multiplied. values : type
    of the stored entries, None for that of the source.
    device : where the rows are to be; a rank computes on the GPU that is current in its process. fewer : bring the rows in
    fewer columns, too, where the data set has them and the penalty allows it, for a method that asks for such (`reduced`).
    Raises DataError or UsageError on every rank.
    """
    positive = meant(source, positive)
    family = fitting(loss, source.labels, positive)
    found = shares(source, world, None if values is None else np.dtype(values))
    if fewer and device == "cpu" and exact_for(penalty):
        found = with_fewer(source, world, found)
    with world.together("mapping labels"):
        losses = [_linear(share, source, family, positive, bool(penalty.free)) for share in found]
    if class_weight is not None:
        losses = weighed(world, losses, class_weight)
    if device == "gpu":
        with world.together("copying rows to the GPU"):
            losses = [loss.on_device() for loss in losses]
    return Team.of(world, losses, penalty, seed)


def classes(source: Source, loss: str, positive: str | None) -> dict[str, str]:
    """Which labels become +1 and -1, as attributes; none for a loss that takes them as they are. Raises as `team_of`."""
    if not fitting(loss, source.labels, meant(source, positive)).labels.classes:
        return {}
    found, recipe = sides(source.labels, meant(source, positive)), recipe_of(source)
    called = (found.positive, found.negative) if recipe is None else map(recipe.class_of, found)
    return dict(zip(("label_positive", "label_negative"), called, strict=True))


def recipe_of(source: RowSource) -> Recipe | None:
    """The recipe of rows from a table."""
    return source.index.recipe if isinstance(source, Dataset) else None


def meant(source: RowSource, positive: str | None) -> str | None:
    """The label or rule that becomes +1, of one that may be called as a table calls its classes."""
    recipe = recipe_of(source)
    return positive if positive is None or recipe is None else recipe.label_of(positive)


def frame(source: Source) -> dict[str, str | int]:
    """What text must be read by to have the columns of a source, as attributes; none for what is not from text."""
    index = source.index if isinstance(source, Dataset) else None
    if index is not None and (index.recipe is not None or index.ids is not None):
        return {"normalize": index.normalize}
    if index is None or index.numbering is None:
        return {}
    return {"number_base": index.numbering.base, "normalize": index.normalize}


def fitting(loss: str, labels: Labels, positive: str | None) -> Family:
    """The loss of a name, where it takes the labels of the data set. Raises UsageError, DataError. Not collective."""
    family = find(loss)
    if positive is not None and not family.labels.classes:
        able = " and ".join(name for name, entry in catalogue().items() if entry.build.labels.classes)
        raise UsageError(f"positive makes two classes, for {able}: leave it out with the {loss} loss")
    family.labels.check(labels, family.name)
    return family


def _linear(share: Share, source: Source, family: Family, positive: str | None, intercept: bool) -> Linear:
    y = binary_labels(share.labels, source.labels, positive) if family.labels.classes else share.labels
    weights, offset = (np.empty(0) if each is None else each for each in (share.weight, share.offset))
    return Linear(share.matrix, y, family, weights, intercept, offset)
