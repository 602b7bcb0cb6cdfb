"""What the workers of `class_by_class` model: their own rows, or, where these are few beside the rounds, all rows, of which
each has a copy and solves some of the classes.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.forms import Extent
from mpiopt.methods.spcg_rule import worth_copies
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Message, Team
from mpiopt.problems.rows_by_class import RowsByClass
from mpiopt.problems.shared_rows import shared_rows
from mpiopt.work.class_models import ClassModel
from mpiopt.work.counted import Counted
from mpiopt.work.local_solvers import Auto, DualDescent, NewtonCG

NONE = np.empty(0)


def models_of(team: Team[Any], solver: Auto, whole: DualDescent | None) -> tuple[tuple[ClassModel, ...], ClassModel | None]:
    """Of every hosted worker's rows, by ``solver``; and of all rows, by ``whole``, where that is given and worth it: the others
    are then looked at, and not solved. Collective: who holds which features (`Counted.begin`), or all rows."""
    first, l2 = _first(team), team.penalty.l2
    if whole is not None and worth_copies(Extent.of(first), team.sites[0].loss.classes):
        loss = shared_rows(team)
        rows = [RowsByClass(site.loss, site.loss.matrix) for site in team.sites]
        copy = RowsByClass(loss, loss.matrix)
        looked = tuple(ClassModel(each, each, NONE, NONE, l2, NewtonCG()) for each in rows)
        return looked, ClassModel(copy, copy, NONE, NONE, l2, whole)
    held = Counted(NewtonCG()).begin(np.zeros(first.dim), first)
    with team.world.together("setting up the method"):
        models = [
            ClassModel.of(site.loss, l2, each.spread, each.mine, solver) for site, each in zip(team.sites, held, strict=True)
        ]
    return tuple(models), None


def shared_step(copy: ClassModel, which: Array, slope: Array, x: Array, worker: int, team: Team[Any], turn: int) -> Message:
    """What a worker finds of the classes that are its own, on all rows, and 0 for the others, (lines * k,) float32. Not
    collective.

    which : (k,), the classes at hand; slope, x : (lines, k), the gradients of F, and where; turn : the round.
    """
    out = np.zeros(slope.shape, np.float32)
    own = np.flatnonzero(which % team.world.workers == worker)
    if own.size:
        margins = copy.plain.margins(x[:, own])
        alpha = copy.begun(margins, which[own]).reshape(-1, own.size)
        out[:, own] = copy(which[own], np.ascontiguousarray(slope[:, own]), margins, alpha, turn)
    return Message(out.reshape(-1), NONE)


def _first(team: Team[Any]) -> Team[Linear]:
    """The problem of the first class."""
    penalty = replace(team.penalty, free=int(team.penalty.free > 0))
    return replace(team, sites=tuple(replace(site, loss=site.loss.single(0), penalty=penalty) for site in team.sites))
