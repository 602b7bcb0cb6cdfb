"""What theory says of drawing the rows of a data set by one law or another: `mpiopt methods sampling DATA.h5`."""

from math import ceil, log
from textwrap import fill
from typing import Any

import numpy as np

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.cli.console import WIDTH, Console, table
from mpiopt.methods import find
from mpiopt.numerics import theory
from mpiopt.problems.penalties import L2
from mpiopt.sampling.constants import RowConstants, row_constants
from mpiopt.sampling.laws import Law
from mpiopt.sampling.plans import plan_of

BLOCKS = 10


def constants_of(data: str, loss: str, l2: float, accuracy: float | None, console: Console) -> dict[str, Any]:
    """Print a table of the laws, by one process: expected smoothness, noise at the optimum, step, steps and rows to it.

    Raises UsageError where l2 or the accuracy is not above 0, CapabilityError for rows without such constants.
    """
    if not (l2 > 0 and (accuracy is None or accuracy > 0)):
        raise UsageError("theory is about strongly convex objectives and distances above 0: give `l2` and `accuracy` above 0")
    world = World(SelfComm())
    team = team_of(open_source(data, world), world, L2(l2), loss=loss)
    rows = team.sites[0].loss
    if not np.isfinite(rows.lipschitz):
        raise CapabilityError(
            f"the second derivative of {loss} has no bound, which the constants follow from: take another loss"
        )
    best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=500, gap=1e-10)).x
    c, far = row_constants(rows, l2, best), float(best @ best)
    near = 1e-3 * far if accuracy is None else accuracy
    size = round(theory.best_minibatch(rows.rows, c.whole, float(c.each.max()), float(c.squares.mean()), l2, near))
    texts = ["nice:1", f"nice:{size}", f"nice:{rows.rows}", "single:importance", f"independent:count={size}"]
    texts += [f"partition:blocks={min(BLOCKS, rows.rows)}"]
    found = {text: of_law(plan_of(text).law(rows.rows, rows.row_lipschitz), c, l2, near, far) for text in dict.fromkeys(texts)}
    heads = ["--sampling", "rows", "smoothness", "noise", "step", "steps", "rows in all"]
    lines = [[text, *(f"{value:.3g}" for value in facts.values())] for text, facts in found.items()]
    console.show(table(heads, lines))
    told = (
        f"{rows.rows:,} rows, {loss}, l2 {l2:g}: L {c.whole:.4g}, largest L_i {c.each.max():.4g}, mean {c.each.mean():.4g}; "
        f"steps to E |x - x*|^2 = {near:.3g} from 0, of one worker; minibatch of least work: {size:,} rows"
    )
    console.show("\n" + fill(told, WIDTH))
    return {"L": c.whole, "steepest": float(c.each.max()), "best_minibatch": size, "accuracy": near, "laws": found}


def of_law(law: Law, c: RowConstants, mu: float, near: float, far: float) -> dict[str, float]:
    """The constants of a law and what follows, for a mean squared distance ``near`` from one of ``far``."""
    smoothness, noise = law.smoothness(c), max(law.noise(c), 0.0)
    step = theory.sampled(smoothness, noise, mu, near)
    steps = ceil(max(log(2 * far / near), 0.0) / (step * mu))
    return {
        "rows": law.expected,
        "smoothness": smoothness,
        "noise": noise,
        "step": step,
        "steps": float(steps),
        "work": steps * law.expected,
    }
