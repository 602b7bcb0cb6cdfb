"""A step as long as the workers' own were in the mean, of what each of them found in a step of its own."""

from dataclasses import dataclass

from mpiopt.engine.phase import Joint, PerWorker
from mpiopt.outer.descend import Descend, Descended
from mpiopt.problems.problem import Message


@dataclass(frozen=True)
class DescendNormalised(Descend):
    """x <- x + rule(a d), with the agreed d = mean of (x - y_i) / a_i and a = mean of a_i, the second agreed scalar.

    Wang, Liu, Liang, Joshi, Poor, Tackling the objective inconsistency problem, NeurIPS 2020, eqs. 6 and 7, with their
    choice of the effective number of steps. See `work.normalised`.
    """

    def __call__(self, agreed: Message | None, points: PerWorker, state: Descended, here: Joint) -> tuple[PerWorker, Descended]:
        """Not collective; spends ``agreed``."""
        if agreed is not None:
            agreed.vector[:] *= float(agreed.scalars[1])
        return super().__call__(agreed, points, state, here)
