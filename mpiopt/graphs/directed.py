"""Graphs whose edges go one way: who says something need not hear those that it says it to.

    directed_ring                     i -> i + 1
    directed_exponential              i -> i + 1, i + 2, i + 4, ...
    directed_one_peer                 the same, one of them a turn
    arrows:probability=0.5            each way by a coin, drawn until paths lead from everywhere to everywhere

Pushing is the matrix of such graphs: every node divides what it has among itself and those that hear it, so that columns add
up to 1, and rows need not. Kempe, Dobra, Gehrke, Gossip-based computation of aggregate information, 2003; Assran, Loizou,
Ballas, Rabbat, Stochastic gradient push for distributed deep learning, ICML 2019, for the exponential graphs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.graphs.families import DRAWS, Graphs
from mpiopt.graphs.graph import Graph, Pairs
from mpiopt.graphs.mixing import Mixing, Spectrum
from mpiopt.words import counted


@dataclass(frozen=True, eq=False)
class DirectedGraph(Graph):
    """edges : (m, 2) int64, from and to, each once, in order; see `of`."""

    @staticmethod
    def of(nodes: int, pairs: Pairs) -> "DirectedGraph":
        """The graph with an edge from the first to the second of each pair; loops and repetitions count for nothing."""
        found = np.array(list(pairs), np.int64).reshape(-1, 2)
        return DirectedGraph(nodes, np.unique(found[found[:, 0] != found[:, 1]], axis=0))

    @cached_property
    def degrees(self) -> np.ndarray:
        """How many hear each node, (nodes,)."""
        return np.bincount(self.edges[:, 0], minlength=self.nodes)

    @cached_property
    def arcs(self) -> np.ndarray:
        """The edges."""
        return self.edges

    @cached_property
    def components(self) -> np.ndarray:
        """0 for nodes from which paths lead to node 0 and back, the node itself for others, (nodes,)."""
        both = _reached(self.nodes, self.edges) & _reached(self.nodes, self.edges[:, ::-1])
        return np.where(both, 0, np.arange(self.nodes))

    def demand_connected(self, name: str, remedy: str) -> None:
        """Raise UsageError naming a node unless paths lead from everywhere to everywhere."""
        if not self.connected:
            node = int(np.flatnonzero(self.components)[0])
            raise UsageError(
                f"{name} of {counted(self.nodes, 'node')} is not strongly connected: there is no way from node {node} to "
                f"node 0 and back; {remedy}"
            )

    def relabelled(self, order: np.ndarray) -> "DirectedGraph":
        """See `Graph.relabelled`."""
        return DirectedGraph.of(self.nodes, order[self.edges])

    def __or__(self, other: Graph) -> "DirectedGraph":
        return DirectedGraph.of(self.nodes, np.concatenate([self.edges, other.arcs]))


@dataclass(frozen=True, eq=False)
class Pushing(Mixing):
    """P of a graph, P_ij = 1 / (1 + the number that hear j). between : P_ji of its arcs."""

    @staticmethod
    def of(graph: Graph) -> "Pushing":
        """That of any graph."""
        return Pushing(graph, 1 / (1.0 + graph.degrees[graph.arcs[:, 0]]))

    @cached_property
    def own(self) -> np.ndarray:
        """P_ii, (nodes,)."""
        return 1 / (1.0 + self.graph.degrees)

    def row(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Mixing.row`."""
        sender, here = self.graph.arcs[:, 0], self.graph.arcs[:, 1] == node
        who, much = np.append(sender[here], node), np.append(self.between[here], self.own[node])
        order = np.argsort(who)
        return who[order], much[order]

    @cached_property
    def dense(self) -> np.ndarray:
        """P, (nodes, nodes)."""
        p = np.diag(self.own)
        p[self.graph.arcs[:, 1], self.graph.arcs[:, 0]] = self.between
        return p

    @cached_property
    def spectrum(self) -> Spectrum:
        """The second largest magnitude of an eigenvalue alone says something here."""
        values = np.sort(np.abs(np.linalg.eigvals(self.dense)))[:-1]
        second = float(f"{values.max(initial=0.0):.9g}")
        return Spectrum(1 - second, 1.0, second)


@dataclass(frozen=True)
class DirectedRing(Graphs):
    """Every node is heard by the next."""

    def __call__(self, nodes: int, turn: int = 0) -> DirectedGraph:
        """See `Graphs.__call__`."""
        graph = DirectedGraph.of(nodes, np.concatenate([np.empty((0, 2), np.int64), *self.pairs(np.arange(nodes))]))
        return graph.relabelled(self.random(turn).permutation(nodes)) if turn else graph

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i + 1."""
        return [np.stack([i, (i + 1) % i.size]).T]


@dataclass(frozen=True)
class DirectedExponential(DirectedRing):
    """Every node is heard by those 1, 2, 4, 8, ... after it."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i + 2^k."""
        return [np.stack([i, (i + (1 << k)) % i.size]).T for k in range((i.size - 1).bit_length())]


@dataclass(frozen=True)
class DirectedOnePeer(DirectedExponential):
    """One of those a turn, another each time."""

    def __call__(self, nodes: int, turn: int = 0) -> DirectedGraph:
        """See `Graphs.__call__`."""
        return DirectedGraph.of(nodes, self.pairs(np.arange(nodes))[turn % self.together(nodes)] if nodes > 1 else ())

    def together(self, nodes: int) -> int:
        """As many as there are distances."""
        return max((nodes - 1).bit_length(), 1)


@dataclass(frozen=True)
class Arrows(DirectedRing):
    """Each node is heard by each other with a ``probability``; drawn until strongly connected."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the probability of an arrow is {self.probability:g}: give a number above 0, at most 1")

    def __call__(self, nodes: int, turn: int = 0) -> DirectedGraph:
        """See `RandomGraphs.__call__`."""
        rng = self.random(turn)
        for _ in range(DRAWS):
            graph = DirectedGraph.of(nodes, np.argwhere(rng.random((nodes, nodes)) < self.probability))
            if graph.connected:
                return graph
        graph.demand_connected(f"{self}, drawn {DRAWS} times,", "give a larger probability")
        return graph


def _reached(nodes: int, edges: np.ndarray) -> np.ndarray:
    """Where paths lead from node 0, (nodes,) bool."""
    found = np.arange(nodes) == 0
    while True:
        more = found.copy()
        more[edges[found[edges[:, 0]], 1]] = True
        if (more == found).all():
            return found
        found = more
