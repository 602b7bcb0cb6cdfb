"""What `mpiopt solve` puts into the script of a run: rows, a team, and the solve itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.io.dataset.beside import OFFSET
from mpiopt.io.dataset.linear_team import classes, frame, team_of
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.source import Source
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.machine.node import compiled
from mpiopt.jobs.running import class_data, feature_groups, gpu_solving, penalty_factors
from mpiopt.jobs.running.held_out import HeldOut
from mpiopt.jobs.running.inferring import Inferring, left_out
from mpiopt.jobs.running.linear_data import opened, penalty_of
from mpiopt.jobs.running.more_columns import NodeColumns
from mpiopt.jobs.running.patience import PatientStop
from mpiopt.jobs.running.run_script import Course, Outcome, carried_out
from mpiopt.jobs.running.solve_outcome import FINAL, facts, lines
from mpiopt.jobs.running.warm_up import warm
from mpiopt.kernels.device.launch import library
from mpiopt.methods import find
from mpiopt.methods.reducing import Reducing
from mpiopt.problems.device_rows import take_card
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Team
from mpiopt.problems.reduced import brings

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve


def solving(job: "Solve", method: Method, stop: Stop, world: "World", console: Console) -> dict[str, Any]:
    """Solve and record, and compare with the CPU if asked to. Collective. Raises MpioptError on every rank."""
    hooks = SolveHooks(job, method, stop, world, console)
    found = carried_out(hooks, world, console)
    hooks.demand_errors()
    return found | (hooks.compared() if job.check_against == "cpu" else {})


class SolveHooks:
    """See `run_script.Hooks`."""

    doing = "solving"

    def __init__(self, job: "Solve", method: Method, stop: Stop, world: "World", console: Console) -> None:
        self.job, self.method, self._stop = job, method, stop
        self._world, self._console = world, console

    def opened(self) -> Mapping[str, Any]:
        """Choose the GPU, if one is wanted, and find the rows."""
        if self.job.device == "gpu":
            take_card(self._world)
        elif not compiled():
            self._console.note("compiling kernels: once on this machine, about 10 seconds")
        self._console(f"reading {self.job.data}")
        self.job, self._source = opened(self.job, self._world)
        self._factors = penalty_factors.factors_of(self.job, self._source, self._world)
        self._groups = feature_groups.groups_of(self.job, self._source, self._world)
        self._inferring = Inferring.of(self.job, self._source)
        self._test = None if self.job.test is None else HeldOut(self.job, self._source, self._world)
        told = {"penalty_factors": penalty_factors.digest(self._factors), "groups": feature_groups.digest(self._groups)}
        return identity(self.job, self._source, self._world) | told

    @property
    def source(self) -> Source:
        """The rows, once they are opened."""
        return self._source

    @property
    def factors(self) -> Array | None:
        """What the penalty of each feature is multiplied by, (features,), once the rows are opened; None for 1."""
        return self._factors

    @property
    def made(self) -> Made:
        """How their features were made."""
        return self._source.index.made if isinstance(self._source, Dataset) else Made()

    def demand_start(self, size: int) -> None:
        """It has to be of as many features."""
        classes = class_data.margins(self.job, self._source)
        if size != self._source.cols * (classes or 1):
            told = "" if classes is None else f" of {classes} classes"
            raise UsageError(
                f"{self.job.from_} has {size:,} coefficients, but {self._source.name} has {self._source.cols:,} "
                f"features{told}: start from a run on the same features"
            )

    def built(self) -> tuple[Team[Any], dict[str, Any]]:
        """The team on its device, every kernel warm."""
        if self.job.multiclass is not None:
            self._team: Team[Any] = class_data.class_team(
                self.job, self._source, self._world, isinstance(self.method, Reducing)
            )
            class_data.warm_classes(self._team)
            return self._told()
        self._team = self._placed(self.job.device)
        if self._inferring is not None:
            self._team = self._inferring.prepared(self._team)
        if self.job.device == "gpu":
            gpu_solving.ready(self._team, self.method.dvectors)
        else:
            warm(self._team)
        return self._told()

    def _told(self) -> tuple[Team[Any], dict[str, Any]]:
        """The team, and what the run file says of it from the start; rows to test on are read."""
        self._about = described(self.job, self._source) | {"weight": self._team.weight}
        if self._factors is not None:
            self._about |= {"penalty_factors": str(self.job.penalty_factors)}
        if self._groups is not None:
            self._about |= {"groups": str(self.job.groups), "group_count": int(self._groups.max()) + 1}
        if self._test is not None:
            self._test.read()
        return self._team, dict(self._about)

    def ended(self, course: Course) -> Outcome:
        """The solution, certified."""
        test, losses = self._test, course.noted("test_loss")
        if self.job.patience is not None:
            self._stop = PatientStop(**vars(self._stop), patience=self.job.patience, losses=losses)
        # nobody here holds where it begins: a run that goes on can then give up what it replaces
        self._found = solve(
            self.method,
            self._team,
            course.standing() or start(self.job, self._team, self._source),
            self._stop,
            course.watch,
            [  # a checkpoint last: what goes on from it does not say these again
                *NodeColumns.of(self.method, self._team, course.note),
                *([] if test is None else [test.keeper(self.method, self._team, course.note, losses)]),
                *course.keep,
            ],
            course.interruption,
        )
        found = facts(self.job, self._found, self._about["features"], self._groups, brings(self._team))
        told = lines(self.job, self._about, self._found, found, self._world)
        if test is not None:
            seen = test.figures(self._found.x)
            found, told = found | seen, [*told, ("test", test.line(seen))]
        final = FINAL if test is None else (*FINAL, *seen)
        beside, classes = dict[str, Array](), class_data.margins(self.job, self._source)
        if self._inferring is not None and self._found.reason is not Reason.INTERRUPTED:
            line, beside = self._inferring.beside(self._team, self._found)
            told = [*told, ("errors", line)]
        return Outcome(
            self._found,
            self._found.reason.converged,
            found,
            final,
            told,
            self.job.intercept,
            beside,
            self.made,
            classes=classes,
        )

    def demand_errors(self) -> None:
        """Raise MpioptError on every rank where standard errors were asked for and there are none."""
        if self._inferring is not None:
            self._inferring.demand()

    def compared(self) -> dict[str, Any]:
        """What the CPU makes of the same. Collective. Raises NumericalError on every rank where it is something else."""
        again, rows = (lambda team, x: solve(self.method, team, x, self._stop)), self._placed("cpu")
        return gpu_solving.compare(self._team, rows, self._found, again, self._console)

    def _placed(self, device: Literal["cpu", "gpu"]) -> Team[Linear]:
        """The team that the job asks for, its rows on ``device``. Collective."""
        job = self.job
        return team_of(
            self._source,
            self._world,
            penalty_of(job, factors=self._factors, groups=self._groups),
            loss=job.loss,
            positive=job.positive,
            values=job.values,
            seed=job.seed,
            device=device,
            class_weight=job.class_weight,
            fewer=isinstance(self.method, Reducing),
        )


def start(job: "Solve", team: Team, source: Source) -> Array:
    """Where to start, (dim,): zero, or another run's solution. Collective. Raises DataError."""
    x = np.zeros(team.dim)
    place = library().asarray if job.device == "gpu" else np.asarray
    if job.from_ is None:
        return place(x)
    with team.world.together(f"reading {job.from_}"):
        if team.world.rank == 0:
            if job.multiclass is None:
                x[: source.cols], x[source.cols :] = read_solution(job.from_)
            else:
                x[:] = class_data.begun(job, source)
    return place(team.world.bcast(x))


def identity(job: "Solve", source: Source, world: "World") -> dict[str, Any]:
    """What a checkpoint must have been of, for this job to go on from it."""
    defaults = {name: parameter.default for name, parameter in find(job.method).parameters.items()}
    return {
        "workers": world.workers,
        "method": job.method,
        "dataset": source.name,
        "content": source.content,
        "rows": source.rows,
        "features": source.cols,
        "nonzeros": source.nnz,
        "loss": job.loss,
        "positive": job.positive,
        "multiclass": job.multiclass,
        "class_weight": job.class_weight,
        "l2": job.l2,
        "l1": job.l1,
        "group_l1": job.group_l1 or None,
        "lower": job.lower,
        "upper": job.upper,
        "intercept": job.intercept,
        "values": job.values,
        "seed": job.seed,
        "compress": job.compress,
        "error_feedback": job.error_feedback if job.compress else None,
        "device": None if job.device == "cpu" else job.device,
        "left_out": left_out(job),
        **defaults,
        **job.given,
    }


def described(job: "Solve", source: Source) -> dict[str, Any]:
    """What is known of a solve before it starts: attributes of its file, beside those of every run."""
    return {
        "dataset": source.name,
        "rows": source.rows,
        "features": source.cols,
        "nonzeros": source.nnz,
        "loss": job.loss,
        "l2": job.l2,
        "l1": job.l1,
        "group_l1": job.group_l1 or None,
        "lower": job.lower,
        "upper": job.upper,
        "intercept": job.intercept,
        "positive": job.positive,
        "class_weight": job.class_weight,
        "compress": compressor_of(job),
        "link": link_of(job),
        "inference": job.inference,
        "inference_of": job.inference_of,
        "offset": (isinstance(source, Dataset) and OFFSET in source.index.beside) or None,
        **(classes(source, job.loss, job.positive) if job.multiclass is None else class_data.named(job, source)),
        **frame(source),
    }


def compressor_of(job: "Solve") -> str | None:
    """The compressor of a job: that of its option, or its method's own; None for messages as they are."""
    own = find(job.method).parameters.get("compress")
    return job.compress or (None if own is None else str(job.given.get("compress", own.default)))


def link_of(job: "Solve") -> str | None:
    """What is remembered of messages that the option compresses; methods of their own have their own memories."""
    return ("ef" if job.error_feedback else "plain") if job.compress else None
