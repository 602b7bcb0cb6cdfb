"""What ends a rank as it comes to an agreement of all ranks, as a kill would."""

from math import inf

from mpiopt.comm.gate import WHOLE


class Killed(BaseException):
    """What no code of ours catches."""


class Fuse:
    """One of a World's watches. Ends its rank as it comes to an agreement of all, the ``at``-th; writes down those that it has
    come to."""

    def __init__(self, at: float = inf) -> None:
        self.at, self.met = at, []

    def entered(self, name: str, who: str) -> None:
        self.met += [name] if who == WHOLE else []
        if len(self.met) > self.at:
            raise Killed(name)

    def left(self, who: str) -> None:
        pass
