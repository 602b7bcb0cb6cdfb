"""Figures of predictions by a linear model: weighted sums over the rows of all ranks, in one small message or two."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.errors import CapabilityError
from mpiopt.losses.family import Family
from mpiopt.metrics.ranking import Ranking, areas_apart

BINS = 10
FEW = 1 << 17  # rows of a set that one rank has room for: each collective takes as long as a sort of some thousand


class Rows(NamedTuple):
    """This rank's rows with their predictions. margins, y : (rows,); weights : (rows,), or None, on all ranks, for all 1."""

    margins: Array
    y: Array
    weights: Array | None = None

    def sum(self, values: Array) -> float:
        """Their weighted sum over these rows."""
        return float(values.sum() if self.weights is None else values @ self.weights)

    def loss(self, family: Family, margins: Array) -> float:
        """The weighted sum of losses at some margins."""
        return family.value_residual(margins, self.y, self.w)[0]

    @property
    def w(self) -> Array:
        """The weights as losses take them: (0,) for all 1."""
        return self.y[:0] if self.weights is None else self.weights

    def sums(self, world: World, columns: Sequence[Array]) -> Array:
        """Weighted sums over all ranks' rows, (columns,). Collective."""
        return world.total([np.array([self.sum(column) for column in columns])], "figures")


def ranked(world: World, rows: Rows) -> Ranking:
    """The rows of two classes by their margins. Collective."""
    return Ranking.of(world, rows.margins, rows.y > 0, rows.weights)


def figures(world: World, family: Family, rows: Rows, ranking: Ranking | None = None) -> dict[str, float]:
    """Every figure that the labels of a loss allow; NaN where one is not defined. Collective, the same on every rank.

    ranking : of the rows by `ranked`, where it is there already.

    Two classes (-1, +1, told apart at margin 0, which counts as -1): roc_auc, average_precision, accuracy,
    balanced_accuracy (of the classes there are), precision, recall, f1; with probabilities, log_loss (the mean loss) and
    brier. Others: rmse, mae, r2 of the expected labels. All: mean_loss; for likelihoods, deviance (twice the sum of what a
    row's loss is above its least, McCullagh, Nelder, Generalized linear models, 1989) and pseudo_r2, 1 - deviance / deviance
    of the best constant (McFadden, Conditional logit analysis of qualitative choice behavior, 1974).
    """
    if family.labels.classes:
        found = _two_classes(world, family, rows, ranked(world, rows) if ranking is None else ranking)
    else:
        found = _numbers(world, family, rows)
    return found | _likelihood(world, family, rows)


def _two_classes(world: World, family: Family, rows: Rows, ranking: Ranking) -> dict[str, float]:
    up, said = rows.y > 0, rows.margins > 0
    true, false, missed, rest = rows.sums(world, [up & said, ~up & said, up & ~said, ~up & ~said]).tolist()
    area, precision = ranking.areas(world)
    recalls = _ratio(true, true + missed), _ratio(rest, rest + false)
    return {
        "roc_auc": area,
        "average_precision": precision,
        "accuracy": _ratio(true + rest, true + false + missed + rest),
        "balanced_accuracy": float(np.nanmean(recalls)) if true + rest + missed + false else np.nan,
        "precision": _ratio(true, true + false),
        "recall": recalls[0],
        "f1": _ratio(2 * true, 2 * true + false + missed),
    } | ({} if family.chance is None else {"brier": _brier(world, family.chance, rows)})


def of_classes(world: World, family: Family, each: Sequence[Rows]) -> Array:
    """Mean loss, area under the ROC curve and accuracy of several sets of rows of two classes, (sets, 3); as `figures`, with
    the sums of all in one message. Collective."""
    sums = [
        [
            rows.loss(family, rows.margins),
            rows.sum((rows.margins > 0) == (rows.y > 0)),
            rows.sum(np.ones_like(rows.y)),
            float(rows.y.size),
        ]
        for rows in each
    ]
    losses, right, weights, count = world.total([np.array(sums).reshape(-1, 4)], "figures").T
    if count.max(initial=0) <= FEW:
        areas = areas_apart(world, [(rows.margins, rows.y > 0, rows.weights) for rows in each])
    else:
        areas = np.array([ranked(world, rows).areas(world)[0] for rows in each])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([losses / weights, areas, right / weights], axis=1)


def _brier(world: World, chance: Callable[[Array], Array], rows: Rows) -> float:
    """Mean square of the probability that was not given to the label."""
    missed = chance(-rows.y * rows.margins)
    return _ratio(*rows.sums(world, [missed**2, np.ones_like(missed)]).tolist())


def _numbers(world: World, family: Family, rows: Rows) -> dict[str, float]:
    error = family.answer(rows.margins) - rows.y
    squares, absolute, labels, weight = rows.sums(world, [error**2, abs(error), rows.y, np.ones_like(error)])
    (spread,) = rows.sums(world, [(rows.y - _ratio(labels, weight)) ** 2])
    return {
        "rmse": float(np.sqrt(_ratio(squares, weight))),
        "mae": _ratio(absolute, weight),
        "r2": 1 - _ratio(squares, spread),
    }


def _likelihood(world: World, family: Family, rows: Rows) -> dict[str, float]:
    m, y = rows.margins, rows.y
    least = family.conjugates(m, y, rows.w, np.zeros_like(m))  # the conjugate at 0 is minus a row's least loss
    here = rows.loss(family, m)
    loss, excess, labels, weight = world.total(
        [np.array([here, here + least, rows.sum(y), rows.sum(np.ones_like(m))])], "figures"
    )
    found = {"mean_loss": _ratio(loss, weight)}
    if family.chance is not None:
        found["log_loss"] = found["mean_loss"]
    if family.link is None:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        constant = family.link(np.float64(labels) / weight)
    fitted = np.isfinite(constant)  # labels that are all alike need no model
    (null,) = world.total([np.array([rows.loss(family, np.full_like(m, constant)) + least if fitted else np.nan])], "figures")
    return found | {"deviance": 2 * excess, "pseudo_r2": 1 - _ratio(excess, null)}


def _ratio(part: float, whole: float) -> float:
    """part / whole, NaN for a whole of nothing."""
    return float(part / whole) if whole else float("nan")


def calibration(world: World, family: Family, rows: Rows) -> Array:
    """Rows, mean probability of +1 and share of +1 in ten equal intervals of that probability, (10, 3). Collective.

    Of empty intervals the last two are NaN. family : one with ``chance``.
    """
    if family.chance is None:
        raise CapabilityError(f"the {family.name} loss says no probability of a label, so that none can be calibrated")
    chance = family.chance(rows.margins)
    within = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], chance)
    weights = np.ones_like(chance) if rows.weights is None else rows.weights
    sums = [np.bincount(within, weights * column, BINS) for column in (np.ones_like(chance), chance, rows.y > 0)]
    counts, chances, ups = world.total([np.concatenate(sums).astype(float)], "figures").reshape(3, BINS)
    with np.errstate(invalid="ignore"):
        return np.stack([counts, chances / counts, ups / counts], axis=1)
