"""``mpiopt path``: fits along falling penalties, the choice among them by rows held out, and a refit."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.path_options import PathOptions
from mpiopt.jobs.cli.run_options import demand_not_negative, kept
from mpiopt.jobs.cli.solve_options import DEFAULT
from mpiopt.jobs.running.job_files import apart, of_run

if TYPE_CHECKING:
    from mpiopt.comm.world import World


Path = PathOptions  # by the command's name


def run(job: PathOptions, world: "World", console: Console) -> dict[str, Any]:
    """Read, fit, choose, record, draw. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.following import PathHooks
    from mpiopt.jobs.running.run_script import carried_out

    job = complete(job)
    hooks = PathHooks(job, world, console)
    found = carried_out(hooks, world, console)
    if job.png is not None:
        hooks.draw(job.png)
    return found


def complete(job: PathOptions) -> PathOptions:
    """The job with the defaults that depend on other options. Raises UsageError for values that cannot be."""
    from mpiopt.jobs.reports.scores import demand_drawable
    from mpiopt.paths.lambdas import ratios

    demand_not_negative(job, "rounds", "gap_tol", "folds")
    apart(of_run(job))
    demand_drawable(job.png)
    if job.device == "gpu":
        raise CapabilityError("paths are followed on the CPU: leave --device gpu out")
    if job.folds == 0 and (job.fold_by is not None or job.choose != "loss"):
        raise UsageError("--fold-by and --choose are about rows that are held out: give --folds too")
    some = "max:0.01:50" if min(ratios(job.l1_ratio)) > 0 else "1e-1:1e-6:50"
    return kept(replace(job, data=DEFAULT if job.data is None else job.data, lambdas=job.lambdas or some))
