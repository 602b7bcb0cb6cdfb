"""Mixing matrices: what a node makes of what it hears, heard_i = sum_j W_ij x_j, with W symmetric and its rows adding up to 1.

    metropolis    W_ij = 1 / (1 + max(d_i, d_j))
    lazy          half of that, half what the node has
    degree        I - L / (1 + the largest degree)          L = D - A, the Laplacian
    laplacian     I - L / lambda_max(L)
    best          I - 2 L / (lambda_max(L) + lambda_min+(L)), the fastest of the last three kinds

I - W is positive semidefinite with the constant vectors as its kernel where the graph is connected. Xiao, Boyd, Fast linear
iterations for distributed averaging, 2004, section 4.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.graphs.graph import Graph


class Spectrum(NamedTuple):
    """What decides how fast a mixing matrix mixes."""

    lambda_min: float  # the smallest eigenvalue of I - W on vectors that add up to 0
    lambda_max: float  # the largest of I - W
    second: float  # the largest magnitude of an eigenvalue of W on such vectors

    @property
    def chi(self) -> float:
        """lambda_max / lambda_min, the condition number of the graph; 1 for a single node."""
        return self.lambda_max / self.lambda_min if self.lambda_min > 0 else float("inf")

    @property
    def gap(self) -> float:
        """The spectral gap, 1 - second."""
        return 1 - self.second

    def worse(self, other: "Spectrum") -> "Spectrum":
        """What holds of both."""
        return Spectrum(
            min(self.lambda_min, other.lambda_min), max(self.lambda_max, other.lambda_max), max(self.second, other.second)
        )


@dataclass(frozen=True, eq=False)
class Mixing:
    """W of a graph. between : W_ij of its edges, (m,)."""

    graph: Graph
    between: np.ndarray

    @cached_property
    def own(self) -> np.ndarray:
        """W_ii, (nodes,): what the others leave."""
        left = np.ones(self.graph.nodes)
        np.subtract.at(left, self.graph.edges.reshape(-1), np.repeat(self.between, 2))
        return left

    def row(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Whom a node listens to, itself among them and in order, and how much: (k,) and (k,)."""
        (a, b), between = self.graph.edges.T, self.between
        who = np.concatenate([b[a == node], a[b == node], [node]])
        much = np.concatenate([between[a == node], between[b == node], self.own[node : node + 1]])
        order = np.argsort(who)
        return who[order], much[order]

    @cached_property
    def dense(self) -> np.ndarray:
        """W, (nodes, nodes)."""
        w, (a, b) = np.diag(self.own), self.graph.edges.T
        w[a, b] = w[b, a] = self.between
        return w

    @cached_property
    def spectrum(self) -> Spectrum:
        """To nine digits, which unlike CPUs find alike."""
        values = 1 - np.linalg.eigvalsh(self.dense)[:-1]  # in falling order, but for the 0 of the constant vectors
        if not values.size:
            return Spectrum(1.0, 1.0, 0.0)
        low, high, second = (float(f"{v:.9g}") for v in (values[-1], values[0], np.abs(1 - values).max()))
        return Spectrum(low if low > 1e-12 else 0.0, high, second)


def metropolis(graph: Graph) -> np.ndarray:
    """See above; (m,)."""
    return 1 / (1 + graph.degrees[graph.edges].max(axis=1, initial=0))


def lazy(graph: Graph) -> np.ndarray:
    """See above; (m,)."""
    return metropolis(graph) / 2


def degree(graph: Graph) -> np.ndarray:
    """See above; (m,)."""
    return np.full(len(graph.edges), 1 / (1 + graph.degrees.max()))


def laplacian(graph: Graph) -> np.ndarray:
    """See above; (m,)."""
    return np.full(len(graph.edges), 1 / _unscaled(graph).lambda_max)


def best(graph: Graph) -> np.ndarray:
    """See above; (m,)."""
    found = _unscaled(graph)
    return np.full(len(graph.edges), 2 / (found.lambda_max + found.lambda_min))


def _unscaled(graph: Graph) -> Spectrum:
    """Of L itself."""
    return Mixing(graph, np.ones(len(graph.edges))).spectrum


Law = Callable[[Graph], np.ndarray]  # a graph -> W_ij of its edges, (m,)
LAWS: Mapping[str, Law] = {one.__name__: one for one in (metropolis, lazy, degree, laplacian, best)}


def law(weights: str) -> Law:
    """The weights of a name. Raises UsageError with the known names."""
    if weights not in LAWS:
        raise UsageError(f"there are no mixing weights {weights!r}: choose one of {', '.join(LAWS)}")
    return LAWS[weights]
