"""Families of graphs: each makes graphs of any number of nodes, one after the other, drawn alike on every rank.

    Ring()(10)                    a `Graph` of ten nodes
    Ring(seed=1)(10, turn=3)      the third after it: the same ring, its nodes renamed

Gilbert, Random plane networks, 1961; Erdos, Renyi, On random graphs I, 1959; Ying, Yuan, Chen, Hu, Pan, Yin, Exponential
graph is provably efficient for decentralized deep training, NeurIPS 2021, for the exponential graphs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.graphs.graph import Graph
from mpiopt.numerics.streams import Streams

DRAWS = 100  # until a random graph is connected


@dataclass(frozen=True)
class Graphs(ABC):
    """Graphs of one kind. seed : of what is drawn: nodes' new names, where nothing else is."""

    seed: int = 0

    def __str__(self) -> str:
        return f"the graph {self!r}"

    def __call__(self, nodes: int, turn: int = 0) -> Graph:
        """The graph of a turn, connected unless `together` says otherwise. Raises UsageError where there is none."""
        graph = Graph.of(nodes, np.concatenate([np.empty((0, 2), np.int64), *self.pairs(np.arange(nodes))]))
        return graph.relabelled(self.random(turn).permutation(nodes)) if turn else graph

    @abstractmethod
    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """Edges between the nodes i (nodes,), arrays (k, 2); loops and repetitions are allowed."""

    def together(self, nodes: int) -> int:
        """Of how many turns one after the other the edges lead everywhere."""
        return 1

    def random(self, turn: int) -> np.random.Generator:
        """The numbers of a turn."""
        return Streams(self.seed)("graph", turn)


@dataclass(frozen=True)
class Ring(Graphs):
    """Every node hears the one before and the one after."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i + 1."""
        return [np.stack([i, (i + 1) % i.size]).T]


@dataclass(frozen=True)
class Path(Graphs):
    """A ring with one edge missing."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i + 1, but for the last."""
        return [np.stack([i[:-1], i[1:]]).T]


@dataclass(frozen=True)
class Torus(Graphs):
    """A grid whose opposite sides meet. rows : as near to a square as the number of nodes allows, unless given."""

    rows: int | None = None

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """Right and below. Raises UsageError for rows that do not divide the nodes."""
        n = i.size
        rows = max(r for r in range(1, int(n**0.5) + 1) if n % r == 0) if self.rows is None else self.rows
        if rows < 1 or n % rows:
            raise UsageError(f"a torus of {n} nodes cannot have {rows} rows: give a number that divides {n}")
        columns = n // rows
        return [np.stack([i, i - i % columns + (i + 1) % columns]).T, np.stack([i, (i + columns) % n]).T]


@dataclass(frozen=True)
class Hypercube(Graphs):
    """Nodes whose numbers differ in one binary digit hear each other; for 2, 4, 8, ... nodes."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i with one digit changed."""
        return [np.stack([i, i ^ (1 << k)]).T for k in range(digits(i.size))]


@dataclass(frozen=True)
class Exponential(Graphs):
    """Every node hears those 1, 2, 4, 8, ... before and after it."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """i and i + 2^k."""
        return [np.stack([i, (i + (1 << k)) % i.size]).T for k in range((i.size - 1).bit_length())]


@dataclass(frozen=True)
class OnePeer(Hypercube):
    """A hypercube, one digit a turn: every node hears one other, another each time; for 2, 4, 8, ... nodes."""

    def __call__(self, nodes: int, turn: int = 0) -> Graph:
        """See `Graphs.__call__`."""
        return Graph.of(nodes, self.pairs(np.arange(nodes))[turn % self.together(nodes)] if nodes > 1 else ())

    def together(self, nodes: int) -> int:
        """As many as there are digits."""
        return max(digits(nodes), 1)


@dataclass(frozen=True)
class Matching(Graphs):
    """Every node hears one other, drawn anew each turn; of an odd number of nodes one hears nobody."""

    def __call__(self, nodes: int, turn: int = 0) -> Graph:
        """See `Graphs.__call__`."""
        order = self.random(turn).permutation(nodes)
        return Graph.of(nodes, order[: nodes - nodes % 2].reshape(-1, 2))

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """Those of the first turn."""
        return [self(i.size).edges]

    def together(self, nodes: int) -> int:
        """As many as it takes: with two nodes one, else a few."""
        joint = self(nodes)
        for turn in range(1, DRAWS * max(nodes, 1)):
            if joint.connected:
                return turn
            joint |= self(nodes, turn)
        return DRAWS * nodes


@dataclass(frozen=True)
class Star(Graphs):
    """All hear the first node, and it hears all."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """0 and i."""
        return [np.stack([0 * i, i]).T]


@dataclass(frozen=True)
class Complete(Graphs):
    """All hear all."""

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """Each two."""
        return [np.argwhere(i[:, None] < i)]


@dataclass(frozen=True)
class Listed(Graphs):
    """A graph of one's own, such as one that was read. what : it is called in sentences."""

    graph: Graph | None = None
    what: str = "a graph of one's own"

    def __str__(self) -> str:
        return self.what

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """As they are. Raises UsageError where the graph is for another number of nodes."""
        if self.graph is None or self.graph.nodes != i.size:
            nodes = 0 if self.graph is None else self.graph.nodes
            raise UsageError(f"{self.what} has {nodes} nodes for {i.size} workers: give one node for each worker")
        return [self.graph.edges]


@dataclass(frozen=True)
class RandomGraphs(Graphs):
    """Random graphs, each drawn until it is connected."""

    remedy: ClassVar[str] = "give a graph with more edges"

    def __call__(self, nodes: int, turn: int = 0) -> Graph:
        """The first of `DRAWS` that is connected. Raises UsageError naming a component of the last where none is."""
        rng = self.random(turn)
        for _ in range(DRAWS):
            graph = Graph.of(nodes, self.draw(nodes, rng))
            if graph.connected:
                return graph
        graph.demand_connected(f"{self}, drawn {DRAWS} times,", self.remedy)
        return graph

    def pairs(self, i: np.ndarray) -> list[np.ndarray]:
        """Those of one draw."""
        return [self.draw(i.size, self.random(0))]

    @abstractmethod
    def draw(self, nodes: int, rng: np.random.Generator) -> np.ndarray:
        """The edges of one, connected or not; (k, 2)."""


@dataclass(frozen=True)
class RandomGeometric(RandomGraphs):
    """Points drawn in the unit square; those within ``radius`` hear each other."""

    radius: float = 0.5
    remedy: ClassVar[str] = "give a larger radius"

    def __post_init__(self) -> None:
        if not 0 < self.radius < np.inf:
            raise UsageError(f"the radius of a geometric graph is {self.radius:g}: give a number above 0")

    def draw(self, nodes: int, rng: np.random.Generator) -> np.ndarray:
        """See `RandomGraphs.draw`."""
        x, y = rng.random((2, nodes))
        return np.argwhere(np.triu((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2 <= self.radius**2, 1))


@dataclass(frozen=True)
class ErdosRenyi(RandomGraphs):
    """Each two nodes hear each other with a ``probability``."""

    probability: float = 0.5
    remedy: ClassVar[str] = "give a larger probability"

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the probability of an edge is {self.probability:g}: give a number above 0, at most 1")

    def draw(self, nodes: int, rng: np.random.Generator) -> np.ndarray:
        """See `RandomGraphs.draw`."""
        return np.argwhere(np.triu(rng.random((nodes, nodes)) < self.probability, 1))


def digits(nodes: int) -> int:
    """The binary digits of the nodes' numbers. Raises UsageError unless there are 1, 2, 4, 8, ... nodes."""
    if nodes & (nodes - 1):
        raise UsageError(
            f"hypercube and one_peer are for 1, 2, 4, 8, ... workers, not {nodes}: give such a number of them, or "
            "take exponential"
        )
    return nodes.bit_length() - 1
