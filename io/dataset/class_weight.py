"""Weights by class: those of the user, or such that either class weighs the same."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.problems.linear import Linear

BALANCED = "balanced"


def pair(text: str) -> tuple[float, float] | None:
    """The factors of rows labelled -1 and +1 in NEG:POS; None for "balanced". Raises UsageError."""
    if text == BALANCED:
        return None
    try:
        negative, positive = map(float, text.split(":"))
    except ValueError:
        negative = positive = -1.0
    if not all(factor >= 0 and isfinite(factor) for factor in (negative, positive)):
        raise UsageError(f"`class_weight={text}`: give {BALANCED}, or two numbers that are not negative, NEG:POS, such as 1:10")
    return negative, positive


def weighed(world: World, losses: Sequence[Linear], text: str) -> list[Linear]:
    """The losses with the weights of their rows multiplied by those of their classes, -1 and +1. Collective.

    Balanced: half of all weight over that of the class, so that the weights of either class add up to as much (King, Zeng,
    Logistic regression in rare events data, 2001). Raises UsageError, DataError on every rank.
    """
    given = pair(text)
    family = losses[0].family
    if not family.labels.classes:
        raise UsageError(f"`class_weight={text}` is for losses of two classes, and {family.name} is none: leave it out")
    if given is None:
        both = world.total([np.array([_weights(loss) @ (loss.y < 0), _weights(loss) @ (loss.y > 0)]) for loss in losses])
        if not both.min() > 0:
            raise DataError("`class_weight=balanced` needs weight in both classes, and the rows of one weigh 0")
        given = both.sum() / (2 * both[0]), both.sum() / (2 * both[1])
    return [replace(loss, weights=_weights(loss) * np.where(loss.y > 0, given[1], given[0])) for loss in losses]


def _weights(loss: Linear) -> np.ndarray:
    return loss.weights if loss.weights.size else np.ones(loss.rows)
