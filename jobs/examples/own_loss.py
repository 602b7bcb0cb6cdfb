"""A loss of one's own, from five functions of a margin and a label; on the command line: mpiopt solve --plugin own_loss.py.

mpiexec -n 4 python -m mpi4py own_loss.py [DATA]
"""

import sys
from math import exp, inf, log, log1p

from mpiopt import L2, Family, Stop, World, find, open_data, solve, team_of
from mpiopt.losses.registry import register


@register("Green, Bayesian reconstructions from emission tomography data using a modified EM algorithm, 1990")
class LogCosh(Family):
    """Between squares and absolute values: log cosh(m - y)."""

    name, curvature_bound = "logcosh", 1.0

    @staticmethod
    def value(m: float, y: float) -> float:
        """|e| - log 2 + log(1 + exp(-2|e|)), which does not overflow."""
        return abs(m - y) - log(2.0) + log1p(exp(-2.0 * abs(m - y)))

    @staticmethod
    def slope(m: float, y: float) -> float:
        """The hyperbolic tangent of the error."""
        t = exp(-2.0 * abs(m - y))
        return (1.0 - t) / (1.0 + t) if m > y else (t - 1.0) / (1.0 + t)

    @staticmethod
    def bend(m: float, y: float) -> float:
        """1 - tanh^2."""
        t = exp(-2.0 * abs(m - y))
        return 4.0 * t / ((1.0 + t) * (1.0 + t))

    @staticmethod
    def conjugate(u: float, y: float) -> float:
        """u y + ((1 + u) log(1 + u) + (1 - u) log(1 - u)) / 2 for |u| < 1."""
        if abs(u) > 1.0:
            return inf
        up = (1.0 + u) * log1p(u) if u > -1.0 else 0.0
        return u * y + 0.5 * (up + ((1.0 - u) * log1p(-u) if u < 1.0 else 0.0))


def main(data: str) -> None:
    """Fit a linear model by it. Collective."""
    world = World()
    team = team_of(open_data(data, world), world, L2(1e-2), loss="logcosh")
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=50, gap=1e-8))
    if world.rank == 0:
        print(f"{found.reason_text} F = {found.final.objective:.6f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "default:rows=2000,cols=300,per_row=20")
