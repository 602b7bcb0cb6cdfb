"""Statistical preconditioning: every worker's own loss is a model of the whole.

    dane          Gradient -> Mean; Corrected(mu) -> Mean                   x + p
    server_dane   Gradient -> Mean; Corrected(mu, n rows) -> From(0)        x + p
    hb_dane       Gradient -> Mean; Corrected(mu, n rows) -> From(0)        x + p + beta (x - last x)

phi_w(z) = f_w(z) + penalty(z) + (mu/2)|z|^2; p = z - x with z the minimiser of phi_w(z) - <grad phi_w(x) - eta grad F(x), z>.
Where mu is far below the largest eigenvalue of the difference of the Hessians, the steps of the last three overshoot and F
rises by orders of magnitude; the default mu (`work.server`), one number for all workers, scales as that difference does.
"""

from math import sqrt

from mpiopt.engine.method import Composed
from mpiopt.engine.phase import Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.mean import From, Mean
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import above, within
from mpiopt.outer.relax import Add, HeavyBall
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Margins
from mpiopt.work.corrected import Corrected
from mpiopt.work.exact import Exact
from mpiopt.work.gradient import Gradient
from mpiopt.work.server import server_mu

GRADIENT = Phase(Gradient(), Mean())


def dane(mu: float | None = None, eta: float = 1.0, accuracy: float = 1e-6) -> Composed:
    """DANE: the mean of the workers' own corrected minimisers.

    accuracy : the local gradient falls to this part of its value at x; 0.1 is InexactDANE (Reddi et al. 2016).
    """
    _check(mu, eta, accuracy)
    return Composed(GRADIENT, (Phase(Corrected(Exact(accuracy), mu, eta), Mean()),), Add(), dvectors=16)


def server_dane(server_rows: int | None = None, mu: float | None = None, eta: float = 1.0, accuracy: float = 1e-6) -> Composed:
    """DANE by one server: a mirror step in its sample's geometry."""
    return Composed(GRADIENT, (_server(server_rows, mu, eta, accuracy),), Add(), dvectors=16)


def hb_dane(
    server_rows: int | None = None,
    mu: float | None = None,
    beta: float | None = None,
    eta: float = 1.0,
    accuracy: float = 1e-6,
) -> Composed:
    """DANE by one server with heavy-ball momentum.

    beta : None for (1 - (1 + 2 mu/l2)^(-1/2))^2, the momentum for which the theory for quadratics is best.
    """

    within(0, beta=beta)

    def momentum(team: Team[Margins]) -> float:
        return heavy_ball(team.penalty.l2, server_mu(team, server_rows) if mu is None else mu) if beta is None else beta

    return Composed(GRADIENT, (_server(server_rows, mu, eta, accuracy),), HeavyBall(momentum), dvectors=17)


def heavy_ball(l2: float, mu: float) -> float:
    """(1 - sqrt(sigma))^2, sigma = l2 / (l2 + 2 mu). Raises UsageError where l2 is 0: there is no safe momentum then."""
    if not l2 > 0:
        raise UsageError(
            "hb_dane finds its momentum from l2, which is 0: give `l2` above 0, or the momentum itself (`beta=0.9`)"
        )
    away = 1 - sqrt(l2 / (l2 + 2 * mu))
    return away * away


def _server(rows: int | None, mu: float | None, eta: float, accuracy: float) -> Phase:
    _check(mu, eta, accuracy)
    return Phase(Corrected(Exact(accuracy), mu, eta, server=True, rows=rows), From(0))


def _check(mu: float | None, eta: float, accuracy: float) -> None:
    within(0, mu=mu)
    above(0, eta=eta)
    within(0, 1, accuracy=accuracy)


_SERVER = "mu, a server sample (default: both found from the rows of worker 0)"

ENTRIES = (
    Entry(
        dane,
        "Shamir, Srebro, Zhang, Communication-efficient distributed optimization using an approximate Newton-type method, "
        "2014; Reddi et al., AIDE: fast and communication efficient distributed optimization, 2016",
        "mu (found from the rows)",
    ),
    Entry(
        server_dane,
        "Hendrikx et al., Statistically preconditioned accelerated gradient method for distributed optimization, 2020, eq. 4",
        _SERVER,
    ),
    Entry(
        hb_dane,
        "Yuan, Li, On convergence of distributed approximate Newton methods: globalization, sharper bounds and beyond, 2019",
        _SERVER,
    ),
)
