"""CHOCO: compressed gossip that keeps the mean and finds it, where plain quantised gossip stalls; and SGD by it in fewer bytes.

After Koloskova, Stich, Jaggi, Decentralized stochastic optimization and gossip algorithms with compressed communication, ICML
2019, whose figures are plots: nodes of a ring that agree on the mean of their vectors (25 of them, as there), and nodes with
least squares of their own that minimise the mean.
"""

from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import optimum, regression
from mpiopt.methods.decentralised import choco_sgd, d_psgd
from mpiopt.methods.nodes import Decentralised, near, nodes
from mpiopt.numerics.streams import Streams
from mpiopt.outer.descend import Pull
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.transforms import rules
from mpiopt.work.node import Walk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NODES, DIM, SEEDS = 25, 100, 5
GOSSIP = {
    "whole": (None, 1.0),
    "qsgd": ("qsgd:bits=4", None),
    "topk": ("topk:0.1", 0.2),
    "randk": ("randk:0.1,scaled=no", 0.05),
}
WORKERS, ROWS, RATE, GAIN = 9, 40, 0.01, 0.2  # of the nodes that minimise; what they do


class Gossiped(NamedTuple):
    """What nodes came to. far : by run, the mean squared distance from the mean of the starts, (readings,)."""

    trails: list[Trail]
    starts: np.ndarray
    far: dict[str, np.ndarray]

    @property
    def moved(self) -> float:
        """How far the mean of the nodes has come, with the largest entries alone, where it should stay."""
        return float(np.abs(self.trails[2].own[-1].mean(axis=0) - self.starts.mean(axis=0)).max())


class Minimised(NamedTuple):
    """D-PSGD and CHOCO-SGD, and where they should go."""

    trails: list[Trail]
    goal: np.ndarray

    @property
    def said(self) -> float:
        """Bytes along an edge in a step, of the second over those of the first."""
        return _said(self.trails[1]) / _said(self.trails[0])

    @property
    def needed(self) -> float:
        """The same of bytes until both are at four times the distance that the further ends at, in square."""
        far = 4 * max(float(trail.distances(self.goal)[-1]) for trail in self.trails)
        return _bytes_to(self.trails[1], self.goal, far) / _bytes_to(self.trails[0], self.goal, far)


def run(lab: Lab) -> Findings:
    """Collective."""
    seeds = lab.seeds[:SEEDS]
    agreed = [_agreed(lab, seed + 1) for seed in seeds]
    least = [_minimised(lab, seed + 1) for seed in seeds]
    checks = [
        Check("the mean moves by, top 10 %, the most of all seeds", Below(1e-12), max(each.moved for each in agreed)),
        Check.over("plain quantised gossip stalls at |x - mean|^2", Above(1e-3), [each.far["naive"][-1] for each in agreed]),
        Check.over("bytes an edge and step: CHOCO-SGD over D-PSGD", Near(0.13, 1.1), [each.said for each in least]),
    ]
    if not lab.quick:
        checks += [
            Check.over(
                "CHOCO with 4 bits over that", Below(1e-6), [each.far["qsgd"][-1] / each.far["naive"][-1] for each in agreed]
            ),
            Check.over(
                "CHOCO with the top 10 %: |x - mean|^2 over that of the start",
                Below(1e-4),
                [each.far["topk"][-1] / each.far["topk"][0] for each in agreed],
            ),
            Check.over("bytes to four times that: CHOCO-SGD over D-PSGD", Below(0.5), [each.needed for each in least]),
        ]
    return Findings(checks, [*agreed[0].trails, *least[0].trails], NOTES, {"agreed": agreed, "least": least})


def _agreed(lab: Lab, seed: int) -> Gossiped:
    """Agreements alone, of nodes that begin apart. Collective."""
    starts, rounds = Streams(seed)("choco").standard_normal((NODES, DIM)), lab.pick(1000, 50)
    trails = [_gossip(lab, name, choco_sgd(rules.sgd(0.0), *how), starts, rounds, seed) for name, how in _known().items()]
    quantised = find("qsgd:bits=4")
    assert isinstance(quantised, Compressor)
    plain = nodes(Walk(rules.sgd(0.0)), near("ring", 0, "metropolis", quantised), Pull())
    trails.append(_gossip(lab, "naive", plain, starts, rounds, seed))
    return Gossiped(trails, starts, {trail.name: apart(trail, starts) for trail in trails})


def _minimised(lab: Lab, seed: int) -> Minimised:
    """Collective."""
    losses, steps = chunks(seed), lab.pick(2000, 100)
    some = {"D-PSGD": d_psgd(rules.sgd(RATE)), "CHOCO-SGD": choco_sgd(rules.sgd(RATE), "topk:0.1", GAIN)}
    return Minimised([_descent(lab, name, method, losses, steps, seed) for name, method in some.items()], optimum(losses))


def _known() -> dict[str, tuple[str, float | None]]:
    """The compressors of those that remember, and their gains."""
    return {name: (how or "identity", gain) for name, (how, gain) in GOSSIP.items()}


def _gossip(lab: Lab, name: str, method: Decentralised, starts: np.ndarray, rounds: int, seed: int) -> Trail:
    """Agreements alone, steps being 0. Collective."""

    def team(world: World) -> Team:
        return Team.of(world, [regression(np.eye(DIM), np.zeros(DIM)) for _ in world.hosted], Zero(), seed)

    about = {"method": "choco_sgd" if name != "naive" else "d_psgd"}
    return lab.follow(
        name, method, NODES, team, np.zeros(DIM), rounds, every=rounds // 50, starts=starts, own=True, about=about
    )


def apart(trail: Trail, starts: np.ndarray) -> np.ndarray:
    """Mean squared distance of the nodes from the mean of the starts, (readings,)."""
    return ((trail.own - starts.mean(axis=0)) ** 2).sum(axis=2).mean(axis=1)


def chunks(seed: int) -> list:
    """Least squares of every node, with solutions of their own."""
    made = []
    for node in range(WORKERS):
        stream = Streams(seed)("chunk", 0, node)
        a = stream.standard_normal((ROWS, DIM))
        made.append(regression(a, a @ (0.3 * stream.standard_normal(DIM)) + 0.1 * stream.standard_normal(ROWS)))
    return made


def _descent(lab: Lab, name: str, method: Decentralised, losses: list, steps: int, seed: int) -> Trail:
    """All rows in every step: what is left is the nodes' being unlike. Collective."""

    def team(world: World) -> Team:
        return Team.of(world, [losses[w] for w in world.hosted], Zero(), seed)

    about = {"method": name.lower().replace("-", "_")}
    return lab.follow(name, method, WORKERS, team, np.zeros(DIM), steps, every=steps // 100, about=about)


def _said(trail: Trail) -> float:
    return float(trail.readings["edge_bytes"][-1])


def _bytes_to(trail: Trail, goal: np.ndarray, far: float) -> float:
    """Bytes along all edges until the squared distance is at most this."""
    reached = np.flatnonzero(trail.distances(goal) <= far)
    return float(trail.readings["edge_bytes"][reached[0]]) if reached.size else inf


NOTES = (
    f"Means over {SEEDS} seeds (one in the short form). {NODES} nodes of a ring, {DIM} normal numbers each; CHOCO with 4 bits "
    "and the gain of its contraction constant, the top 10 % with gain 0.2, 10 % at random with 0.05: the gain of theory is "
    f"thousands of times smaller. Least squares: {WORKERS} nodes, {ROWS} rows each, all in every step, the same step of {RATE} "
    "for both, so that both stay at a distance from the optimum, for their nodes are unlike; CHOCO-SGD, which hears less, at "
    "one that is about 12 times that of D-PSGD in square. Bytes are those said along all edges. Published as plots; expected "
    "are the claims."
)


def draw(found: Findings) -> "Figure":
    """Distances against agreements and against bytes; all seeds within the bands."""
    from mpiopt.jobs.studies.apparatus.canvas import band, legend, logarithmic, sheet

    labels = {"whole": "whole vectors", "qsgd": "CHOCO, 4 bits", "topk": "CHOCO, top 10 %", "randk": "CHOCO, random 10 %"}
    agreed, least = found.facts["agreed"], found.facts["least"]
    with sheet(2, width=5.5, height=4.4) as (figure, (panels,)):
        for number, (name, label) in enumerate({**labels, "naive": "quantised, 4 bits"}.items()):
            rounds = found.trail(name).readings["round"]
            band(panels[0], rounds, [each.far[name] for each in agreed], number, label)
        logarithmic(panels[0], 1e-30)
        panels[0].set(xlabel="agreements", ylabel="|x - mean|\N{SUPERSCRIPT TWO}", title=f"{NODES} nodes of a ring agree")
        panels[0].legend(frameon=False, fontsize="small")
        for number, name in enumerate(("D-PSGD", "CHOCO-SGD")):
            sent = 1e-6 * found.trail(name).readings["edge_bytes"][1:]
            band(panels[1], sent, [each.trails[number].distances(each.goal)[1:] for each in least], number, name)
        logarithmic(panels[1])
        panels[1].set(
            xlabel="megabytes along all edges", xscale="log", ylabel="|x - x*|\N{SUPERSCRIPT TWO}", title="least squares"
        )
        legend(figure, panels[1], 2)
        return figure
