"""How many rows a server needs: the condition number of F relative to its preconditioner falls as 1 / n, or 1 / sqrt n.

After Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient method for distributed
optimization, ICML 2020: phi is the mean loss of n rows plus lambda/2 |x|^2 and mu/2 |x|^2, and kappa the ratio of the extreme
eigenvalues of the pencil (Hessian of F, Hessian of phi). mu by the norm of the difference of both gives kappa <= 1 + 2 mu /
lambda, the best mu less. With --data on these rows.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.methods import find
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data",)
MADE = "default:rows=8000,cols=60,per_row=12,seed=3"
LAMBDA, WORKERS, POINTS, SEED = 1e-4, 4, 4, 0
SERVERS = (50, 100, 200, 400, 800, 1600)
LOSSES = {"ridge": "least_squares", "logistic": "logistic"}
GRID = np.geomspace(1e-3, 1, 13)  # of the norm of the difference


class Pencils:
    """The Hessians of F and of the first rows of worker 0, at points (k, d) on the way to the optimum and about it."""

    def __init__(self, team: Team[Linear]) -> None:
        best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=200, gap=1e-10)).x
        around = Streams(SEED)("points").standard_normal((POINTS, best.size)) / best.size**0.5
        self.points = np.array([0 * best, best, *(best + np.linalg.norm(best) * around)])
        self.rows, self._team = team.rows, team

    def whole(self) -> np.ndarray:
        """Of F, (k, d, d). Collective."""
        sites = self._team.sites
        parts = [site.share * np.array([_hessian(site.loss, x) for x in self.points]).ravel() for site in sites]
        d = self.points.shape[1]
        return self._team.world.sum(parts, "Hessians").reshape(-1, d, d) + LAMBDA * np.eye(d)

    def server(self, n: int) -> np.ndarray:
        """Of n rows. Collective."""
        world, d = self._team.world, self.points.shape[1]
        found = np.zeros((len(self.points), d, d))
        if world.rank == 0:
            head = self._team.sites[0].loss.head(n)
            found[:] = [_hessian(head, x) + LAMBDA * np.eye(d) for x in self.points]
        return world.bcast(found)


def _hessian(loss: Linear, x: np.ndarray) -> np.ndarray:
    product = loss.hessian(loss.point(x))
    return np.column_stack([product(e) for e in np.eye(x.size)])


def conditions(whole: np.ndarray, server: np.ndarray) -> tuple[float, float, float]:
    """Worst over the points: kappa for the best mu, kappa for the norm of the difference, and that over its bound."""
    best, plain, bound = [], [], []
    for h, s in zip(whole, server, strict=True):
        apart = float(np.abs(np.linalg.eigvalsh(h - s)).max())
        kappas = [kappa(h, s, factor * apart) for factor in GRID]
        best.append(min(kappas))
        plain.append(kappas[-1])
        bound.append(kappas[-1] / (1 + 2 * apart / LAMBDA))
    return max(best), max(plain), max(bound)


def kappa(h: np.ndarray, s: np.ndarray, mu: float) -> float:
    """Of the pencil (h, s + mu)."""
    spectrum = eigh(h, s + mu * np.eye(len(s)), eigvals_only=True)
    return float(spectrum[-1] / spectrum[0])


def run(lab: Lab) -> Findings:
    """Collective."""
    found = {name: _measured(lab, loss) for name, loss in LOSSES.items()}
    checks = [
        Check(f"{name}: kappa over its bound, worst of all n", Below(1), max(bounds[2] for bounds in each.values()))
        for name, each in found.items()
    ]
    if not lab.quick:
        for name, each in found.items():
            excess = [np.log([values[k] - 1 for values in each.values()]) for k in (0, 1)]
            slopes = [float(-np.polyfit(np.log(list(each)), values, 1)[0]) for values in excess]
            checks.append(Check(f"{name}: kappa - 1 falls as n to the power, mu of the difference", Near(0.5, 1.5), slopes[1]))
            checks.append(Check(f"{name}: the same, best mu", Near(1, 1.3), slopes[0]))
    notes = (
        f"{MADE if lab.data is None else lab.data}, lambda {LAMBDA:g}; Hessians at 0, at the optimum and at {POINTS} points "
        "as far from it as 0 is, the worst. The claim: 1 / n for ridge, 1 / sqrt n for logistic regression, often 1 / n."
    )
    return Findings(checks, [], notes, {"found": found})


def _measured(lab: Lab, loss: str) -> dict[int, tuple[float, float, float]]:
    """By rows of the server. Collective."""
    with lab.crew(WORKERS) as world:
        found = None if world is None else _conditions(lab, loss, world)
    return lab.world.tell(found)


def _conditions(lab: Lab, loss: str, world: World) -> dict[int, tuple[float, float, float]]:
    source = open_source(lab.data or MADE, world)
    pencils = Pencils(team_of(source, world, L2(LAMBDA), loss=loss))
    whole = pencils.whole()
    return {n: conditions(whole, pencils.server(n)) for n in lab.pick(SERVERS, SERVERS[:2]) if n <= pencils.rows // WORKERS}


def draw(found: Findings) -> "Figure":
    """kappa - 1 against the rows of the server, beside both powers."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    with sheet(len(LOSSES), width=4.6, height=4.2) as (figure, (panels,)):
        for panel, (name, each) in zip(panels, found.facts["found"].items(), strict=True):
            servers = np.array(list(each), float)
            for number, (label, column) in enumerate({"best mu": 0, "mu of the difference": 1}.items()):
                curve(panel, servers, [values[column] - 1 for values in each.values()], number, label, marker="o")
            first = next(iter(each.values()))
            curve(panel, servers, (first[0] - 1) * servers[0] / servers, 2, "1 / n", linestyle=":")
            curve(panel, servers, (first[1] - 1) * (servers[0] / servers) ** 0.5, 3, "1 / sqrt n", linestyle=":")
            panel.set_xscale("log")
            logarithmic(panel)
            panel.set(xlabel="rows of the server", title=name)
        panels[0].set_ylabel("kappa - 1")
        legend(figure, panels[0], 4)
        return figure
