"""Nodes that hold rows of one class each: descent without a centre stops short of the optimum, exact methods go on to it.

Logistic regression on the nodes of a graph, rows divided by their labels, so that no node's own optimum is near that of all:
after Shi, Ling, Wu, Yin, EXTRA, 2015; Nedic, Olshevsky, Shi, 2017 (DIGing); Tang, Lian, Yan, Zhang, Liu, D2, ICML 2018, whose
figures compare such methods on such rows. With --data on the rows of a data set.
"""

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

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
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data",)
MADE = "default:rows=2000,cols=40,per_row=10,seed=3"
NODES, KAPPA, GRAPH, SEED = 8, 50, "ring", 1
METHODS: dict[str, Decentralised] = {
    "DGD": dgd(graph=GRAPH),
    "CHOCO": choco(compress="topk:0.2", gain=0.3, graph=GRAPH),
    "DIGing": diging(graph=GRAPH),
    "EXTRA": extra(graph=GRAPH),
    "D2": d2(graph=GRAPH),
    "ADOM+": adom_plus(graph=GRAPH, times=4),
}
EXACT = {"DIGing": 1e-4, "EXTRA": 1e-6, "D2": 1e-6}  # relative suboptimality
GOAL = 1e-4  # of (F - F*) / (F(0) - F*)


class Labelled:
    """All rows in the order of their labels, where F is least, and how far below F(0) that is."""

    def __init__(self, lab: Lab) -> None:
        with lab.alone(1) as one:
            rows = team_of(open_source(lab.data or MADE, one), one, Zero()).sites[0].loss
            self.lambda_ = float(f"{rows.lipschitz / KAPPA:.1g}")
            self.rows = rows.take(np.argsort(rows.y, kind="stable"))
            whole = Team.of(one, [self.rows], L2(self.lambda_))
            start = np.zeros(rows.dim)
            best = solve(find("spcg").make(), whole, start, Stop(rounds=200, gradient=1e-13)).certificate
            self.least, self.depth = best.objective, self.rows.value(self.rows.point(start)) - best.objective

    def team(self, world: World, mixed: bool = False) -> Team[Linear]:
        """The nodes of a rank; mixed : each with rows of all labels."""
        bounds = even(self.rows.rows, NODES)
        every = [np.arange(w, self.rows.rows, NODES) if mixed else np.arange(*bounds[w : w + 2]) for w in world.hosted]
        return Team.of(world, [self.rows.take(rows) for rows in every], L2(self.lambda_), SEED)

    def above(self, trail: Trail) -> np.ndarray:
        """(F - F*) / (F(0) - F*) of the readings."""
        return np.maximum(trail.readings["objective"] - self.least, 0) / self.depth


def run(lab: Lab) -> Findings:
    """Collective."""
    rows, rounds = Labelled(lab), lab.pick(600, 12)
    some = METHODS if not lab.quick else {name: METHODS[name] for name in ("DGD", "EXTRA")}
    trails = [_follow(lab, name, method, rows, rounds) for name, method in some.items()]
    above = {trail.name: rows.above(trail) for trail in trails}
    vectors = {trail.name: trail.readings["edge_bytes"][-1] / (rounds * 2 * NODES * 8 * rows.rows.dim) for trail in trails}
    checks = [Check("vectors along an edge in a round: EXTRA", Near(1, 1.1), vectors["EXTRA"])]
    if not lab.quick:
        alike = _follow(lab, "DGD, rows mixed", METHODS["DGD"], rows, rounds, mixed=True)
        trails.append(alike)
        above[alike.name] = rows.above(alike)
        checks += [
            Check(f"{name}: relative suboptimality", Below(goal), float(above[name][-1])) for name, goal in EXACT.items()
        ]
        checks += [
            Check("DGD stops at, over EXTRA", Above(100), float(above["DGD"][-1] / max(above["EXTRA"][-1], 1e-16))),
            Check("DGD: rows by label over rows mixed", Above(3), float(above["DGD"][-1] / above[alike.name][-1])),
            Check(f"bytes to {GOAL:g}: EXTRA over DIGing", Below(0.75), _bytes(trails, above, "EXTRA", "DIGing")),
            Check("ADOM+, proved for graphs that change: suboptimality", Below(GOAL), float(above["ADOM+"][-1])),
        ]
    about = lab.data or MADE
    notes = (
        f"{about}: {rows.rows.rows:,} rows in the order of their labels, {NODES} nodes of a {GRAPH}, lambda {rows.lambda_:g} "
        f"(kappa about {KAPPA}), {rounds} rounds; (F - F*) / (F(0) - F*) at the mean of the nodes. Steps as the methods find "
        "them; ADOM+ hears its neighbours 4 times a round. Bytes along all edges. Published are plots of other rows; expected "
        "are the claims."
    )
    return Findings(checks, trails, notes, {"above": above})


def _follow(lab: Lab, name: str, method: Decentralised, rows: Labelled, rounds: int, mixed: bool = False) -> Trail:
    """A run. Collective."""
    kind = find(
        {"DGD": "dgd", "CHOCO": "choco", "D2": "d2", "ADOM+": "adom_plus"}.get(name.partition(",")[0], name.lower())
    ).name
    return lab.follow(
        name,
        replace(method, name=kind),
        NODES,
        lambda world: rows.team(world, mixed),
        np.zeros(rows.rows.dim),
        rounds,
        every=max(1, rounds // 60),
        about={"method": kind},
    )


def _bytes(trails: list[Trail], above: dict[str, np.ndarray], one: str, other: str) -> float:
    """Bytes to the goal, of one over those of the other."""
    needed = {}
    for trail in trails:
        reached = np.flatnonzero(above[trail.name] <= GOAL)
        needed[trail.name] = float(trail.readings["edge_bytes"][reached[0]]) if reached.size else inf
    return needed[one] / needed[other]


def draw(found: Findings) -> "Figure":
    """Suboptimality against rounds and against bytes."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    with sheet(2, width=5.5, height=4.4) as (figure, (panels,)):
        for number, trail in enumerate(found.trails):
            above = found.facts["above"][trail.name]
            curve(panels[0], trail.readings["round"], above, number, trail.name)
            curve(panels[1], 1e-6 * trail.readings["edge_bytes"][1:], above[1:], number)
        for panel in panels:
            logarithmic(panel, 1e-12)
            panel.set_ylabel("(F - F*) / (F(0) - F*)")
        panels[0].set(xlabel="rounds", title=f"{NODES} nodes of a {GRAPH}, one label each")
        panels[1].set(xlabel="megabytes along all edges", xscale="log")
        legend(figure, panels[0], 4)
        return figure
