"""Graphs: which nodes hear each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiopt.errors import DataError, UsageError
from mpiopt.words import counted

Pairs = np.ndarray | Iterable[tuple[int, int]]
WANTED = "give two nodes, whole numbers from 0 on, a line"
SHOWN = 5  # nodes of a component that a sentence names


@dataclass(frozen=True, eq=False)
class Graph:
    """Undirected. nodes : 0 to nodes - 1. edges : (m, 2) int64, each once, the smaller node first, in order; see `of`."""

    nodes: int
    edges: np.ndarray

    @staticmethod
    def of(nodes: int, pairs: Pairs) -> "Graph":
        """The graph with an edge for each pair of nodes, in any order; loops and repetitions count for nothing.

        Raises DataError for a node that there is not.
        """
        found = np.sort(np.array(list(pairs), np.int64).reshape(-1, 2), axis=1)
        wrong = found[(found[:, 0] < 0) | (found[:, 1] >= nodes)]
        if len(wrong):
            raise DataError(
                f"the edge {wrong[0, 0]} - {wrong[0, 1]} does not fit {counted(nodes, 'node')}: nodes are 0 to {nodes - 1}"
            )
        found = found[found[:, 0] != found[:, 1]]
        return Graph(nodes, np.unique(found, axis=0))

    @cached_property
    def degrees(self) -> np.ndarray:
        """How many neighbours each node has, (nodes,)."""
        return np.bincount(self.edges.reshape(-1), minlength=self.nodes)

    @cached_property
    def arcs(self) -> np.ndarray:
        """Every edge both ways, (2 m, 2): from, to."""
        return np.concatenate([self.edges, self.edges[:, ::-1]])

    def neighbours(self, node: int) -> np.ndarray:
        """Who a node hears, in order."""
        return np.sort(self.arcs[self.arcs[:, 1] == node, 0])

    @cached_property
    def components(self) -> np.ndarray:
        """For each node the smallest that a path leads to, (nodes,)."""
        label = np.arange(self.nodes)
        while True:
            before = label.copy()
            for a, b in (self.edges.T, self.edges.T[::-1]):
                np.minimum.at(label, a, label[b])
            label = label[label]
            if (label == before).all():
                return label

    @property
    def connected(self) -> bool:
        """Whether paths lead from every node to every other."""
        return not self.components.any()

    def demand_connected(self, name: str, remedy: str) -> None:
        """Raise UsageError naming a component, and what to do, unless this graph, called ``name``, is connected."""
        apart = np.flatnonzero(self.components == self.components.max())
        if self.connected:
            return
        which = "nodes" if len(apart) > 1 else "node"
        shown = ", ".join(map(str, apart[:SHOWN])) + f" and {len(apart) - SHOWN} more" * (len(apart) > SHOWN)
        raise UsageError(
            f"{name} of {counted(self.nodes, 'node')} is not connected: from {which} {shown} no path leads to node 0; {remedy}"
        )

    def relabelled(self, order: np.ndarray) -> "Graph":
        """The same graph with node i called ``order[i]``; order : a permutation, (nodes,)."""
        return Graph.of(self.nodes, order[self.edges])

    def __or__(self, other: "Graph") -> "Graph":
        """The edges of both, among the same nodes."""
        return Graph.of(self.nodes, np.concatenate([self.edges, other.edges]))


def read_edges(lines: Iterable[str], name: str) -> Graph:
    """The graph of a list of edges: two nodes a line, from 0 on; what follows # is not read.

    name : of the file, for sentences. Raises DataError naming the line, or where there is no edge.
    """
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
            raise DataError(f"line {number} of {name} is {line.strip()[:40]!r}: {WANTED}")
        pairs.append((int(words[0]), int(words[1])))
    if not pairs:
        raise DataError(f"{name} has no edges: {WANTED}")
    return Graph.of(max(map(max, pairs)) + 1, pairs)
