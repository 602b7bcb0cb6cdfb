"""Forms: one method in several forms, of which a rule takes one by what the problem is, and may take another on its way.

A rule sees an `Extent`, which is the same however many ranks and hosts there are, and what rounds have measured, which all
ranks have from collectives. So the form follows from data, penalty, loss and workers. What was taken, and why, is state: a run
that goes on from a checkpoint does not choose again.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.aim import aimed
from mpiopt.engine.method import (
    HessianAtHand,
    Keeping,
    Measured,
    Method,
    Named,
    Parting,
    Run,
    at_hand,
    kept,
    limit,
    proved_above,
)
from mpiopt.engine.phase import PerWorker, Tree
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Columns, offers
from mpiopt.problems.several import Separable

KEPT = 5  # objectives that a rule may look back on


class Extent(NamedTuple):
    """What a rule may know of a problem before the first round.

    weight : the sum of the rows' weights; dim : coefficients; squares : the mean of the rows' squared lengths, 0 where a loss
    is not of such rows; bend : the largest curvature of a row's loss, 1 where it has no bound; columns : whether margins are
    products of known rows with x; smooth : whether the penalty is; descends : whether its dual can be ascended row by row;
    nonzeros : entries of the rows, 0 where these cannot be sent elsewhere; apart : whether each class is a problem of its own;
    width : bytes of an entry that is sent; parts : whether ranks would have parts of the coordinates, where a rule asks that.
    """

    rows: int
    weight: float
    dim: int
    squares: float
    workers: int
    l2: float
    bend: float = 1.0
    columns: bool = True
    smooth: bool = True
    descends: bool = False
    nonzeros: int = 0
    apart: bool = False
    width: float = 8.0
    parts: bool = False

    @staticmethod
    def of(team: Team) -> "Extent":
        """That of a team. Collective: one small sum."""
        loss = team.sites[0].loss
        sums = team.world.total([np.array([_squares(site.loss), _entries(site.loss)]) for site in team.sites], "extent")
        columns = offers(loss, Columns)
        bend = loss.family.curvature_bound if offers(loss, Columns) else 1.0
        return Extent(
            team.rows,
            team.weight,
            team.dim,
            float(sums[0]) / team.weight,
            team.world.workers,
            team.penalty.l2,
            float(bend) if np.isfinite(bend) else 1.0,
            columns,
            team.penalty.smooth,
            offers(loss, Columns) and loss.descends,
            int(sums[1]),
            offers(loss, Separable) and isinstance(loss.matrix, CSR),
            _width(loss, team.dim),
        )


def _squares(loss: object) -> float:
    """The weighted sum of the rows' squared lengths."""
    if not offers(loss, Columns):
        return 0.0
    return float((loss.row_squares * loss.weights).sum() if loss.weights.size else loss.row_squares.sum())


def _entries(loss: object) -> int:
    """Those of the rows, where they are in the memory of a CPU."""
    return loss.matrix.nnz if offers(loss, Columns) and isinstance(loss.matrix, CSR) else 0


def _width(loss: object, dim: int) -> float:
    """Bytes of an entry and its column's number as `problems.copied` sends them."""
    entry = loss.matrix.data.itemsize if offers(loss, Columns) and isinstance(loss.matrix, CSR) else 8
    return float(entry + np.min_scalar_type(dim).itemsize)


class Taken(NamedTuple):
    """A form by its name, and why it was taken, in a few words."""

    form: str
    why: str


class InForm(NamedTuple):
    """The states of a form, and how it came to be taken.

    begun : the round in which it was. objectives : the last F, at most `KEPT`, as long as the rule asks.
    """

    taken: Taken
    extent: Extent
    begun: int
    objectives: tuple[float, ...]
    states: Tree


class FormRule(Protocol):
    """What takes a form. Not collective: of numbers that all ranks have."""

    def first(self, extent: Extent, forms: Collection[str]) -> Taken:
        """The form to begin with, one of ``forms``."""

    def asks_parts(self, extent: Extent) -> bool:
        """Whether `Extent.parts` matters, which costs a look at the rows and a bit a column to find."""

    def watches(self, taken: Taken, extent: Extent, forms: Collection[str]) -> bool:
        """Whether another form may be taken after this one."""

    def later(self, taken: Taken, extent: Extent, forms: Collection[str], rounds: int, objectives: tuple[float, ...]) -> Taken:
        """The form to go on with, after so many rounds in this one. objectives : the last F, at the start and after rounds."""


class Onward(Method, Protocol):
    """A method that can take over where another one stands."""

    def onward(self, run: Run, team: Team[Any]) -> Run:
        """``run`` of a method that ends its rounds knowing F and its gradient, to be gone on with by this one. Collective."""


@dataclass(frozen=True)
class Forms(Named):
    """The method that takes its forms by a rule. All know F and its gradient at the end of a round.

    forms : each by its name; those that a rule may take later are `Onward`.
    """

    forms: Mapping[str, Method]
    rule: FormRule

    @property
    def dvectors(self) -> int:
        """That of the form with most; forms for few features are left out where there are others."""
        long = [form.dvectors for form in self.forms.values() if limit(form) is None]
        return max(long or [form.dvectors for form in self.forms.values()])

    def form(self, taken: Taken) -> Method:
        """The form by its own name, which it refuses problems by."""
        return replace(self.forms[taken.form], name=self.name)  # type: ignore[type-var]

    def only(self, change: Callable[[Method], Method | None]) -> "Forms":
        """With every form changed, and those left out of which nothing is made."""
        found = {name: change(form) for name, form in self.forms.items()}
        return replace(self, forms={name: form for name, form in found.items() if form is not None})

    def aiming(self, gap: float) -> "Forms":
        """See `Aiming`."""
        return self.only(lambda form: aimed(form, gap))

    def init(self, x: Array, team: Team[Any]) -> Run:
        """The form that the rule takes, at x. Collective. Raises CapabilityError on every rank."""
        extent = Extent.of(team)
        if self.rule.asks_parts(extent):
            able = [form.parting(team) for form in self.forms.values() if isinstance(form, Parting)]
            extent = extent._replace(parts=any(able))
        taken = self.rule.first(extent, self.forms)
        return self._seen(self.form(taken).init(x, team), InForm(taken, extent, 0, (), ()), team)

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round of the form taken, and the rule's word on the next. Collective."""
        now: InForm = run.states
        run = self._seen(self.form(now.taken).step(self._inner(run), team), now, team)
        if not self._watched(now):
            return run
        taken = self.rule.later(now.taken, now.extent, self.forms, run.round - now.begun, run.states.objectives)
        if taken.form == now.taken.form:
            return run
        left, form = self._inner(run), self.form(now.taken)
        if isinstance(form, Parting):
            left = form.leaving(left, team)
        onward = cast(Onward, self.form(taken)).onward(left, team)
        return onward._replace(states=run.states._replace(taken=taken, begun=run.round, states=onward.states))

    def _inner(self, run: Run) -> Run:
        return run._replace(states=run.states.states)

    def _watched(self, now: InForm) -> bool:
        return self.rule.watches(now.taken, now.extent, self.forms)

    def _seen(self, run: Run, now: InForm, team: Team) -> Run:
        """The run of a form with how that came to be taken, its objective among the last ones where the rule watches."""
        objectives = now.objectives
        if self._watched(now):
            objectives = (*objectives, self.form(now.taken).measure(run, team).objective)[-KEPT:]
        return run._replace(states=now._replace(objectives=objectives, states=run.states))

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """That of the form. Collective: one small sum."""
        return self.form(run.states.taken).measure(self._inner(run), team)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """That of the form."""
        return self.form(run.states.taken).answer(self._inner(run), team)

    def kept(self, run: Run, team: Team[Any]) -> Array | PerWorker:
        """See `Keeping`."""
        return kept(self.form(run.states.taken), self._inner(run), team)

    def whole(self, kept: Array | PerWorker, team: Team[Any]) -> Array:
        """See `Keeping`; whichever form it is of. Collective."""
        keeping = [form for form in self.forms.values() if isinstance(form, Keeping)]
        return keeping[0].whole(kept, team) if keeping else cast(Array, kept)

    def at_hand(self, run: Run, team: Team[Any]) -> HessianAtHand | None:
        """See `Inverting`."""
        return at_hand(self.form(run.states.taken), self._inner(run), team)

    def lower(self, run: Run, team: Team[Any]) -> float:
        """See `Bounding`. Collective where that of the form is."""
        return proved_above(self.form(run.states.taken), self._inner(run), team)


def taken_by(run: Run | None) -> Taken | None:
    """The form that a run has, if its method has several, or has found one as it went, which its outer step then keeps."""
    held = () if run is None else (run.states, getattr(run.states, "outer", None))
    found = (getattr(states, "taken", None) for states in held)
    return next((taken for taken in found if isinstance(taken, Taken) and taken.form), None)
