"""What local steps add to the gradients of their own loss, so that workers with different data do not drift apart.

    Free()               nothing
    ProximalTerm(mu)     mu (y - x), x where the round began                               FedProx
    Controlled(lr)       c - c_i, control variates that are learnt                         SCAFFOLD
    LearntShift(lr, p)   -h_i, shifts that are learnt from the agreements                  Scaffnew
    Elastic(a, b)        a pull towards a centre that moves towards the mean               EASGD
    Streaming(outer)     a mixture with an outer point, fragment by fragment               Streaming DiLoCo, work/streamed.py
    Normalised(rule)     nothing, but how far is told in units of the rule's steps         FedNova, in work/normalised.py

What a worker says at the end of a round is how far it came, as a gradient: the start minus its point.
"""

from dataclasses import dataclass
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Tree
from mpiopt.numerics.schedules import Schedule
from mpiopt.problems.problem import Message, Site


class Free:
    """No correction; and what all corrections do unless they say otherwise. Not collective."""

    def init(self, x: Array, site: Site) -> Tree:
        """The memory of one worker before the first round."""
        return ()

    def begin(self, x: Array, agreed: Message | None, memory: Tree, here: Local) -> Tree:
        """At the start x of a round, with what was agreed in the one before."""
        return memory

    def bend(self, g: Array, x: Array, memory: Tree) -> None:
        """Add the correction to the gradient g taken at x."""

    def after(self, x: Array, memory: Tree) -> Tree:
        """After a step; may move x."""
        return memory

    def tell(self, start: Array, x: Array, steps: range, memory: Tree) -> tuple[Array, Tree]:
        """What to say of a round that led from ``start`` to x in the worker's ``steps``, and the next memory."""
        return start - x, memory

    def say(self, x: Array, memory: Tree) -> Array:
        """What to say in place of `tell` of a worker that has a point of its own, x: where it is."""
        return x

    def scalars(self, memory: Tree) -> tuple[float, ...]:
        """What is said of the round beside that and the running loss, in numbers that are never compressed."""
        return ()


@dataclass(frozen=True)
class ProximalTerm(Free):
    """mu (y - x): the local loss plus mu/2 |y - x|^2.

    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, Federated optimization in heterogeneous networks, MLSys 2020, eq. 2.
    """

    mu: float

    def begin(self, x: Array, agreed: Message | None, memory: Tree, here: Local) -> Tree:
        """Where the round begins."""
        return x

    def bend(self, g: Array, x: Array, memory: Tree) -> None:
        """g + mu (x - start)."""
        g += self.mu * (x - memory)

    def tell(self, start: Array, x: Array, steps: range, memory: Tree) -> tuple[Array, Tree]:
        """As `Free`; the start need not be kept."""
        return start - x, ()


class Variates(NamedTuple):
    """Control variates of one worker."""

    own: Array  # c_i, (dim,)
    common: Array  # c, (dim,)


@dataclass(frozen=True)
class Controlled(Free):
    """c - c_i with c_i <- c_i - c + (x - y) / (sum of step sizes), c <- c + sum over the clients of share_i change of c_i.

    c stays the share-weighted mean of all c_i, without which clients of unequal weight would lead to a wrong point.

    lr : the step size of the local rule, which must be plain SGD. The message has 2 dim numbers: how far, and the change
    of c_i. Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, SCAFFOLD, ICML 2020, algorithm 1 with option II.
    """

    lr: Schedule

    def init(self, x: Array, site: Site) -> Variates:
        """Both 0."""
        return Variates(namespace(x).zeros_like(x), namespace(x).zeros_like(x))

    def begin(self, x: Array, agreed: Message | None, memory: Variates, here: Local) -> Variates:
        """Move c by what the workers of the last round found."""
        common = memory.common
        if agreed is not None:
            part = 1.0 if here.clients.all else float(agreed.scalars[-1])  # of the weights: those of the last round's clients
            common -= part * agreed.vector[x.size :]
        return memory

    def bend(self, g: Array, x: Array, memory: Variates) -> None:
        """g - c_i + c."""
        g -= memory.own
        g += memory.common

    def tell(self, start: Array, x: Array, steps: range, memory: Variates) -> tuple[Array, Variates]:
        """Both as gradients: start - x and c_i - next c_i."""
        went, xp = start - x, namespace(x)
        length = sum(self.lr(step) for step in steps)
        if not length:
            return xp.concatenate([went, xp.zeros_like(went)]), memory
        change = memory.common - went / length
        return xp.concatenate([went, change]), memory._replace(own=memory.own - change)


class Shifting(NamedTuple):
    """The shift of one worker."""

    shift: Array  # h_i, (dim,)
    y: Array | None  # where its last round ended, until it is known what was agreed


@dataclass(frozen=True)
class LearntShift(Free):
    """-h_i with h_i <- h_i + (p / lr) (x - y_i), where x is the mean of y_i - (lr / p) h_i; the h_i add up to 0.

    Mishchenko, Malinovsky, Stich, Richtarik, ProxSkip, ICML 2022, algorithm 2 (Scaffnew), with ``Geometric(p)``.
    """

    lr: float
    probability: float

    def init(self, x: Array, site: Site) -> Shifting:
        """h_i = 0, and no y_i yet."""
        return Shifting(namespace(x).zeros_like(x), None)

    def begin(self, x: Array, agreed: Message | None, memory: Shifting, here: Local) -> Shifting:
        """Move h_i by what the agreement did to y_i."""
        shift, y = memory.shift, memory.y
        if y is not None:
            y -= x
            y *= -self.probability / self.lr
            shift += y
        return Shifting(shift, None)

    def bend(self, g: Array, x: Array, memory: Shifting) -> None:
        """g - h_i."""
        g -= memory.shift

    def tell(self, start: Array, x: Array, steps: range, memory: Shifting) -> tuple[Array, Shifting]:
        """start - y_i + (lr / p) h_i."""
        return start - x + (self.lr / self.probability) * memory.shift, memory._replace(y=x.copy())


class Tied(NamedTuple):
    """What ties one worker to the centre."""

    centre: Array  # c, (dim,)
    pull: Array | None  # what its next step is pulled by, (dim,)


@dataclass(frozen=True)
class Elastic(Free):
    """x_i <- x_i - lr g(x_i) - a (x_i - c),  c <- c + b (mean of x_i - c), all right-hand sides at the same time.

    Zhang, Choromanska, LeCun, Deep learning with elastic averaging SGD, NIPS 2015, eqs. 5 and 6: a = lr rho, b = workers a.
    With longer periods the pull goes with the first step of each. What workers agree on is the mean of their points.
    """

    pull: float
    centre: float

    def init(self, x: Array, site: Site) -> Tied:
        """The common start, and no pull."""
        return Tied(x.copy(), None)

    def begin(self, x: Array, agreed: Message | None, memory: Tied, here: Local) -> Tied:
        """a (x - c), then the next c."""
        c = memory.centre
        pull = self.pull * (x - c)
        return Tied(c if agreed is None else self.moved(c, agreed), pull)

    def moved(self, c: Array, agreed: Message) -> Array:
        """c + b (mean - c), written over c."""
        c += self.centre * (agreed.vector - c)
        return c

    def after(self, x: Array, memory: Tied) -> Tied:
        """The pull, once."""
        if memory.pull is not None:
            x -= memory.pull
        return memory._replace(pull=None)
