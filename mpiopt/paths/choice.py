"""Which penalty of a path to take, by figures of held-out rows."""

from typing import Literal

import numpy as np

from mpiopt.arrays import Array

Rule = Literal["loss", "auc", "1se"]


def standard_error(figures: Array) -> Array:
    """Of the mean over the folds, (points,), from (points, folds)."""
    return figures.std(1, ddof=1) / np.sqrt(figures.shape[1])


def chosen(losses: Array, areas: Array | None, paths: Array, rule: Rule) -> int:
    """The number of a point.

    losses, areas : (points, folds), mean losses and areas under the ROC curve; paths : (points,), which path each is on, of
    which the penalties fall. loss, auc : the best mean, the largest penalty of equal ones. 1se : the largest penalty on the
    path of the best loss whose loss is within one standard error of it (Breiman, Friedman, Olshen, Stone, Classification and
    regression trees, 1984, section 3.4.3).
    """
    if rule == "auc" and areas is not None:
        return int(np.argmax(areas.mean(1)))
    means = losses.mean(1)
    best = int(np.argmin(means))
    if rule != "1se":
        return best
    near = (paths == paths[best]) & (means <= means[best] + standard_error(losses)[best])
    return int(np.argmax(near))
