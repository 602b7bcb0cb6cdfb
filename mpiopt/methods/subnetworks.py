"""Training of parts of a network, each on one worker.

ist        OnPart(Steps(period)) -> HandOut          x_i <- what it will train next
"""

from dataclasses import dataclass

from mpiopt.engine.method import Run
from mpiopt.engine.phase import Phase
from mpiopt.exchange.handout import HandOut, assembled
from mpiopt.methods.entry import Entry
from mpiopt.outer.descend import Pull
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Training
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Steps
from mpiopt.work.subnetwork import OnPart


@dataclass(frozen=True)
class InParts(Training):
    """A training whose workers hold parts of the answer."""

    def answer(self, run: Run, team: Team) -> Point:
        """The whole, from all parts. Collective."""
        return Point(assembled([at.x for at in run.points], run.states.exchanges[0], team))


def ist(rule: Transform, period: int = 20, clients: Clients = EVERYONE) -> InParts:
    """Independent subnet training: every worker makes ``period`` steps on its own neurons, which are then dealt out anew.

    Hidden layers of perceptrons, and dense ones of torch networks, are divided; what is not is averaged as by local_sgd.
    """
    return InParts(None, (Phase(OnPart(Steps(rule, Period(period), reset=True)), HandOut()),), Pull(), clients=clients)


ENTRIES = (Entry(ist, "Yuan, Wolfe, Dun, Tang, Kyrillidis, Jermaine, Independent subnet training, VLDB 2022"),)
