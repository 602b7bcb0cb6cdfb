"""Works of games: a worker's operator over a sample, at the point or where a step along what was agreed last leads.

    Field(ahead, draw)      F_w(z), or F_w(prox(z - step agreed))
    Reply()                 the same, once the first player alone has moved
    Wander(pace)            so many steps of extragradient of its own; says how far they led

``draw`` : which of how many samples that a round draws; two works with the same draw look at the same sample.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local, Work
from mpiopt.problems.operators import Operator
from mpiopt.problems.problem import Message, Point, RowSample, Site
from mpiopt.sampling.pace import Pace, Period


class Paced(NamedTuple):
    """What a worker keeps: its step, 0 before the method has found it, and what it has looked at."""

    step: float = 0.0
    fields: int = 0
    rows: int = 0

    def after(self, rows: int) -> "Paced":
        """One field later."""
        return self._replace(fields=self.fields + 1, rows=self.rows + rows)


@dataclass(frozen=True)
class Field(Work):
    """See the head of this file."""

    needs: ClassVar[type] = Operator
    ahead: bool = False
    draw: tuple[int, int] = (0, 1)

    def init(self, x: Array, site: Site[Operator]) -> Paced:
        """Before the first."""
        return Paced()

    def __call__(self, at: Point, agreed: Message | None, state: Paced, here: Local[Operator]) -> tuple[Point, Message, Paced]:
        """Not collective."""
        look = at.x
        if self.ahead and agreed is not None:
            look = stepped(at.x, agreed.vector, state.step, here.site)
        which, many = self.draw
        f, state = looked(look, many * here.round + which, state, here.site)
        return at, Message(f, np.zeros(0)), state


@dataclass(frozen=True)
class Reply(Field):
    """The second player's part of F_w once the first has made its step; the first's part as it was agreed."""

    def __call__(self, at: Point, agreed: Message | None, state: Paced, here: Local[Operator]) -> tuple[Point, Message, Paced]:
        """Not collective."""
        first = here.site.loss.first
        heard = np.zeros_like(at.x) if agreed is None else agreed.vector
        look = at.x.copy()
        look[:first] = stepped(at.x, heard, state.step, here.site)[:first]
        f, state = looked(look, here.round, state, here.site)
        f[:first] = heard[:first]
        return at, Message(f, np.zeros(0)), state


@dataclass(frozen=True)
class Wander(Field):
    """Steps of extragradient from the common point, each with one sample for both of its halves; says start - end."""

    pace: Pace = field(default_factory=Period)

    def __call__(self, at: Point, agreed: Message | None, state: Paced, here: Local[Any]) -> tuple[Point, Message, Paced]:
        """Not collective."""
        z, site = at.x, here.site
        for _ in self.pace(site, here.round):
            number = state.fields // 2
            f, state = looked(z, number, state, site)
            f, state = looked(stepped(z, f, state.step, site), number, state, site)
            z = stepped(z, f, state.step, site)
        return at, Message(at.x - z, np.zeros(0)), state

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """As many as the pace expects."""
        return float(self.pace.expected(round))


def stepped(z: Array, f: Array, step: float, site: Site[Any]) -> Array:
    """prox(z - step f), (dim,)."""
    return site.penalty.prox(z - step * f, step)


def looked(z: Array, number: int, state: Paced, site: Site[Operator]) -> tuple[Array, Paced]:
    """F_w at z (dim,) over the sample of this number."""
    picked = site.sample(number)
    at = site.loss.point(z)
    if isinstance(picked, RowSample):
        parts = [part * site.loss.field(at, rows) for rows, part in picked.groups]
        return sum(parts[1:], parts[0]), state.after(picked.rows.size)
    return site.loss.field(at, picked), state.after(site.loss.rows if picked is None else len(picked))
