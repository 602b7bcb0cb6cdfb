"""Trained through random masks (MAST), a linear model bears being pruned at random better than one that was solved.

After Demidovich, Malinovsky, Shulgin, Richtarik, MAST: model-agnostic sparsified training, ICLR 2025, whose figures show box
plots of the test accuracy of logistic regression on a5a, pruned at random. Rows of that kind are made here; with --data and
--test on these. Beside the solution itself stands plain gradient descent of as many rounds.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.kernels.csr import CSR
from mpiopt.losses.logistic import Logistic
from mpiopt.methods import find
from mpiopt.methods.averaging import sgd
from mpiopt.methods.curvature import constants
from mpiopt.methods.sketched import mast
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Piecewise
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.transforms import rules
from mpiopt.transforms.transform import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
ROWS, VARIABLES, VALUES, WORKERS, LAMBDA, SEED = 4000, 14, 9, 4, 1e-4, 3
KEPT = {"MAST, half of the weights": 0.5, "MAST, a quarter": 0.25}
SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
DRAWS = 100
LOST = 1.5  # of accuracy without pruning, in points


def made(world: World, first: int) -> Team[Linear]:
    """ROWS rows from row ``first`` on: one value of each variable; every other variable tells nearly what the one before does.

    Collective.
    """
    weights = Streams(SEED)("weights").standard_normal((VARIABLES, VALUES)) * np.geomspace(1.5, 0.1, VARIABLES)[:, None]
    bounds = first + even(ROWS, world.workers)
    return Team.of(world, [_rows(weights, int(bounds[w]), int(bounds[w + 1])) for w in world.hosted], L2(LAMBDA))


def _rows(weights: np.ndarray, lo: int, hi: int) -> Linear:
    streams = [Streams(SEED)("rows", row) for row in range(lo, hi)]
    hidden = np.array([stream.geometric(0.3, VARIABLES // 2) - 1 for stream in streams])
    slips = np.array([stream.random(VARIABLES) < 0.3 for stream in streams])
    values = np.minimum(np.repeat(hidden, 2, axis=1) + slips, VALUES - 1)
    odds = weights[np.arange(VARIABLES), values].sum(axis=1)
    y = np.array([1.0 if stream.random() < 1 / (1 + np.exp(-m)) else -1.0 for stream, m in zip(streams, odds, strict=True)])
    columns = values + VALUES * np.arange(VARIABLES)
    shape = hi - lo, VARIABLES * VALUES
    return Linear(CSR.of(np.arange(shape[0] + 1) * VARIABLES, columns.ravel(), np.ones(columns.size), shape), y, Logistic())


def read(name: str, world: World) -> Team[Linear]:
    """The rows of a data set. Collective."""
    return team_of(open_source(name, world), world, L2(LAMBDA))


def run(lab: Lab) -> Findings:
    """Collective."""
    train = partial(made, first=0) if lab.data is None else partial(read, lab.data)
    test = partial(made, first=ROWS) if lab.test is None else partial(read, lab.test)
    rounds = lab.pick(4000, 100)
    with lab.crew(WORKERS) as world:
        known = None if world is None else _known(train(world))
    least, c = lab.world.tell(known)
    follow = partial(lab.follow, workers=WORKERS, team=train, x=np.zeros(least.size), rounds=rounds, every=rounds // 20)
    trails = [
        lab.follow("solved", sgd(rules.sgd(1.0)), WORKERS, train, least, 0),
        follow("plain", sgd(_steps(theory.mast(c, 1.0), rounds))),
        *(follow(name, mast(_steps(theory.mast(c, 1 / kept), rounds), f"randk:{kept}")) for name, kept in KEPT.items()),
    ]
    found = {trail.name: pruned(lab, test, trail.x) for trail in trails}
    message = (trails[2].readings["bytes_sent"][-1] - trails[2].readings["bytes_sent"][0]) / (rounds * WORKERS)
    checks = [Check("MAST, half: bytes of a message", Equal(8 * (round(0.5 * least.size) + 1)), message)]
    if not lab.quick:
        checks += _checks(found)
    return Findings(checks, trails, _notes(lab, trails, least.size), {"accuracies": found})


def _known(team: Team[Linear]) -> tuple[np.ndarray, theory.Constants]:
    """Where F is least, and its constants. Collective."""
    return solve(find("spcg").make(), team, team.zeros(), Stop(rounds=200, gap=1e-10)).x, constants(team, team.zeros())


def _steps(gamma: float, rounds: int) -> Transform:
    """Gradient steps of theory's length, of a tenth in the second half."""
    return rules.sgd(Piecewise((gamma, gamma / 10), (max(1, rounds // 2),)))


def pruned(lab: Lab, rows: "partial[Team[Linear]]", x: np.ndarray) -> np.ndarray:
    """Test accuracies of x under random masks, in per cent, (sparsities, draws), the same masks for every x. Collective."""
    count = lab.pick(DRAWS, 3)
    with lab.crew(WORKERS) as world:
        found = None if world is None else np.array([_scores(rows(world), x, count)])
    return lab.world.tell(found)[0]


def _scores(team: Team[Linear], x: np.ndarray, count: int) -> np.ndarray:
    draws = Streams(SEED)("masks").random((count, x.size))
    points = np.array([x * (draw >= sparsity) for sparsity in SPARSITIES for draw in draws])
    right = [np.array([((s.loss.margins(p) > 0) == (s.loss.y > 0)).sum() for p in points], np.float64) for s in team.sites]
    return 100 * team.world.total(right).reshape(len(SPARSITIES), count) / team.rows


def _checks(found: dict[str, np.ndarray]) -> list[Check]:
    best, middle = found["solved"], {name: np.median(values, axis=1) for name, values in found.items()}
    half = next(iter(KEPT))
    whole = Check(f"{half}: accuracy lost without pruning, %", Below(LOST), float(best[0, 0] - found[half][0, 0]))
    return [whole] + [
        Check(
            f"{half}: median accuracy over {other}, sparsity {SPARSITIES[i]:g}, %", Above(0), middle[half][i] - middle[other][i]
        )
        for other in ("solved", "plain")
        for i in range(2, len(SPARSITIES))
    ]


def _notes(lab: Lab, trails: Sequence[Trail], dim: int) -> str:
    about = f"{ROWS} made-up rows" if lab.data is None else lab.data
    losses = ", ".join(f"{trail.name} {trail.objective:.4f}" for trail in trails)
    return (
        f"{about}, {dim} features, lambda {LAMBDA:g}, {WORKERS} workers, {trails[-1].rounds} rounds; {DRAWS} masks for each "
        f"sparsity, the same for all. Objective without masks: {losses}. Published as figures without digits."
    )


def draw(found: Findings) -> "Figure":
    """Box plots of the accuracies over the masks."""
    from mpiopt.jobs.studies.apparatus.canvas import COLOURS, legend, sheet

    accuracies = found.facts["accuracies"]
    with sheet(1, width=9, height=4.4) as (figure, ((panel,),)):
        wide = 0.8 / len(accuracies)
        for number, (name, values) in enumerate(accuracies.items()):
            at = np.arange(len(SPARSITIES)) + (number - (len(accuracies) - 1) / 2) * wide
            colour = COLOURS[number % len(COLOURS)]
            look = {key: {"color": colour} for key in ("boxprops", "whiskerprops", "capprops", "medianprops")}
            points = {"marker": ".", "markersize": 3, "markeredgecolor": colour}
            panel.boxplot(list(values), positions=at, widths=0.8 * wide, flierprops=points, manage_ticks=False, **look)
            panel.plot([], [], color=colour, label=name)
        panel.set_xticks(np.arange(len(SPARSITIES)), [f"{100 * s:g}" for s in SPARSITIES])
        panel.set(xlabel="weights set to 0 at random, %", ylabel="test accuracy, %")
        panel.grid(axis="x", visible=False)
        legend(figure, panel, len(accuracies))
        return figure
