"""Symmetric matrices whose lines lie in panels on all ranks, their factorisation and what is solved by it.

Panel k has the lines k WIDTH to (k + 1) WIDTH, from its diagonal block on, and belongs to rank k mod size; a rank holds about
d^2 / (2 size) numbers. Right-looking Cholesky by panels: Golub, Van Loan, Matrix computations, 2013, section 4.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from mpiopt.comm.world import World

WIDTH = 256  # lines of a panel
DEPENDENT = 1e-11  # of a diagonal of 1: a pivot below says that a column is a combination of those before it


@dataclass(frozen=True)
class Panels:
    """The upper triangle of a symmetric matrix (dim, dim), or its factor; ``held``: this rank's panels (lines, dim - first)."""

    world: World
    dim: int
    held: dict[int, np.ndarray]

    @staticmethod
    def zeros(world: World, dim: int) -> "Panels":
        """The matrix 0. Not collective."""
        out = Panels(world, dim, {})
        for k in range(world.rank, out.count, world.size):
            out.held[k] = out.blank(k)
        return out

    @property
    def count(self) -> int:
        """Panels of all ranks."""
        return -(-self.dim // WIDTH)

    def lines(self, k: int) -> slice:
        """The lines of a panel."""
        return slice(k * WIDTH, min((k + 1) * WIDTH, self.dim))

    def blank(self, k: int) -> np.ndarray:
        """A panel of 0s."""
        cut = self.lines(k)
        return np.zeros((cut.stop - cut.start, self.dim - cut.start))

    def mine(self) -> np.ndarray:
        """The numbers of the lines on this rank, ascending."""
        return np.concatenate([np.arange(self.dim)[self.lines(k)] for k in self.held] or [np.empty(0, np.int64)])

    def told(self, backwards: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Every panel with its number, one after the other, on all ranks. Collective at every step."""
        for k in reversed(range(self.count)) if backwards else range(self.count):
            panel = self.held[k] if k in self.held else self.blank(k)
            yield k, self.world.bcast(panel, k % self.world.size, "panel")

    def scaled(self, scale: np.ndarray) -> None:
        """In place scale_i a_ij scale_j; scale : (dim,). Not collective."""
        for k, panel in self.held.items():
            first = k * WIDTH
            panel *= scale[first : first + len(panel), None] * scale[first:]

    def diagonal(self) -> np.ndarray:
        """Its diagonal, (dim,). Collective."""
        out = np.zeros(self.dim)
        for k, panel in self.held.items():
            out[self.lines(k)] = np.diagonal(panel)
        return self.told_all(out)

    def told_all(self, own: np.ndarray) -> np.ndarray:
        """What ranks know of their own lines and have as 0 elsewhere, (dim,), of all lines. Collective."""
        return self.world.sum([own, *(np.zeros(self.dim) for _ in self.world.hosted[1:])], "panel")

    def factor(self) -> list[int]:
        """In place A = R^T R, of a diagonal of 1; which columns depend on those before: their lines become 0. Collective."""
        dependent: list[int] = []
        for k in range(self.count):
            if k in self.held:
                _factored(self.held[k])
            panel = self.held[k] if k in self.held else self.blank(k)
            self.world.bcast(panel, k % self.world.size, "panel")
            dependent += (k * WIDTH + np.flatnonzero(np.diagonal(panel) == 0)).tolist()
            for j, other in self.held.items():
                if j > k:
                    at = (j - k) * WIDTH
                    other -= panel[:, at : at + len(other)].T @ panel[:, at:]
        return dependent

    def solved(self, z: np.ndarray) -> np.ndarray:
        """In place R^T z' = z for each column, (dim, columns); of a factor without dependent columns. Collective."""
        for k, panel in self.told():
            here = z[k * WIDTH : k * WIDTH + len(panel)]
            here[:] = solve_triangular(panel[:, : len(panel)], here, trans="T")
            z[k * WIDTH + len(panel) :] -= panel[:, len(panel) :].T @ here
        return z

    def resolved(self, z: np.ndarray) -> np.ndarray:
        """In place R z' = z. Collective."""
        for k, panel in self.told(backwards=True):
            here = z[k * WIDTH : k * WIDTH + len(panel)]
            here -= panel[:, len(panel) :] @ z[k * WIDTH + len(panel) :]
            here[:] = solve_triangular(panel[:, : len(panel)], here)
        return z

    def product(self, z: np.ndarray) -> np.ndarray:
        """A z for each column, (dim, columns), of the matrix itself. Collective."""
        out = np.zeros_like(z)
        for k, panel in self.told():
            first, end = k * WIDTH, k * WIDTH + len(panel)
            out[first:end] += panel @ z[first:]
            out[end:] += panel[:, len(panel) :].T @ z[first:end]
        return out


def _factored(panel: np.ndarray) -> None:
    """In place: the panel's lines of R; those that depend on the ones before become 0."""
    for j in range(len(panel)):
        row = panel[j, j:]
        row *= 1 / np.sqrt(row[0]) if row[0] > DEPENDENT else 0.0
        panel[j, :j] = 0
        panel[j + 1 :, j + 1 :] -= np.outer(row[1 : len(panel) - j], row[1:])
