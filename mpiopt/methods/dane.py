"""Statistical preconditioning: every worker's own loss is a model of the whole.

    spcg          Gradient -> Mean; Corrected(mu) -> Mean                   PlaneSearch
    dane          Gradient -> Mean; Corrected(mu) -> Mean                   x + p
    server_dane   Gradient -> Mean; Corrected(mu, n rows) -> From(0)        x + p
    hb_dane       Gradient -> Mean; Corrected(mu, n rows) -> From(0)        x + p + beta (x - last x)

phi_w(z) = f_w(z) + penalty(z) + (mu/2)|z|^2; p = z - x with z the minimiser of phi_w(z) - <grad phi_w(x) - eta grad F(x), z>.
"""

from mpiopt.exchange.mean import Mean
from mpiopt.method import Composed, Method
from mpiopt.methods.entry import Entry
from mpiopt.outer.plane_search import PlaneSearch
from mpiopt.phase import Phase
from mpiopt.work.corrected import Corrected
from mpiopt.work.gradient import Gradient
from mpiopt.work.local_solvers import NewtonCG

GRADIENT = Phase(Gradient(), Mean())


def spcg(mu: float = 0.0, accuracy: float = 0.1) -> Method:
    """Statistically preconditioned conjugate gradient: the mean of all workers' directions, exact plane search."""
    return Composed(GRADIENT, (Phase(Corrected(NewtonCG(accuracy), mu), Mean()),), PlaneSearch(), dvectors=16)


ENTRIES = (Entry(spcg, "this package; see mpiopt methods spcg", "nothing"),)
