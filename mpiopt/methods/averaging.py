"""Training by averages: of gradients in every step, or of points after a while.

sgd                   Minibatch -> Mean                                            the rule
local_sgd, ri_sgd     Steps(period) -> Mean                                        x + mean of how far they came
post_local_sgd        Steps(1, later period) -> Mean                               the same
one_shot              Steps(period) -> Every(all rounds, Mean)                     x_i <- mean
hierarchical_sgd      Steps(period) -> Grouped(Mean); Pulled -> Every(k, Mean)     x_i <- mean
"""

from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import Piecewise, demand
from mpiopt.outer.descend import Descend, Pull
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Minibatch, Pulled, Steps

AS_FAR = plain(1.0)  # the outer rule that goes as far as the workers did in the mean


def sgd(rule: Transform) -> Training:
    """Fully synchronous SGD: the mean gradient of all minibatches in every step."""
    return Training(None, (Phase(Minibatch(), Mean()),), Descend(rule))


def local_sgd(rule: Transform, period: int = 16, clients: Clients = EVERYONE) -> Training:
    """Local SGD: the mean of the points after every ``period`` steps."""
    return Training(None, (Phase(Steps(rule, Period(period)), Mean()),), Descend(AS_FAR), clients=clients)


def ri_sgd(rule: Transform, period: int = 16, clients: Clients = EVERYONE) -> Training:
    """Redundancy-infused local SGD: for workers that hold several chunks each (a redundancy above 1), some of which may die."""
    return local_sgd(rule, period, clients)


def post_local_sgd(rule: Transform, total_steps: int, period: int = 16, start: int | None = None) -> Training:
    """Post-local SGD: every step at first, every ``period`` steps from step ``start`` on, half of all unless given."""
    first = total_steps // 2 if start is None else start
    demand(first >= 0, "start", first, "the number of steps before the first longer round, at least 0")
    late = Period(period)
    pace = Period(Piecewise((1, period), (first,))) if first else late
    return Training(None, (Phase(Steps(rule, pace), Mean()),), Descend(AS_FAR))


def one_shot(rule: Transform, total_steps: int, period: int = 16) -> Training:
    """One-shot averaging: the workers meet once, at the end; ``period`` steps make a round without a message."""
    rounds = max(1, -(-total_steps // period))
    phase = Phase(Steps(rule, Period(period)), Every(rounds, Mean()))
    return Training(None, (phase,), Pull())


def hierarchical_sgd(rule: Transform, period: int = 4, rounds: int = 4, groups: int | None = None) -> Training:
    """Hierarchical local SGD: means within each node or group, of all after every ``rounds`` of those."""
    near = Phase(Steps(rule, Period(period)), Grouped(Mean(), groups))
    return Training(None, (near, Phase(Pulled(), Every(rounds, Mean()))), Pull())


ENTRIES = (
    Entry(local_sgd, "Stich, Local SGD converges fast and communicates little, ICLR 2019"),
    Entry(sgd, "Robbins, Monro, A stochastic approximation method, 1951"),
    Entry(post_local_sgd, "Lin, Stich, Patel, Jaggi, Don't use large mini-batches, use local SGD, ICLR 2020"),
    Entry(hierarchical_sgd, "Lin, Stich, Patel, Jaggi, Don't use large mini-batches, use local SGD, ICLR 2020"),
    Entry(one_shot, "Zinkevich, Weimer, Li, Smola, Parallelized stochastic gradient descent, NIPS 2010"),
    Entry(ri_sgd, "Haddadpour, Kamani, Mahdavi, Cadambe, Trading redundancy for communication, ICML 2019"),
)
