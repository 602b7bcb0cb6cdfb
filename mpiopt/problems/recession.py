"""Whether a minimum exists: directions along which the objective falls for ever.

A loss that only ever falls as the margin goes one way, such as the logistic one on the label's side, has no minimum where
the data are separable: where a direction d takes no row the other way, some theirs (y_i a_i.d >= 0 for every row, > 0 for
some), and the penalty does not grow along it. Albert and Anderson, On the existence of maximum likelihood estimates in
logistic regression models, 1984 (complete and quasi-complete separation). A row whose loss grows both ways, such as a count
above 0 of a Poisson model, must not move at all (Haberman, Log-linear models for frequency data: sufficient statistics and
likelihood equations, 1973). Such a d is its own proof, wherever it comes from. An answer x that has gone far along one shows
it: x itself, or what is left of x once the rows that still pull at it are projected away. A slow method that was stopped
has not gone far: which rows are left behind is then guessed, and the proof decides.
"""

import numpy as np

from mpiopt.arrays import Array, namespace, norm
from mpiopt.numerics import krylov
from mpiopt.problems.problem import Message, Team, mean, offered
from mpiopt.problems.protocols import Columns

PULLING = 1e-6  # |l'| of a row that is not far on its right side (at a margin of 14)
GUESSES = (1e-4, 1e-2, 1e-1)  # the same where x has not gone far
RIGHT, WRONG = 1e-6, 1e-10  # a_i.d over |a_i| |d| that counts as a move, and what rounding may make of none
SURE = 1e-12  # beyond rounding of the product alone: proof where all rows move, so that none hides a move to the wrong side
PROJECTIONS, PRODUCTS = 3, 300  # one after the other, each of what the one before has left


def escaping(team: Team, x: Array, settled: bool = True) -> int:
    """Rows that a direction takes to their right side for ever while it takes none to the wrong one; 0: none was found.

    x : (dim,), far along that direction if there is one; ``settled`` : whether the gradient at x is rounding alone, as at a
    minimum. Collective: a small sum; some vector rounds where there are rows far on their right side, but x alone is no such
    direction, more of them where x is not settled.
    """
    if not (offered(team, Columns) and team.sites[0].loss.family.recedes) or (team.penalty.grows and not team.penalty.free):
        return 0
    d = _unpenalised(team, x)
    found, before = _right(team, d), 0.0
    if team.penalty.grows:  # d is the intercept alone, of which a row that pulls leaves nothing
        return found
    for pulling in (PULLING, *(() if settled else GUESSES)):
        if found:
            break
        pulls = [_pulls(site.loss, x, pulling) for site in team.sites]
        held, rows = team.world.total([np.array([float(each.sum()), each.size]) for each in pulls])
        if 0 < held < rows and held != before:
            found, before = _right(team, _projected(team, d, pulls)), held
    return found


def _right(team: Team[Columns], d: Array) -> int:
    """Rows that d (dim,) takes to their right side; 0 where it takes one to the wrong side. Collective."""
    size, counts = norm(d), []
    for loss in (site.loss for site in team.sites):
        side, xp = loss.family.receding(loss.y), namespace(loss.y)
        move = loss.margins(d)
        move = xp.where(side == 0, -abs(move), side * move)
        unit = size * xp.sqrt(loss.row_squares + loss.intercept)
        if loss.weights.size:
            move, unit = move * (loss.weights > 0), unit * (loss.weights > 0)
        told = move > RIGHT * unit, move > SURE * unit, (move <= SURE * unit) & (unit > 0), move < -WRONG * unit
        counts.append(np.array([float(each.sum()) for each in told]))
    right, sure, staying, wrong = team.world.total(counts)
    return 0 if wrong else int(right if staying else sure)


def _pulls(loss: Columns, x: Array, pulling: float) -> Array:
    """1 for rows that pull at x (dim,), 0 for those far on their right side or without weight, (rows,)."""
    slopes = abs(loss.family.value_residual(loss.shifted(loss.margins(x)), loss.y, loss.weights)[1])
    weights = loss.weights if loss.weights.size else 1.0
    return 1.0 * ((slopes > pulling * weights) | ((loss.family.receding(loss.y) == 0) & (weights > 0)))


def _unpenalised(team: Team, x: Array) -> Array:
    """x (dim,), with 0 where the penalty grows: a new array."""
    d = x.copy()
    if team.penalty.grows:
        d[: d.size - team.penalty.free] = 0
    return d


def _projected(team: Team[Columns], d: Array, pulls: list[Array]) -> Array:
    """d (dim,) without what the pulling rows see of it: conjugate gradients on their least squares. Collective."""

    def product(v: Array) -> Array:
        parts = [
            site.loss.combine(each * site.loss.margins(v), 1 / site.loss.weight if site.loss.weight > 0 else 0.0)
            for site, each in zip(team.sites, pulls, strict=True)
        ]
        return _unpenalised(team, mean(team, [Message(part, np.empty(0)) for part in parts], name="certificate").vector)

    squares = [Message(site.loss.squares(each.copy()), np.empty(0)) for site, each in zip(team.sites, pulls, strict=True)]
    diagonal = mean(team, squares, name="certificate").vector
    scale = 1 / namespace(d).where(diagonal > 0, diagonal, 1.0)
    for _ in range(PROJECTIONS):
        seen = product(d)
        d = d - krylov.solve(product, seen, lambda r: r * scale, 1e-12, PRODUCTS).x
    return d
