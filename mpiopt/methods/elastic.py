"""Elastic averaging: workers and a centre attract each other.

easgd, eamsgd       Steps(period, Elastic) -> Mean       Stay
"""

from mpiopt.engine.phase import Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import Schedule
from mpiopt.outer.descend import Stay
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Centred
from mpiopt.transforms.rules import nag
from mpiopt.transforms.transform import Transform
from mpiopt.work.drift import Elastic
from mpiopt.work.steps import Steps

PAPER = "Zhang, Choromanska, LeCun, Deep learning with elastic averaging SGD, NIPS 2015"


def easgd(rule: Transform, workers: int, period: int = 10, beta: float = 0.9) -> Centred:
    """Elastic averaging SGD: beta/workers of the way to the centre, which goes beta of the way to the mean."""
    elastic(beta)
    drift = Elastic(beta / workers, beta)
    return Centred(None, (Phase(Steps(rule, Period(period), drift), Mean()),), Stay(), drift=drift)


def eamsgd(lr: Schedule, workers: int, period: int = 10, beta: float = 0.9, delta: float = 0.99) -> Centred:
    """Elastic averaging SGD with Nesterov momentum ``delta`` in every worker."""
    return easgd(nag(lr, delta), workers, period, beta)


def elastic(beta: float) -> None:
    """Raises UsageError for a beta that is no part of a way."""
    if not 0 <= beta <= 1:
        raise UsageError(f"beta is {beta}: give a number from 0 to 1")


ENTRIES = (Entry(easgd, PAPER), Entry(eamsgd, PAPER, rule="nag"))
