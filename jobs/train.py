"""``mpiopt train``: train a model over all ranks, which agree in the way that a method says, and record how it went."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.run_options import demand_not_negative, kept
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.job_files import apart, of_run

if TYPE_CHECKING:
    from mpiopt.comm.world import World


def run(job: Train, world: "World", console: Console) -> dict[str, Any]:
    """Read, train, record. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.training import training

    job = complete(job)
    if job.lr_range is not None:
        from mpiopt.jobs.running.lr_range import suited, tested

        return tested(suited(job), world, console)
    if job.png is not None:
        raise UsageError("--png draws what --lr-range finds: give that too, or mpiopt report --png for a training")
    return training(job, world, console)


def complete(job: Train) -> Train:
    """The job with the defaults that depend on other options. Raises UsageError for values that cannot be."""
    from mpiopt.jobs.cli.method_options import demand_reach, rule_for
    from mpiopt.jobs.running import gpu_training
    from mpiopt.jobs.running.own_code import demand_suited
    from mpiopt.methods import TRAINERS, find

    demand_not_negative(job, "lr", "momentum", "warmup", "decay", "clip")
    for name in ("epochs", "record", "examine"):
        if not 0 < getattr(job, name) < inf:
            raise UsageError(
                f"--{name} {getattr(job, name):g}: give a finite number above 0"
                + (", and a large one where --seconds or --rounds are to end the run" if name == "epochs" else "")
            )
    if min(each := [int(part) for part in str(job.batch).split(",")]) < 1:
        raise UsageError(f"--batch {job.batch}: give a whole number of at least 1")
    if len(each) > 1 and (job.sampling is not None or job.ownership == "turns"):
        raise UsageError("--batch of unlike sizes is for shuffled epochs: leave --sampling and --ownership turns out")
    if job.accuracy is not None and not 0 < job.accuracy <= 1:
        raise UsageError(f"--accuracy {job.accuracy:g}: give a share of the test rows above 0 and at most 1, as 0.95")
    if job.sampling is not None and (job.ownership == "turns" or job.redundancy > 1):
        raise UsageError("--sampling draws from one share of rows: leave --ownership turns and --redundancy out")
    if job.redundancy < 1:
        raise UsageError(f"--redundancy {job.redundancy}: give a whole number of at least 1")
    if job.redundancy > 1 and job.ownership in ("shared", "turns"):
        raise UsageError(f"--redundancy is for sharded rows, and --ownership is {job.ownership}: leave one of them out")
    if job.split is not None and (job.redundancy > 1 or job.ownership in ("shared", "turns")):
        raise UsageError("--split is for sharded rows of one share each: leave --ownership and --redundancy out")
    if job.error_feedback and job.link not in ("plain", "ef"):
        raise UsageError(f"--error-feedback is --link ef, and --link is {job.link}: leave one of them out")
    if job.compress is None and (job.error_feedback or job.link != "plain" or job.back or job.force or job.per_block):
        raise UsageError(
            "--error-feedback, --link, --back, --per-block and --force are about compressed messages: give --compress too"
        )
    if job.per_block and job.compress is not None and job.compress.startswith(("vote", "powersgd")):
        raise UsageError(f"--compress {job.compress} knows of matrices, or needs no scale, as it is: leave --per-block out")
    if job.accuracy is not None and job.test is None and not job.data.startswith("blobs"):
        raise UsageError(f"--accuracy {job.accuracy:g} needs rows to examine on: give --test TEST.h5")
    apart(of_run(job))
    if job.strict and job.accuracy is None:
        raise UsageError("--strict is about an accuracy that is not reached: give --accuracy too")
    for name in ("own", "leader"):
        if getattr(job, name) and job.test is None and not job.data.startswith("blobs"):
            raise UsageError(f"--{name} examines more points on the test rows: give --test TEST.h5 too")
    demand_suited(job)
    gpu_training.check(job)
    entry = find(job.method, TRAINERS)
    demand_reach(job, entry)
    ownership = job.ownership or ("shared" if entry.shared else "sharded")
    link = "ef" if job.error_feedback else job.link
    if job.split is not None and ownership != "sharded":
        raise UsageError(
            f"{job.method} has its workers draw from the same rows, and --split gives them rows of their own: give "
            "--ownership sharded too"
        )
    return kept(replace(job, ownership=ownership, link=link, rule=rule_for(job, entry)))
