"""DualOracle: Nesterov's method on the dual of a sum of losses, each of which one node of a graph holds.

With phi_i = n share_i (f_i + penalty), of which F is the plain mean, every node has a z_i and asks for

    g_i = argmax_x z_i.x - phi_i(x),

the gradient of phi_i's conjugate at z_i; the g_i come together at the minimiser of F. Of a quadratic with not too many
coordinates it is a matrix, factored once; of others a local solve. What neighbours do to vectors, v ->
v - W v, stands in for the projection onto those that add up to 0, and m_i remembers what it leaves undone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from mpiopt.arrays import Array, namespace, norm
from mpiopt.engine.phase import Local, Work
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.numerics.theory import Adom
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Conjugate, Margins, offers
from mpiopt.problems.surrogate import Reference
from mpiopt.work.exact import Exact

FACTORED = 512  # coordinates up to which a quadratic's Hessian is factored
FLOOR = 1e-14  # of |z|: a residual of a local solve that is as good as none


class Dual(NamedTuple):
    """What one node has; vectors (dim,)."""

    steps: Adom  # 0 before they are found
    z: Array
    ahead: Array  # z_g, where the conjugate's gradient was taken
    behind: Array  # z_f
    memory: Array  # m
    sent: Array  # m - eta g, half of what it has said last


@dataclass(frozen=True)
class DualOracle(Work):
    """One gradient of the conjugate, a local solve to ``accuracy`` of the residual where it starts; says 2 dim numbers.

    The point is the last g_i. Kovalev, Shulgin, Richtarik, Rogozin, Gasnikov, ADOM, ICML 2021, algorithm 2.
    """

    needs: ClassVar[type] = Margins
    accuracy: float = 1e-6
    _factored: dict[int, Callable[[Array], Array] | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def init(self, x: Array, site: Site[Margins]) -> Dual:
        """All 0. Raises CapabilityError where the conjugate has no gradient everywhere."""
        if not site.penalty.l2 > 0 or site.penalty.free:
            raise CapabilityError(
                "a dual oracle needs losses that are strongly convex in every coordinate: give an l2 above 0 "
                "and no intercept, or use diging"
            )
        self._factored.pop(site.worker, None)  # of another problem
        zeros = [namespace(x).zeros_like(x) for _ in range(5)]
        return Dual(Adom(0.0, 0.0, 0.0, 0.0, 0.0), zeros[0], zeros[1], zeros[2], zeros[3], zeros[4])

    def stepped(self, state: Dual, steps: Adom) -> Dual:
        """The state before the first round, with the parameters that the method has found."""
        return state._replace(steps=steps)

    def __call__(self, at: Point, agreed: Message | None, state: Dual, here: Local[Margins]) -> tuple[Point, Message, Dual]:
        """Not collective."""
        steps, d = state.steps, at.x.size
        if steps is None:
            raise UsageError("a dual oracle has no steps before a method has found them: use adom, which does")
        if agreed is not None:
            delta = steps.sigma * (state.sent - agreed.vector[:d])
            z = state.z + steps.eta * steps.alpha * (state.ahead - state.z) + delta
            behind = state.ahead - steps.theta * (at.x - agreed.vector[d:])
            state = state._replace(z=z, behind=behind, memory=state.sent - delta)
        ahead = steps.tau * state.z + (1 - steps.tau) * state.behind
        g = self._asked(ahead, at.x, here.site)
        sent = state.memory - steps.eta * g
        return (
            at._replace(x=g),
            Message(namespace(g).concatenate([sent, g]), np.zeros(0)),
            state._replace(ahead=ahead, sent=sent),
        )

    def _asked(self, z: Array, start: Array, site: Site[Margins]) -> Array:
        """The gradient of phi_i's conjugate at z (dim,), looked for from ``start``."""
        q = z / (site.world.workers * site.share)
        if site.worker not in self._factored:
            self._factored[site.worker] = factored(site)
        solved = self._factored[site.worker]
        if solved is not None:
            return solved(q)
        phi = Reference.of(site.loss, site.penalty, 0.0)
        return Exact(self.accuracy, FLOOR * norm(q))(phi, q, site.loss.point(start), ())[0]


def factored(site: Site[Margins]) -> Callable[[Array], Array] | None:
    """q (dim,) -> the x where the gradient of f_i + penalty is q; None where that is no quadratic, or too long, or on a GPU."""
    loss, d = site.loss, site.loss.dim
    if not (offers(loss, Conjugate) and loss.family.concordance == 0 and loss.descends and d <= FACTORED):
        return None
    at = loss.point(np.zeros(d))
    start, product = loss.value_grad(at)[1], loss.hessian(at)
    factor = cho_factor(np.column_stack([product(e) for e in np.eye(d)]) + site.penalty.l2 * np.eye(d))
    return lambda q: cho_solve(factor, q - start)
