"""What a solve says of itself: the record of every round, the best point seen, the reason that its certificate bears out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Measured, Method, Run, at_hand, kept, proved_above
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import PATIENCE, Reason, Record, Stop, ended, stuck
from mpiopt.errors import NumericalError
from mpiopt.kernels.replicated import length
from mpiopt.problems.certificate import Certificate, duality_gap, gradient_bound, proved_gap, tight_gap
from mpiopt.problems.dual_bound import above
from mpiopt.problems.problem import Point, Team, gradient, measures
from mpiopt.problems.rounding import TermSizes, relative, scale

TIE = 4 * np.finfo(float).eps  # relative differences of objectives that say nothing
DIGITS = 1e-10  # of an objective: what rounding may do beyond them ends no solve
REACH = 1e4  # times the tolerance: a bound below may hide a tighter one that meets it
QUICK = 3  # products that show the tight bound where a Hessian is at hand
PATIENT = 8  # rounds within reach before the tight bound is looked at, and then after twice as many each time


class Best(NamedTuple):
    """The best point seen; its x (dim,) is the method's own array, which no method changes, or its parts (`method.Keeping`)."""

    x: Array | PerWorker
    objective: float
    gradient_norm: float
    noise: float = np.inf  # of its gradient, relative to its terms, where that was looked at

    def beaten(self, record: Record, doubt: float) -> bool:
        """Whether a record is of a better point: of lower objective, or of a smaller gradient where that says nothing.

        doubt : what rounding may do to its objective.
        """
        apart = record.objective - self.objective
        if abs(apart) <= TIE * abs(self.objective) + doubt:
            return record.gradient_norm < self.gradient_norm
        return not apart >= 0


@dataclass
class Examiner:
    """Records rounds, keeps the best point and knows when to stop. Collective, its tally paused by the caller.

    What a method measures is taken on trust while the solve is under way (its margins are updated by sums, and drift);
    where it would end the solve, it is computed afresh from x. terms : the scale of the gradient's terms, by which rounding
    ends a solve; zeros where the gradient certifies the gap and nobody asks for one.
    """

    method: Method
    team: Team
    stop: Stop
    terms: TermSizes
    best: Best | None = None
    near: int = 0  # rounds so far with the gap within reach
    last: Measured | None = None  # of the answer as it stands
    start: float = np.inf  # the objective there

    @staticmethod
    def of(method: Method, team: Team, stop: Stop, history: Sequence[Record], best: Best | None) -> "Examiner":
        """The examiner of a solve that begins, or goes on after a history. Collective."""
        idle = stop.gap is None and np.isfinite(gradient_bound(team, 0.0))
        made = Examiner(method, team, stop, TermSizes(0.0, 0.0, 0.0) if idle else scale(team), best)
        made.near = sum(made._within(record.gap) for record in history)
        made.start = history[0].objective if history else np.inf
        return made

    @property
    def rounds(self) -> int | None:
        """The limit."""
        return self.stop.rounds

    def reached(self, history: Sequence[Record]) -> tuple[Reason, str] | None:
        """As `Stop.reached`; rounding ends a solve too."""
        found = self.stop.reached(history)
        best, settled = self.best, found is not None and found[0].converged
        if not settled and best is not None and best.noise <= self.terms.limit:
            return ended(Reason.ROUNDING, _rounding(best.gradient_norm, best.noise))
        if found is None and best is not None and len(history) > PATIENCE:
            doubt = min(self._doubt(best.x), DIGITS * abs(best.objective))
            found = next((ended(*each) for each in stuck(history, doubt)), None)
        return found

    def __call__(self, run: Run, clock: float, word: str) -> tuple[Record, bool, str]:
        """Ranks agree on bytes (the sum), seconds (the largest) and interruptions, so that they stop together, and see in the
        same message that what they hold alike is alike.

        Raises NumericalError on every rank where the objective is not finite.
        """
        self.last, noise = self._measured(run)
        found = self.last
        if not np.isfinite(found.objective):
            raise NumericalError(_unbounded(found.objective, run.round))
        tally = self.team.world.tally
        alike = fingerprint(run, not self.method.own, run.round), f"after round {run.round}"
        sent, seconds, word = self.team.world.tallied(clock, word, *alike)
        counts = sent, tally.vector_rounds, tally.messages
        record = Record(run.round, seconds, found.objective, found.gradient_norm, found.gap, *counts)
        best = Best(kept(self.method, run, self.team), found.objective, found.gradient_norm, noise)
        if self.best is None:
            self.best, self.start = best, best.objective
        elif found.fresh and self._below_start(best.objective) and self.best.beaten(record, self._doubt(best.x)):
            self.best = best
        return record, found.fresh, word

    def _below_start(self, objective: float) -> bool:
        """Whether it is no higher than that of the start, whatever rounding may do to it."""
        return bool(objective <= self.start + TIE * abs(self.start))

    def _doubt(self, x: Array | PerWorker) -> float:
        """What rounding A x may do to the objective: coefficients that have grown along a null space fit its errors.

        Collective where x is in parts.
        """
        return self.terms.eps * self.terms.slope * self.terms.length * _length(x, self.team)

    def _within(self, gap: float) -> bool:
        return self.stop.gap is not None and gap <= REACH * self.stop.gap

    def _measured(self, run: Run) -> tuple[Measured, float]:
        """What the method knows, with the smaller bounds on the gap where they may end the solve; all afresh where it ends."""
        found, noise = self.method.measure(run, self.team), np.inf
        if not found.fresh and self.last is not None:
            return self.last._replace(fresh=False), noise
        if not np.isfinite(found.objective):
            return found, noise
        if self._within(found.gap):
            self.near += 1
        gap = self._tighter(run, found)
        if found.gradient_norm > self.terms.norm and not any(True for _ in self.stop.met(found.gradient_norm, gap)):
            return found._replace(gap=gap), noise
        points, residual, objective, size = self._afresh(run)
        if size <= self.terms.norm:
            noise = relative(self.team, residual, self.terms)
        proved = min(proved_gap(self.team, points, size), above(proved_above(self.method, run, self.team), objective))
        return Measured(objective, size, min(proved, gap) if gap < found.gap else proved), noise

    def _afresh(self, run: Run) -> tuple[list[Point], Array, float, float]:
        """The point, the (sub)gradient there, the objective and the gradient's norm, from nothing but x and the rows.

        Collective.
        """
        x = self.method.answer(run, self.team).x
        points = [site.loss.point(x) for site in self.team.sites]
        agreed = gradient(self.team, points)
        size, penalty = measures(self.team, x, agreed.vector)
        return points, self.team.penalty.residual(x, agreed.vector), float(agreed.scalars[0]) + penalty, size

    def _tighter(self, run: Run, found: Measured) -> float:
        """The gap by the duality gap, or by the tight bound every now and then, where they may meet the tolerance."""
        penalty, tolerance = self.team.penalty, self.stop.gap
        if tolerance is None or found.gap <= tolerance:
            return found.gap
        if not (penalty.smooth and np.isfinite(found.gap)):
            close = found.gradient_norm**2 <= 20 * REACH * penalty.l2 * tolerance or penalty.l2 == 0
            if not close:
                return found.gap
            x = self.method.answer(run, self.team).x
            return min(found.gap, duality_gap(self.team, [site.loss.point(x) for site in self.team.sites]))
        held = at_hand(self.method, run, self.team)
        near = held is not None and held.decrement <= tolerance  # the bound is more than half of it
        turn = self._within(found.gap) and self.near >= PATIENT and not self.near & (self.near - 1)
        if not (near or turn):
            return found.gap
        points, residual, *_ = self._afresh(run)
        return min(found.gap, tight_gap(self.team, points, residual, self.near if turn else QUICK, held and held.inverse))


def _length(x: Array | PerWorker, team: Team) -> float:
    if not isinstance(x, PerWorker):
        return length(x)
    return sqrt(float(team.world.total([np.array([length(own.values) ** 2]) for own in x], "length")[0]))


def _unbounded(objective: float, round: int) -> str:  # noqa: A002 - the field's word
    """What to do about an objective that is no number: at the start it is the data, later the steps."""
    if round == 0:
        return f"the objective is {objective} at the start: check the data, and the start if one was given, for huge values"
    return (
        f"the objective is {objective} after round {round}: the steps have left the range of numbers; the answer is the best "
        "point before that; give the method other parameters, or a larger l2"
    )


def _rounding(gradient_norm: float, noise: float) -> str:
    return f"|grad F| = {gradient_norm:.3g}, in every coordinate at most {noise:.1g} of its terms"


def judged(reason: Reason, text: str, proved: Certificate, stop: Stop, rows: int) -> tuple[Reason, str]:
    """The reason that the certificate of an answer bears out, in place of the one that a solve ended with.

    rows : of the data. Not collective.
    """
    if reason is Reason.INTERRUPTED:
        return reason, text
    if proved.escaping:
        some = "all" if proved.escaping == rows else f"{proved.escaping:,} of {rows:,}"
        return ended(Reason.SEPARABLE, f"one direction moves {some} rows to their right side and none to the wrong one")
    gap = proved.gap if stop.gap is None or proved.gap <= stop.gap else proved.tight_gap
    met, asked = (
        dict(stop.met(proved.gradient_norm, gap)),
        stop.gradient is not None or (stop.gap is not None and np.isfinite(gap)),
    )
    rounding = proved.noise <= proved.floor
    if rounding and not asked:  # for a certificate, or for one that there is
        met[Reason.ROUNDING] = _rounding(proved.gradient_norm, proved.noise)
    if met:
        best = reason if reason in met else next(iter(met))
        return ended(best, met[best])
    if rounding:
        return ended(Reason.HIDDEN, f"{_short(proved, gap, stop)}; {_rounding(proved.gradient_norm, proved.noise)}")
    return ended(Reason.REFUTED, _short(proved, gap, stop)) if reason.converged else (reason, text)


def _short(proved: Certificate, gap: float, stop: Stop) -> str:
    """By how much a tolerance is missed."""
    if stop.gap is not None and np.isfinite(gap):
        return f"F - F* <= {gap:.3g} > {stop.gap:.3g}"
    if stop.gradient is not None:
        return f"|grad F| = {proved.gradient_norm:.3g} > {stop.gradient:.3g}"
    return _rounding(proved.gradient_norm, proved.noise)
