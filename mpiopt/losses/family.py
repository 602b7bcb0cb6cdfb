"""Family: what a loss is to a linear model. A subclass is a loss: scalar functions, constants and a rule for labels.

    class Squares(Family):
        '''Least squares: (m - y)^2 / 2.'''
        name, labels, curvature_bound = "squares", REAL, 1.0

        @staticmethod
        def value(m, y): return 0.5 * (m - y) ** 2
        ...

The scalar functions are compiled by numba into the kernels of `host.rowwise`, so they are written in numbers, ``math``
and numpy's scalar functions; parameters of the loss are fields of a dataclass and come after the other arguments. The
lines of CUDA are C expressions in m, y (u, d) and the parameters, all double; without them a loss works on the CPU alone.
"""

from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside
from mpiopt.errors import CapabilityError
from mpiopt.losses.labels import REAL, LabelRule

if TYPE_CHECKING:
    from mpiopt.kernels.device.margins import DeviceRows
    from mpiopt.kernels.host.rowwise import HostRows

REQUIRED = ("value", "slope", "bend", "conjugate")
SCALARS = (*REQUIRED, "rise", "dual_step", "dual_gap")


class Cuda(NamedTuple):
    """The scalar functions once more, a C expression each; ``helpers``: functions in CUDA that they call."""

    value: str
    slope: str
    bend: str
    conjugate: str
    rise: str = ""
    helpers: str = ""


class Family:
    """A convex function of a margin m and a label y, row by row. Arrays are (rows,); w is (0,) where all weights are 1.

    curvature_bound : the largest second derivative, infinity where there is none. concordance : M with
    |value'''| <= M value'' (Bach, Self-concordant analysis for logistic regression, 2010), None where there is none.
    recedes : whether a row's loss may fall for ever as its margin goes one way, so that there may be no minimum; ``receding``
    is then +1 or -1 for that way, 0 where it grows both ways.
    chance : the probability of +1 at margins (rows,), of a loss that is the negative logarithm of the label's probability.
    link : the margin at which the expected label is a given one, of a loss that is a likelihood's but for a constant.
    dispersed : whether that likelihood has a scale of its own, as the variance of the errors of least squares.
    rise, dual_step, dual_gap : see `host.rowwise`; a loss without a ``dual_step`` has no dual coordinate descent.
    dual_start : every dual variable before a first local solve. dual_range : where dual variables are kept.
    """

    name: ClassVar[str]
    labels: ClassVar[LabelRule] = REAL
    curvature_bound: ClassVar[float] = inf
    concordance: ClassVar[float | None] = None
    recedes: ClassVar[bool] = False
    cuda: ClassVar[Cuda | None] = None
    chance: ClassVar[Callable[..., Array] | None] = None
    link: ClassVar[Callable[..., float] | None] = None
    dispersed: ClassVar[bool] = False
    rise: ClassVar[Callable[..., float] | None] = None
    dual_step: ClassVar[Callable[..., tuple[float, float]] | None] = None
    dual_gap: ClassVar[Callable[..., float] | None] = None
    dual_start: ClassVar[float] = 0.0
    dual_range: ClassVar[tuple[float, float]] = (-inf, inf)

    # ------------------------------------------------------------------------------------ what a loss says of itself
    value: ClassVar[Callable[..., float]]  # (m, y, ...): the loss of a row
    slope: ClassVar[Callable[..., float]]  # (m, y, ...): its derivative in m
    bend: ClassVar[Callable[..., float]]  # (m, y, ...): its second derivative in m, of either side where it jumps
    conjugate: ClassVar[Callable[..., float]]  # (u, y, ...): sup over m of u m - value(m, y), infinity where it has no bound
    receding: ClassVar[Callable[..., Array]]  # see `recedes`: of labels, (rows,)

    @staticmethod
    def answer(m: Array) -> Array:
        """The label that the model expects at margins m, (rows,); of two classes only its sign counts."""
        return m

    # ------------------------------------------------------------------------------------ what follows from it
    @property
    def theta(self) -> tuple[float, ...]:
        """The parameters, in the order of their fields."""
        return tuple(float(getattr(self, field.name)) for field in self._fields())

    def _fields(self) -> "tuple[Field[Any], ...]":
        return fields(self) if is_dataclass(self) else ()

    def scalars(self) -> dict[str, Callable]:
        """The scalar functions that there are, by name."""
        kind = type(self)
        return {name: getattr(kind, name) for name in SCALARS if getattr(kind, name) is not None}

    @classmethod
    def lacking(cls) -> list[str]:
        """What a loss must have and this one has not."""
        return [name for name in ("name", *REQUIRED, *(("receding",) if cls.recedes else ())) if not hasattr(cls, name)]

    def host(self) -> "HostRows":
        """The kernels on the CPU."""
        return self._host

    @cached_property
    def _host(self) -> "HostRows":
        from mpiopt.kernels.host.rowwise import HostRows

        return HostRows(self.scalars(), self.theta, type(self).__qualname__)

    @property
    def descends(self) -> bool:
        """Whether there is a step of dual coordinate descent."""
        return "dual_step" in self.host().scalars

    def device(self) -> "DeviceRows":
        """The kernels on a GPU. Raises CapabilityError for a loss without CUDA."""
        if self.cuda is None:
            raise CapabilityError(f"the {self.name} loss has no lines of CUDA, and works on the CPU alone: use `device=cpu`")
        from mpiopt.kernels.device.margins import DeviceRows

        names = [field.name for field in self._fields()]
        return DeviceRows(self.cuda._asdict(), dict(zip(names, self.theta, strict=True)))

    def rows(self, m: Array) -> "HostRows | DeviceRows":
        """The kernels where m is."""
        return self.host() if isinstance(m, np.ndarray) else self.device()

    def value_residual(self, m: Array, y: Array, w: Array) -> tuple[float, Array]:
        """Sum of losses, and their derivatives in the margins (rows,)."""
        residual = beside(m, m.size)
        return self.rows(m).value_residual(m, y, w, residual), residual

    def curvature(self, m: Array, y: Array, w: Array) -> Array:
        """Second derivatives in the margins, (rows,)."""
        h = beside(m, m.size)
        self.rows(m).curvature(m, y, w, h)
        return h

    def plane(self, m: Array, p: Array, c: Array, y: Array, w: Array) -> Array:
        """Value, gradient (k,) and upper triangle of the Hessian of c -> sum of losses at m + c p, p : (k, rows)."""
        return self.rows(m).plane(m, p, c, y, w)

    def bregman(self, m: Array, delta: Array, y: Array, w: Array) -> float:
        """Sum of losses at m + delta, less their linearisation at m, without cancellation."""
        return self.rows(m).bregman(m, delta, y, w)

    def conjugates(self, m: Array, y: Array, w: Array, scale: Array) -> float:
        """Sum of w_i conjugate(scale_i slope(m_i, y_i)): what the dual objective of scaled residuals needs."""
        return self.rows(m).conjugates(m, y, w, scale)

    def dual_variables(self, m: Array, y: Array) -> Array:
        """Those that fit margins m, (rows,): minus the slopes, times y for two classes."""
        slopes = self.value_residual(m, y, y[:0])[1]
        return np.clip(-slopes * y if self.labels.classes else -slopes, *self.dual_range)

    def dual_gaps(self, m: Array, y: Array, w: Array, alpha: Array) -> float:
        """Sum of w_i (loss + conjugate at -s_i alpha_i + s_i alpha_i m_i), s as in `signs`; no term is below 0."""
        return self.host().dual_gaps(m, y, w, alpha)

    def signs(self, y: Array) -> Array:
        """The factors s of the dual variables: the labels of two classes, (0,) for all ones."""
        return y if self.labels.classes else y[:0]

    def correct(self, m: Array, y: Array) -> int:
        """Rows answered rightly: by the sign (0 counts as -1), or less than 1/2 off."""
        right = (m > 0) == (y > 0) if self.labels.classes else abs(self.answer(m) - y) < 0.5
        return int(right.sum())

    def __str__(self) -> str:
        given = [f"{field.name}={getattr(self, field.name):g}" for field in self._fields()]
        return self.name + (":" if given else "") + ",".join(given)
