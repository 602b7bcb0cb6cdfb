"""Leader SGD: workers are pulled towards the best of them.

    lsgd, async_lsgd           Steps(period or tickets) -> Leader                                 Pull
    multi_leader_lsgd          Steps -> Grouped(Leader); Pulled -> Every(k, Leader)               Pull

For workers that draw from the same rows (shared ownership): with different data the leader is a biased goal.
"""

from mpiopt.engine.phase import Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.leader import Leader
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.methods.entry import Entry
from mpiopt.outer.descend import Pull
from mpiopt.sampling.pace import Pace, Period, Tickets
from mpiopt.training.method import Training
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Pulled, Steps

PAPER = "Teng, Gao, Chalus, Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019"


def lsgd(rule: Transform, period: int = 16, pull: float = 0.1) -> Training:
    """Leader SGD: every ``period`` steps all are pulled towards the worker with the lowest running loss."""
    return _led(rule, Period(period), pull)


def async_lsgd(rule: Transform, period: int = 16, pull: float = 0.1) -> Training:
    """Leader SGD whose rounds end when the ranks together have made ``period`` steps each: fast ones make more."""
    return _led(rule, Tickets(period), pull)


def multi_leader_lsgd(
    rule: Transform,
    period: int = 4,
    rounds: int = 4,
    pull: float = 0.1,
    global_pull: float = 0.1,
    groups: int | None = None,
    asynchronous: bool = False,
) -> Training:
    """Leader SGD with a leader in each node or group, and one of all after every ``rounds`` of those."""
    _weights(pull=pull, global_pull=global_pull)
    pace = Tickets(period) if asynchronous else Period(period)
    near = Phase(Steps(rule, pace), Grouped(Leader(), groups))
    return Training(None, (near, Phase(Pulled(pull), Every(rounds, Leader()))), Pull(global_pull))


def _led(rule: Transform, pace: Pace, pull: float) -> Training:
    _weights(pull=pull)
    return Training(None, (Phase(Steps(rule, pace), Leader()),), Pull(pull))


def _weights(**pulls: float) -> None:
    for name, value in pulls.items():
        if not 0 <= value <= 1:
            raise UsageError(f"{name} is {value}: give the part of the way to the leader, from 0 to 1")


ENTRIES = tuple(Entry(build, PAPER, shared=True) for build in (lsgd, async_lsgd, multi_leader_lsgd))
