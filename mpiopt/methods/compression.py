"""Gradient descent with compressed gradients, the workers' losses as different as they like; step sizes of theory.

    dcgd                  Minibatch -> Compressed                              x - gamma agreed
    ef                    Minibatch -> ErrorFeedback(Compressed)               the same
    diana, ef21           Minibatch -> Shifted(Compressed, alpha)              the same
    rand_diana, marina    Minibatch -> Refreshed(Compressed, p)                the same
    gdci, vr_gdci         Image -> Compressed / Shifted(Compressed)            (1 - eta) x + eta agreed

``compress`` describes a compressor: randk:0.1, topk:0.01, qsgd:bits=4, natural, sign, ...; see `mpiopt.compress.catalogue`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Run, measured
from mpiopt.engine.phase import Exchange, Local, PerWorker, Phase, Tree, Work
from mpiopt.errors import CapabilityError
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.shifted import Refreshed, Shifted
from mpiopt.methods.compressors_taken import contraction, delta, noise, unbiased
from mpiopt.methods.curvature import constants
from mpiopt.methods.entry import Entry
from mpiopt.numerics import theory
from mpiopt.numerics.theory import Constants
from mpiopt.outer.descend import Downhill, Length, Relax
from mpiopt.problems.problem import Message, Point, Site, Team, gradient
from mpiopt.problems.protocols import Curvature
from mpiopt.training.method import Training
from mpiopt.work.log import Log, sampled
from mpiopt.work.steps import Minibatch

Law = Callable[[Constants, int], tuple[float, ...]]  # constants, dim -> the step, and the relaxation where there is one


@dataclass(frozen=True)
class Compressing(Training):
    """A method whose steps follow from theory where they are not given; it is measured by exact gradients.

    steps : given numbers, None for those of ``law``: the first for works that make a step (`Image`), the last for the outer
    one.
    """

    law: Law = lambda c, d: (1 / c.L,)
    steps: tuple[float | None, ...] = (None,)
    dvectors: int = field(default=12, compare=False)
    needs: ClassVar[type] = Curvature  # where steps are to be found

    def init(self, x: Array, team: Team[Curvature]) -> Run:
        """Find the steps, and begin at x. Collective: 60 vector rounds where a step is to be found."""
        run = super().init(x, team)
        steps = [given for given in self.steps if given is not None]
        if len(steps) < len(self.steps):
            self.check(team, self)
            found = self.law(constants(team, np.zeros_like(x)), x.size)
            steps = [one if given is None else given for given, one in zip(self.steps, found, strict=True)]
            steps = team.world.bcast(np.array(steps)).tolist()  # alike, whatever the law's arithmetic was
        works = tuple(PerWorker(_begun(state, steps[0]) for state in work) for work in run.states.works)
        return run._replace(states=run.states._replace(works=works, outer=Length(steps[-1])))

    def measure(self, run: Run, team: Team) -> Measured:
        """F and its gradient at the point, by a pass over all rows. Collective."""
        x = run.points[0].x
        exact = gradient(team, [site.loss.point(x) for site in team.sites])
        return measured(team, x, exact)


class Leading(NamedTuple):
    """What a worker keeps that says where a step leads, and how far that goes."""

    log: Log
    step: float


@dataclass(frozen=True)
class Image(Work):
    """x - gamma grad f_w(x): the message of methods that compress where a step leads."""

    def init(self, x: Array, site: Site) -> Leading:
        """No gamma yet."""
        return Leading(Log.blank(), 0.0)

    def __call__(self, at: Point, agreed: Message | None, state: Leading, here: Local) -> tuple[Point, Message, Leading]:
        """Not collective."""
        g, log = sampled(at.x, state.log, here)
        return at, Message(at.x - state.step * g, np.array([log.loss])), state._replace(log=log)


def _begun(state: Tree, step: float) -> Tree:
    """The state of a work that makes a step, with that step; of others, as it is."""
    return state._replace(step=step) if isinstance(state, Leading) else state


def dcgd(compress: str = "randk:0.1", gamma: float | None = None, force: bool = False) -> Compressing:
    """Gradient descent with compressed gradients: to a neighbourhood that the workers' differences make."""
    c = unbiased(compress, "dcgd", force)
    return _descent(Compressed(c), gamma, lambda k, d: (theory.dcgd(k, noise(c, k, d)),))


def ef(compress: str = "topk:0.01", gamma: float | None = None) -> Compressing:
    """Error feedback: what was not sent is added to the next gradient."""
    c = contraction(compress)
    return _descent(ErrorFeedback(Compressed(c)), gamma, lambda k, d: (theory.error_feedback(k, delta(c, k, d)),))


def diana(
    compress: str = "randk:0.1", gamma: float | None = None, alpha: float | None = None, force: bool = False
) -> Compressing:
    """Shifts learnt from compressed differences: exact, for unbiased compressors."""
    c = unbiased(compress, "diana", force)
    return _descent(Shifted(Compressed(c), alpha), gamma, lambda k, d: (theory.diana(k, noise(c, k, d))[0],))


def ef21(compress: str = "topk:0.01", gamma: float | None = None) -> Compressing:
    """Shifts that take in all that was sent: exact, for contractive compressors."""
    c = contraction(compress)
    exchange = Shifted(Compressed(c), 1.0, "message")
    return _descent(exchange, gamma, lambda k, d: (theory.ef21(k, delta(c, k, d)),))


def rand_diana(
    compress: str = "randk:0.1", gamma: float | None = None, probability: float | None = None, force: bool = False
) -> Compressing:
    """Shifts renewed whole with a small probability: exact, for unbiased compressors."""
    c = unbiased(compress, "rand_diana", force)
    exchange = Refreshed(Compressed(c), probability)
    return _descent(exchange, gamma, lambda k, d: (theory.rand_diana(k, noise(c, k, d))[0],))


def marina(
    compress: str = "randk:0.1", gamma: float | None = None, probability: float | None = None, force: bool = False
) -> Compressing:
    """Compressed differences of successive gradients, whole gradients with a small probability; also nonconvex."""
    c = unbiased(compress, "marina", force)

    def law(k: Constants, d: int) -> tuple[float]:
        found = noise(c, k, d)
        return (theory.marina(k, found, 1 / (1 + found.one) if probability is None else probability),)

    return _descent(Refreshed(Compressed(c), probability, True), gamma, law)


def gdci(compress: str = "randk:0.1", gamma: float | None = None, eta: float | None = None, force: bool = False) -> Compressing:
    """Gradient descent with compressed iterates: each worker sends where its step leads."""
    c = unbiased(compress, "gdci", force)
    return _image(Compressed(c), gamma, eta, lambda k, d: theory.gdci(k, noise(c, k, d)))


def vr_gdci(
    compress: str = "randk:0.1",
    gamma: float | None = None,
    eta: float | None = None,
    alpha: float | None = None,
    force: bool = False,
) -> Compressing:
    """Gradient descent with compressed iterates and learnt shifts: exact."""
    c = unbiased(compress, "vr_gdci", force)
    return _image(Shifted(Compressed(c), alpha), gamma, eta, lambda k, d: theory.vr_gdci(k, noise(c, k, d))[:2])


def _descent(exchange: Exchange, gamma: float | None, law: Law) -> Compressing:
    return Compressing(None, (Phase(Minibatch(), exchange),), Downhill(), law=law, steps=(gamma,))


def _image(exchange: Exchange, gamma: float | None, eta: float | None, law: Law) -> Compressing:
    def convex(k: Constants, d: int) -> tuple[float, ...]:
        if not k.mu > 0:
            raise CapabilityError(
                "this method finds its steps from strong convexity, and there is none: give `l2` above 0, or "
                "both steps yourself (`gamma=1` `eta=0.1`), or use diana"
            )
        return law(k, d)

    return Compressing(None, (Phase(Image(), exchange),), Relax(), law=convex, steps=(gamma, eta))


SHIFTED = "Shulgin, Richtarik, Shifted compression framework, UAI 2022"
ENTRIES = (
    Entry(dcgd, "Khirirat, Feyzmahdavian, Johansson, Distributed learning with compressed gradients, 2018"),
    Entry(ef, "Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD, ICML 2019"),
    Entry(ef21, "Richtarik, Sokolov, Fatkhullin, EF21, NeurIPS 2021"),
    Entry(diana, "Mishchenko, Gorbunov, Takac, Richtarik, Distributed learning with compressed gradient differences, 2019"),
    Entry(rand_diana, SHIFTED),
    Entry(marina, "Gorbunov, Burlachenko, Li, Richtarik, MARINA, ICML 2021"),
    Entry(gdci, "Khaled, Richtarik, Gradient descent with compressed iterates, 2019"),
    Entry(vr_gdci, SHIFTED),
)
