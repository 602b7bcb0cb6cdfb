"""Nodes that hold rows of one class each: descent without a centre stops short of the optimum, exact methods go on to it.

Logistic regression on the nodes of a graph, rows divided by their labels, so that no node's own optimum is near that of all:
after Shi, Ling, Wu, Yin, EXTRA, 2015; Nedic, Olshevsky, Shi, 2017 (DIGing); Tang, Lian, Yan, Zhang, Liu, D2, ICML 2018, whose
figures compare such methods on such rows. With --data on the rows of a data set.
"""

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.methods import find
from mpiopt.methods.decentralised import choco, dgd
from mpiopt.methods.exact_decentralised import adom_plus, d2, diging, extra
from mpiopt.methods.nodes import Decentralised
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data",)
MADE = "default:rows=2000,cols=40,per_row=10,seed={}"
NODES, KAPPA, GRAPH, SEEDS = 8, 50, "ring", 5
KINDS = {"DGD": "dgd", "CHOCO": "choco", "DIGing": "diging", "EXTRA": "extra", "D2": "d2", "ADOM+": "adom_plus"}
METHODS: dict[str, Decentralised] = {
    "DGD": dgd(graph=GRAPH),
    "CHOCO": choco(compress="topk:0.2", gain=0.3, graph=GRAPH),
    "DIGing": diging(graph=GRAPH),
    "EXTRA": extra(graph=GRAPH),
    "D2": d2(graph=GRAPH),
    "ADOM+": adom_plus(graph=GRAPH, times=4),
}
MIXED = "DGD, rows mixed"
EXACT = {"DIGing": 1e-4, "EXTRA": 1e-6, "D2": 1e-6}  # relative suboptimality
GOAL = 1e-4  # of (F - F*) / (F(0) - F*)


class Labelled:
    """All rows in the order of their labels, of one label in an order of the seed; where F is least, how far below F(0)."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.seed = seed
        with lab.alone(1) as one:
            rows = team_of(open_source(lab.data or MADE.format(seed), one), one, Zero()).sites[0].loss
            self.lambda_ = float(f"{rows.lipschitz / KAPPA:.1g}")
            mixed = Streams(seed)("labelled").permutation(rows.rows)
            self.rows = rows.take(mixed[np.argsort(rows.y[mixed], kind="stable")])
            whole = Team.of(one, [self.rows], L2(self.lambda_))
            start = np.zeros(rows.dim)
            best = solve(find("spcg").make(), whole, start, Stop(rounds=200, gradient=1e-13)).certificate
            self.least, self.depth = best.objective, self.rows.value(self.rows.point(start)) - best.objective

    def team(self, world: World, mixed: bool = False) -> Team[Linear]:
        """The nodes of a rank; mixed : each with rows of all labels."""
        bounds = even(self.rows.rows, NODES)
        every = [np.arange(w, self.rows.rows, NODES) if mixed else np.arange(*bounds[w : w + 2]) for w in world.hosted]
        return Team.of(world, [self.rows.take(rows) for rows in every], L2(self.lambda_), self.seed)

    def above(self, trail: Trail) -> np.ndarray:
        """(F - F*) / (F(0) - F*) of the readings."""
        return np.maximum(trail.readings["objective"] - self.least, 0) / self.depth


class AllFollowed(NamedTuple):
    """The runs of one seed. above : by name, (F - F*) / (F(0) - F*) of the readings."""

    rows: Labelled
    trails: list[Trail]
    above: dict[str, np.ndarray]

    def end(self, name: str) -> float:
        """How far above the least a run ended, in that measure."""
        return float(self.above[name][-1])

    def needed(self, name: str) -> float:
        """Bytes until a run is at the goal."""
        trail = next(trail for trail in self.trails if trail.name == name)
        reached = np.flatnonzero(self.above[name] <= GOAL)
        return float(trail.readings["edge_bytes"][reached[0]]) if reached.size else inf


def run(lab: Lab) -> Findings:
    """Collective."""
    rounds = lab.pick(600, 12)
    found = [_followed(lab, seed + 3, rounds) for seed in lab.seeds[:SEEDS]]
    first = found[0]
    extra_bytes = next(trail for trail in first.trails if trail.name == "EXTRA").readings["edge_bytes"][-1]
    checks = [
        Check(
            "vectors along an edge in a round: EXTRA",
            Near(1, 1.1),
            float(extra_bytes) / (rounds * 2 * NODES * 8 * first.rows.rows.dim),
        )
    ]
    if not lab.quick:
        checks += [
            *(
                Check.over(f"{name}: relative suboptimality", Below(goal), [each.end(name) for each in found])
                for name, goal in EXACT.items()
            ),
            Check(
                "DGD stops at, over EXTRA, the least of all seeds",
                Above(100),
                min(each.end("DGD") / max(each.end("EXTRA"), 1e-16) for each in found),
            ),
            Check.over("DGD: rows by label over rows mixed", Above(3), [each.end("DGD") / each.end(MIXED) for each in found]),
            Check.over(
                f"bytes to {GOAL:g}: EXTRA over DIGing",
                Below(0.75),
                [each.needed("EXTRA") / each.needed("DIGing") for each in found],
            ),
            Check.over(
                "ADOM+, proved for graphs that change: suboptimality", Below(GOAL), [each.end("ADOM+") for each in found]
            ),
        ]
    return Findings(checks, first.trails, _notes(lab, first.rows, len(found), rounds), {"all": found})


def _followed(lab: Lab, seed: int, rounds: int) -> AllFollowed:
    """Collective."""
    rows = Labelled(lab, seed)
    some = METHODS if not lab.quick else {name: METHODS[name] for name in ("DGD", "EXTRA")}
    trails = [_follow(lab, name, method, rows, rounds) for name, method in some.items()]
    if not lab.quick:
        trails.append(_follow(lab, MIXED, METHODS["DGD"], rows, rounds, mixed=True))
    return AllFollowed(rows, trails, {trail.name: rows.above(trail) for trail in trails})


def _follow(lab: Lab, name: str, method: Decentralised, rows: Labelled, rounds: int, mixed: bool = False) -> Trail:
    """A run. Collective."""
    kind = KINDS[name.partition(",")[0]]
    return lab.follow(
        name,
        replace(method, name=kind),
        NODES,
        lambda world: rows.team(world, mixed),
        np.zeros(rows.rows.dim),
        rounds,
        every=max(1, rounds // 60),
        about={"method": kind, "seed": rows.seed},
    )


def _notes(lab: Lab, rows: Labelled, seeds: int, rounds: int) -> str:
    drawn = "rows of a label go to other nodes" if lab.data else "rows are drawn"
    return (
        f"{lab.data or MADE.format('SEED')}: {rows.rows.rows:,} rows in the order of their labels, {NODES} nodes of a {GRAPH}, "
        f"lambda {rows.lambda_:g} (kappa about {KAPPA}), {rounds} rounds; (F - F*) / (F(0) - F*) at the mean of the nodes, "
        f"means over {counted(seeds, 'seed')}, by which {drawn}. Steps as the methods find them; ADOM+ hears its neighbours 4 "
        "times a round. Bytes along all edges. Published are plots of other rows; expected are the claims."
    )


def draw(found: Findings) -> "Figure":
    """Suboptimality against rounds and against bytes; all seeds within the bands."""
    from mpiopt.jobs.studies.apparatus.canvas import band, legend, logarithmic, sheet

    with sheet(2, width=5.5, height=4.4) as (figure, (panels,)):
        for number, trail in enumerate(found.trails):
            runs = np.array([each.above[trail.name] for each in found.facts["all"]])
            band(panels[0], trail.readings["round"], runs, number, trail.name)
            band(panels[1], 1e-6 * trail.readings["edge_bytes"][1:], runs[:, 1:], number)
        for panel in panels:
            logarithmic(panel, 1e-12)
            panel.set_ylabel("(F - F*) / (F(0) - F*)")
        panels[0].set(xlabel="rounds", title=f"{NODES} nodes of a {GRAPH}, one label each")
        panels[1].set(xlabel="megabytes along all edges", xscale="log")
        legend(figure, panels[0], 4)
        return figure
