"""DualAscent: one worker's share of the dual of an L2-regularised linear model.

With W the sum of all sample weights, alpha_i the dual variable of row i and y_i a_i its row (a_i for least squares),

    w(alpha) = 1/(l2 W) sum_i w_i y_i alpha_i a_i
    F(w) - D(alpha) = (1/W) sum_i w_i (loss(m_i) + loss*(-alpha_i) + alpha_i y_i m_i)

and every term of the gap is at least 0: for the logistic loss it is the relative entropy of alpha_i from 1/(1 + e^(y_i m_i)).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, rel_entr

from mpiopt.arrays import Array
from mpiopt.phase import Local, Tree
from mpiopt.problems.linear import Linear
from mpiopt.problems.logistic import Logistic
from mpiopt.problems.problem import Message, Point, Site

FLOOR = 1e-10  # logistic dual variables lie in the open interval (0, 1); this stands for the paper's start at 0


@dataclass(frozen=True)
class DualAscent:
    """``epochs`` epochs of coordinate ascent on this worker's dual variables, as if sigma' times as many rows moved.

    message = A^T (change of y alpha) / (l2 W), to be summed over the workers; sigma' is their number (CoCoA+ with gamma = 1,
    eq. 9 of Ma et al. 2015, through its primal image u = w + sigma' * message). State: alpha (rows,).
    """

    epochs: int = 1

    def init(self, x: Array, site: Site) -> Tree:
        """alpha = 0 (or hardly more) for x = 0; else minus the derivatives of the losses at x."""
        loss = site.loss
        if x.any():
            return residuals(loss, loss.margins(x))
        return np.full(loss.rows, FLOOR if isinstance(loss.family, Logistic) else 0.0)

    def image(self, alpha: Array, site: Site) -> Array:
        """This worker's part of w(alpha), (dim,)."""
        if site.share == 0:
            return np.zeros(site.loss.dim)
        ridge = site.penalty.l2 / site.share
        return site.loss.dual_point(alpha, np.zeros(site.loss.dim), ridge, 0.0)

    def __call__(self, at: Point, agreed: Message | None, alpha: Array, here: Local) -> tuple[Point, Message, Tree]:
        """Two passes' worth of work per epoch; the order of the rows is drawn afresh from the worker's stream."""
        site, spread = here.site, here.site.world.workers
        u = at.x.copy()
        if site.share > 0:
            seed = int(site.streams("dual ascent", here.round, site.worker).integers(1 << 62))
            ridge = site.penalty.l2 / (site.share * spread)
            site.loss.dual_descent(alpha, u, ridge, 0.0, seed, self.epochs, 0.0)
        u -= at.x
        u /= spread
        return at, Message(u, np.empty(0)), alpha


def residuals(loss: Linear, margins: Array) -> Array:
    """The dual variables that fit margins (rows,): 1/(1 + e^(y m)), kept inside (0, 1); y - m for least squares."""
    if isinstance(loss.family, Logistic):
        return np.clip(expit(-loss.y * margins), FLOOR, 1 - FLOOR)
    return loss.y - margins


def gap(loss: Linear, margins: Array, alpha: Array) -> float:
    """This worker's mean of the gap's terms; 0 for no rows."""
    if isinstance(loss.family, Logistic):
        fit = expit(-loss.y * margins)
        terms = rel_entr(alpha, fit) + rel_entr(1 - alpha, expit(loss.y * margins))
    else:
        terms = 0.5 * (alpha - residuals(loss, margins)) ** 2
    total = float(terms @ loss.weights if loss.weights.size else terms.sum())
    return total / loss.weight if loss.weight > 0 else 0.0
