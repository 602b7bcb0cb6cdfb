"""When the gradient of a linear model is nothing but rounding errors.

Coordinate j of the gradient of the mean loss is a mean of terms l'_i a_ij, at most s_j rms(l') with s_j^2 = mean_i w_i a_ij^2.
Rounding makes errors of about eps times the terms (Higham, Accuracy and stability of numerical algorithms, 2002, sections
3.1 and 3.5; without the growth with the number of terms, which random signs undo), so that

    max_j |g_j| / s_j  <=  64 eps rms(l'),   l' at x = 0

says that nothing is left to gain, in whatever units the columns come and wherever the solve began. Far from 0 the margins
themselves are uncertain by e_i = 4 eps |a_i| |x|, which an answer may plead, up to a point: rms(l'' e). What such errors make
is A^T (l'' e) / n, whose g.H^-1 g is at most mean l'' e^2, however ill-conditioned H may be: `excuse`, which tells them from
a slope along a direction in which H is all but flat.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.kernels.replicated import length
from mpiopt.problems.problem import Message, Point, Team, mean, mean_scalars, offered
from mpiopt.problems.protocols import Columns, Loss, offers

TIMES, FAR, MOST = 64, 4, 1e-8  # MOST : of rms(l') is accepted at an answer, however far it is from 0


class TermSizes(NamedTuple):
    """Of the gradient's terms at x = 0; not finite where the loss is no linear model, which has none."""

    slope: float  # rms(l')
    length: float  # rms(|a_i|), the norm of all s_j
    eps: float  # of the vectors' type

    @property
    def norm(self) -> float:
        """A gradient longer than this is not rounding alone."""
        return TIMES * self.eps * self.slope * self.length

    @property
    def limit(self) -> float:
        """What `relative` gradients of rounding alone stay below."""
        return TIMES * self.eps


def scale(team: Team) -> TermSizes:
    """Of a team's data. Collective: two numbers."""
    if not offered(team, Columns):
        return TermSizes(0.0, 0.0, 0.0)
    y = team.sites[0].loss.y
    parts = [_squares(site.loss, beside(site.loss.y, site.loss.rows, 0)) for site in team.sites]
    slopes, lengths = np.sqrt(mean_scalars(team, parts, "rounding"))
    return TermSizes(float(slopes), float(lengths), float(np.finfo(beside(y, 0).dtype).eps))


def relative(team: Team, residual: Array, of: TermSizes) -> float:
    """max_j |g_j| / (s_j rms(l')), of a (sub)gradient (dim,) whose every coordinate has terms. Collective: a vector round."""
    if not (offered(team, Columns) and of.slope > 0):
        return 0.0 if not residual.any() else np.inf
    parts = [Message(site.loss.squares(_weights(site.loss)), np.empty(0)) for site in team.sites]
    terms = mean(team, parts, name="rounding").vector
    xp = namespace(terms)
    return float((abs(residual) / xp.sqrt(xp.where(terms > 0, terms, np.inf))).max()) / of.slope


def far_limit(team: Team, points: Sequence[Point], of: TermSizes) -> float:
    """What `relative` gradients stay below at a point, where margins may be uncertain. Collective: a number."""
    if not (offered(team, Columns) and of.slope > 0):
        return 0.0
    bent = np.sqrt(_bends(team, points)[2]) / of.slope
    return max(of.limit, min(MOST, FAR * of.eps * length(points[0].x) * float(bent)))


def excuse(team: Team[Columns], points: Sequence[Point], of: TermSizes) -> tuple[float, float]:
    """How large (g.H^-1 g)^(1/2) may be of gradients g of rounding alone at a point, and (g.M^-1 g)^(1/2), M the diagonal
    of H, of those of the sums alone. Collective: a few numbers."""
    (bends, lengths, _), x = _bends(team, points), points[0].x
    sums = of.limit * of.slope * float(np.sqrt(x.size / bends)) if bends > 0 else np.inf
    return sums + FAR * of.eps * length(x) * float(np.sqrt(lengths)), sums


def residue(loss: Loss, at: Point) -> float:
    """(r.M^-1 r)^(1/2) of a gradient r of rounding alone, M the diagonal of the Hessian of a worker's loss. Not collective.

    About eps (dim mean(l'^2) / mean(l''))^(1/2) at a point of a linear model; 0 for other losses and for no rows.
    """
    if not (offers(loss, Columns) and loss.weight > 0):
        return 0.0
    seen = loss.shifted(loss.known(at))
    slopes = loss.family.value_residual(seen, loss.y, beside(loss.y, 0))[1]
    bends = loss.family.curvature(seen, loss.y, beside(loss.y, 0))
    weights = _weights(loss)
    steep, bent = float(weights @ slopes**2), float(weights @ bends)
    return FAR * float(np.finfo(at.x.dtype).eps) * float(np.sqrt(loss.dim * steep / bent)) if bent > 0 else 0.0


def _weights(loss: Columns) -> Array:
    """The rows' weights, (rows,): a new array."""
    return loss.weights.copy() if loss.weights.size else beside(loss.y, loss.rows, 1)


def _squares(loss: Columns, margins: Array) -> np.ndarray:
    """This worker's mean squares of l' and of |a|; 0 for no rows."""
    if not loss.weight > 0:
        return np.zeros(2)
    weights, none = _weights(loss), beside(loss.y, 0)
    slopes = loss.family.value_residual(loss.shifted(margins), loss.y, none)[1]
    return np.array([float(weights @ slopes**2), float(weights @ (loss.row_squares + loss.intercept))]) / loss.weight


def _bends(team: Team[Columns], points: Sequence[Point]) -> np.ndarray:
    """The means of l'', of l'' |a|^2 and of (l'' |a|)^2 at a point. Collective: three numbers."""
    return mean_scalars(team, [_bent(site.loss, at) for site, at in zip(team.sites, points, strict=True)], "rounding")


def _bent(loss: Columns, at: Point) -> np.ndarray:
    """The same of this worker; 0 for no rows."""
    if not loss.weight > 0:
        return np.zeros(3)
    bends = loss.family.curvature(loss.shifted(loss.known(at)), loss.y, beside(loss.y, 0))
    squares = loss.row_squares + loss.intercept
    weights = _weights(loss)
    return np.array([float(weights @ each) for each in (bends, bends * squares, bends**2 * squares)]) / loss.weight


def error(team: Team, points: Sequence[Point]) -> float:
    """What rounding may do to the norm of the gradient at a point. Collective: a number."""
    if not offered(team, Columns):
        return 0.0
    size, eps = length(points[0].x), float(np.finfo(points[0].x.dtype).eps)
    seen = [site.loss.shifted(site.loss.known(at)) for site, at in zip(team.sites, points, strict=True)]
    parts = [np.array([_error(site.loss, margins, size)]) for site, margins in zip(team.sites, seen, strict=True)]
    return eps * (float(mean_scalars(team, parts, "rounding")[0]) + team.penalty.l2 * size)


def _error(loss: Columns, margins: Array, size: float) -> float:
    """This worker's mean of (|l'| + l'' (|m| + |a| |x|)) |a|; 0 for no rows."""
    if not loss.weight > 0:
        return 0.0
    _, slopes = loss.family.value_residual(margins, loss.y, loss.weights)
    bends = loss.family.curvature(margins, loss.y, loss.weights)
    lengths = namespace(margins).sqrt(loss.row_squares + loss.intercept)
    return float((abs(slopes) + bends * (abs(margins) + lengths * size)) @ lengths) / loss.weight
