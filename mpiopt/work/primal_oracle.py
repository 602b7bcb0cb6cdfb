"""PrimalOracle: ADOM+, the primal sibling of `DualOracle`: one gradient a round in place of a local solve.

With phi_i as there, F(x) = sum phi_i(x_i) is minimised where all x_i are alike, by Nesterov's method on the saddle function
F(x) - nu/2 |x|^2 - y.x - |y + z|^2 / (2 nu), z a vector of every node that adds up to 0 over the nodes. What neighbours do
to vectors, v -> v - W v, stands in for the projection onto those, and m_i remembers what it leaves undone.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Work
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.numerics.theory import AdomPlus
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Curvature
from mpiopt.work.log import Log, sampled


class Primal(NamedTuple):
    """What one node has beside x; vectors (dim,), named as in the paper, with ``behind`` for its index f and ahead for g."""

    log: Log
    scale: float
    steps: AdomPlus | None
    x_behind: Array
    y: Array
    y_behind: Array
    z: Array
    z_ahead: Array
    z_behind: Array
    memory: Array  # m
    said: Array  # what it has said last, (2 dim,)


@dataclass(frozen=True)
class PrimalOracle(Work):
    """One gradient; says 2 dim numbers.

    Kovalev, Gasanov, Gasnikov, Richtarik, Lower bounds and optimal algorithms for smooth and strongly convex decentralized
    optimization over time-varying networks, NeurIPS 2021, algorithm 2.
    """

    needs: ClassVar[type] = Curvature

    def init(self, x: Array, site: Site[Curvature]) -> Primal:
        """All 0 but x. Raises CapabilityError where nothing says how strongly convex the losses are."""
        if not site.penalty.l2 > 0 or site.penalty.free:
            raise CapabilityError(
                "adom_plus needs losses that are strongly convex in every coordinate: give an l2 above 0 and no intercept, or "
                "use diging"
            )
        xp = namespace(x)
        y, y_behind, z, z_ahead, z_behind, memory = (xp.zeros_like(x) for _ in range(6))
        log, scale, said = Log.blank(), site.world.workers * site.share, xp.concatenate([y, y])
        return Primal(log, scale, None, x.copy(), y, y_behind, z, z_ahead, z_behind, memory, said)

    def stepped(self, state: Primal, steps: AdomPlus) -> Primal:
        """The state before the first round, with the parameters that the method has found."""
        return state._replace(steps=steps)

    def __call__(self, at: Point, agreed: Message | None, state: Primal, here: Local) -> tuple[Point, Message, Primal]:
        """Not collective."""
        k, d = state.steps, at.x.size
        if k is None:
            raise UsageError("a primal oracle has no steps before a method has found them: use adom_plus, which does")
        if agreed is not None:
            apart = k.scale * (state.said - agreed.vector)  # W of what was said
            z = state.z + k.gamma * k.delta * (state.z_ahead - state.z) - apart[:d]
            memory = state.said[:d] - apart[:d]
            state = state._replace(z=z, z_behind=state.z_ahead - k.zeta * apart[d:], memory=memory)
        x = at.x
        x_ahead = k.tau * x + (1 - k.tau) * state.x_behind
        y_ahead = k.sigma * state.y + (1 - k.sigma) * state.y_behind
        z_ahead = k.sigma * state.z + (1 - k.sigma) * state.z_behind
        slope, log = sampled(x_ahead, state.log, here)
        slope = state.scale * slope - k.nu * x_ahead
        pushed = y_ahead + z_ahead
        x_next, y_next = implicit(
            k, x + k.eta * (k.alpha * x_ahead - slope), state.y + k.theta * (k.beta * slope - pushed / k.nu)
        )
        said = namespace(x).concatenate([k.gamma / k.nu * pushed + state.memory, pushed])
        behind = x_ahead + k.tau_behind * (x_next - x), y_ahead + k.sigma_behind * (y_next - state.y)
        after = state._replace(log=log, x_behind=behind[0], y=y_next, y_behind=behind[1], z_ahead=z_ahead, said=said)
        return at._replace(x=x_next), Message(said, np.zeros(0)), after


def implicit(k: AdomPlus, a: Array, b: Array) -> tuple[Array, Array]:
    """x, y with (1 + eta alpha) x - eta y = a and theta x + (1 + theta beta) y = b."""
    one = 1 + k.eta * k.alpha
    y = (b - k.theta / one * a) / (1 + k.theta * k.beta + k.theta * k.eta / one)
    return (a + k.eta * y) / one, y
