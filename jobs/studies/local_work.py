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
from mpiopt.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, LAMBDA, WORKERS, SEEDS = "default:rows=2000,cols=100,per_row=10,seed={}", 1e-2, 4, 5
EPOCHS, PRICES, GOAL, MOST = (1, 2, 4, 8, 16), (0.1, 1.0, 10.0, 100.0), 1e-3, 200
DIM, SAMPLES, BATCH, STEPS, ROUNDS = 20, 1000, 8, 16, 30  # of the regression: rows of each worker, of a step, steps of a round
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
KINDS = {"local": "local steps", "large": "one large batch"}


def run(lab: Lab) -> Findings:
    """Collective."""
    epochs, seeds = lab.pick(EPOCHS, EPOCHS[::2]), lab.seeds[:SEEDS]
    needed = [rounds_of_cocoa(lab, epochs, seed) for seed in seeds]
    best = [[cheapest(found, price) for price in PRICES] for found in needed]
    runs = {kind: [trained_best(lab, kind, seed) for seed in seeds] for kind in KINDS}
    ratios = [_end(large) / _end(local) for local, large in zip(*runs.values(), strict=True)]
    checks = [
        Check.over(
            f"CoCoA: rounds to {GOAL:g}, most over least epochs", Below(0.9), [found[epochs[-1]] / found[1] for found in needed]
        ),
        Check.over(
            f"best epochs at a price of {PRICES[-1]:g} passes over those at {PRICES[0]:g}",
            Above(2),
            [each[-1] / each[0] for each in best],
        ),
        Check.over("F - F*, one large batch over local steps, each at its best rate", Above(2), ratios),
        Check("the same, the least of all seeds", Above(1), min(ratios)),
    ]
    return Findings(checks, [each[0] for each in runs.values()], _notes(best, len(seeds)), {"needed": needed, "runs": runs})


def cheapest(needed: dict[int, int], price: float) -> int:
    """The epochs of a round with which a solve costs least."""
    return min(needed, key=lambda epochs: needed[epochs] * (epochs + price))


def _notes(best: list[list[int]], seeds: int) -> str:
    chosen = ", ".join(
        f"{'/'.join(map(str, sorted(set(some))))} at a price of {price:g}"
        for price, some in zip(PRICES, zip(*best, strict=True), strict=True)
    )
    return (
        f"Means over {counted(seeds, 'seed')} of rows and draws. CoCoA+ on {ROWS.format('SEED')}, lambda {LAMBDA:g}, {WORKERS} "
        f"workers; a round costs its epochs and a price, both in passes over the rows; best epochs: {chosen}. Regression of "
        f"{DIM} coordinates, rows alike on {WORKERS} workers: {ROUNDS} rounds of {STEPS} steps of {BATCH} rows, or of one step "
        f"of {STEPS * BATCH}; rates from {RATES[0]:g} to {RATES[-1]:g}, of each seed the best. Expected are the claims."
    )


def rounds_of_cocoa(lab: Lab, epochs: tuple[int, ...], seed: int) -> dict[int, int]:
    """Rounds to GOAL of (F - F*) / (F(0) - F*), by local epochs. Collective."""
    found = {}
    with lab.alone(WORKERS) as world:
        team = team_of(open_source(ROWS.format(seed + 3), world), world, L2(LAMBDA))
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


def trained_best(lab: Lab, kind: str, seed: int) -> Trail:
    """The run whose rate leads furthest. Collective."""
    rates = lab.pick(RATES, RATES[1:3] if kind == "local" else RATES[2:5])
    return min((_trained(lab, kind, rate, seed) for rate in rates), key=_end)


def _trained(lab: Lab, kind: str, rate: float, seed: int) -> Trail:
    """A regression by local steps, or by steps of as many rows at once. Collective."""
    stream = Streams(seed + 1)("rows")
    a = stream.standard_normal((SAMPLES, DIM)) * np.geomspace(0.3, 1.5, DIM)
    loss = regression(a, a @ stream.standard_normal(DIM) + 0.1 * stream.standard_normal(SAMPLES))
    size = BATCH if kind == "local" else BATCH * STEPS

    def team(world: World) -> Team:
        drawn = [Redrawn(SAMPLES, size, w, seed + 1) for w in world.hosted]
        return Team.of(world, [loss for _ in world.hosted], Zero(), seed + 1, drawn)

    method = local_sgd(rules.sgd(rate), STEPS) if kind == "local" else sgd(rules.sgd(rate))
    least = loss.value(loss.point(np.linalg.lstsq(a, loss.y, rcond=None)[0]))
    about = {"method": "local_sgd" if kind == "local" else "sgd", "least": least, "seed": seed + 1, "lr": rate}
    return lab.follow(f"{kind}-{rate:g}", method, WORKERS, team, np.zeros(DIM), ROUNDS, about=about)


def _above(trail: Trail) -> np.ndarray:
    """F - F* of the readings; infinite where there is none."""
    return np.nan_to_num(trail.readings["objective"] - trail.about["least"], nan=np.inf, posinf=np.inf)


def _end(trail: Trail) -> float:
    return float(_above(trail)[-1])


def draw(found: Findings) -> "Figure":
    """What a solve costs against the epochs of a round; F - F* against rounds; all seeds within the bands."""
    from mpiopt.jobs.studies.apparatus.canvas import band, legend, logarithmic, sheet

    needed = found.facts["needed"]
    with sheet(2, width=5.5, height=4.2) as (figure, (panels,)):
        for number, price in enumerate(PRICES):
            costs = [[n * (e + price) for e, n in each.items()] for each in needed]
            band(panels[0], [*needed[0]], costs, number, f"price {price:g}", marker="o")
        logarithmic(panels[0])
        panels[0].set_xscale("log", base=2)
        panels[0].set(xlabel="local epochs of a round", ylabel="passes over the rows, rounds priced", title="CoCoA+")
        for number, (kind, runs) in enumerate(found.facts["runs"].items()):
            band(panels[1], runs[0].readings["round"], [_above(trail) for trail in runs], number, KINDS[kind])
        logarithmic(panels[1])
        panels[1].set(xlabel="rounds", ylabel="F - F*", title="as many samples and agreements")
        panels[1].legend(frameon=False)
        legend(figure, panels[0], 4)
        return figure
