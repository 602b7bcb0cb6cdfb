"""``--device gpu``: what a solve needs beside the solve itself. A GPU for every rank, warm kernels, a check against the CPU."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.errors import CapabilityError, NumericalError, UsageError
from mpiopt.jobs.cli.console import Console, table
from mpiopt.kernels import device
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team, gradient
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import NewtonCG

if TYPE_CHECKING:
    from mpiopt.engine.drive import Solution
    from mpiopt.jobs.cli.solve_options import Solve

# methods whose works, exchanges and outer steps leave every vector where it is
METHODS = (
    "spcg",
    "dane",
    "server_dane",
    "hb_dane",
    "aide",
    "spag",
    "newton",
    "tron",
    "disco",
    "giant",
    "gradient",
    "heavy_ball",
    "nesterov",
    "prox_gradient",
    "fista",
    "lbfgs",
    "dcgd",
    "ef",
    "ef21",
    "diana",
    "rand_diana",
    "marina",
    "gdci",
    "vr_gdci",
)
AGREES = 1e-9  # relative difference of values and gradients, and of the optima's F, that passes
MORE = 5  # (dim,) of each further worker of a rank
ROW_VECTORS = 8  # (rows,) that a solve holds: margins, labels, residuals, curvatures, directions


def check(job: "Solve") -> None:
    """Refuse what runs on the CPU only, before anything is read. Raises CapabilityError, UsageError. Not collective."""
    if job.device == "cpu":
        if job.check_against is not None:
            raise UsageError("--check-against cpu compares a solve on a GPU with one on the CPU: give --device gpu too")
        return
    if job.method not in METHODS:
        raise CapabilityError(f"{job.method} runs on the CPU only: with --device gpu use one of {', '.join(METHODS)}")
    if job.l1 > 0 and job.method == "fista" and job.given.get("active_set", True):
        raise CapabilityError(
            "fista's active set is kept on the CPU: with --device gpu give --set active_set=false, or --method prox_gradient"
        )
    if job.kink and job.method == "spcg":
        raise CapabilityError(f"spcg with {job.kink} works on the CPU: with --device gpu give --method prox_gradient")


def ready(team: Team[Linear], dvectors: int) -> None:
    """Check that the vectors fit and compile every kernel that a solve may use. Collective. Raises UsageError."""
    with team.world.together("compiling kernels for the GPU"):
        rows = sum(site.loss.rows for site in team.sites)
        vectors = dvectors + MORE * (len(team.sites) - 1)
        device.demand(8 * (vectors * team.dim + ROW_VECTORS * rows), f"a solve with {team.dim:,} coefficients")
        _touch(team.sites[0].loss)
    team.world.barrier()


def _touch(loss: Linear) -> None:
    xp = device.library()
    at = loss.point(xp.zeros(loss.dim))
    slope = loss.value_grad(at)[1]
    at = at._replace(slope=slope)
    for k in (1, 2, 3):
        loss.plane(at, xp.zeros((k, loss.rows)), np.zeros(k))
    loss.bregman(at, at.known)
    phi = Reference.of(loss, L2(1.0, free=int(loss.intercept)), mu=1.0)
    NewtonCG(products=1)(phi, slope, at, ())


def compare(
    gpu: Team, cpu: Team, found: "Solution", solve: Callable[[Team, Array], "Solution"], console: Console
) -> dict[str, Any]:
    """Value and gradient at a random point, and the optimum, on both. Collective.

    solve : the same method on a team from a start. Raises NumericalError, on every rank, where they differ.
    """
    x = 0.1 * Streams(0)("check against").standard_normal(gpu.dim) / np.sqrt(gpu.dim)
    ours, theirs = (_slope(team, place(x)) for team, place in ((gpu, device.library().asarray), (cpu, np.asarray)))
    again = solve(cpu, np.zeros(cpu.dim))
    rows: list[tuple[str, float, float, float]] = [
        ("value at a random point", ours[0], theirs[0], _apart(ours[0], theirs[0])),
        ("|gradient| there", float(np.linalg.norm(ours[1])), float(np.linalg.norm(theirs[1])), _apart(ours[1], theirs[1])),
        ("F at the end", found.certificate.objective, again.certificate.objective, 0.0),
        ("seconds", found.final.seconds, again.final.seconds, 0.0),
    ]
    # two solves to a gap each may end that far apart
    least = min(rows[2][1], rows[2][2])
    allowed = max(0.0, found.certificate.gap, again.certificate.gap) / max(abs(least), 1e-300)
    rows[2] = (*rows[2][:3], _apart(rows[2][1], rows[2][2]))
    cells = [[name, f"{a:.12g}", f"{b:.12g}", f"{apart:.1e}" if name != "seconds" else ""] for name, a, b, apart in rows]
    console.show(table(["", "GPU", "CPU", "apart"], cells, "lrrr"))
    limits = (AGREES, AGREES, max(AGREES, allowed) if np.isfinite(allowed) else AGREES)
    for (name, _, _, apart), limit in zip(rows, limits, strict=False):
        if not apart <= limit:
            raise NumericalError(f"GPU and CPU differ in the {name} by {apart:.1e} of it, which is more than {limit:.1e}")
    return {"check": {name: {"gpu": float(a), "cpu": float(b), "apart": float(apart)} for name, a, b, apart in rows}}


def _slope(team: Team, x: Array) -> tuple[float, np.ndarray]:
    agreed = gradient(team, [site.loss.point(x) for site in team.sites], name="check")
    slope = on_host(agreed.vector + team.penalty.grad(x))
    return float(agreed.scalars[0]) + team.penalty.value(x), slope


def _apart(a: Any, b: Any) -> float:
    return float(np.linalg.norm(np.subtract(a, b)) / max(float(np.linalg.norm(b)), 1e-300))
