"""What ``mpiopt solve --multiclass`` has in place of what one margin a row has: team, names, start, warm kernels."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.class_team import ClassLoss, class_labels, class_names, class_team_of
from mpiopt.io.dataset.class_weight import BALANCED
from mpiopt.io.dataset.source import Source
from mpiopt.io.runs.class_fitted import ClassFitted
from mpiopt.jobs.running.linear_data import penalty_of
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import offers
from mpiopt.problems.reduced import reducible, touch
from mpiopt.problems.rows_by_class import RowsByClass
from mpiopt.problems.several import Separable
from mpiopt.work.class_models import ClassModel
from mpiopt.work.local_solvers import DualDescent, NewtonCG

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve


def check(job: "Solve") -> None:
    """Refuse what is for one margin a row, before anything is read. Raises CapabilityError, UsageError. Not collective."""
    if job.multiclass is None:
        return
    if job.positive is not None:
        raise UsageError("--positive makes two classes, and --multiclass tells all apart: leave one of them out")
    if job.class_weight not in (None, BALANCED):
        raise UsageError(f"--class-weight {job.class_weight} is for two classes: with --multiclass give {BALANCED}")
    for name, asked in (
        ("--inference", job.inference),
        ("--dry-run", job.dry_run),
        ("--device gpu", job.device == "gpu"),
        ("--penalty-factors", job.penalty_factors),
        ("--group-l1", job.group_l1),
    ):
        if asked:
            raise CapabilityError(f"{name} is for one margin a row: leave it, or --multiclass {job.multiclass}, out")


def margins(job: "Solve", source: Source) -> int | None:
    """How many classes are told apart; None for a problem of one margin a row. Raises DataError. Not collective."""
    return None if job.multiclass is None else len(class_labels(source))


def class_team(job: "Solve", source: Source, world: "World", fewer: bool) -> Team[ClassLoss]:
    """The team that the job asks for; fewer : as for `team_of`. Collective. Raises MpioptError on every rank."""
    assert job.multiclass is not None
    return class_team_of(
        source,
        world,
        penalty_of(job, margins=len(class_labels(source))),
        job.multiclass,
        loss=job.loss,
        values=job.values,
        seed=job.seed,
        class_weight=job.class_weight,
        fewer=fewer,
    )


def named(job: "Solve", source: Source) -> dict[str, str]:
    """What the classes are called, as attributes. Raises DataError. Not collective."""
    return {"multiclass": str(job.multiclass), "class_names": json.dumps(class_names(source))}


def begun(job: "Solve", source: Source) -> Array:
    """The solution of another run as a point (dim,). Raises DataError, UsageError. Not collective."""
    model = ClassFitted.read(str(job.from_))
    if model.classes != class_names(source):
        raise UsageError(f"{job.from_} tells other classes apart than {source.name} has: start from a run on the same")
    table = np.vstack([model.x, model.intercept[None]]) if job.intercept else model.x
    return table.reshape(-1)


def warm_classes(team: Team[ClassLoss]) -> None:
    """Call every kernel that a solve may use on two small rows, with the types that it will see on this rank. Collective."""
    with team.world.together("compiling kernels"):
        loss = team.sites[0].loss
        rows = min(2, loss.rows)
        matrix = CSR.empty(rows, rows, 2, loss.matrix.data.dtype)
        matrix.indptr[:], matrix.indices[:], matrix.data[:] = np.arange(rows + 1), 0, 1
        small = replace(loss, matrix=matrix, y=loss.y[:rows], weights=loss.weights[:rows])
        at = small.point(np.zeros(small.dim))
        small.value_grad(at)
        small.hessian(at)(at.x)
        small.diagonal(at)
        small.plane(at, np.zeros((1, small.margin_count)), np.zeros(1))
        small.bregman(at, at.known)
        small.dual(at, small.dual_sums(at))
        if reducible(loss) and loss.matrix.fewer is None:
            touch(small)
        if offers(small, Separable):
            _warm_models(small)
    team.world.barrier()


def _warm_models(loss: Separable) -> None:
    """What the form classes of spcg solves its local models by."""
    for solver in (DualDescent(), NewtonCG()):
        if loss.single(0).descends or isinstance(solver, NewtonCG):
            rows = RowsByClass(loss, loss.matrix)
            model = ClassModel(rows, rows, np.empty(0), np.empty(0), 1.0, solver)
            which, margins = np.arange(loss.classes), np.zeros((loss.classes, loss.rows))
            alpha = model.begun(margins).reshape(loss.rows, -1) if model.dual else None
            model(which, np.ones((rows.lines, loss.classes)), margins, alpha, 0)
