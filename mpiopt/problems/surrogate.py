"""The one local problem of DANE, SPAG, SPCG and Catalyst (mirror and proximal steps are the same thing with another q):

    minimise over z:   phi(z) - q.z,    phi(z) = f_w(z) + (1/2) sum_j D_j z_j^2

D_j = l2 + mu on penalised coordinates and mu on the free ones. With c = grad f_w(x) - grad f(x) and q = c + mu x this is
f_w(z) - <c, z> + penalty(z) + (mu/2)|z - x|^2 (Shamir, Srebro, Zhang, Communication-efficient distributed optimization
using an approximate Newton-type method, 2014, eq. 13). Kinks and walls of a penalty are added as they are, for solvers that
know of such.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.kernels.kinked import Kinks
from mpiopt.problems.penalties import Kinked
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Margins, Penalty

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default, as for `Team`

    S = TypeVar("S", bound=Margins, covariant=True, default=Margins)
else:
    from typing import TypeVar

    S = TypeVar("S", bound=Margins, covariant=True)
G = TypeVar("G", bound=Margins)


@dataclass(frozen=True)
class Reference(Generic[S]):
    """phi: one worker's loss with its own ridge. Not collective.

    ridge : D on the penalised coordinates, a number or (dim,), ``ridge_free`` on the ``free`` trailing ones. kinks : what is
    to be added, None where all is smooth; what is asked of phi here leaves it out.
    """

    loss: S
    ridge: float | Array
    ridge_free: float
    free: int
    kinks: Kinks | None = None

    @staticmethod
    def of(loss: G, penalty: Penalty, mu: float) -> "Reference[G]":
        """phi = f_w + penalty + (mu/2)|z|^2."""
        kinks = penalty.kinks(loss.dim) if isinstance(penalty, Kinked) and not penalty.smooth else None
        return Reference(loss, penalty.l2 + mu, mu, penalty.free, kinks)

    @property
    def strong(self) -> bool:
        """Whether every penalised coordinate has a ridge."""
        return self.ridge > 0 if isinstance(self.ridge, int | float) else bool((self.ridge > 0).all())

    def scaled(self, z: Array) -> Array:
        """D z, a new array."""
        out = self.ridge * z
        out[z.size - self.free :] = self.ridge_free * z[z.size - self.free :]
        return out

    def unscaled(self, q: Array, out: Array | None = None) -> Array:
        """D^-1 q, a new array unless there is one for it; needs D > 0."""
        out = namespace(q).divide(q, self.ridge, out=out)
        if self.free:
            out[-self.free :] = q[-self.free :] / self.ridge_free
        return out

    def energy(self, z: Array) -> float:
        """(1/2) sum_j D_j z_j^2."""
        return 0.5 * float(self.scaled(z) @ z)

    def grad(self, at: Point) -> Array:
        """grad phi, (dim,), using the slope where the point carries it."""
        slope = self.loss.value_grad(at)[1] if at.slope is None else at.slope
        out = self.scaled(at.x)
        out += slope
        return out

    def bregman(self, to: Point, at: Point) -> float:
        """D_phi(to, at) = phi(to) - phi(at) - grad phi(at).(to - at), without cancellation; both carry their margins."""
        return self.loss.bregman(at, to.margins) + self.energy(to.x - at.x)

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> (H_w(x) + D) v."""
        inner = self.loss.hessian(at)

        def product(v: Array) -> Array:
            out = inner(v)
            out += self.scaled(v)
            return out

        return product

    def jacobi(self, at: Point) -> Callable[[Array], Array]:
        """Division by the diagonal of the Hessian; coordinates without curvature are left alone."""
        diagonal = self.loss.diagonal(at) + self.scaled(beside(at.x, at.x.size, 1))
        least = np.finfo(diagonal.dtype).tiny
        inverse = 1 / namespace(diagonal).where(diagonal > least, diagonal, 1.0)
        return lambda r: r * inverse
