"""SPAG against DANE and heavy-ball DANE on rows of RCV1's shape: which sample of the server is worth how many iterations.

After Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient method for distributed
optimization, ICML 2020, figures 1 and 2: 677,399 x 47,236, 4 workers, lambda 1e-5 and 1e-7, logistic regression. The rows are
generated with as many nonzeros; what is held is what the paper says of the curves, which real rows and these share.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.jobs.studies.apparatus.servers import Curves, Protocol, beside, compared, drawn, pulled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data",)
MADE = "rcv1:rows=677399,cols=47236,per_row=73"
SMALL = "rcv1:rows=8000,cols=1500,per_row=20"
# read off figure 2
HARD = Protocol(
    MADE,
    677_399,
    4,
    1e-7,
    {1000: 1e-4, 10_000: 1e-5, 100_000: 2e-6},
    75,
    {
        "SPAG n=100000": (13, 15, 20, 26, 31),
        "HB n=100000": (20, 27, 33, 40, 47),
        "DANE n=100000": (37, 55, 75, None, None),
        "SPAG n=10000": (31, 38, 50, 63, 74),
        "HB n=10000": (45, 61, None, None, None),
        "SPAG n=1000": (None,) * 5,
        "HB n=1000": (None,) * 5,
        "DANE n=10000": (None,) * 5,
        "DANE n=1000": (None,) * 5,
        "AGD": (None,) * 5,
    },
)
EASY = HARD._replace(
    l2=1e-5,
    iterations=30,
    published={
        "SPAG n=100000": (3, 4, 4, 5, 6),
        "HB n=100000": (2, 2, 3, 4, 5),
        "DANE n=100000": (2, 3, 4, 5, 5),
        "SPAG n=10000": (4, 5, 7, 10, 12),
        "HB n=10000": (3, 5, 7, 9, 11),
        "DANE n=10000": (4, 6, 10, 13, 17),
        "SPAG n=1000": (9, 12, 17, 22, 27),
        "HB n=1000": (8, 15, 19, 24, None),
        "DANE n=1000": (20, None, None, None, None),
        "AGD": (24, None, None, None, None),
    },
)
ENOUGH = 500  # rows of a server
PULLS = (0.5, 1.0, 2.0, 4.0, 8.0)  # times the tuned mu, as figure 1 has them for n = 10,000


@dataclass(frozen=True)
class Claims:
    """What the paper says of the curves, as numbers, for a protocol's samples: few, some and many rows."""

    hard: Curves
    easy: Curves
    few: int
    some: int
    many: int

    def checks(self) -> list[Check]:
        """As lines of the table."""
        many, sooner = f"n={self.many}", self.hard.sooner
        near = [min(self.easy.iterations(f"{name} {many}", 1e-6), 99) for name in ("SPAG", "HB", "DANE")]
        agd = self.hard.last("AGD") / self.hard.last(f"SPAG n={self.few}")
        return [
            Check(f"1e-5, {many}: momentum is worth iterations to 1e-6", Below(2, 1), max(near) - min(near)),
            Check(f"1e-7, {many}: HB takes times SPAG's to 1e-6", Above(1, 1.65), sooner(f"SPAG {many}", f"HB {many}")),
            Check(f"1e-7, {many}: DANE takes times HB's to 1e-6", Above(1, 2.27), sooner(f"HB {many}", f"DANE {many}")),
            *self.samples(),
            Check(f"1e-7: AGD ends above SPAG n={self.few}, times", Above(1, 54), agd),
            *(self.pulls() if pulled(PULLS[0]) in self.hard.trails else []),
            Check(f"1e-7: SPAG {many} takes times SPCG's to 1e-6", Above(1), sooner("SPCG", f"SPAG {many}")),
        ]

    def samples(self) -> list[Check]:
        """Of a tenth of the rows, where that is enough of them to speak for all."""
        if self.hard.protocol.sample(self.some) < ENOUGH:
            return []
        times = self.hard.sooner(f"SPAG n={self.some}", f"DANE n={self.many}")
        return [Check(f"1e-7: DANE n={self.many}, times SPAG's n={self.some}", Above(1, 1.5), times)]

    def pulls(self) -> list[Check]:
        """Of figure 1: a mu below the best, and those above."""
        low, *others = [float(self.hard.above[pulled(pull)][:31][-1]) for pull in PULLS]
        slower = min(b / a for a, b in pairwise(others))
        return [
            Check("1e-7: half the best mu ends above it, times", Above(1), low / others[0]),
            Check("1e-7: from the best mu on, twice mu ends above, times", Above(1), slower),
        ]


def run(lab: Lab) -> Findings:
    """Collective."""
    hard, easy = HARD, EASY
    if lab.quick:
        hard, easy = (each._replace(data=SMALL) for each in (hard, easy))
    few, some, many = sorted(hard.servers)
    claims = Claims(compared(lab, hard, lab.pick(PULLS, ())), compared(lab, easy), few, some, many)
    notes = "\n".join(map(beside, (claims.hard, claims.easy)))
    trails = [
        *claims.hard.trails.values(),
        *(replace(each, name=f"{each.name}-easy") for each in claims.easy.trails.values()),
    ]
    return Findings(claims.checks(), trails, notes, {"curves": claims.hard})


def draw(found: Findings) -> "Figure":
    """F - F* against iterations at lambda 1e-7."""
    return drawn(found.facts["curves"], 1e-12)
