"""Local steps of unlike number, each worker's counted by how far its rule goes under a gradient that stays the same.

A round's message is how far the worker came over that number, which is one more scalar.
"""

from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Tree
from mpiopt.transforms.transform import Transform
from mpiopt.work.drift import Free


@dataclass(frozen=True)
class Normalised(Free):
    """(x - y_i) / a_i, and a_i beside it.

    rule : that of the steps, which begins anew in every round. a_i is the sum of the weights that the rule gives to the
    gradients of a round: their number times the step size for plain SGD, more with momentum. Wang, Liu, Liang, Joshi, Poor,
    Tackling the objective inconsistency problem in heterogeneous federated optimization, NeurIPS 2020, arXiv 2007.07481,
    eq. 4, whose a_i are without the step size; it cancels in what the server makes of them. Of rules that are not linear in
    the gradients, such as adam, the paper does not speak.
    """

    rule: Transform

    def tell(self, start: Array, x: Array, steps: range, memory: Tree) -> tuple[Array, Tree]:
        """How far, over a_i; what is kept is a_i."""
        reach = reached(self.rule, steps)
        return (start - x) / (reach or 1.0), reach

    def scalars(self, memory: Tree) -> tuple[float, ...]:
        """a_i."""
        return (memory,)

    def init(self, x: Array, site: object) -> float:
        """No round yet."""
        return 0.0


def reached(rule: Transform, steps: range) -> float:
    """How far a rule that begins anew leads in these steps under a gradient of 1."""
    x = np.zeros(1)
    state = rule.init(x)
    for step in steps:
        state = rule.move(np.ones(1), x, state, step)
    return -float(x[0])
