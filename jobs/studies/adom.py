"""ADOM over graphs that change with every exchange: as fast as promised, by sqrt(kappa), where others go by kappa or stop.

After Kovalev, Shulgin, Richtarik, Rogozin, Gasnikov, ADOM: accelerated decentralized optimization method for time-varying
networks, ICML 2021: quadratics of their own on eight nodes, beside gradient tracking, decentralised gradient descent and ADOM+,
the primal method of theirs that followed.
"""

from math import ceil, log
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.graphs.mixing import Spectrum
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import bowl, normal, rotation
from mpiopt.methods.decentralised import dgd
from mpiopt.methods.exact_decentralised import adom, adom_plus, diging
from mpiopt.methods.nodes import Decentralised
from mpiopt.numerics import theory
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NODES, DIM, SEED = 8, 6, 1
KAPPAS = (10, 40, 160)
ROUNDS = {10: 600, 40: 1200, 160: 2400}
RING, GEOMETRIC = "ring:seed=1", "geometric:radius=0.7,seed=1"
LOOKS = 60


class NodeBowls:
    """A quadratic for each node; with the penalty, curvatures from 1 to kappa and a centre of its own."""

    def __init__(self, kappa: float) -> None:
        stream = Streams(SEED)("adom")
        spectrum = np.geomspace(1, kappa, DIM) - 1
        axes = rotation(stream, DIM)
        self.losses = [bowl(spectrum, axes, stream.standard_normal(DIM)) for _ in range(NODES)]
        h, b = normal(self.losses)
        self.goal = np.linalg.solve(h + np.eye(DIM), b)

    def team(self, world: World) -> Team:
        """The nodes that a rank hosts."""
        return Team.of(world, [self.losses[w] for w in world.hosted], L2(1.0), SEED)

    def errors(self, trail: Trail) -> np.ndarray:
        """The largest |x_i - x*|^2 of a node, (readings,)."""
        return ((trail.own - self.goal) ** 2).sum(axis=2).max(axis=1)


def run(lab: Lab) -> Findings:
    """Collective."""
    checks: list[Check] = []
    trails: list[Trail] = []
    rates: dict[int, float] = {}
    promised: dict[int, float] = {}
    for kappa in KAPPAS[: lab.pick(3, 1)]:
        bowls, method = NodeBowls(kappa), adom(RING, 1)
        trails.append(follow(lab, bowls, f"adom-{kappa}", method, ROUNDS[kappa], kappa))
        rates[kappa], promised[kappa] = rate(bowls, trails[-1]), guarantee(method, kappa)
        checks.append(Check(f"kappa {kappa}, rings: rate over the promised one", Above(1), rates[kappa] / promised[kappa]))
    worst = max(rates)
    bowls, rounds = NodeBowls(worst), ROUNDS[worst]
    chi = _spectrum(adom(RING, 1)).chi
    times = ceil(chi * log(2))
    others: dict[str, Decentralised] = {
        "adom-geometric": adom(GEOMETRIC, 1),
        "adom-heard-often": adom(RING, 1, times=times),
        "diging": diging(None, RING, 1),
        "dgd": dgd(None, RING, 1),
        "adom_plus": adom_plus(RING, 1),
    }
    found = {}
    for name, method in others.items():
        trails.append(follow(lab, bowls, name, method, rounds // (2 if name == "adom-heard-often" else 1), worst))
        found[name] = trails[-1]
    floor = bowls.errors(found["dgd"])[-1]
    often, often_promised = rate(bowls, found["adom-heard-often"]), guarantee(others["adom-heard-often"], worst)
    ours = bowls.errors(next(trail for trail in trails if trail.name == f"adom-{worst}"))[-1]
    geometric = rate(bowls, found["adom-geometric"]) / guarantee(others["adom-geometric"], worst)
    checks += [
        Check("geometric graphs: rate over the promised one", Above(1), geometric),
        Check(f"heard {times} times a round: rate over the promised one", Above(1), often / often_promised),
        Check("heard so often: rate over that of once a round", Above(2), often / rates[worst]),
        Check("error over that of gradient descent, which stops", Below(1e-3), ours / floor),
        Check("ADOM+: the same", Below(1e-2), bowls.errors(found["adom_plus"])[-1] / floor),
    ]
    if not lab.quick:
        checks += [
            Check(f"rate at kappa 10 over that at {worst}: the root of 16", Near(4, 2), rates[10] / rates[worst]),
            Check(
                f"rate over that of gradient tracking at kappa {worst}", Above(1), rates[worst] / rate(bowls, found["diging"])
            ),
        ]
    facts = {"bowls": bowls, "worst": worst, "rates": rates, "promised": promised}
    return Findings(checks, trails, NOTES, facts)


def follow(lab: Lab, bowls: NodeBowls, name: str, method: Decentralised, rounds: int, kappa: int) -> Trail:
    """A run. Collective."""
    about = {"method": name.split("-")[0], "kappa": kappa}
    return lab.follow(
        name, method, NODES, bowls.team, np.zeros(DIM), rounds, every=max(1, rounds // LOOKS), own=True, about=about
    )


def _spectrum(method: Decentralised) -> Spectrum:
    return method.phases[0].exchange.spectrum(DIM, NODES)


def guarantee(method: Decentralised, kappa: float) -> float:
    """By how much theory lets the squared distance shrink in a round, at least."""
    seen = _spectrum(method)
    return theory.adom(1.0, kappa, seen.lambda_min, seen.lambda_max).tau


def rate(bowls: NodeBowls, trail: Trail) -> float:
    """By how much the squared distance shrinks in a round: a line through the logarithms of the last two thirds."""
    errors, at = bowls.errors(trail), trail.readings["round"]
    late = slice(len(errors) // 3, None)
    return float(-np.polyfit(at[late], np.log(errors[late]), 1)[0])


NOTES = (
    f"{NODES} nodes, {DIM} coordinates, every node a quadratic with curvatures from 1 to kappa and a centre of its own; "
    "rings renamed after every exchange, or random geometric graphs drawn anew. Errors: the largest |x_i - x*|^2. ADOM "
    "promises a factor 1 - lambda_min / (7 lambda_max sqrt(kappa)) a round, by the worst node; where nodes are curved in "
    "unlike directions, so that their mean is well conditioned, gradient tracking is faster. ADOM+ takes a gradient a round "
    "where ADOM solves a local problem: exact too, and the slowest here. Heard often: chi ln 2 exchanges a round stand in "
    "for one with a better graph, at as many messages. Gradient tracking and descent: with the steps that they find. The "
    "published figures are plots of logistic regression; what is expected is theory's."
)


def draw(found: Findings) -> "Figure":
    """Errors against exchanges; rates against kappa."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    bowls, worst = found.facts["bowls"], found.facts["worst"]
    labels = {
        f"adom-{worst}": "ADOM, rings",
        "adom-geometric": "ADOM, geometric graphs",
        "adom-heard-often": "ADOM, heard often",
        "diging": "gradient tracking",
        "dgd": "gradient descent",
        "adom_plus": "ADOM+, rings",
    }
    with sheet(2, width=5.5, height=4.4) as (figure, (panels,)):
        for number, (name, label) in enumerate(labels.items()):
            trail = found.trail(name)
            curve(panels[0], trail.readings["round"], bowls.errors(trail), number, label)
        logarithmic(panels[0])
        panels[0].set(xlabel="rounds", ylabel="largest |x_i - x*|\N{SUPERSCRIPT TWO}", title=f"kappa {worst}")
        kappas = list(found.facts["rates"])
        curve(panels[1], kappas, list(found.facts["rates"].values()), 0, "found", marker="o")
        curve(panels[1], kappas, list(found.facts["promised"].values()), 3, "promised", marker="o")
        logarithmic(panels[1])
        panels[1].set_xscale("log")
        panels[1].set_xticks(kappas, [str(kappa) for kappa in kappas], minor=False)
        panels[1].set(xlabel="kappa", ylabel="rate a round", title="ADOM on rings that change")
        panels[1].legend(frameon=False)
        legend(figure, panels[0], 3)
        return figure
