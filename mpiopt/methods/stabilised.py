"""Nearby points whose centre is no iterate: S-DANE, its accelerated form, and the accelerated extragradient.

A trial pulls every worker's model towards a centre y, mu being the pull, and learns from the gradients where that ends:

    y = x + c (v - x)
    z_w = argmin  f_w(z) + penalty(z) - <grad (f_w + penalty)(y) - grad F(y), z> + (mu/2)|z - y|^2
    z = sum_w share_w z_w,   G = sum_w share_w grad (f_w + penalty)(z_w);      of one server  z = z_0,  G = grad F(z)
    x' = z,   v' = v + p (z - v) - e G

    s_dane        c = 1              s = 1/mu             p = l2 s / (1 + l2 s),  e = s / (1 + l2 s)
    acc_s_dane    c = s / (r + s)    mu s^2 = r + s       the same, r' = (r + s) / (1 + l2 s), r = 0 at first
    aeg           c = min(1, (l2 / 2 mu)^(1/2))           p = l2 e,  e = min(1 / (2 l2), 1 / (2 l2 mu)^(1/2))

Jiang, Rodomanov, Stich, Stabilized proximal-point methods for federated optimization, NeurIPS 2024, algorithms 1 and 2, whose
A_r and B_r are here r = A/B, whose a_r is s B, and whose lambda is mu. Kovalev, Beznosikov, Borodich, Gasnikov, Scutari,
Optimal gradient sliding and its application to distributed optimization under similarity, NeurIPS 2022, algorithm 1 and theorem
1, where 1/theta = mu is twice the similarity and alpha = l2.

The line search (Jiang et al., section 5) knows no similarity: a trial is taken where

    sum_w share_w <grad (f_w + penalty)(z_w) - grad (f_w + penalty)(z) + grad F(z), y - z_w> >= |G|^2 / (2 mu)

which for one server is <G, y - z>; mu is halved then, and doubled where it is not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, Local, PerWorker
from mpiopt.errors import UsageError
from mpiopt.exchange.mean import From
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.problems.problem import Message, Point, Team, gradient, mean, mean_scalars
from mpiopt.problems.protocols import Margins
from mpiopt.work.corrected import Corrected
from mpiopt.work.exact import Exact, Nearby


class Strides(NamedTuple):
    """How y and v' are made, and r of the next trial."""

    centre: float  # c
    pull: float  # p
    step: float  # e
    ratio: float  # r'


Rule = Callable[[float, float, float], Strides]  # r, mu and l2 -> how to move
WHOLE = Strides(1.0, 1.0, 0.0, 0.0)  # where nothing pulls, z is the minimiser of what all rows say


def plainly(ratio: float, mu: float, l2: float) -> Strides:
    """S-DANE."""
    return _moves(1.0, 1.0, ratio, mu, l2)


def accelerated(ratio: float, mu: float, l2: float) -> Strides:
    """Acc-S-DANE."""
    t = (1 + sqrt(1 + 4 * mu * ratio)) / 2
    return _moves(t / (ratio * mu + t), t, (ratio * mu + t) / (mu + l2 * t) if mu + l2 > 0 else 0.0, mu, l2)


def _moves(centre: float, t: float, ratio: float, mu: float, l2: float) -> Strides:
    """With t = mu s, which has no quotient by a mu that is small."""
    return Strides(centre, l2 * t / (mu + l2 * t), t / (mu + l2 * t), ratio) if mu > 0 else WHOLE


def sliding(ratio: float, mu: float, l2: float) -> Strides:
    """AEG. Raises UsageError without an l2, from which its steps follow."""
    if not l2 > 0:
        raise UsageError("aeg finds its steps from l2, which is 0: give `l2` above 0, or use `method=acc_s_dane`")
    if not mu > 0:
        return WHOLE
    step = min(1 / (2 * l2), 1 / (sqrt(2 * l2) * sqrt(mu)))  # roots apart: a product may have no room
    return Strides(min(1.0, sqrt(l2) / (sqrt(2) * sqrt(mu))), l2 * step, step, ratio)


class Recentred(NamedTuple):
    """What is kept beside x."""

    v: Array  # (dim,)
    ratio: float
    mu: float  # of the next trial
    works: PerWorker  # of the local models
    heard: Message | None  # the gradient at the centre of a rejected trial, where the next one has the same
    taken: bool  # whether the last trial was


class End(NamedTuple):
    """Where a trial leads to."""

    points: PerWorker  # at z
    slope: Array  # G, (dim,)
    agreed: Message | None  # the gradient of f at z, and f, where known
    taken: bool


@dataclass(frozen=True)
class Stabilised(Named):
    """Trials of any of the three kinds.

    work : the local models; a server's alone, or everybody's. search : for mu, from which it begins. times : how often the mu
    that is found from the rows is wanted.
    """

    work: Corrected
    rule: Rule
    search: bool = False
    times: float = 1.0
    dvectors: int = 17

    def init(self, x: Array, team: Team[Margins]) -> Run:
        """x and v = x. Collective. Raises CapabilityError or UsageError on every rank."""
        self.check(team, self.work)
        mu = self.work.pull(team) * (self.times if self.work.mu is None else 1.0)
        works = replace(self.work, mu=mu).begin(x, team)
        self.rule(0.0, mu, team.penalty.l2)
        return Run(PerWorker(site.loss.point(x) for site in team.sites), None, Recentred(x, 0.0, mu, works, None, True))

    def step(self, run: Run, team: Team[Margins]) -> Run:
        """One trial: three vector rounds, four where all search. Collective."""
        points, _, state, k = run
        moves = self.rule(state.ratio, state.mu, team.penalty.l2)
        x = points[0].x
        y = state.v if moves.centre == 1 else x + moves.centre * (state.v - x)
        middle = PerWorker(site.loss.point(y) for site in team.sites)
        heard = gradient(team, middle) if state.heard is None else state.heard
        done = [
            self.work(at, heard, kept and kept._replace(mu=state.mu), Local(site, k))
            for at, kept, site in zip(middle, state.works, team.sites, strict=True)
        ]
        steps, works = [message for _, message, _ in done], PerWorker(kept for *_, kept in done)
        end = (self._served if self.work.server else self._averaged)(y, steps, state.mu, Joint(team, k))
        if not end.taken:
            again = heard if moves.centre == 1 else None
            return Run(points, run.agreed, state._replace(mu=2 * state.mu, works=works, heard=again, taken=False), k + 1)
        z = end.points[0].x
        v = state.v + moves.pull * (z - state.v)
        v -= moves.step * end.slope
        mu = state.mu / 2 if self.search else state.mu
        return Run(end.points, end.agreed, Recentred(v, moves.ratio, mu, works, None, True), k + 1)

    def _served(self, y: Array, steps: Sequence[Message], mu: float, here: Joint[Margins]) -> End:
        """Collective: a broadcast and an allreduce."""
        team = here.team
        told, _, _ = From(0)(steps, (), here)
        points = PerWorker(site.loss.point(y + told.vector) for site in team.sites)
        agreed = gradient(team, points)
        slope = agreed.vector + team.penalty.grad(points[0].x)
        taken = True
        if self.search:
            promised, square = team.world.dots([(slope, -told.vector), (slope, slope)])
            taken = _enough(promised, square, mu)
        return End(points, slope, agreed, taken)

    def _averaged(self, y: Array, steps: Sequence[Message], mu: float, here: Joint[Margins]) -> End:
        """Collective: two allreduces, three where it searches."""
        team, penalty = here.team, here.team.penalty
        own = [y + step.vector for step in steps]
        slopes = [site.loss.value_grad(site.loss.point(z))[1] for site, z in zip(team.sites, own, strict=True)]
        moved = mean(team, steps).vector
        slope = mean(team, [Message(each, np.empty(0)) for each in slopes]).vector
        points = PerWorker(site.loss.point(y + moved) for site in team.sites)
        z = points[0].x
        slope += penalty.grad(z)
        if not self.search:
            return End(points, slope, None, True)
        found = [site.loss.value_grad(at) for site, at in zip(team.sites, points, strict=True)]
        agreed = mean(team, [Message(there, np.array([value])) for value, there in found])
        parts = [
            np.array([-(each - there + penalty.grad(mine - z)) @ step.vector])
            for each, (_, there), mine, step in zip(slopes, found, own, steps, strict=True)
        ]
        pairs = [(agreed.vector + penalty.grad(z), -moved), (slope, slope)]
        apart, along, square = mean_scalars(team, parts, "search", pairs).tolist()
        return End(points, slope, agreed, _enough(apart + along, square, mu))

    def measure(self, run: Run, team: Team[Margins]) -> Measured:
        """Of x; where its gradient is not known, one vector round of recording. Collective."""
        agreed = gradient(team, run.points) if run.agreed is None else run.agreed
        return measured(team, run.points[0].x, agreed)._replace(fresh=run.states.taken)

    def answer(self, run: Run, team: Team[Margins]) -> Point:
        """x, not v."""
        return run.points[0]


def _enough(promised: float, square: float, mu: float) -> bool:
    """The test of the line search; without a pull there is nothing to search for."""
    return not mu > 0 or promised >= square / (2 * mu)


def s_dane(
    mu: float | None = None,
    search: bool = False,
    server: bool = False,
    server_rows: int | None = None,
    accuracy: float | None = None,
) -> Stabilised:
    """Stabilised DANE.

    mu : the pull towards the centre. search : find it by trials. server : worker 0 alone solves, with a sample of its first
    ``server_rows`` rows. accuracy : the local gradient falls to this part of its value at y; None for the paper's
    condition, at most mu/2 times the length of the step.
    """
    return Stabilised(_model(mu, 0.5, accuracy, server, server_rows), plainly, search)


def acc_s_dane(
    mu: float | None = None,
    search: bool = True,
    server: bool = False,
    server_rows: int | None = None,
    accuracy: float | None = None,
) -> Stabilised:
    """Accelerated S-DANE. Parameters as of s_dane; mu is where the search begins."""
    return Stabilised(_model(mu, 0.5, accuracy, server, server_rows), accelerated, search)


def aeg(mu: float | None = None, server_rows: int | None = None, accuracy: float | None = None) -> Stabilised:
    """The accelerated extragradient, by one server.

    mu : twice what the server's Hessian differs by, found from the rows. accuracy : as of s_dane; None for the paper's
    condition, |grad A(z)| <= (mu/2) |y - argmin A| / 3^(1/2), by what is known of the minimiser.
    """
    return Stabilised(_model(mu, 1 / (2 * sqrt(3) + 1), accuracy, True, server_rows), sliding, times=2.0)


def _model(mu: float | None, part: float, accuracy: float | None, server: bool, rows: int | None) -> Corrected:
    within(0, mu=mu)
    within(0, 1, accuracy=accuracy)
    if rows is not None and not server:
        raise UsageError(
            f"`server_rows={rows}` is for one server, and here all workers solve: give `server=true`, or leave it out"
        )
    return Corrected(Nearby(part) if accuracy is None else Exact(accuracy), mu, server=server, rows=rows)


_STABLE = "Jiang, Rodomanov, Stich, Stabilized proximal-point methods for federated optimization, 2024"

ENTRIES = (
    Entry(s_dane, _STABLE, "mu (found from the rows)"),
    Entry(acc_s_dane, _STABLE, "nothing; without its search mu (found from the rows)"),
    Entry(
        aeg,
        "Kovalev, Beznosikov, Borodich, Gasnikov, Scutari, Optimal gradient sliding and its application to distributed "
        "optimization under similarity, 2022",
        "mu, a server sample (default: both found from the rows of worker 0)",
    ),
)
