"""The fits of one penalty, of all rows and without each of some folds, begun where those of the penalties before lead to.

abreast    smooth penalties: all fits at once (`newton_abreast`)
screened   with l1: on the features that may matter (`screened`), with shared Hessians (`kinked_abreast`) or one fit after the
           other, and all features looked at once
each       one fit after the other on all features, where neither comes to a proof
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import Solution, solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Stop
from mpiopt.kernels.csr import CSR
from mpiopt.paths.kinked_abreast import MOST as FEW
from mpiopt.paths.kinked_abreast import kinked
from mpiopt.paths.newton_abreast import minimised
from mpiopt.paths.possible import reach
from mpiopt.paths.preconditioner import HeaviestColumns
from mpiopt.paths.screened import TURNS, WORTH, candidates, parts, proved
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.certificate import proved_gap
from mpiopt.problems.linear import Linear
from mpiopt.problems.per_feature import Net
from mpiopt.problems.problem import Team
from mpiopt.problems.unpenalised import Unpenalised

WIDE = 4.0  # ratio of penalties
NEARER = 0.5  # of a gap on the features that may matter: the rest is for what other features take off the proof
UNSEEN = np.zeros((0, 0))
MOST = 1000  # steps of Newton's method where none are said


class Fits(NamedTuple):
    """At one penalty, of all rows and without each fold.

    xs : (1 + folds, dim); margins : (1 + folds, rows) for each worker; proved : of all rows F, the gradient norm, the gap.
    slope : of the losses in all features that may be away from 0, (theirs, 1 + folds), where they were looked at, else (0, 0).
    """

    xs: Array
    margins: Sequence[Array]
    proved: tuple[float, float, float]
    rounds: int
    slope: Array = UNSEEN


@dataclass(frozen=True)
class Fitting:
    """See `PathFits`, whose fields these are. least : the least penalty with l1, or None where that is not known; total :
    features, if those of the teams are some of them.
    """

    inner: Method
    teams: tuple[Team[Linear], ...]
    stop: Stop
    summed: bool
    least: Net | None = None
    total: int = 0
    factors: Array | None = None

    @cached_property
    def together(self) -> Abreast | None:
        """The fits as one, if their gaps are known with an intercept too."""
        loss = self.teams[0].sites[0].loss
        known = isinstance(loss.matrix, CSR) and (not loss.intercept or loss.family.dual_gap is not None)
        return Abreast.of(self.teams, self.summed) if known else None

    @cached_property
    def heavy(self) -> HeaviestColumns:
        """See `preconditioner`. Collective when first asked for: one vector round, which is not counted."""
        with self.teams[0].world.tally.paused():
            return HeaviestColumns.of(Abreast.of(self.teams[:1]))

    @cached_property
    def without(self) -> Unpenalised | None:
        """The columns without a penalty, if there are any. Not collective."""
        if self.together is None or self.factors is None or self.factors.all():
            return None
        return Unpenalised.of(self.together, np.flatnonzero(self.factors == 0))

    @cached_property
    def possible(self) -> tuple["Fitting", Array] | None:
        """The same on the features that may be away from 0, and where they stand in x; None where that is no gain.

        Collective when first asked for: one vector round, which is not counted.
        """
        if self.together is None or self.least is None:
            return None
        with self.teams[0].world.tally.paused():
            found = reach(self.together)
        held = None if found is None else found >= self.least.kinks(found.size).l1
        if held is None or not 0 < held.sum() <= WORTH * held.size:
            return None
        small, where = parts(self.teams, np.flatnonzero(held))
        own = None if self.factors is None else self.factors[held]
        return replace(self, teams=tuple(small), least=None, total=held.size, factors=own), where

    def at(self, penalty: Net, before: Array, last: Sequence[Net], slope: Array = UNSEEN) -> Fits:
        """The fits at a penalty. Collective. Raises what a solve does.

        before : (points, 1 + folds, dim), at least a point to begin at; last : the penalties of these, none at the first one.
        slope : that of the last `Fits`.
        """
        found = None
        if self.together is not None and penalty.l1 == 0:
            found = self._abreast(self.together, penalty, ahead(before, [one.ridge for one in (*last, penalty)]))
        elif self.together is not None:
            lead = onward(before, [one.l1 for one in (*last, penalty)], penalty.kinks(before.shape[2]).l1 == 0)
            found = self._possible(penalty, before[-1], last[-1] if last else penalty, slope, lead)
        return self._each(penalty, before[-1]) if found is None else found

    def _abreast(self, together: Abreast, penalty: Net, start: Array) -> Fits | None:
        """All fits at once; None where one comes to no proof, as in units far apart. Collective."""
        ridge, x = penalty.grad(np.ones(start.shape[1])), np.ascontiguousarray(start.T)
        goal, limit = self.stop.gap or 0.0, MOST if self.stop.rounds is None else self.stop.rounds
        with np.errstate(over="ignore", invalid="ignore"):
            found = minimised(together, ridge, lambda: self.heavy, x, goal, limit, self.without)
        if not (found.gaps <= goal).all():
            return None
        xs, length = np.ascontiguousarray(found.x.T), float(found.lengths[0])
        team = under(self.teams[0], penalty)
        gap = proved_gap(team, [site.loss.point(xs[0]) for site in team.sites], length)
        return Fits(xs, found.margins, (float(found.values[0]), length, gap), found.rounds)

    def _possible(self, penalty: Net, before: Array, last: Net, slope: Array, lead: Array) -> Fits | None:
        """`_screened`, on the features that may be away from 0."""
        part, where = self.possible or (self, np.arange(before.shape[1]))
        if part.together is None:
            return None
        features = where[: where.size - penalty.free]
        penalty, last = penalty.of(features), last.of(features)
        found = part._screened(part.together, penalty, before[:, where], last, slope, lead[:, where])
        if found is None or part is self:
            return found
        xs = np.zeros_like(before)
        xs[:, where] = found.xs
        return found._replace(xs=xs)

    def _screened(
        self,
        together: Abreast,
        penalty: Net,
        before: Array,
        last: Net,
        slope: Array,
        lead: Array,
    ) -> Fits | None:
        """Fits on the features that may matter after those at the last penalty, begun at ``lead``; None where that is no gain.
        Collective."""
        x, goal = np.ascontiguousarray(before.T), self.stop.gap or 0.0
        if slope.shape != x.shape:
            slope = together.gradient(together.margins(x))[1]
        end, rounds, near = len(x) - penalty.free, 0, NEARER * goal
        kinks = penalty.kinks(len(x)).l1[:end]
        held = candidates(slope[:end], x[:end], kinks, last.kinks(len(x)).l1[:end])
        x = np.ascontiguousarray(lead.T)
        for _ in range(TURNS):
            if held.sum() > WORTH * (self.total or end):
                break
            small, where = parts(self.teams, np.flatnonzero(held))
            begun, x = np.ascontiguousarray(x[where]), np.zeros_like(x)
            some = penalty.of(np.flatnonzero(held))
            shared = self._shared(small, some, begun, near)
            x[where], margins, steps = shared or self._apart(small, some, begun)
            rounds += steps
            values, gaps, slope = proved(together, penalty, margins, x, self.without)
            if (gaps <= goal).all():
                residual = penalty.residual(x[:, 0], np.ascontiguousarray(slope[:, 0]))
                length = sqrt(self.teams[0].world.dots([(residual, residual)])[0])
                known = float(values[0]), length, float(gaps[0])
                return Fits(np.ascontiguousarray(x.T), margins, known, rounds, slope)
            more = (abs(slope[:end]) > kinks[:, None]).any(1) & ~held
            if not more.any():
                if shared is None:
                    break
                near /= 10
            held |= more
        return None

    def _shared(
        self, small: Sequence[Team[Linear]], penalty: Net, begun: Array, near: float
    ) -> tuple[Array, list[Array], int] | None:
        """Points (k, 1 + folds), margins and rounds of fits that share their Hessians; None where they do not come ``near``.

        Where all begin at 0, at the largest penalty of a path, coefficients have to stay there to the last digit: not so here.
        """
        if len(begun) > FEW or not begun.any():
            return None
        limit = MOST if self.stop.rounds is None else self.stop.rounds
        return kinked(Abreast.of(small, self.summed), penalty, begun, near, limit, self.without)

    def _apart(self, small: Sequence[Team[Linear]], penalty: Net, begun: Array) -> tuple[Array, list[Array], int]:
        """The same, one after the other. Collective. Raises what a solve does."""
        found = self._solved(small, penalty, begun.T)
        margins = [np.array([site.loss.margins(one.x) for one in found]) for site in small[0].sites]
        return np.stack([one.x for one in found], axis=1), margins, sum(one.final.round for one in found)

    def _each(self, penalty: Net, before: Array) -> Fits:
        """One fit after the other. Collective."""
        found = self._solved(self.teams, penalty, before)
        best, xs = found[0].certificate, [one.x for one in found]
        margins = [np.array([site.loss.margins(x) for x in xs]) for site in self.teams[0].sites]
        known = best.objective, best.gradient_norm, min(best.gap, best.tight_gap)
        return Fits(np.array(xs), margins, known, sum(one.final.round for one in found))

    def _solved(self, teams: Sequence[Team[Linear]], penalty: Net, before: Array) -> list[Solution]:
        """A solve of each team, begun at ``before`` (1 + folds, dim). Collective."""
        found = []
        for team, x in zip(teams, before, strict=True):
            more = self.teams[0].weight / team.weight if self.summed else 1.0
            found.append(solve(self.inner, under(team, penalty.times(more)), x.copy(), self.stop))
        return found


def under(team: Team[Linear], penalty: Net) -> Team[Linear]:
    """The team with another penalty. Not collective."""
    return replace(team, sites=tuple(replace(site, penalty=penalty) for site in team.sites))


def onward(xs: Array, penalties: Sequence[float], free: Array) -> Array:
    """As `ahead` by the last two answers, of l1: a line, on which zeros and signs stay, but for what is ``free``, (dim,)."""
    if len(xs) < 2 or len(penalties) < 3 or not 0 < penalties[-2] < penalties[-3] or penalties[-1] * WIDE < penalties[-2]:
        return xs[-1]
    first, middle, at = np.sqrt(np.sqrt(np.sqrt(penalties[-3:]))).tolist()
    some = np.flatnonzero(xs[-1].any(0) | free)  # all else stays 0
    last, before, out = xs[-1][..., some], xs[-2][..., some], np.zeros_like(xs[-1])
    there = last + (at - middle) / (middle - first) * (last - before)
    out[..., some] = np.where((there * last > 0) | free[some], there, 0.0)
    return out


def ahead(xs: Array, penalties: Sequence[float]) -> Array:
    """Where the last answers (points, ...) lead to at the last of their l2 penalties and one more: a parabola, in eighth roots.

    Answers are smooth in the logarithm, which eighth roots come near to, and all CPUs round alike. After a wide step, and where
    none is known, it is the last answer.
    """
    if len(penalties) <= len(xs) or penalties[-1] * WIDE < penalties[-2]:
        return xs[-1]
    at = np.sqrt(np.sqrt(np.sqrt(penalties)))
    out = np.zeros_like(xs[0])
    for k, x in enumerate(xs):
        others = np.delete(at[:-1], k)
        out += float(np.prod((at[-1] - others) / (at[k] - others))) * x
    return out
