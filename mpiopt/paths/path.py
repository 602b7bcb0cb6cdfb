"""Fits along falling penalties, each begun where those before lead to, of all rows and without each of some folds, as a method.

One round is one penalty: a solve of all rows, and one for each fold, which is then looked at. So the one loop records, keeps
checkpoints, and goes on from them; what the fits begin at (`fitting`) is all that they know of those before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import Driven, Keeper, Standing, drive, undisturbed
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Measured, Method, Named, Run
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Limits, Reason, Stop, Watcher
from mpiopt.metrics.figures import Rows, figures, of_classes
from mpiopt.paths.choice import standard_error
from mpiopt.paths.fitting import UNSEEN, Fitting
from mpiopt.paths.folds import weighed
from mpiopt.paths.null_model import demand_penalised
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.per_feature import Net, with_factors
from mpiopt.problems.problem import Point, Team
from mpiopt.words import counted

KEPT = 3  # of the last penalties, whose answers tell where the next one lies
CLASSES, NUMBERS = ("mean_loss", "roc_auc", "accuracy"), ("mean_loss", "rmse", "r2")


class PathState(NamedTuple):
    """Where the solves stand, alike on all ranks; points are penalties that are done."""

    xs: Array  # (at most `KEPT`, 1 + folds, dim): of the last penalties, of all rows and without each fold
    path: Array  # (points, dim): of all rows
    proved: Array  # (points, 3): objective, gradient norm, certified gap
    rounds: Array  # (points,), of all solves together
    held: Array  # (points, folds, 3): figures of the rows that were held out
    slope: Array = UNSEEN  # see `Fits`


class PathRecord(NamedTuple):
    """One line of the history of a path; test figures are means over the folds."""

    round: int
    seconds: float
    objective: float
    gradient_norm: float
    gap: float
    bytes_sent: int
    vector_rounds: int
    messages: int
    l1: float = np.nan
    l2: float = np.nan
    nonzero: int = 0
    solve_rounds: int = 0
    test_loss: float = np.nan
    test_loss_error: float = np.nan
    test_figure: float = np.nan  # roc_auc, or rmse


def with_row(table: Array, row: Array, room: int) -> Array:
    """(n, dim) and one row more: in place behind it where an earlier call has left room for ``room`` rows, so that a path is
    not copied at every penalty. Rows that are there stay as they are."""
    base, n = table.base, len(table)
    if base is None or base.shape != (room, row.size) or table.ctypes.data != base.ctypes.data or n >= room:
        base = np.empty((max(room, n + 1), row.size))
        base[:n] = table
    base[n] = row
    return base[: n + 1]


@dataclass(frozen=True)
class PathFits(Named):
    """``inner`` at one penalty after the other.

    teams : all rows, then without each fold; of : per hosted worker the fold of each row. penalties : by path, each of which
    begins at 0. stop : of every solve. summed : whether penalties are what they are to all rows, and stand beside the sum of
    the losses, as C does: to fewer rows they are more. factors : (features,), what the penalty of each is multiplied by.

    Raises UsageError for factors of which too few are above 0.
    """

    inner: Method
    teams: tuple[Team[Linear], ...]
    of: tuple[Array, ...]
    penalties: tuple[tuple[ElasticNet, ...], ...]
    stop: Stop
    summed: bool = False
    factors: Array | None = None
    dvectors: int = 20

    def __post_init__(self) -> None:
        demand_penalised(self.factors)

    @property
    def points(self) -> list[ElasticNet]:
        """All penalties in their order."""
        return [penalty for path in self.penalties for penalty in path]

    @property
    def paths(self) -> Array:
        """Which path each is on."""
        return np.repeat(np.arange(len(self.penalties)), [len(path) for path in self.penalties])

    @property
    def figures(self) -> tuple[str, ...]:
        """What is looked at of held-out rows."""
        return CLASSES if self.teams[0].sites[0].loss.family.labels.classes else NUMBERS

    @cached_property
    def fitting(self) -> Fitting:
        """What solves at a penalty."""
        kinked = [self.whole(each) for each in self.points if each.l1]
        least = min(kinked, key=lambda one: one.l1, default=None)
        return Fitting(self.inner, self.teams, self.stop, self.summed, least, factors=self.factors)

    def whole(self, penalty: ElasticNet) -> Net:
        """One of the penalties, with the factors."""
        return with_factors(penalty, self.factors)

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Nothing is solved yet. Not collective."""
        folds, kinds = len(self.teams) - 1, len(self.figures)
        nothing = np.zeros((0, x.size)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, folds, kinds))
        points = PerWorker(Point(x) for _ in team.sites)
        return Run(points, None, PathState(np.tile(x, (1, folds + 1, 1)), *nothing))

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One penalty. Collective. Raises what a solve does."""
        state, paths = run.states, self.paths
        fresh = run.round == 0 or paths[run.round] != paths[run.round - 1]
        before = np.zeros_like(state.xs[:1]) if fresh else state.xs
        last = [self.whole(each) for each in self.points[max(run.round - len(before), 0) : run.round + 1]]
        found = self.fitting.at(last[-1], before, () if fresh else last[:-1], UNSEEN if fresh else state.slope)
        xs = found.xs[None] if fresh else np.concatenate([before, found.xs[None]])[-KEPT:]
        state = PathState(
            xs,
            with_row(state.path, found.xs[0], len(self.points)),
            np.vstack([state.proved, [found.proved]]),
            np.append(state.rounds, float(found.rounds)),
            np.concatenate([state.held, self._held(found.margins)[None]]),
            found.slope,
        )
        return Run(PerWorker(Point(found.xs[0]) for _ in team.sites), None, state, run.round + 1)

    def _held(self, margins: Sequence[Array]) -> Array:
        """Figures of the rows of each fold, by the fit without them, (folds, kinds). Collective."""
        team, family, found = self.teams[0], self.teams[0].sites[0].loss.family, []
        for k in range(len(self.teams) - 1):
            parts = [
                _looked_at(site.loss, seen[k + 1], each == k)
                for site, seen, each in zip(team.sites, margins, self.of, strict=True)
            ]
            found.append(Rows(*(np.concatenate(column) for column in zip(*parts, strict=True))))
        if self.figures is CLASSES:
            return of_classes(team.world, family, found)
        told = [figures(team.world, family, rows) for rows in found]
        return np.array([[each[name] for name in self.figures] for each in told]).reshape(len(found), len(self.figures))

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """Of the last penalty's fit of all rows. Not collective."""
        proved = run.states.proved
        return Measured(*(proved[-1].tolist() if len(proved) else (np.nan, np.nan, np.inf)))

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """That fit."""
        return run.points[0]


@dataclass(frozen=True)
class Followed:
    """What a path came to. x : (dim,), at the penalty that was chosen."""

    x: Array
    reason: Reason
    reason_text: str
    history: tuple[PathRecord, ...]

    @property
    def final(self) -> PathRecord:
        """The last line of the history."""
        return self.history[-1]


@dataclass(frozen=True)
class Along(Limits[PathRecord]):
    """When a path ends: behind its last penalty, or at a limit."""

    def reached(self, history: Sequence[PathRecord]) -> tuple[Reason, str] | None:
        """See `Limits`."""
        if history[-1].round == self.rounds:
            return Reason.PATH, f"{Reason.PATH.sentence[:-1]} ({counted(history[-1].round, 'point')})."
        return super().reached(history)


def follow(
    method: PathFits,
    x: Array | Standing[PathRecord],
    limits: Along,
    watch: Sequence[Watcher[PathRecord]] = (),
    keep: Sequence[Keeper[PathRecord]] = (),
    interruption: Any = undisturbed,
) -> Driven[PathRecord]:
    """Follow a path from x (dim,), the same on every rank, or from where it stood. Collective. Raises what a solve does."""
    return drive(method, method.teams[0], x, partial(_record, method), limits, watch, keep, interruption)


def _record(method: PathFits, run: Run, clock: float, word: str) -> tuple[PathRecord, bool, str]:
    """What is known of a point. Collective; the tally is paused by the caller."""
    world, state, k = method.teams[0].world, run.states, run.round - 1
    sent, seconds, word = world.tallied(clock, word, fingerprint(run, part=run.round), f"after point {run.round}")
    counts = sent, world.tally.vector_rounds, world.tally.messages
    record = PathRecord(run.round, seconds, np.nan, np.nan, np.inf, *counts)
    if k >= 0:
        penalty, held, (objective, slope, gap) = method.points[k], state.held[k], state.proved[k].tolist()
        record = record._replace(objective=objective, gradient_norm=slope, gap=gap, l1=penalty.l1, l2=penalty.l2)
        record = record._replace(nonzero=int(np.count_nonzero(state.path[k])), solve_rounds=int(state.rounds[k]))
        if len(held):
            loss, figure = held[:, :2].mean(0).tolist()
            record = record._replace(
                test_loss=loss, test_loss_error=float(standard_error(held[None, :, 0])[0]), test_figure=figure
            )
    return record, True, word


def _looked_at(loss: Linear, margins: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Margins, labels and weights of some rows of a worker."""
    return loss.shifted(margins)[rows], loss.y[rows], weighed(loss)[rows]
