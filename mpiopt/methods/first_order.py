"""Methods that see the objective through its gradient alone: one vector round a step.

    gradient, prox_gradient    Gradient -> Mean     Proximal
    nesterov, fista            Gradient -> Mean     Accelerated      (fista: within ActiveSet where there is an l1 part)
    heavy_ball                 Gradient -> Mean     Polyak
    lbfgs, owlqn               Gradient -> Mean     QuasiNewton, Orthantwise

All find what they need to know: L by trials on the rows' margins, which cost a number each and no vector round.
"""

from mpiopt.engine.method import Composed, Method
from mpiopt.engine.phase import Outer, Phase
from mpiopt.exchange.mean import Mean
from mpiopt.methods.active_set import ActiveSet
from mpiopt.methods.entry import Entry
from mpiopt.outer.line_search import SmoothOnly
from mpiopt.outer.orthantwise import Orthantwise
from mpiopt.outer.quasi_newton import QuasiNewton
from mpiopt.outer.steps import Accelerated, Forward, Polyak, Proximal
from mpiopt.work.gradient import Gradient


def evaluated(outer: Outer, dvectors: int) -> Composed:
    """The method that evaluates the gradient and takes an outer step."""
    return Composed(Phase(Gradient(), Mean()), (), outer, dvectors)


def gradient(lipschitz: float | None = None) -> Method:
    """Gradient descent with step 1/L.

    lipschitz : L of the loss without its penalty; None to have it found.
    """
    return evaluated(SmoothOnly(Proximal(Forward(lipschitz))), 11)


def heavy_ball(lipschitz: float | None = None, beta: float | None = None) -> Method:
    """Gradient descent with Polyak's momentum.

    lipschitz : as for gradient. beta : the momentum, None for (1 - sqrt(l2 / (L + l2)))^2.
    """
    return evaluated(SmoothOnly(Polyak(Forward(lipschitz), beta)), 13)


def nesterov(lipschitz: float | None = None) -> Method:
    """Accelerated gradient descent with adaptive restart.

    lipschitz : as for gradient.
    """
    return evaluated(SmoothOnly(Accelerated(Forward(lipschitz))), 12)


def prox_gradient(lipschitz: float | None = None) -> Method:
    """Proximal gradient descent: l1, elastic net, box.

    lipschitz : as for gradient. The objective never rises.
    """
    return evaluated(Proximal(Forward(lipschitz)), 11)


def fista(lipschitz: float | None = None, active_set: bool = True) -> Method:
    """Accelerated proximal gradient with an active set.

    lipschitz : as for gradient. active_set : one step is then one cycle of `ActiveSet` (a vector round over all features,
    and many of a few numbers); without it, or without an l1 part, one step is one vector round.
    """
    plain = evaluated(Accelerated(Forward(lipschitz)), 12)
    return ActiveSet(plain) if active_set else plain


def lbfgs(memory: int = 10, jacobi: bool = False) -> Method:
    """L-BFGS with an exact line search on cached margins.

    memory : pairs of vectors kept. jacobi : begin with the inverse of the Hessian's diagonal (one more vector round, once).
    """
    return evaluated(QuasiNewton(memory, jacobi), 2 * memory + 13 + jacobi)


def owlqn(memory: int = 10) -> Method:
    """OWL-QN: L-BFGS from orthant to orthant, for l1 and elastic net.

    memory : pairs of vectors kept.
    """
    return evaluated(Orthantwise(memory), 2 * memory + 16)


ENTRIES = (
    Entry(gradient, "Cauchy, Methode generale pour la resolution des systemes d'equations simultanees, 1847"),
    Entry(heavy_ball, "Polyak, Some methods of speeding up the convergence of iteration methods, 1964"),
    Entry(nesterov, "Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983"),
    Entry(prox_gradient, "Lions, Mercier, Splitting algorithms for the sum of two operators, 1979", smooth_only=False),
    Entry(fista, "Beck, Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009", smooth_only=False),
    Entry(lbfgs, "Liu, Nocedal, On the limited memory BFGS method for large scale optimization, 1989"),
    Entry(owlqn, "Andrew, Gao, Scalable training of L1-regularized log-linear models, 2007", smooth_only=False),
)
