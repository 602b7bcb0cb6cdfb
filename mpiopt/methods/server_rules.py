"""Federated averaging with more of a rule at the server than a step as far as the clients went.

fedadam, fedyogi    Steps(period) -> Mean                              ServerAdam, ServerYogi -> Scale
fednova             Steps(by rows, Normalised) -> Mean, 1 scalar       x + server_lr (mean of a_i) mean of (y_i - x) / a_i
"""

from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import Constant
from mpiopt.outer.descend import Descend
from mpiopt.outer.normalised import DescendNormalised
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import ByRows, Period
from mpiopt.training.method import Training
from mpiopt.transforms.momentum import Scale
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.server import ServerAdam, ServerYogi
from mpiopt.transforms.transform import Blocked, Transform, chain
from mpiopt.work.normalised import Normalised
from mpiopt.work.steps import Steps


def fedadam(
    rule: Transform,
    period: int = 16,
    server_lr: float = 0.1,
    b1: float = 0.9,
    b2: float = 0.99,
    tau: float = 1e-3,
    clients: Clients = EVERYONE,
) -> Training:
    """FedAdam: how far the clients came is a gradient for Adam at the server, which ``tau`` keeps from long steps."""
    return _served(rule, period, ServerAdam(b1, b2, tau), server_lr, clients)


def fedyogi(
    rule: Transform,
    period: int = 16,
    server_lr: float = 0.01,
    b1: float = 0.9,
    b2: float = 0.99,
    tau: float = 1e-3,
    clients: Clients = EVERYONE,
) -> Training:
    """FedYogi: FedAdam with squares that change by as much as the last one at most."""
    return _served(rule, period, ServerYogi(b1, b2, tau), server_lr, clients)


def _served(rule: Transform, period: int, step: Transform, server_lr: float, clients: Clients) -> Training:
    phase = Phase(Steps(rule, Period(period), reset=True), Mean())
    return Training(None, (phase,), Descend(Blocked(chain(step, Scale(Constant(server_lr))))), clients=clients)


def fednova(rule: Transform, period: int = 16, server_lr: float = 1.0, clients: Clients = EVERYONE) -> Training:
    """FedNova: clients make as many steps as they have rows, ``period`` in the mean; none counts more for having made more."""
    steps = Steps(rule, ByRows(period), Normalised(rule), reset=True)
    return Training(None, (Phase(steps, Mean()),), DescendNormalised(plain(server_lr)), clients=clients)


ADAPTIVE = "Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, Adaptive federated optimization, ICLR 2021"
ENTRIES = (
    Entry(fedadam, ADAPTIVE),
    Entry(fedyogi, ADAPTIVE),
    Entry(fednova, "Wang, Liu, Liang, Joshi, Poor, Tackling the objective inconsistency problem, NeurIPS 2020"),
)
