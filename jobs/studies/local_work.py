"""How much to do between two agreements: more where they are dear (CoCoA), and local steps rather than larger batches.

After Ma, Smith, Jaggi, Jordan, Richtarik, Takac, Adding vs. averaging in distributed primal-dual optimization, ICML 2015: local
epochs of dual ascent against rounds, a round priced in passes over the rows. And Lin, Stich, Patel, Jaggi, Don't use large
mini-batches, use local SGD, ICLR 2020: as many samples and agreements, as one large batch or as local steps of small ones.
"""

from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import regression
from mpiopt.jobs.studies.apparatus.redrawn import Redrawn
from mpiopt.methods import find
from mpiopt.methods.averaging import local_sgd, sgd
from mpiopt.methods.cocoa import cocoa
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.problem import Team
from mpiopt.transforms import rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, LAMBDA, WORKERS, SEED = "default:rows=2000,cols=100,per_row=10,seed=3", 1e-2, 4, 1
EPOCHS, PRICES, GOAL, MOST = (1, 2, 4, 8, 16), (0.1, 1.0, 10.0, 100.0), 1e-3, 200
DIM, SAMPLES, BATCH, STEPS, ROUNDS = 20, 1000, 8, 16, 30  # of the regression: rows of each worker, of a step, steps of a round
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def run(lab: Lab) -> Findings:
    """Collective."""
    epochs = lab.pick(EPOCHS, EPOCHS[::2])
    needed = rounds_of_cocoa(lab, epochs)
    best = [min(epochs, key=lambda e: needed[e] * (e + price)) for price in PRICES]
    checks = [
        Check(f"CoCoA: rounds to {GOAL:g}, most over least epochs", Below(0.9), needed[epochs[-1]] / needed[1]),
        Check(f"best epochs at a price of {PRICES[-1]:g} passes over those at {PRICES[0]:g}", Above(2), best[-1] / best[0]),
    ]
    trails = [_trained(lab, "local", rate) for rate in lab.pick(RATES, RATES[1:3])]
    trails += [_trained(lab, "large", rate) for rate in lab.pick(RATES, RATES[2:5])]
    least = {kind: min((t for t in trails if t.about["kind"] == kind), key=_end) for kind in ("local", "large")}
    checks.append(
        Check(
            "F - F*, one large batch over local steps, each at its best rate",
            Above(2),
            _end(least["large"]) / _end(least["local"]),
        )
    )
    chosen = ", ".join(f"{some} at a price of {price:g}" for price, some in zip(PRICES, best, strict=True))
    notes = (
        f"CoCoA+ on {ROWS}, lambda {LAMBDA:g}, {WORKERS} workers; a round costs its epochs and a price, both in passes over "
        f"the rows; best epochs: {chosen}. Regression of {DIM} coordinates, rows alike on {WORKERS} workers: {ROUNDS} rounds "
        f"of {STEPS} steps of {BATCH} rows, or of one step of {STEPS * BATCH}; rates from {RATES[0]:g} to {RATES[-1]:g}, the "
        "best of each. Expected are the claims."
    )
    return Findings(checks, list(least.values()), notes, {"needed": needed, "trails": trails})


def rounds_of_cocoa(lab: Lab, epochs: tuple[int, ...]) -> dict[int, int]:
    """Rounds to GOAL of (F - F*) / (F(0) - F*), by local epochs. Collective."""
    found = {}
    with lab.alone(WORKERS) as world:
        team = team_of(open_source(ROWS, world), world, L2(LAMBDA))
        start = np.zeros(team.dim)
        least = solve(find("spcg").make(), team, start, Stop(rounds=200, gradient=1e-12)).certificate.objective
        for count in epochs:
            lab.console.phase = f"running cocoa with {count} epochs"
            way = [
                one.objective - least for one in solve(cocoa(count), team, start, Stop(rounds=MOST, gap=1e-4 * GOAL)).history
            ]
            reached = np.flatnonzero(np.array(way) <= GOAL * way[0])
            found[count] = int(reached[0]) if reached.size else MOST
    return found


def _trained(lab: Lab, kind: str, rate: float) -> Trail:
    """A regression by local steps, or by steps of as many rows at once. Collective."""
    stream = Streams(SEED)("rows")
    a = stream.standard_normal((SAMPLES, DIM)) * np.geomspace(0.3, 1.5, DIM)
    loss = regression(a, a @ stream.standard_normal(DIM) + 0.1 * stream.standard_normal(SAMPLES))
    size = BATCH if kind == "local" else BATCH * STEPS

    def team(world: World) -> Team:
        return Team.of(
            world, [loss for _ in world.hosted], Zero(), SEED, [Redrawn(SAMPLES, size, w, SEED) for w in world.hosted]
        )

    method = local_sgd(rules.sgd(rate), STEPS) if kind == "local" else sgd(rules.sgd(rate))
    least = loss.value(loss.point(np.linalg.lstsq(a, loss.y, rcond=None)[0]))
    about = {"kind": kind, "method": "local_sgd" if kind == "local" else "sgd", "least": least}
    return lab.follow(f"{kind}-{rate:g}", method, WORKERS, team, np.zeros(DIM), ROUNDS, about=about)


def _above(trail: Trail) -> np.ndarray:
    """F - F* of the readings; infinite where there is none."""
    return np.nan_to_num(trail.readings["objective"] - trail.about["least"], nan=np.inf, posinf=np.inf)


def _end(trail: Trail) -> float:
    return float(_above(trail)[-1])


def draw(found: Findings) -> "Figure":
    """What a solve costs against the epochs of a round; F - F* against rounds."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    needed = found.facts["needed"]
    with sheet(2, width=5.5, height=4.2) as (figure, (panels,)):
        for number, price in enumerate(PRICES):
            curve(panels[0], [*needed], [n * (e + price) for e, n in needed.items()], number, f"price {price:g}", marker="o")
        logarithmic(panels[0])
        panels[0].set_xscale("log", base=2)
        panels[0].set(xlabel="local epochs of a round", ylabel="passes over the rows, rounds priced", title="CoCoA+")
        for number, trail in enumerate(found.trails):
            label = "local steps" if trail.about["kind"] == "local" else "one large batch"
            curve(panels[1], trail.readings["round"], _above(trail), number, label)
        logarithmic(panels[1])
        panels[1].set(xlabel="rounds", ylabel="F - F*", title="as many samples and agreements")
        panels[1].legend(frameon=False)
        legend(figure, panels[0], 4)
        return figure
