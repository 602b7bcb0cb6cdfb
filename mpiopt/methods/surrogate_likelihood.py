"""Communication-efficient surrogate likelihoods: one worker's likelihood, shifted to have the gradient of the whole.

    start      x = mean of the workers' own minimisers                                             one vector round
    csl        Gradient -> Mean; Corrected(0, n rows) -> From(0)               x + p               two vector rounds
    prox_csl   Gradient -> Mean; Corrected(alpha, n rows) -> From(0)           x + p

On worker 0   z = argmin f_0(z) - <grad f_0(x) - grad f(x), z> + penalty(z) + (alpha/2)|z - x|^2, kinks of the penalty and all.
With a smooth penalty that is `server_dane` from another start, where alpha is its mu. Jordan, Lee and Yang have alpha = 0,
which may lead away from the optimum where worker 0 holds few rows for its features; Lu et al. add alpha, and search for it by
what it does to F. Here it is what one row can add to the Hessian of so many (`work.server`), which is ours.
"""

from mpiopt.engine.begun import Begun
from mpiopt.engine.method import Composed
from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import From, Mean
from mpiopt.methods.dane import GRADIENT
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.outer.relax import Add
from mpiopt.work.corrected import Corrected
from mpiopt.work.kinked_newton import KinkedNewton
from mpiopt.work.own_minimum import OwnMinimum


def csl(server_rows: int | None = None, accuracy: float = 1e-6) -> Begun:
    """Minimisers of one worker's surrogate likelihood, from the mean of all workers' own minimisers; takes l1 penalties."""
    return prox_csl(server_rows, 0.0, accuracy)


def prox_csl(server_rows: int | None = None, alpha: float | None = None, accuracy: float = 1e-6) -> Begun:
    """The same held near x by (alpha/2)|z - x|^2."""
    within(0, alpha=alpha)
    within(0, 1, accuracy=accuracy)
    solver = KinkedNewton(accuracy)
    server = Corrected(solver, alpha, server=True, rows=server_rows, kinks=True)
    average = Composed(GRADIENT, (Phase(OwnMinimum(solver), Mean()),), Add(), dvectors=16)
    return Begun(average, Composed(GRADIENT, (Phase(server, From(0)),), Add(), dvectors=16))


ENTRIES = (
    Entry(
        csl,
        "Jordan, Lee, Yang, Communication-efficient distributed statistical inference, 2019",
        "a server sample",
        smooth_only=False,
    ),
    Entry(
        prox_csl,
        "Lu, Curtin, Raff, Ferraro, Holt, High-dimensional distributed sparse classification with scalable "
        "communication-efficient global updates, KDD 2024",
        "alpha, a server sample (default: found from the rows of worker 0)",
        smooth_only=False,
    ),
)
