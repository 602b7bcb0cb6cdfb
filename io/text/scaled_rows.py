"""Parsed rows whose features are each multiplied by a number of their own."""

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.like_training import Frame
from mpiopt.io.dataset.scaling import Scaling, factors, moments
from mpiopt.io.text.parsed_rows import RunStore


def scaled(
    world: World, store: RunStore, cols: int, base: int, rows: int, how: Scaling, like: Frame | None
) -> np.ndarray | None:
    """Scale the values of all ``rows`` rows, whose features go by numbers from ``base`` on. Collective.

    like : whose factors are taken where there is one. Returns what each feature was multiplied by (cols,), None for 1.
    Raises OSError.
    """
    factor = None if like is None else like.made.scale
    if factor is None and (how == "none" or like is not None):
        return None
    if factor is None:
        factor = factors(moments(world, store.each, base + cols, rows), how, rows)[base:]
    by = np.concatenate([np.ones(base), factor])
    with world.together("scaling rows"):
        store.change(lambda run: setattr(run, "data", (run.data * by[run.indices]).astype(run.data.dtype)))
    return factor
