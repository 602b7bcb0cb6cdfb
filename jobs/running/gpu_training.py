"""``mpiopt train --device gpu``: a GPU for every rank, room for the vectors, warm kernels."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.kernels import device
from mpiopt.problems.device_rows import take_card
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.slowed import Slowed
from mpiopt.training.drive import Exam
from mpiopt.transforms.transform import Transform

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train

VECTORS = 12  # (dim,) of a worker: its point, gradient and message, what rules, corrections and agreements keep


def check(job: "Train") -> None:
    """Refuse what runs on the CPU only, before anything is read. Raises CapabilityError. Not collective."""
    if job.device == "gpu" and job.noise is not None:
        raise CapabilityError("--noise is drawn on the CPU: leave it out with --device gpu")


def take(job: "Train", world: "World") -> int:
    """Choose this rank's GPU, if the job wants one; how many ranks share it. Collective. Raises UsageError on every rank."""
    if job.device == "cpu":
        return 1
    told = world.tell_all((world.host, take_card(world)))
    return told.count(told[world.rank])


def ready(team: Team, exam: Exam | None, rule: Transform, sharing: int) -> None:
    """Check that the vectors fit, and compile what steps and examinations use. Collective. Raises UsageError.

    sharing : ranks on this GPU.
    """
    with team.world.together("compiling kernels for the GPU"):
        vectors = VECTORS * len(team.sites) * sharing
        device.demand(4 * vectors * team.dim, f"a training with {team.dim:,} parameters")
        x, first = device.library().zeros(team.dim, np.float32), team.sites[0].loss
        loss: Any = first.model if isinstance(first, Slowed) else first  # which would sleep
        rule.move(loss.value_grad(Point(x), np.zeros(min(loss.rows, 1), int))[1], x, rule.init(x), 0)
        for model in () if exam is None else exam.models[:1]:
            model.evaluate(x, np.zeros(min(model.rows, 1), int))
    team.world.barrier()
