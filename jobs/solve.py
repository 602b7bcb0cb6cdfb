"""``mpiopt solve``: fit a sparse linear model over all ranks in few rounds, and record how it went."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import replace
from inspect import formatannotation
from typing import TYPE_CHECKING, Any

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.run_options import demand_not_negative, kept
from mpiopt.jobs.cli.solve_options import DEFAULT, Solve
from mpiopt.jobs.running.job_files import apart, of_run

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.engine.method import Method
    from mpiopt.engine.stop import Stop

GAP_TOL = 1e-8  # where no tolerance is given


def run(job: Solve, world: "World", console: Console) -> dict[str, Any]:
    """Read, solve, record. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.solving import solving

    job = complete(job)
    method = method_of(job)
    if job.dry_run:
        from mpiopt.jobs.running.forecast import forecast

        return forecast(job, method_of, world, console)
    return solving(job, method, stop_of(job), world, console)


def complete(job: Solve) -> Solve:
    """The job with the defaults that depend on other options. Raises UsageError for values that cannot be."""
    from mpiopt.io.dataset.class_weight import pair
    from mpiopt.jobs.running import class_data, feature_groups, gpu_solving, inferring, penalty_factors
    from mpiopt.jobs.running.linear_data import penalty_of

    demand_not_negative(job, "rounds", "gradient_tol", "gap_tol", "l1", "group_l1", "l2")
    apart(of_run(job))
    if job.patience is not None and (job.test is None or job.patience < 1):
        raise UsageError(f"--patience {job.patience}: give a whole number of rounds, at least 1, and --test")
    if job.class_weight is not None:
        pair(job.class_weight)
    penalty_of(job)
    if job.gradient_tol is None and job.gap_tol is None:
        job = replace(job, gap_tol=GAP_TOL)
    class_data.check(job)
    gpu_solving.check(job)
    inferring.check(job)
    penalty_factors.check(job)
    feature_groups.check(job)
    return kept(replace(job, data=DEFAULT if job.data is None else job.data))


def method_of(job: Solve) -> "Method":
    """The method with its parameters. Raises UsageError, or CapabilityError naming methods for an L1 penalty."""
    from mpiopt.methods import SOLVERS, catalogue, find
    from mpiopt.methods.linked import SOLVING, linked

    if job.compress is None and (job.error_feedback or job.force):
        raise UsageError("--error-feedback and --force are about compressed messages: give --compress too")
    entry = find(job.method, SOLVERS)
    if job.kink and entry.smooth_only:
        able = ", ".join(name for name, other in catalogue().items() if not other.smooth_only)
        raise CapabilityError(f"{entry.name} needs a smooth penalty, and {job.kink} makes kinks: use --method {able}")
    given = job.given
    for name in given.keys() & entry.parameters.keys():
        kind, wrong = formatannotation(entry.parameters[name].annotation), type(given[name]).__name__
        if (wrong in ("str", "float") and wrong not in kind) or (wrong == "bool") is not (kind == "bool"):
            raise UsageError(f"{entry.name} takes {name} as {kind}; got {given[name]!r}")
    method = entry.make(**given)
    if job.compress is None:
        return method
    if "compress" in entry.parameters:
        raise UsageError(
            f"{entry.name} compresses its messages itself: give --set compress={job.compress} in place of --compress"
        )
    return linked(method, entry.name, job.compress, "ef" if job.error_feedback else "plain", force=job.force, advice=SOLVING)


def stop_of(job: Solve) -> "Stop":
    """The stopping rules."""
    from mpiopt.engine.stop import Stop

    return Stop(rounds=job.rounds, bytes=job.bytes, seconds=job.seconds, gradient=job.gradient_tol, gap=job.gap_tol)
