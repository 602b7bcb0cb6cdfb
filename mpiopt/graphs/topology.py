"""Topology: who hears whom in every exchange, and how much; how a line of text says it.

ring  path  star  complete  torus:rows=3  hypercube  exponential  one_peer  matching
geometric:radius=0.3,seed=1  erdos_renyi:0.4; directed_ring  directed_exponential  directed_one_peer  arrows:0.5
edges:0-1 1-2 2-0     a graph of one's own
"""

from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.graphs.directed import Arrows, DirectedExponential, DirectedGraph, DirectedOnePeer, DirectedRing, Pushing
from mpiopt.graphs.families import (
    Complete,
    ErdosRenyi,
    Exponential,
    Graphs,
    Hypercube,
    Listed,
    Matching,
    OnePeer,
    Path,
    RandomGeometric,
    Ring,
    Star,
    Torus,
)
from mpiopt.graphs.graph import Graph, read_edges
from mpiopt.graphs.mixing import Mixing, Spectrum, law
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry

LIST = "edges"  # a graph that is written out
PUSH = "push"  # weights of graphs whose edges may go one way
LOOKED_AT = 32  # graphs of a sequence whose spectra are looked at

_YING = "Ying, Yuan, Chen, Hu, Pan, Yin, Exponential graph is provably efficient for decentralized deep training, 2021"
_ASSRAN = "Assran, Loizou, Ballas, Rabbat, Stochastic gradient push for distributed deep learning, ICML 2019"
FAMILIES: Registry[Spelt] = Registry(
    "graph",
    (
        Spelt(Ring, "-", "seed", name="ring"),
        Spelt(Path, "-", "seed", name="path"),
        Spelt(Torus, "-", "rows", name="torus"),
        Spelt(Hypercube, "-", "seed", name="hypercube"),
        Spelt(Exponential, _YING, "seed", name="exponential"),
        Spelt(OnePeer, _YING, "seed", name="one_peer"),
        Spelt(Matching, "Boyd, Ghosh, Prabhakar, Shah, Randomized gossip algorithms, 2006", "seed", name="matching"),
        Spelt(DirectedRing, "-", "seed", name="directed_ring"),
        Spelt(DirectedExponential, _ASSRAN, "seed", name="directed_exponential"),
        Spelt(DirectedOnePeer, _ASSRAN, "seed", name="directed_one_peer"),
        Spelt(Arrows, "Erdos, Renyi, On random graphs I, 1959", "probability", name="arrows"),
        Spelt(Star, "-", "seed", name="star"),
        Spelt(Complete, "-", "seed", name="complete"),
        Spelt(RandomGeometric, "Gilbert, Random plane networks, 1961", "radius", name="geometric"),
        Spelt(ErdosRenyi, "Erdos, Renyi, On random graphs I, 1959", "probability", name="erdos_renyi"),
    ),
)


@dataclass(frozen=True)
class Topology:
    """The graph and mixing matrix of every exchange, counted from 0.

    family : of the graphs. every : exchanges after which comes the next graph of the family, drawn anew, or the same with
    its nodes renamed; 0 for one graph throughout. weights : the name of the mixing weights (`graphs.mixing`).
    """

    family: Graphs
    every: int = 0
    weights: str = "metropolis"

    def __post_init__(self) -> None:
        if self.every < 0:
            raise UsageError(f"a new graph every {self.every} exchanges is not possible: give a number from 0, for never, on")
        if self.weights != PUSH:
            law(self.weights)

    @staticmethod
    def of(text: str, every: int = 0, weights: str = "metropolis") -> "Topology":
        """What a text says, as at the head of this file. Raises UsageError in a sentence that says what is possible."""
        name, _, rest = text.strip().partition(":")
        if name == LIST:
            graph = read_edges((edge.replace("-", " ") for edge in rest.split()), "the list of edges")
            return Topology(Listed(graph=graph, what="the list of edges"), every, weights)
        return Topology(FAMILIES.find(name, more=", or a list of edges such as edges:0-1 1-2").spelt(rest), every, weights)

    def turn(self, time: int) -> int:
        """Which graph of the family the ``time``-th exchange has."""
        return time // self.every if self.every else 0

    def at(self, nodes: int, time: int) -> Mixing:
        """The matrix of the ``time``-th exchange among so many nodes."""
        return _mixing(self.family, self.weights, nodes, self.turn(time))

    def spectrum(self, nodes: int) -> Spectrum:
        """What holds of all graphs, as far as the first `LOOKED_AT` of the sequence tell."""
        count = LOOKED_AT if self.every else 1
        found, *others = [_mixing(self.family, self.weights, nodes, turn).spectrum for turn in range(count)]
        for other in others:
            found = found.worse(other)
        return found

    def demand_fixed(self) -> None:
        """Raise CapabilityError where the graph changes. Not collective."""
        if self.every:
            raise CapabilityError(
                "what neighbours remember of each other needs the same neighbours throughout: let the graph not change"
            )

    def demand_above(self, least: float, nodes: int) -> None:
        """Raise UsageError unless all eigenvalues of the matrices are above ``least``, if that is above -1. Not collective."""
        if least > -1 and (found := 1 - self.spectrum(nodes).lambda_max) <= least:
            raise UsageError(
                f"mixing by {self.weights} weights on {self.family} of {nodes} nodes has the eigenvalue {found:.3g}, and this "
                f"method needs all above {least:.3g}: take `weights=lazy`"
            )

    def check(self, nodes: int, each: bool = False) -> None:
        """Raise UsageError unless the graphs lead everywhere, every single one or all together. Not collective."""
        turns = self.family.together(nodes)
        if self.weights != PUSH and isinstance(self.family(nodes), DirectedGraph):
            raise UsageError(
                f"the edges of {self.family!r} go one way, so that no mixing matrix of it is symmetric, which this method "
                "needs: take a graph such as exponential, or the method sgp"
            )
        if turns > 1 and each:
            raise UsageError(
                f"every graph has to be connected here, and those of {self.family!r} are only together: take "
                "exponential or hypercube"
            )
        if turns > 1 and not self.every:
            raise UsageError(
                f"the graphs of {self.family!r} lead everywhere only one after the other: let the graph change "
                "after every exchange"
            )
        joint = reduce(or_, (self.family(nodes, turn) for turn in range(turns)))
        joint.demand_connected(str(self.family), "add edges, or take another graph")


def written(graph: Graph) -> str:
    """The text of a graph, as `Topology.of` takes it."""
    return f"{LIST}:" + " ".join(f"{a}-{b}" for a, b in graph.edges.tolist())


@lru_cache(16)
def _mixing(family: Graphs, weights: str, nodes: int, turn: int) -> Mixing:
    graph = family(nodes, turn)
    return Pushing.of(graph) if weights == PUSH else Mixing(graph, law(weights)(graph))
