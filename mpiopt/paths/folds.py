"""Which rows are held out together, whatever the ranks and workers: folds with the classes in equal parts, or by groups."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Team


def folds(team: Team[Linear], count: int, groups: Sequence[Array] = ()) -> list[Array]:
    """The fold of every row, (rows,) per hosted worker, from 0 to count - 1. Collective.

    Drawn by the team's seed. groups : per hosted worker a number for each row, (rows,): rows of one number are in one fold;
    without, the rows of a class are shared out evenly. Raises UsageError on every rank for fewer than 2 folds, or more than
    there are groups, or rows of the rarest class.
    """
    if count < 2:
        raise UsageError(f"{count} folds cannot be made: give at least 2, or none")
    rng = team.sites[0].streams("folds")
    if groups:
        return _by_group(team, count, groups, rng)
    losses = [site.loss for site in team.sites]
    classes = (1.0, -1.0) if losses[0].family.labels.classes else (None,)
    out = [np.zeros(loss.rows, np.int64) for loss in losses]
    for label in classes:
        masks = [np.ones(loss.rows, bool) if label is None else loss.y == label for loss in losses]
        counts = [each for rank in team.world.tell_all([int(mask.sum()) for mask in masks]) for each in rank]
        if sum(counts) < count:
            what = "rows" if label is None else f"rows of the class {label:+g}"
            raise UsageError(f"{count} folds cannot be made of {sum(counts)} {what}: give fewer folds")
        drawn = rng.random((-(-sum(counts) // count), count)).argsort(1, "stable").reshape(-1)
        at = sum(counts[: team.world.hosted.start])
        for fold, mask in zip(out, masks, strict=True):
            fold[mask] = drawn[at : (at := at + int(mask.sum()))]
    return out


def _by_group(team: Team[Linear], count: int, groups: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    known = np.unique(np.concatenate(team.world.tell_all(np.unique(np.concatenate(groups)))))
    if known.size < count:
        raise UsageError(f"{count} folds cannot be made of {known.size} groups of rows: give fewer folds")
    fold = rng.permutation(known.size) % count
    return [fold[np.searchsorted(known, each)] for each in groups]


def without_fold(team: Team[Linear], of: Sequence[Array], held: int) -> Team[Linear]:
    """The team with weight 0 for the rows of a fold; the rows themselves are shared with it. Collective."""
    losses = [
        replace(site.loss, weights=weighed(site.loss) * (each != held)) for site, each in zip(team.sites, of, strict=True)
    ]
    return Team.of(team.world, losses, team.penalty, team.sites[0].streams.seed)


def weighed(loss: Linear) -> Array:
    """The rows' weights, (rows,)."""
    return loss.weights if loss.weights.size else np.ones(loss.rows)
