"""Several linear problems of the same rows, which differ in what the rows weigh: a column of x each, of which the rows are read
once for all, and one message holds all.

Fits without one fold after the other are such: the rows of the fold weigh nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.kernels.csr import CSR
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Point, Team


@dataclass(frozen=True)
class Abreast:
    """k problems. losses : of the hosted workers; weights : (k, rows) for each of them, what a row's loss counts for.

    x is (dim, k); margins, and whatever else rows have, are (k, rows) for each hosted worker.
    """

    world: World
    losses: tuple[Linear, ...]
    weights: tuple[Array, ...]

    @staticmethod
    def of(teams: Sequence[Team[Linear]], summed: bool = False) -> "Abreast":
        """The problems of teams that share their rows. Not collective.

        summed : losses are divided by the weight of the first team's rows, not by their own.
        """
        losses = tuple(site.loss for site in teams[0].sites)
        weights = []
        for w, loss in enumerate(losses):
            own = [team.sites[w].loss.weights if team.sites[w].loss.weights.size else np.ones(loss.rows) for team in teams]
            totals = [teams[0].weight if summed else team.weight for team in teams]
            weights.append(np.array([each / total for each, total in zip(own, totals, strict=True)]))
        return Abreast(teams[0].world, losses, tuple(weights))

    def margins(self, x: Array) -> list[Array]:
        """A x + b: one pass over the rows. Not collective."""
        out = []
        for loss in self.losses:
            table = _matrix(loss).dot_many(np.ascontiguousarray(x[: loss.features])).T
            out.append(np.add(table, x[-1][:, None], order="C") if loss.intercept else np.ascontiguousarray(table))
        return out

    def gradient(self, margins: Sequence[Array]) -> tuple[Array, Array, list[Array]]:
        """Values (k,), gradients (dim, k), and the rows' slopes, weighed. Collective: one vector round."""
        slopes, values = [np.empty_like(each) for each in margins], []
        for loss, weights, seen, slope in zip(self.losses, self.weights, margins, slopes, strict=True):
            values.append(np.empty(len(seen)))
            for k, (m, w) in enumerate(zip(seen, weights, strict=True)):
                values[-1][k], slope[k] = loss.family.value_residual(loss.shifted(m), loss.y, w)
        return (*self._summed(slopes, values), slopes)

    def combined(self, rows: Sequence[Array]) -> Array:
        """A^T rows, (dim, k), from (k, rows) for each worker. Collective: one vector round."""
        return self._summed(rows, [np.empty(0)] * len(rows))[1]

    def bends(self, margins: Sequence[Array]) -> list[Array]:
        """The rows' second derivatives, weighed. Not collective."""
        out = []
        for loss, weights, seen in zip(self.losses, self.weights, margins, strict=True):
            rows = zip(seen, weights, strict=True)
            out.append(np.array([loss.family.curvature(loss.shifted(m), loss.y, w) for m, w in rows]))
        return out

    def spread(self, margins: Sequence[Array]) -> Array:
        """The squares of the rows' slopes over their second derivatives, added up, (k,). Collective: one small sum."""
        parts = []
        for loss, weights, seen, h in zip(self.losses, self.weights, margins, self.bends(margins), strict=True):
            slopes = np.array(
                [loss.family.value_residual(loss.shifted(m), loss.y, w)[1] for m, w in zip(seen, weights, strict=True)]
            )
            parts.append(np.divide(slopes * slopes, h, out=np.zeros_like(h), where=h > 0).sum(1))
        return self.world.total(parts, "spread")

    def product(self, bends: Sequence[Array], p: Array) -> tuple[Array, list[Array]]:
        """The Hessians of the losses times p (dim, k), and the margins of p. Collective: one vector round."""
        images = self.margins(p)
        return self.combined([h * image for h, image in zip(bends, images, strict=True)]), images

    def triangles(self, x: Array, margins: Sequence[Array]) -> Array:
        """The upper triangles of the Hessians of the losses, (k, dim (dim + 1) / 2). Collective: one vector round."""
        parts = []
        for loss, weights, seen in zip(self.losses, self.weights, margins, strict=True):
            own = [(replace(loss, weights=w), Point(at, m)) for w, at, m in zip(weights, x.T, seen, strict=True)]
            parts.append(np.array([one.triangle(at) * one.weight for one, at in own]))
        return self.world.sum(parts, "hessian", out=parts[0])

    def rises(self, margins: Sequence[Array], steps: Sequence[Array]) -> list[Array]:
        """What the losses gain by steps of the margins beyond their linearisation, (k,) for each worker. Not collective."""
        out = []
        for loss, weights, seen, step in zip(self.losses, self.weights, margins, steps, strict=True):
            rows = zip(seen, step, weights, strict=True)
            out.append(np.array([loss.family.bregman(loss.shifted(m), d, loss.y, w) for m, d, w in rows]))
        return out

    def squares(self, rows: Sequence[Array]) -> Array:
        """sum_i h_i a_ij^2, (dim,), from (rows,) for each worker. Collective: one vector round."""
        parts = []
        for loss, h in zip(self.losses, rows, strict=True):
            squared = loss.matrix.squares(h)
            parts.append(np.append(squared, h.sum()) if loss.intercept else squared)
        return self.world.sum(parts, "squares")

    def factors(self) -> list[float]:
        """What a row counts for in each problem, over what it does in the first. Collective: one small sum."""
        ratios = [np.max(np.divide(w, w[0], out=np.zeros_like(w), where=w[0] > 0), axis=1, initial=0.0) for w in self.weights]
        return self.world.extremes(np.max(ratios, axis=0))[1].tolist()

    def dots(self, pairs: Sequence[tuple[Array, Array]], parts: Sequence[Array] = ()) -> Array:
        """Inner products of columns, (pairs, k), of vectors that all ranks hold, each finding those of its slices; and behind
        them the sums of (n, k) numbers for each worker. Collective: one small sum."""
        found = []
        for w, cut in enumerate(self.world.slices(pairs[0][0].shape[0])):
            own = [np.einsum("ij,ij->j", a[cut], b[cut]) for a, b in pairs]
            found.append(np.vstack([*own, *(parts[w : w + 1])]))
        return self.world.total(found, "dots")

    def _summed(self, rows: Sequence[Array], beside: Sequence[Array]) -> tuple[Array, Array]:
        """The sum of (k,) or (0,) numbers for each worker, and A^T rows, (dim, k). Collective: one vector round."""
        parts = []
        for loss, each, numbers in zip(self.losses, rows, beside, strict=True):
            table = [_matrix(loss).tdot_many(np.ascontiguousarray(each.T))]
            table += [each.sum(1)[None]] * loss.intercept + [numbers[None]] * (numbers.size > 0)
            parts.append(np.concatenate(table) if len(table) > 1 else table[0])
        whole = self.world.sum(parts, "gradients", out=parts[0])
        dim = self.losses[0].dim
        return whole[dim:].reshape(-1), whole[:dim]


def _matrix(loss: Linear) -> CSR:
    """On the CPU, where alone problems are solved abreast."""
    return cast(CSR, loss.matrix)
