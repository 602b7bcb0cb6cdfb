"""What `mpiopt path` puts into the script of a run: rows, folds, the path itself, the choice and the refit."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiopt.engine.drive import solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console, size
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.running.feature_names import FeatureNames
from mpiopt.jobs.running.run_script import Course, Outcome
from mpiopt.jobs.running.solve_outcome import FINAL, facts, lines
from mpiopt.jobs.running.solving import SolveHooks
from mpiopt.methods import find
from mpiopt.paths.choice import chosen
from mpiopt.paths.fitting import under
from mpiopt.paths.folds import folds, without_fold
from mpiopt.paths.lambdas import lambdas, penalties, ratios, steepest
from mpiopt.paths.null_model import demand_penalised
from mpiopt.paths.path import Along, Followed, PathFits, follow
from mpiopt.problems.columns import column, without
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.path_options import PathOptions


class PathHooks:
    """See `run_script.Hooks`; rows are opened and read as for a solve without a penalty."""

    doing = "following a path on"

    def __init__(self, job: "PathOptions", world: "World", console: Console) -> None:
        self.job, self._world, self._console = job, world, console
        self._given, self._shares = lambdas(job.lambdas or ""), ratios(job.l1_ratio)
        penalties(self._given, self._shares, 0, 1.0)  # which raises for what cannot be
        told = {one.name: getattr(job, one.name) for one in fields(Solve) if hasattr(job, one.name)}
        self._solve = Solve(**{**told, "l1": 0.0, "l2": 0.0, "gradient_tol": None})
        self._stop = Stop(rounds=job.rounds, gap=job.gap_tol)
        self._inner = SolveHooks(self._solve, find(job.method).make(), self._stop, world, console)

    def opened(self) -> Mapping[str, Any]:
        """Find the rows."""
        job, known = self.job, self._inner.opened()
        self._names = FeatureNames.of(self._inner.source)
        self._by = None if job.fold_by is None else self._names.place(job.fold_by, "folds")
        asked = {name: getattr(job, name) for name in ("lambdas", "l1_ratio", "folds", "fold_by", "gap_tol", "rounds")}
        return {**known, **asked}

    def demand_start(self, size: int) -> None:
        """A path begins at 0."""
        raise UsageError("a path begins at 0: leave --from out")

    def built(self) -> tuple[Team[Linear], dict[str, Any]]:
        """The team, with the folds and the penalties beside it."""
        team, about = self._inner.built()
        groups = () if self._by is None else column(team, self._by)
        team = team if self._by is None else without(team, self._by)
        of = tuple(folds(team, self.job.folds, groups)) if self.job.folds else ()
        if self.job.choose == "auc" and not team.sites[0].loss.family.labels.classes:
            raise UsageError(f"--choose auc is for losses of two classes, and {self.job.loss} is none: choose by loss or 1se")
        if (factors := self._inner.factors) is not None and self._by is not None:
            factors[self._by] = 1  # of a column of zeros
        demand_penalised(factors)
        largest = steepest(team, factors, self._inner.method) if self._given.relative else 1.0
        paths = penalties(self._given, self._shares, int(self.job.intercept), largest)
        teams = (team, *(without_fold(team, of, k) for k in range(self.job.folds)))
        self._fits = PathFits(self._inner.method, teams, of, paths, self._stop, factors=factors)
        self._about = {name: value for name, value in about.items() if name not in ("l1", "l2")}
        return team, {**self._about, "path": len(self._fits.points)}

    def ended(self, course: Course) -> Outcome:
        """Follow the path, choose, and solve once more at what was chosen, from where the path was there."""
        team, job = self._fits.teams[0], self.job
        along = Along(len(self._fits.points), job.bytes, job.seconds)
        at, reason, text = follow(
            self._fits, course.standing() or team.zeros(), along, course.watch, course.keep, course.interruption
        )
        self._state = at.begun.states
        self._history = at.history
        done = len(self._state.path)
        whole = reason is Reason.PATH
        pick = self._picked() if whole and job.folds else done - 1
        penalty = self._fits.points[max(pick, 0)]
        start = self._state.path[pick] if done else team.zeros()
        stop = replace(self._stop, rounds=self._stop.rounds if whole else 0)
        with team.world.tally.paused():
            best = solve(self._last(penalty, pick), under(team, self._fits.whole(penalty)), start, stop)
        if whole and not best.reason.converged:
            reason, text = best.reason, best.reason_text
        end = Followed(best.x, reason, text, at.history)
        as_solve = replace(self._solve, l1=penalty.l1, l2=penalty.l2)
        found = facts(as_solve, best, self._about["features"]) | {"l1": penalty.l1, "l2": penalty.l2, "chosen": pick + 1}
        told = dict(lines(as_solve, self._about, best, found, self._world)) | self._lines(pick)
        buffers = {"path": self._state.path}
        final = (*FINAL, "l1", "l2", "chosen")
        made = self._inner.made
        return Outcome(end, end.reason.converged, found, final, list(told.items()), job.intercept, buffers, made)

    def _last(self, penalty: ElasticNet, pick: int) -> Method:
        """What fits once more: of a smooth penalty and proved already, the one of which a start is a gradient alone."""
        done = pick >= 0 and self._state.proved[pick, 2] <= (self._stop.gap or 0.0)
        smooth = self._fits.whole(penalty).smooth
        return find("lbfgs").make() if done and smooth else self._fits.inner

    def _picked(self) -> int:
        held, auc = self._state.held, self._fits.figures[1] == "roc_auc"
        return chosen(held[:, :, 0], held[:, :, 1] if auc else None, self._fits.paths, self.job.choose)

    def _lines(self, pick: int) -> dict[str, str]:
        """What is told of a path beside what is of a solve."""
        last, record = self._history[-1], self._history[pick + 1] if pick >= 0 else None
        each = "each of all rows" + (f" and without each of {counted(self.job.folds, 'fold')}" if self.job.folds else "")
        rounds = int(sum(one.solve_rounds for one in self._history))
        out = {
            "path": f"{last.round} of {counted(len(self._fits.points), 'penalty', 'penalties')}, {each}",
            "work": f"{counted(rounds, 'round')}, {counted(last.vector_rounds, 'vector round')}, {size(last.bytes_sent)} sent, "
            f"{last.seconds:.2f} s",
        }
        if record is not None and self.job.folds:
            figure = self._fits.figures[1].replace("roc_auc", "ROC AUC")
            out["chosen"] = (
                f"penalty {pick + 1}, l1 {record.l1:.6g}, l2 {record.l2:.6g}: loss of held-out rows {record.test_loss:.6f} "
                f"(standard error {record.test_loss_error:.6f}), {figure} {record.test_figure:.6f}"
            )
        return out

    def draw(self, path: Path) -> None:
        """Draw the path. Collective. Raises MpioptError on every rank."""
        with self._world.together(f"drawing {path}"):
            if self._world.rank == 0:
                from mpiopt.jobs.reports.path_plot import figure
                from mpiopt.jobs.reports.plots import save

                try:
                    save(
                        figure(self._history, self._state.path[:, : self._names.total], self._fits.paths, self._names.name),
                        path,
                    )
                except OSError as error:
                    raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        self._console.note(f"wrote {path}")
