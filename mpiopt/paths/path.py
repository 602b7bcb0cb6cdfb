"""Fits along falling penalties, each begun at the one before, of all rows and without each of some folds, as a method.

One round is one penalty: a solve of all rows, and one for each fold, which is then looked at. So the one loop records, keeps
checkpoints, and goes on from them; what a solve begins at is all that it knows of the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import Driven, Keeper, Standing, drive, solve, undisturbed
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Measured, Method, Named, Run
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Limits, Reason, Stop, Watcher
from mpiopt.metrics.figures import Rows, figures
from mpiopt.paths.choice import standard_error
from mpiopt.paths.folds import weighed
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point, Team
from mpiopt.words import counted

CLASSES, NUMBERS = ("mean_loss", "roc_auc", "accuracy"), ("mean_loss", "rmse", "r2")


class PathState(NamedTuple):
    """Where the solves stand, alike on all ranks; points are penalties that are done."""

    xs: Array  # (1 + folds, dim): of all rows, and without each fold
    path: Array  # (points, dim): of all rows
    proved: Array  # (points, 3): objective, gradient norm, certified gap
    rounds: Array  # (points,), of all solves together
    held: Array  # (points, folds, 3): figures of the rows that were held out


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


@dataclass(frozen=True)
class PathFits(Named):
    """``inner`` at one penalty after the other.

    teams : all rows, then without each fold; of : per hosted worker the fold of each row. penalties : by path, each of which
    begins at 0. stop : of every solve.
    """

    inner: Method
    teams: tuple[Team[Linear], ...]
    of: tuple[Array, ...]
    penalties: tuple[tuple[ElasticNet, ...], ...]
    stop: Stop
    dvectors: int = 20

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

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Nothing is solved yet. Not collective."""
        folds, kinds = len(self.teams) - 1, len(self.figures)
        nothing = np.zeros((0, x.size)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, folds, kinds))
        points = PerWorker(Point(x) for _ in team.sites)
        return Run(points, None, PathState(np.tile(x, (folds + 1, 1)), *nothing))

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One penalty. Collective. Raises what a solve does."""
        state, paths = run.states, self.paths
        fresh = run.round > 0 and paths[run.round] != paths[run.round - 1]
        xs = np.zeros_like(state.xs) if fresh else state.xs.copy()
        found = [
            solve(self.inner, under(part, self.points[run.round]), x, self.stop) for part, x in zip(self.teams, xs, strict=True)
        ]
        xs = np.array([one.x for one in found])
        proved = found[0].certificate
        state = PathState(
            xs,
            np.vstack([state.path, xs[:1]]),
            np.vstack([state.proved, [[proved.objective, proved.gradient_norm, min(proved.gap, proved.tight_gap)]]]),
            np.append(state.rounds, float(sum(one.final.round for one in found))),
            np.concatenate([state.held, self._held(xs)[None]]),
        )
        return Run(PerWorker(Point(xs[0]) for _ in team.sites), None, state, run.round + 1)

    def _held(self, xs: Array) -> Array:
        """Figures of the rows of each fold, by the fit without them, (folds, kinds). Collective."""
        team = self.teams[0]
        out = np.zeros((len(xs) - 1, len(self.figures)))
        for k, x in enumerate(xs[1:]):
            parts = [_looked_at(site.loss, x, each == k) for site, each in zip(team.sites, self.of, strict=True)]
            rows = Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
            found = figures(team.world, team.sites[0].loss.family, rows)
            out[k] = [found[name] for name in self.figures]
        return out

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


def under(team: Team[Linear], penalty: ElasticNet) -> Team[Linear]:
    """The team with another penalty. Not collective."""
    return replace(team, sites=tuple(replace(site, penalty=penalty) for site in team.sites))


def _looked_at(loss: Linear, x: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Margins, labels and weights of some rows of a worker."""
    return loss.shifted(loss.margins(x))[rows], loss.y[rows], weighed(loss)[rows]
