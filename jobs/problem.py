"""From a source of rows to the team of sites that a method runs on."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.labels import binary_labels, sides
from mpiopt.io.source import Share, Source, open_source, shares
from mpiopt.problems.least_squares import LeastSquares
from mpiopt.problems.linear import Linear
from mpiopt.problems.logistic import Logistic
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.solve import Solve
    from mpiopt.problems.penalties import Penalty

FAMILIES = {"logistic": Logistic, "least_squares": LeastSquares}


def opened(job: "Solve", world: "World") -> tuple["Solve", Source]:
    """The source of a job's rows, and the job with the type of its values, which is that of the source if none is given.

    Collective. Raises DataError or UsageError on every rank.
    """
    source = open_source(job.data, world)
    with world.together(f"opening {job.data}"):
        return replace(job, values=job.values or source.values), source


def team_of(
    source: Source,
    world: "World",
    penalty: "Penalty",
    *,
    loss: Literal["logistic", "least_squares"] = "logistic",
    positive: str | None = None,
    values: Literal["float32", "float64"] | None = None,
    seed: int = 0,
    device: Literal["cpu", "gpu"] = "cpu",
) -> Team:
    """Read every worker's rows and team them up; a free coordinate of the penalty is the intercept. Collective.

    positive : the class or rule that becomes +1 (logistic loss). values : type of the
    stored entries, None for that of the source.
    device : where the rows are to be; see `mpiopt.jobs.gpu.take`.
    Raises DataError or UsageError on every rank.
    """
    if positive is not None and loss != "logistic":
        raise UsageError(f"--positive makes two classes for the logistic loss: leave it out with --loss {loss}")
    found = shares(source, world, None if values is None else np.dtype(values))
    family = FAMILIES[loss]()
    with world.together("mapping labels"):
        losses = [_linear(share, source, family, positive, bool(penalty.free)) for share in found]
    if device == "gpu":
        with world.together("copying rows to the GPU"):
            losses = [loss.on_device() for loss in losses]
    return Team.of(world, losses, penalty, seed)


def classes(source: Source, loss: str, positive: str | None) -> dict[str, str]:
    """Which labels become +1 and -1, as attributes; none for a loss that takes them as they are. Raises as `team_of`."""
    if FAMILIES[loss] is not Logistic:
        return {}
    found = sides(source.labels, positive)
    return {"label_positive": found.positive, "label_negative": found.negative}


def _linear(share: Share, source: Source, family: Logistic | LeastSquares, positive: str | None, intercept: bool) -> Linear:
    logistic = isinstance(family, Logistic)
    y = binary_labels(share.labels, source.labels, positive) if logistic else share.labels
    weights = np.empty(0) if share.weight is None else share.weight
    return Linear(share.matrix, y, family, weights, intercept)
