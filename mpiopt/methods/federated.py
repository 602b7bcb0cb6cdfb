"""Local steps on data that differ from worker to worker, and what is done with how far they came.

fedavg            Steps(period) -> Mean (of the clients of a round)    x + server_lr mean
fedprox           Steps(period, ProximalTerm) -> Mean                  the same
scaffold          Steps(period, Controlled) -> Mean, 2 vectors         the same
scaffnew          Steps(Geometric, LearntShift) -> Mean                x + mean
local_only        Steps(period) -> Alone                               x_i as they are
slowmo            Steps(period) -> Mean                                heavy ball
"""

from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import Alone, Mean
from mpiopt.methods.averaging import AS_FAR
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import Schedule, Stretched, demand
from mpiopt.outer.descend import Descend, Stay
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Geometric, Period
from mpiopt.training.method import Training
from mpiopt.transforms.momentum import Divide, Momentum, Scale
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.transform import Transform, chain
from mpiopt.work.drift import Controlled, LearntShift, ProximalTerm
from mpiopt.work.steps import Steps


def fedavg(rule: Transform, period: int = 16, server_lr: float = 1.0, clients: Clients = EVERYONE) -> Training:
    """Federated averaging: ``period`` local steps of the clients of a round, whose rules begin anew each time."""
    steps = Steps(rule, Period(period), reset=True)
    return Training(None, (Phase(steps, Mean()),), Descend(plain(server_lr)), clients=clients)


def fedprox(
    rule: Transform, period: int = 16, mu: float = 0.1, server_lr: float = 1.0, clients: Clients = EVERYONE
) -> Training:
    """Federated averaging with mu/2 |y - x|^2 added to every local loss."""
    demand(mu >= 0, "mu", mu, "a number of at least 0")
    steps = Steps(rule, Period(period), ProximalTerm(mu), reset=True)
    return Training(None, (Phase(steps, Mean()),), Descend(plain(server_lr)), clients=clients)


def scaffold(lr: Schedule, period: int = 16, server_lr: float = 1.0, clients: Clients = EVERYONE) -> Training:
    """Federated averaging with control variates: exact where the workers' data differ; two vectors a round."""
    steps = Steps(plain(lr), Period(period), Controlled(lr))
    return Training(None, (Phase(steps, Mean()),), Descend(plain(server_lr)), clients=clients)


def scaffnew(lr: Schedule, probability: float = 0.1) -> Training:
    """ProxSkip for averages: agreements with a probability, exact where the data differ; needs a constant step size."""
    step = lr(0)
    demand(all(lr(k) == step for k in (1, 1000)), "the step size of scaffnew", "one that changes", "a constant one")
    steps = Steps(plain(lr), Geometric(probability), LearntShift(step, probability))
    return Training(None, (Phase(steps, Mean()),), Descend(AS_FAR))


def local_only(rule: Transform, period: int = 16) -> Training:
    """Every worker by itself, without a message: what agreeing has to be better than, and how a start is made personal."""
    return Training(None, (Phase(Steps(rule, Period(period)), Alone()),), Stay())


def slowmo(
    rule: Transform,
    lr: Schedule,
    period: int = 12,
    beta: float = 0.7,
    alpha: float = 1.0,
    reset: bool = False,
    clients: Clients = EVERYONE,
) -> Training:
    """SlowMo: a slow momentum on the workers' mean displacement, in units of their step size; ``reset`` their own."""
    demand(0 <= beta < 1, "beta", beta, "a number of at least 0 and below 1")
    steps = Steps(rule, Period(period), reset=reset)
    outer = chain(Divide(Stretched(lr, period)), Momentum(beta), Scale(Stretched(lr, period, alpha)))
    return Training(None, (Phase(steps, Mean()),), Descend(outer), clients=clients)


ENTRIES = (
    Entry(fedavg, "McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-efficient learning, AISTATS 2017"),
    Entry(fedprox, "Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, Federated optimization in heterogeneous networks, 2020"),
    Entry(scaffold, "Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, SCAFFOLD, ICML 2020", rule="sgd"),
    Entry(scaffnew, "Mishchenko, Malinovsky, Stich, Richtarik, ProxSkip, ICML 2022", rule="sgd", steady=True),
    Entry(local_only, "Alfarra, Perez, Shulgin, Richtarik, Ghanem, Certified robustness in federated learning, 2022"),
    Entry(slowmo, "Wang, Tantia, Ballas, Rabbat, SlowMo, ICLR 2020"),
)
