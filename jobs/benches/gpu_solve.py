"""The whole solve of ``mpiopt bench gpu``: seconds to a relative suboptimality on one card, and torch's L-BFGS beside it.

torch (where it is installed with CUDA) gets its sparse CSR tensors by rows and by columns ready made, all float64, and
stops at the first evaluation that is good enough.
"""

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.jobs.cli.console import Console, table
from mpiopt.kernels import device
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from mpiopt.comm.world import World

STEPS = 2000  # of L-BFGS at most


class Enough(Exception):
    """Raised to end the peer at the evaluation that reaches the target."""


def solving(made: Any, matrix: Any, y: Any, l2: float, target: float, world: "World", console: Console) -> dict[str, Any]:
    """Race to (F - F*) / (F(0) - F*) <= target, F* from a run to rounding. Collective."""
    xp = device.library()
    team = Team.of(world, [Linear(matrix, y, Logistic())], L2(l2))
    console("finding the optimum")
    best = solve(find("spcg").make(), team, xp.zeros(team.dim), Stop(rounds=100, gradient=1e-13))
    least, first = best.certificate.objective, best.history[0].objective
    good = least + target * (first - least)
    console("timing the solve")
    history = solve(find("spcg").make(), team, xp.zeros(team.dim), Stop(rounds=100, gradient=1e-13)).history
    reached = next(record for record in history if record.objective <= good)
    found = {
        "l2": l2,
        "target": target,
        "objective": least,
        "seconds": reached.seconds,
        "rounds": reached.round,
        "torch_seconds": torch_seconds(matrix, y, l2, good, console),
    }
    rows = [["spcg", f"{reached.seconds:.3f}", f"{reached.round} rounds"]]
    if found["torch_seconds"] is not None:
        rows.append(["torch L-BFGS", f"{found['torch_seconds']:.3f}", ""])
    console.show(f"\n{made.name}: lambda {l2:g}, to {target:g} of F(0) - F*\n")
    console.show(table(["method", "seconds", ""], rows, "lrl"))
    return found


def torch_seconds(matrix: Any, y: Any, l2: float, good: float, console: Console) -> float | None:
    """Seconds of torch's L-BFGS to an objective of at most ``good``; None without torch and CUDA, infinity where it fails."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available() or len(matrix.blocks) > 1:
        return None
    console("timing torch")
    rows, columns = matrix.blocks[0].lines, matrix.turned[0].lines
    forward, back = _tensor(torch, rows, matrix.shape), _tensor(torch, columns, matrix.shape[::-1])
    labels, n = torch.as_tensor(y, device="cuda"), matrix.shape[0]
    x = torch.zeros(matrix.shape[1], dtype=torch.float64, device="cuda", requires_grad=True)
    stepper = torch.optim.LBFGS(
        [x], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def evaluate() -> Any:
        with torch.no_grad():
            margins = labels * (forward @ x)
            value = torch.nn.functional.softplus(-margins).sum() / n + l2 / 2 * (x @ x)
            x.grad = back @ (-labels * torch.sigmoid(-margins) / n) + l2 * x
            if float(value) <= good:
                raise Enough
        return value

    torch.cuda.synchronize()
    start = perf_counter()
    try:
        stepper.step(evaluate)
    except Enough:
        return perf_counter() - start
    return float("inf")


def _tensor(torch: Any, lines: Any, shape: tuple[int, int]) -> Any:
    """A sparse CSR tensor of float64 entries over the lines' own offsets and indices."""
    start = torch.as_tensor(lines.start.astype(np.int32), device="cuda")
    index, data = (torch.as_tensor(part, device="cuda") for part in (lines.index, lines.data))
    return torch.sparse_csr_tensor(start, index, data.double(), size=shape)
