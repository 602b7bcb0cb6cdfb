"""The named rules, with the constants that their field takes for granted; lr is a number or a schedule.

    sgd                           Scale
    momentum, nag                 Scale -> Momentum / Nesterov
    torch_momentum, torch_nag     Momentum / SimplifiedNesterov -> Scale
    adagrad, rmsprop, adam        the transform of that name -> Scale
    adadelta                      Adadelta -> Scale(1)
    adamw                         Adam -> Decay -> Scale
    lion                          Lion -> Decay -> Scale
    schedule_free                 ScheduleFree
    muon                          Muon: NesterovMean -> NewtonSchulz -> Decay -> Scale for hidden matrices, adamw for the rest

Weight decay and clipping go in front: ``chain(ClipNorm(1.0), Decay(1e-4), momentum(0.1))``.
"""

from mpiopt.numerics.schedules import Constant, Schedule, Stretched, scheduled
from mpiopt.registry.entry import Registered
from mpiopt.registry.registry import Registry
from mpiopt.transforms.adaptive import Adadelta, Adagrad, Adam, RmsProp
from mpiopt.transforms.bounds import Decay
from mpiopt.transforms.fused import AdamPass, AdamStep, MomentumStep
from mpiopt.transforms.lion import Lion
from mpiopt.transforms.momentum import Momentum, Nesterov, Scale, SimplifiedNesterov
from mpiopt.transforms.muon import Muon
from mpiopt.transforms.schedule_free import ScheduleFree
from mpiopt.transforms.transform import BLOCK, Blocked, Transform, chain


def sgd(lr: float | Schedule = 0.01) -> Transform:
    """x -= lr g."""
    return Scale(scheduled(lr))


def momentum(lr: float | Schedule = 0.01, gamma: float = 0.9) -> Transform:
    """v <- gamma v - lr g;  x += v."""
    rate = scheduled(lr)
    return Blocked(chain(Scale(rate), Momentum(gamma)), BLOCK, MomentumStep(rate, gamma, "inside"))


def nag(lr: float | Schedule = 0.01, gamma: float = 0.9) -> Transform:
    """v <- gamma v - lr grad f(x + gamma v);  x += v."""
    rate = scheduled(lr)
    return Blocked(chain(Scale(rate), Nesterov(gamma)), BLOCK, MomentumStep(rate, gamma, "inside"))


def torch_momentum(lr: float | Schedule = 0.01, gamma: float = 0.9) -> Transform:
    """v <- gamma v + g;  x -= lr v."""
    rate = scheduled(lr)
    return Blocked(chain(Momentum(gamma), Scale(rate)), BLOCK, MomentumStep(rate, gamma, "outside"))


def torch_nag(lr: float | Schedule = 0.01, gamma: float = 0.9) -> Transform:
    """v <- gamma v + g;  x -= lr (g + gamma v)."""
    rate = scheduled(lr)
    return Blocked(chain(SimplifiedNesterov(gamma), Scale(rate)), BLOCK, MomentumStep(rate, gamma, "nesterov"))


def adagrad(lr: float | Schedule = 0.01, eps: float = 1e-8) -> Transform:
    """Steps over the root of the sum of squared gradients."""
    return Blocked(chain(Adagrad(eps), Scale(scheduled(lr))))


def adadelta(rho: float = 0.95, eps: float = 1e-6) -> Transform:
    """Steps over the root mean square of gradients, times that of steps; no step size."""
    return Blocked(chain(Adadelta(rho, eps), Scale(Constant(1.0))))


def rmsprop(lr: float | Schedule = 1e-3, rho: float = 0.9, eps: float = 1e-8) -> Transform:
    """Steps over the root of a fading mean of squared gradients."""
    return Blocked(chain(RmsProp(rho, eps), Scale(scheduled(lr))))


def adam(lr: float | Schedule = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Transform:
    """Mean gradients over root mean squares, both freed of their start at 0."""
    rate = scheduled(lr)
    return Blocked(chain(Adam(b1, b2, eps), Scale(rate)), BLOCK, AdamStep(rate, b1, b2, eps), AdamPass(rate, b1, b2, eps))


def adamw(lr: float | Schedule = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, decay: float = 0.01) -> Transform:
    """Adam with decoupled weight decay: x -= lr decay x besides."""
    rate = scheduled(lr)
    whole = AdamPass(rate, b1, b2, eps, decay)
    return Blocked(chain(Adam(b1, b2, eps), Decay(decay), Scale(rate)), BLOCK, None, whole)


def lion(lr: float | Schedule = 1e-4, b1: float = 0.9, b2: float = 0.99, decay: float = 0.0) -> Transform:
    """The sign of a mean gradient, with decoupled weight decay; step sizes 3 to 10 times smaller than those of adamw."""
    return Blocked(chain(Lion(b1, b2), Decay(decay), Scale(scheduled(lr))))


def schedule_free(
    lr: float | Schedule = 2.5e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, decay: float = 0.0
) -> Transform:
    """AdamW whose point is the mean of where its steps lead, in place of a falling step size."""
    return Blocked(ScheduleFree(scheduled(lr), b1, b2, eps, decay))


def muon(
    lr: float | Schedule = 0.02,
    gamma: float = 0.95,
    steps: int = 5,
    decay: float = 0.0,
    adam: float = 0.015,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-10,
) -> Transform:
    """Momentum made orthogonal for hidden matrices; for the rest AdamW with ``adam`` times the step size."""
    rate, apart = scheduled(lr), Decay(decay)
    slow = Stretched(rate, 1, adam)
    rest = Blocked(chain(Adam(b1, b2, eps), apart, Scale(slow)), BLOCK, None, AdamPass(slow, b1, b2, eps, decay))
    return Muon(rest, chain(apart, Scale(rate)), gamma, steps)


RULES: Registry[Registered] = Registry(
    "rule",
    (
        Registered(sgd, "Robbins, Monro, A stochastic approximation method, 1951"),
        Registered(momentum, "Polyak, Some methods of speeding up the convergence of iteration methods, 1964"),
        Registered(nag, "Nesterov, A method for solving the convex programming problem with convergence rate O(1/k^2), 1983"),
        Registered(torch_momentum, "Polyak, Some methods of speeding up the convergence of iteration methods, 1964"),
        Registered(torch_nag, "Bengio, Boulanger-Lewandowski, Pascanu, Advances in optimizing recurrent networks, 2013"),
        Registered(adagrad, "Duchi, Hazan, Singer, Adaptive subgradient methods for online learning, 2011"),
        Registered(adadelta, "Zeiler, ADADELTA: an adaptive learning rate method, 2012"),
        Registered(rmsprop, "Tieleman, Hinton, Lecture 6.5: RMSProp, 2012"),
        Registered(adam, "Kingma, Ba, Adam: a method for stochastic optimization, 2015"),
        Registered(adamw, "Loshchilov, Hutter, Decoupled weight decay regularization, 2019"),
        Registered(lion, "Chen and others, Symbolic discovery of optimization algorithms, 2023"),
        Registered(muon, "Jordan, Jin, Boza, You, Cecista, Newhouse, Bernstein, Muon, 2024"),
        Registered(schedule_free, "Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky, The road less scheduled, 2024"),
    ),
)


def find(name: str) -> Registered:
    """The entry of a name. Raises UsageError with the known names."""
    return RULES.find(name)
