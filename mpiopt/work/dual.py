"""DualAscent: one worker's share of the dual of an L2-regularised linear model.

With W the sum of all sample weights, alpha_i the dual variable of row i and s_i = y_i for losses of two classes, else 1,

    w(alpha) = 1/(l2 W) sum_i w_i s_i alpha_i a_i
    F(w) - D(alpha) = (1/W) sum_i w_i (loss(m_i) + loss*(-s_i alpha_i) + s_i alpha_i m_i)

and every term of the gap is at least 0: for the logistic loss it is the relative entropy of alpha_i from 1/(1 + e^(y_i m_i)).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.problems.linear import EXACTLY
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Conjugate


@dataclass(frozen=True)
class DualAscent(Work):
    """``epochs`` epochs of coordinate ascent on the local subproblem of CoCoA+, each step to the row's maximum.

    That is eq. 9 of Ma et al. 2015 with gamma = 1 and sigma' = the number of workers, through its primal image u = w + sigma'
    * message, and algorithm 2 (LocalSDCA), whose rows are drawn with replacement where an epoch here visits every one once. A
    row's maximum is found to the last digit or two. message = A^T (change of s alpha) / (l2 W), to be summed over the workers.
    State: alpha (rows,).
    """

    needs: ClassVar[type] = Conjugate
    epochs: int = 1

    def init(self, x: Array, site: Site[Conjugate]) -> Tree:
        """alpha = 0 (or what is next to it) for x = 0; else minus the derivatives of the losses at x."""
        loss = site.loss
        if x.any():
            return loss.family.dual_variables(loss.shifted(loss.margins(x)), loss.y)
        return np.full(loss.rows, np.clip(0.0, *loss.family.dual_range))

    def image(self, alpha: Array, site: Site[Conjugate]) -> Array:
        """This worker's part of w(alpha), (dim,)."""
        if site.share == 0:
            return np.zeros(site.loss.dim)
        ridge = site.penalty.l2 / site.share
        return site.loss.dual_point(alpha, np.zeros(site.loss.dim), ridge, 0.0)

    def __call__(self, at: Point, agreed: Message | None, alpha: Array, here: Local[Conjugate]) -> tuple[Point, Message, Tree]:
        """Two passes' worth of work per epoch; the order of the rows is drawn afresh from the worker's stream."""
        site, spread = here.site, here.site.world.workers
        u = at.x.copy()
        if site.share > 0:
            seed = int(site.streams("dual ascent", here.round, site.worker).integers(1 << 62))
            ridge = site.penalty.l2 / (site.share * spread)
            site.loss.dual_descent(alpha, u, ridge, 0.0, seed, self.epochs, 0.0, EXACTLY)
        u -= at.x
        u /= spread
        return at, Message(u, np.empty(0)), alpha


def gap(loss: Conjugate, margins: Array, alpha: Array) -> float:
    """This worker's mean of the gap's terms; 0 for no rows."""
    total = loss.family.dual_gaps(loss.shifted(margins), loss.y, loss.weights, alpha)
    return total / loss.weight if loss.weight > 0 else 0.0
