"""What is said of a solve at its end: numbers for the run file and JSON, lines for people."""

import json
from collections.abc import Mapping
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.engine.drive import Solution
from mpiopt.engine.forms import taken_by
from mpiopt.jobs.cli.console import size
from mpiopt.jobs.reports.comparison import compressing
from mpiopt.methods.by_owner import parts_of
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve

BROUGHT, MADE = "with the data set", "at the start"  # where fewer coordinates are from
SHOWN = 8  # classes that are named
FINAL = (
    *("gradient_norm", "gap", "tight_gap", "coefficient_error"),
    *("form", "form_why", "coordinates", "coordinates_a_worker", "reduction"),
)


def facts(
    job: "Solve", solution: Solution, features: int, groups: Array | None = None, brought: bool = False
) -> dict[str, Any]:
    """What is known of the answer, beside what is of every run's.

    groups : (features,), where they are in such. brought : whether rows came in fewer columns.
    """
    proved, taken = solution.certificate, taken_by(solution.run)
    x = on_host(solution.x)
    coordinates = None if taken is None or solution.run is None else solution.run.points[0].x.size
    parts = parts_of(solution.run)
    coordinates = coordinates if parts is None else parts.dim
    fewer = coordinates is not None and coordinates < x.size
    intercepts = x.size // (features + 1) if job.intercept else 0  # one of each class, and last
    return {
        "objective": proved.objective,
        "gradient_norm": proved.gradient_norm,
        "gap": proved.gap,
        "tight_gap": proved.tight_gap,
        "coefficient_error": distance(proved.tight_gap, job.l2 if job.penalty_factors is None else 0.0),
        "nonzero_coefficients": int(np.count_nonzero(x[: x.size - intercepts])),
        **({} if groups is None else {"nonzero_groups": int(np.unique(groups[x[: groups.size] != 0]).size)}),
        "form": taken and taken.form,
        "form_why": taken and taken.why,
        "coordinates": coordinates,
        "coordinates_a_worker": None if parts is None else parts.most,
        "reduction": (BROUGHT if brought else MADE) if fewer and not job.kink else None,
    }


def distance(gap: float, l2: float) -> float:
    """How far, in norm, the penalised coefficients can be from the optimum's: F grows at least by l2/2 |x - x*|^2."""
    return sqrt(2 * gap / l2) if l2 > 0 else inf


def certified(found: Mapping[str, Any]) -> str:
    """What is proved, and how else to end where nothing is."""
    if not np.isfinite(found["gap"]):
        return "nothing: no bound applies; --gradient-tol ends at a gradient norm"
    tight = f", tight bound {found['tight_gap']:.2e}" if found["tight_gap"] < found["gap"] else ""
    hidden = found["tight_gap"] < np.finfo(float).eps * abs(found["objective"])
    below = " (below the rounding of F)" if hidden else ""
    error = found["coefficient_error"]  # infinite without an l2 penalty
    within = f"; coefficients within {error:.1e}" if np.isfinite(error) else ""
    return f"F - F* <= {found['gap']:.2e}{tight}{below}{within}"


def _fewer(found: Mapping[str, Any], solution: Solution) -> str:
    """In how many coordinates a method ran, where these are fewer than the coefficients or workers have parts of them, and
    whose they are."""
    count, most, brought = found["coordinates"], found["coordinates_a_worker"], found["reduction"] == BROUGHT
    if count is None or (count >= solution.x.size and most is None):
        return ""
    parts = "" if most is None else f", up to {most:,} a worker"
    return f", in {count:,} coordinates{', which came with the data set' * brought}{parts}"


def _shortened(names: list[str]) -> str:
    return ", ".join(names if len(names) <= SHOWN else [*names[: SHOWN - 2], "...", names[-1]])


def lines(
    job: "Solve", about: Mapping[str, Any], solution: Solution, found: Mapping[str, Any], world: "World"
) -> list[tuple[str, str]]:
    """A solve for people. about : of its data; found : `facts`."""
    last = solution.final
    penalty = (
        f"l2 {job.l2:g}" + (f", {job.kink.removeprefix('--')}" if job.kink else "") + (", intercept" if job.intercept else "")
    )
    fewer = f", {compressing(about)}" if about["compress"] else ""
    classes = f", class weights {job.class_weight}" if job.class_weight else ""
    constant = f" (C = {1 / (about['weight'] * job.l2):.6g})" if job.l2 else ""
    constant += f", times {job.penalty_factors}" if job.penalty_factors is not None else ""
    several = json.loads(about["class_names"]) if "class_names" in about else []
    count = about["features"] * max(1, len(several))
    support = f"{found['nonzero_coefficients']:,} of {count:,} coefficients are not 0"
    if "group_count" in about:
        support += f", in {found['nonzero_groups']:,} of {counted(about['group_count'], 'group')}"
    loss = f"{job.loss}, {job.multiclass} of {counted(len(several), 'class', 'classes')}" if several else job.loss
    signs = f"{about['label_positive']} is +1, {about['label_negative']} is -1" if "label_positive" in about else ""
    return [
        (
            "data",
            f"{about['dataset']}: {counted(about['rows'], 'row')}, {counted(about['features'], 'feature')}, "
            f"{counted(about['nonzeros'], 'nonzero')}",
        ),
        *([("labels", signs)] if signs else []),
        *([("labels", _shortened(several))] if several else []),
        ("problem", f"{loss}, {penalty}{classes}{constant}"),
        ("method", f"{job.method} on {counted(world.size, 'rank')}, {counted(world.workers, 'worker')}{fewer}"),
        *([("form", f"{found['form']}: {found['form_why']}{_fewer(found, solution)}")] if found["form"] else []),
        (
            "work",
            f"{counted(last.round, 'round')}, {counted(last.vector_rounds, 'vector round')}, "
            f"{size(last.bytes_sent)} sent, {last.seconds:.2f} s",
        ),
        ("objective", f"{found['objective']:.15g}, |gradient| {found['gradient_norm']:.2e}"),
        ("certified", certified(found)),
        *([("support", support)] if job.kink else []),
    ]
