"""KinkedNewton: one worker's local problem, kinks and walls and all, solved to an accuracy that a method counts on.

Proximal Newton on working sets, as `methods.prox_newton` does for all workers together:

    A = the features away from a kink or wall, and the worst violators;    H = the worker's own Hessian on A
    v = argmin of the model of second order with the kinks;    z <- z + t (v - z), t of 1, 1/2, ... the first that serves

Yuan, Ho, Lin, An improved GLMNET for l1-regularized logistic regression, 2012.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array, norm
from mpiopt.engine.phase import Tree
from mpiopt.kernels.kinked import Kinks, minimised, unfolded
from mpiopt.problems.columns import columns, coordinates, working_set
from mpiopt.problems.problem import Point
from mpiopt.problems.surrogate import Reference
from mpiopt.work.exact import Exact
from mpiopt.work.local_solvers import NOISE

DAMPING, FIRST, LAST = 1e-9, 1e-6, 1e3  # of the diagonal: always, after a first step that was cut down, and at most
ENOUGH = 1e-4  # of the decrease that the model promises
HALVINGS = 20
LEAST, MOST = 200, 4000  # violators taken in at once, and features of a working set
ROUNDING = 4e-15  # of the mean loss: what a whole step may rise by


class Candidate(NamedTuple):
    """A step on some coordinates ``where``, and its margins; what F does along it."""

    where: Array
    p: Array
    rows: Array
    slope: float
    bend: float
    kinks: Kinks


@dataclass(frozen=True)
class KinkedNewton:
    """Until the shortest subgradient fell to ``accuracy`` of its start; by `Exact` where all is smooth."""

    accuracy: float = 1e-6
    steps: int = 60

    def init(self, x: Array, phi: Reference[Any]) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, phi: Reference[Any], q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """A minimiser to the stated accuracy, begun at ``at``."""
        if phi.kinks is None:
            return Exact(self.accuracy)(phi, q, at, memory)
        at, target, last, tau = Point(at.x, phi.loss.known(at)), 0.0, np.inf, 0.0
        noise = NOISE * float(np.finfo(q.dtype).eps) * norm(q)
        for _ in range(self.steps):
            value, slope = phi.loss.value_grad(at)
            slope += phi.scaled(at.x) - q
            short = phi.kinks.shortest(at.x, slope)
            size = norm(short)
            target = target or self.accuracy * size
            if size <= target or (size <= noise and not size < last):
                break
            step = _candidate(phi, at, slope, short, tau)
            t = _length(phi, at, step, ROUNDING * abs(value))
            tau = (tau / 10 if tau > FIRST else 0.0) if t == 1 else max(10 * tau, FIRST)
            if tau > LAST:
                break
            at, last = _moved(at, step, t), size
        return at.x.copy(), memory


def _candidate(phi: Reference[Any], at: Point, slope: Array, short: Array, tau: float) -> Candidate:
    """The minimiser of the model on the next working set, as a step from there."""
    loss, kinks = phi.loss, phi.kinks
    assert kinks is not None, "asked where there are kinks"
    ridge = phi.scaled(np.ones(loss.dim))
    diagonal = loss.diagonal(at) + ridge
    inner = slice(loss.features)
    score = abs(short[inner]) / np.sqrt(np.where(diagonal[inner] > 0, diagonal[inner], np.inf))
    where = coordinates(loss, _face(kinks.open(at.x)[inner], score))
    part = replace(loss, matrix=columns(loss.matrix, where[where < loss.features]))
    h = unfolded(part.triangle(Point(at.x[where], at.margins)), where.size)
    h[np.diag_indices(where.size)] += ridge[where] + (DAMPING + tau) * diagonal[where]
    held = kinks.at(where)
    p = minimised(h, slope[where], held, at.x[where]) - at.x[where]
    return Candidate(where, p, part.margins(p), float(slope[where] @ p), float(ridge[where] @ (p * p)), held)


def _face(held: Array, score: Array) -> Array:
    """The features of a working set, (k,) int64: those held and the worst; of too many, the worst in turns."""
    count = int(held.sum())
    if count + LEAST > MOST:
        return working_set(np.zeros_like(held), score, MOST)
    return working_set(held, score, min(max(LEAST, count), MOST - count))


def _length(phi: Reference[Any], at: Point, step: Candidate, slack: float) -> float:
    """The t of the step that is taken; 0 where none decreases enough. slack : what any may rise by."""
    x = at.x[step.where]
    promised = step.slope + float(step.kinks.rise(x, step.p).sum())
    for t in (2.0**-k for k in range(HALVINGS)):
        change = phi.loss.bregman(at, at.known + t * step.rows) + t * step.slope + t * t / 2 * step.bend
        if change + float(step.kinks.rise(x, t * step.p).sum()) <= ENOUGH * t * promised + slack:
            return t
    return 0.0


def _moved(at: Point, step: Candidate, t: float) -> Point:
    x = at.x.copy()
    x[step.where] += t * step.p
    return Point(x, at.known + t * step.rows)
