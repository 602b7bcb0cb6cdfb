"""Training beside workers some of which may be faulty.

robust_sgd     Minibatch -> MiddleOf(middle)          the rule
"""

from mpiopt.engine.phase import Phase
from mpiopt.exchange.robust import MiddleOf
from mpiopt.methods.entry import Entry
from mpiopt.numerics.robust import middle
from mpiopt.outer.descend import Descend
from mpiopt.training.method import Training
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Minibatch


def robust_sgd(rule: Transform, aggregate: str = "median") -> Training:
    """SGD by the middle of the workers' gradients in place of their mean: fewer than half of them may be faulty.

    aggregate : median, trimmed:0.2 (that share at either end of every coordinate) or clipped:radius=1 (about the last one).
    """
    return Training(None, (Phase(Minibatch(), MiddleOf(middle(aggregate))),), Descend(rule))


ENTRIES = (Entry(robust_sgd, "Yin, Chen, Kannan, Bartlett, Byzantine-robust distributed learning, ICML 2018"),)
