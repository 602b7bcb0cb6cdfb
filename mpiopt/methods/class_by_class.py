"""ClassByClass: SPCG's form counts for several classes, each against the rest: problems of their own in common messages.

    gradients of the classes at hand -> Mean;  T^-1 u_w of each (`work.class_models`) -> Mean;  a plane search of each class

Where all rows are less to send than the rounds of all classes, every rank is sent them, once, and workers share the classes
out (`class_copies`): a round is then a gradient and steps that lead to the minimum, each from one worker.

A class is at hand while its part of |grad F|^2 counts. So a run takes the rounds and messages of its slowest class, and the
bytes of all of them together; rows are read once for all. Steps go in float32: what they lack is a direction's last digits.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import PerRow, PerWorker
from mpiopt.methods.class_copies import models_of, shared_step
from mpiopt.outer.class_planes import searched
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.problems.several import Separable
from mpiopt.work.class_models import ClassModel
from mpiopt.work.corrected import refuse_rough
from mpiopt.work.local_solvers import Auto, DualDescent

KEPT = 2  # last steps that span a plane, beside the direction
REFRESH = 10  # rounds between exact recomputations of the margins
SMALL = 0.1  # of a class's part of |grad F|^2 on the average: classes with less of it wait


class ClassStep(NamedTuple):
    """The last step of every class, (lines * classes,)."""

    vector: Array


class ClassState(NamedTuple):
    """lengths, values : (classes,), squares of the gradients of F, and mean losses. steps : the last ones, in no order; the
    next takes the place ``turn``. By worker, (classes * rows,) one class after the other: margins; images, those of the steps;
    alpha, dual variables, row by row, or None where there are none.
    """

    lengths: Array
    values: Array
    steps: tuple[ClassStep, ...]
    turn: int
    margins: PerRow
    images: tuple[PerRow, ...]
    alpha: PerRow


@dataclass(frozen=True)
class ClassByClass(Named):
    """``solver`` : of the local models; whole : of a copy of all rows, None for none. held : the team that was looked at last,
    the models of its workers, and that of all rows, if there is one."""

    solver: Auto
    whole: DualDescent | None = None
    dvectors: int = 12
    needs: ClassVar[type] = Separable
    held: list[tuple[Team[Any], tuple[ClassModel, ...], ClassModel | None]] = field(
        default_factory=list, compare=False, repr=False
    )

    def _models(self, team: Team[Any]) -> tuple[ClassModel, ...]:
        """Collective when first asked for of a team, as `Counted.begin` of one class; all rows may be sent to every rank.

        Raises CapabilityError on every rank.
        """
        if not self.held or self.held[0][0] is not team:
            self.check(team, self)
            refuse_rough(team.penalty)
            self.held[:] = [(team, *models_of(team, self.solver, self.whole))]
        return self.held[0][1]

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Evaluate at x. Collective: two vector rounds, one of float32. Raises CapabilityError on every rank."""
        models = self._models(team)
        classes, steps = team.sites[0].loss.classes, tuple(ClassStep(np.zeros_like(x)) for _ in range(KEPT))
        margins = [model.plain.margins(_table(x, classes)) for model in models]
        alpha = PerRow(model.begun(each) if model.dual else None for model, each in zip(models, margins, strict=True))
        images = tuple(PerRow(np.zeros(each.size) for each in margins) for _ in steps)
        state = ClassState(np.zeros(classes), np.zeros(classes), steps, 0, _flat(margins), images, alpha)
        run = Run(PerWorker(Point(x) for _ in models), Message(np.zeros_like(x), np.zeros(1)), state)
        return self._measured(run, np.arange(classes), margins, team)

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round of the classes at hand. Collective: two vector rounds, one of float32, and a few small sums."""
        models, state, x = self._models(team), run.states, run.points[0].x
        classes = len(state.lengths)
        which = np.flatnonzero(state.lengths >= SMALL * sum(state.lengths.tolist()) / classes)
        point, slope = (_table(each, classes)[:, which] for each in (x, team.penalty.residual(x, run.agreed.vector)))
        margins = [_rows(each, classes)[which] for each in state.margins]
        direction = self._direction(models, which, slope, margins, run, team)
        directions = [direction, *(_table(each.vector, classes)[:, which] for each in state.steps)]
        images = []
        for w, model in enumerate(models):
            kept = [_rows(each[w], classes)[which] for each in state.images]
            images.append(np.ascontiguousarray(np.stack([model.plain.margins(direction), *kept], axis=1)))
        c = searched(team, [model.plain for model in models], which, point, directions, margins, images)
        step = sum(c[:, j] * each for j, each in enumerate(directions))
        x = _with(x, which, point + step)
        moved = [_along(each, c) for each in images]
        if run.round % REFRESH == REFRESH - 1:
            moved = [model.plain.margins(step) for model in models]
            margins = [model.plain.margins(point + step) for model in models]
        else:
            margins = [each + more for each, more in zip(margins, moved, strict=True)]
        state = self._stepped(state, which, step, margins, moved)
        run = run._replace(points=PerWorker(Point(x) for _ in models), states=state, round=run.round + 1)
        return self._measured(run, which, margins, team)

    def _direction(
        self, models: tuple[ClassModel, ...], which: Array, slope: Array, margins: list[Array], run: Run, team: Team[Any]
    ) -> Array:
        """What the models lead to, (lines, k); their dual variables change. Collective: a vector round of float32."""
        messages, classes, copy = [], len(run.states.lengths), self.held[0][2]
        if copy is not None:
            x = _table(run.points[0].x, classes)[:, which]
            shared = [shared_step(copy, which, slope, x, worker, team, run.round) for worker in team.world.hosted]
            return mean(team, shared, [1.0] * len(shared)).vector.astype(np.float64).reshape(slope.shape)
        for model, seen, alpha in zip(models, margins, run.states.alpha, strict=True):
            own = None if alpha is None else alpha.reshape(-1, classes)[:, which]
            found = model(which, slope, seen, own, run.round)
            if alpha is not None:
                alpha.reshape(-1, classes)[:, which] = own
            messages.append(Message(found.astype(np.float32).reshape(-1), np.empty(0)))
        return mean(team, messages).vector.astype(np.float64).reshape(slope.shape)

    def _stepped(self, state: ClassState, which: Array, step: Array, margins: list[Array], moved: list[Array]) -> ClassState:
        """With new margins of the classes at hand, and their step among the last ones."""
        place = state.turn
        for whole, part in zip(state.margins, margins, strict=True):
            _rows(whole, len(state.lengths))[which] = part
        for whole, part in zip(state.images[place], moved, strict=True):
            _rows(whole, len(state.lengths))[which] = part
        steps = list(state.steps)
        steps[place] = ClassStep(_with(steps[place].vector, which, step))
        return state._replace(steps=tuple(steps), turn=(place + 1) % KEPT)

    def _measured(self, run: Run, which: Array, margins: list[Array], team: Team[Any]) -> Run:
        """With what is known of the classes at hand where they are now. Collective: a vector round and a small sum."""
        messages, x = [], run.points[0].x
        for model, seen in zip(self._models(team), margins, strict=True):
            values, slopes = model.plain.slopes(which, seen)
            messages.append(Message(model.plain.combined(slopes).reshape(-1), values))
        found, state = mean(team, messages, name="gradient"), run.states
        whole = _with(run.agreed.vector, which, found.vector.reshape(-1, which.size))
        values = state.values.copy()
        values[which] = found.scalars
        residual, parts = _table(team.penalty.residual(x, whole), values.size), []
        for cut in team.world.slices(len(residual)):
            parts.append(np.einsum("ij,ij->j", residual[cut], residual[cut]))
        lengths = team.world.total(parts, "lengths")
        total = np.array([sum(values.tolist())])
        return run._replace(agreed=Message(whole, total), states=state._replace(lengths=lengths, values=values))

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """From the gradients at hand. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The common point."""
        return run.points[0]


def _table(x: Array, classes: int) -> Array:
    return x.reshape(-1, classes)


def _rows(flat: Array, classes: int) -> Array:
    return flat.reshape(classes, -1)


def _flat(each: list[Array]) -> PerRow:
    return PerRow(one.reshape(-1) for one in each)


def _with(x: Array, which: Array, part: Array) -> Array:
    """x (dim,) with other coefficients of some classes."""
    out = x.copy()
    out.reshape(len(part), -1)[:, which] = part
    return out


def _along(images: Array, c: Array) -> Array:
    """The margins of a step, (k, rows), from those of the directions (k, directions, rows)."""
    return np.einsum("kjr,kj->kr", images, c)
