"""A preconditioner for problems abreast: the Hessian of the first, whole in the heaviest coordinates, else its diagonal.

The problems differ in some rows alone, so that one serves all of them. Of words a few hundred are in most rows, and bring most
of what makes conjugate gradients slow. Concus, Golub, O'Leary, A generalized conjugate gradient method for the numerical
solution of elliptic partial differential equations, 1976, for preconditioners as such.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.definite import Factor
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.columns import columns, coordinates
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Point

HEAVY = 300  # features: of more the factorisation and its products cost more than the steps that they save


class NearHessian(NamedTuple):
    """inverse : (dim, 1), of the diagonal; factor : of the Hessian in the coordinates ``where`` (c,)."""

    inverse: Array
    where: Array
    factor: Factor

    def times(self, r: Array) -> Array:
        """What stands for H^-1 r, (dim, k), a new array."""
        out = self.inverse * r
        out[self.where] = np.array([self.factor.solved(column) for column in r[self.where].T]).T
        return out


@dataclass(frozen=True)
class HeaviestColumns:
    """The heaviest features by their squares, and the intercept, if any; losses : of the hosted workers, on these alone."""

    where: Array
    losses: tuple[Linear, ...]

    @staticmethod
    def of(problem: Abreast, most: int = HEAVY) -> "HeaviestColumns":
        """Those of a problem. Collective: one vector round."""
        loss = problem.losses[0]
        squares = problem.squares([weights[0].copy() for weights in problem.weights])[: loss.features]
        features = np.sort(np.argsort(-squares, kind="stable")[:most])
        small = tuple(replace(each, matrix=columns(each.matrix, features)) for each in problem.losses)
        return HeaviestColumns(coordinates(loss, features), small)

    def preconditioner(self, problem: Abreast, ridge: Array, x: Array, margins: list[Array], h: list[Array]) -> NearHessian:
        """At x (dim, k), with the rows' second derivatives h as `Abreast.bends`. Collective: two vector rounds."""
        parts = []
        for small, weights, seen in zip(self.losses, problem.weights, margins, strict=True):
            one = replace(small, weights=weights[0])
            parts.append(one.triangle(Point(x[self.where, 0], seen[0])) * one.weight)
        triangle = problem.world.sum(parts, "hessian", out=parts[0])
        diagonal = problem.squares([np.ascontiguousarray(each[0]) for each in h]) + ridge
        inverse = 1 / np.maximum(diagonal, np.finfo(float).tiny)
        return NearHessian(inverse[:, None], self.where, Factor.of(triangle, ridge[self.where]))
