"""Whether a minimum exists where rows have several classes: as `problems.recession` for one margin a row.

One against the rest has none where one of its problems has none. The softmax has none where a direction D moves no row's own
margin down beside another's, a_i.(D_y - D_c) >= 0 for every row and class, and some up (Albert and Anderson, On the existence
of maximum likelihood estimates in logistic regression models, 1984): pairs of a row and a class are what rows are there.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from mpiopt.arrays import Array, norm
from mpiopt.numerics import krylov
from mpiopt.problems.class_margins import ClassMargins
from mpiopt.problems.problem import Message, Site, Team, mean, offered
from mpiopt.problems.recession import GUESSES, PRODUCTS, PROJECTIONS, PULLING, RIGHT, SURE, WRONG, escaping
from mpiopt.problems.several import Separable


def escaping_classes(team: Team[Any], x: Array, settled: bool = True) -> int:
    """As `escaping`. Collective: as there, for every class of a separable loss."""
    if team.penalty.grows and not team.penalty.free:
        return 0
    held: tuple[Site[Any], ...] = team.sites
    if offered(team, Separable):
        classes, free = team.sites[0].loss.classes, int(team.penalty.free > 0)
        penalty = replace(team.penalty, free=free)
        found = 0
        for k in range(classes):
            sites = tuple(replace(site, loss=site.loss.single(k), penalty=penalty) for site in held)
            found = found or escaping(replace(team, sites=sites), np.ascontiguousarray(x.reshape(-1, classes)[:, k]), settled)
        return found
    return _escaping_pairs(team, x, settled) if isinstance(team.sites[0].loss, ClassMargins) else 0


def _escaping_pairs(team: Team[Any], x: Array, settled: bool) -> int:
    d = x.copy()
    if team.penalty.grows:  # the intercepts alone, of which a class that no row has leads away
        d[: d.size - team.penalty.free] = 0
    found, before = _right(team, d), 0.0
    if team.penalty.grows:
        return found
    for pulling in (PULLING, *(() if settled else GUESSES)):
        if found:
            break
        pulls = [_pulls(site.loss, x, pulling) for site in team.sites]
        held, pairs = team.world.total([np.array([float(each.sum()), float(each.size - len(each))]) for each in pulls])
        if 0 < held < pairs and held != before:
            found, before = _right(team, _projected(team, d, pulls)), held
    return found


def _ahead(loss: ClassMargins, d: Array) -> Array:
    """How far each row's own margin moves up beside the others', (rows, classes), 0 in its own place."""
    moves = loss.margins(d).reshape(loss.rows, loss.classes)
    return moves[np.arange(loss.rows), loss.y][:, None] - moves


def _counted(loss: ClassMargins) -> Array:
    """Mask of the pairs of a row that weighs something and another class than its own, (rows, classes)."""
    out = np.ones((loss.rows, loss.classes), bool)
    out[np.arange(loss.rows), loss.y] = False
    return out & (loss.weights > 0)[:, None] if loss.weights.size else out


def _right(team: Team[Any], d: Array) -> int:
    """Rows that d (dim,) takes ahead; 0 where it takes one back. Collective: a small sum."""
    size, counts = norm(d), []
    for loss in (site.loss for site in team.sites):
        move, counted = _ahead(loss, d), _counted(loss)
        unit = size * np.sqrt(loss.matrix.row_squares() + loss.intercept)[:, None] * counted
        told = [counted & (move > RIGHT * unit), counted & (move > SURE * unit)]
        told += [(move <= SURE * unit) & (unit > 0), counted & (move < -WRONG * unit)]
        counts.append(np.array([float(each.any(1).sum()) for each in told]))
    right, sure, staying, wrong = team.world.total(counts).tolist()
    return 0 if wrong else int(right if staying else sure)


def _pulls(loss: ClassMargins, x: Array, pulling: float) -> Array:
    """1 for pairs that pull at x (dim,): a class that a row may yet be taken for, (rows, classes)."""
    ahead = _ahead(loss, x)
    odds = np.exp(np.minimum(-ahead, 0.0))
    return 1.0 * (((odds > pulling) | (ahead < 0)) & _counted(loss))


def _projected(team: Team[Any], d: Array, pulls: list[Array]) -> Array:
    """d (dim,) without what the pulling pairs see of it: conjugate gradients on their least squares. Collective."""

    def spread(loss: ClassMargins, each: Array) -> Array:
        """What pairs (rows, classes) add to the margins: to the own one what they take from the others."""
        out = -each
        out[np.arange(loss.rows), loss.y] += each.sum(1)
        return out

    def product(v: Array) -> Array:
        parts = [
            site.loss.combined(spread(site.loss, p * _ahead(site.loss, v))) for site, p in zip(team.sites, pulls, strict=True)
        ]
        return mean(team, [Message(part, np.empty(0)) for part in parts], name="certificate").vector

    for _ in range(PROJECTIONS):
        d = d - krylov.solve(product, product(d), np.copy, 1e-12, PRODUCTS).x
    return d
