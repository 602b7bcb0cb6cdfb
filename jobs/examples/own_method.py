"""A method of one's own, as a composition; on the command line: mpiopt solve --plugin own_method.py --method far_and_near.

mpiexec -n 4 python -m mpi4py own_method.py [DATA]
"""

import sys

from mpiopt import L2, Composed, Phase, Stop, World, find, open_data, solve, team_of
from mpiopt.exchange.mean import Mean
from mpiopt.methods import register
from mpiopt.outer.plane_search import PlaneSearch
from mpiopt.work.corrected import Corrected
from mpiopt.work.gradient import Gradient
from mpiopt.work.local_solvers import NewtonCG


@register("mpiopt; local Newton steps after Shamir, Srebro, Zhang 2014, searched in a plane")
def far_and_near(accuracy: float = 0.1) -> Composed:
    """Local minimisers, found loosely by Newton's method, and the best point in the plane of their mean and the last step.

    accuracy : what a worker reduces the error of its own problem to.
    """
    opening = Phase(Gradient(), Mean())  # every worker's gradient; their mean
    local = Phase(Corrected(NewtonCG(accuracy), 0.0), Mean())  # every worker's step; their mean
    return Composed(opening, (local,), PlaneSearch(), dvectors=15)


def main(data: str) -> None:
    """Solve by it, and by the default. Collective."""
    world = World()
    team = team_of(open_data(data, world), world, L2(1e-3))
    for name in ("far_and_near", "spcg"):
        found = solve(find(name).make(), team, team.zeros(), Stop(rounds=50, gap=1e-8))
        if world.rank == 0:
            print(f"{name}: {found.final.round} rounds, {found.final.bytes_sent:,} bytes. {found.reason_text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "default:rows=2000,cols=300,per_row=20")
