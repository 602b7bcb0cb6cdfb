"""Methods of one server as Hendrikx et al. compare them: from the server's own minimiser, by iterations, for several samples.

Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient method for distributed optimization,
ICML 2020, section 5 and appendix C: G = 1, sigma = 1 / (1 + 2 mu / lambda), the weights of SPAG 50 rounds ahead, every method
begun at the minimiser of the server's first 100,000 rows. mu is tuned for each sample as theirs was, by factors of
2 from the paper's own while SPAG ends lower for it, and is the same for all methods. An iteration is a gradient of F.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf, isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Stop
from mpiopt.errors import NumericalError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.methods import find
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # of F - F*, at which iterations are compared
START_ROWS, AHEAD, INNER, AHEAD_OF, FURTHEST = 100_000, 50, 1e-6, 3, 12
COLUMNS = ("round", "seconds", "objective", "gradient_norm", "bytes_sent", "vector_rounds", "messages")


class Protocol(NamedTuple):
    """A setting of the paper. servers : rows of the sample -> mu. published : iterations to `LEVELS`, None: never.

    With fewer ``rows`` than the paper's the samples have as much of them, and mu and lambda grow as they do with 1 / rows.
    """

    data: str
    rows: int
    workers: int
    l2: float
    servers: Mapping[int, float]
    iterations: int
    published: Mapping[str, tuple[int | None, ...]]
    smoothness: float = 1.0
    less: float = 1.0  # rows over the paper's

    def of(self, rows: int) -> "Protocol":
        """The same on so many rows."""
        less = min(1.0, rows / self.rows)
        return self._replace(rows=rows, l2=self.l2 / less, servers={n: mu / less for n, mu in self.servers.items()}, less=less)

    def sample(self, n: int) -> int:
        """Rows that a server has where the paper's has n."""
        return max(1, round(self.less * n))

    def spag(self, n: int, mu: float) -> Method:
        """For a sample that is n rows in the paper."""
        n = self.sample(n)
        return find("spag").make(server_rows=n, mu=mu, smoothness=self.smoothness, t0=AHEAD, accuracy=INNER)

    def others(self, mus: Mapping[int, float]) -> dict[str, tuple[Method, int]]:
        """All but SPAG by name, with the iterations that a round is; mus : by rows of the sample."""
        made: dict[str, tuple[Method, int]] = {}
        for n, mu in mus.items():
            shared = {"server_rows": self.sample(n), "mu": mu, "accuracy": INNER}
            made |= {f"HB n={n}": (find("hb_dane").make(**shared), 1), f"DANE n={n}": (find("server_dane").make(**shared), 1)}
        most = max(mus)
        made["Acc-S-DANE"] = (find("acc_s_dane").make(server=True, server_rows=self.sample(most), mu=mus[most]), 2)
        made["AEG"] = (find("aeg").make(server_rows=self.sample(most), mu=2 * mus[most]), 2)
        return made | {"AGD": (find("nesterov").make(), 1), "SPCG": (find("spcg").make(), 1)}


class Curves(NamedTuple):
    """F - F* by iterations of every method."""

    protocol: Protocol
    trails: dict[str, Trail]
    mus: dict[int, float]  # tuned, by rows of the sample in the paper
    above: dict[str, np.ndarray]
    at: dict[str, np.ndarray]

    def iterations(self, name: str, level: float) -> float:
        """The first iteration at or below a level; infinite where there is none."""
        there = np.flatnonzero(self.above[name] <= level)
        return float(self.at[name][there[0]]) if there.size else inf

    def sooner(self, a: str, b: str, level: float = 1e-6) -> float:
        """How many times as many iterations b takes as a: at least, where b is not there by its last one; 0 where a is not."""
        return min(self.iterations(b, level), float(self.at[b][-1]) + 1) / self.iterations(a, level)

    def last(self, name: str) -> float:
        """F - F* at the end."""
        return float(self.above[name][-1])

    def after(self, name: str, iterations: int) -> float:
        """F - F* then, or at the end before."""
        return float(self.above[name][self.at[name] <= iterations][-1])


def compared(lab: Lab, protocol: Protocol, pulls: Sequence[float] = ()) -> Curves:
    """Every method of a protocol, on the rows of --data where that is given, be they fewer; SPAG with the middle sample also
    with ``pulls`` times its mu. Collective."""
    protocol = protocol._replace(data=lab.data or protocol.data)
    with lab.crew(protocol.workers) as world:
        found = None if world is None else _compared(lab, protocol, pulls, world)
    return lab.world.tell(found)


def _compared(lab: Lab, protocol: Protocol, pulls: Sequence[float], world: World) -> Curves:
    lab.console.note(f"reading {protocol.data}")
    source = open_source(protocol.data, world)
    protocol = protocol.of(source.rows)
    team = team_of(source, world, L2(protocol.l2))
    start = begun(team, protocol)
    trails, mus = {}, {}
    for n, mu in protocol.servers.items():
        lab.console.note(f"tuning mu for {n:,} rows")
        mus[n], trails[f"SPAG n={n}"] = tuned(protocol, n, mu, team, start)
    some = sorted(mus)[len(mus) // 2]
    runs = protocol.others(mus) | {pulled(pull): (protocol.spag(some, pull * mus[some]), 1) for pull in pulls}
    for name, (method, each) in runs.items():
        lab.console.note(f"running {name}")
        trails[name] = followed(name, method, team, start, protocol.iterations // each)
    best = solve(find("spcg").make(), team, trails["SPCG"].x, Stop(rounds=100, gradient=1e-11))
    least = min(best.certificate.objective, *(float(np.nanmin(trail.readings["objective"])) for trail in trails.values()))
    above = {name: trail.readings["objective"] - least for name, trail in trails.items()}
    at = {name: runs.get(name, (None, 1))[1] * trail.readings["round"] for name, trail in trails.items()}
    return Curves(protocol, trails, mus, above, at)


def tuned(protocol: Protocol, n: int, mu: float, team: Team[Linear], start: np.ndarray) -> tuple[float, Trail]:
    """The mu, halved and doubled while SPAG ends lower for it, and that run. Collective.

    Below the cliff it ends anywhere, so that doubling looks ``AHEAD_OF`` values beyond the best before it gives up.
    """

    def tried(mu: float) -> tuple[float, Trail]:
        return mu, followed(f"SPAG n={n}", protocol.spag(n, mu), team, start, protocol.iterations)

    best = tried(mu)
    for factor, patience in ((0.5, 1), (2.0, AHEAD_OF)):
        tries = 0
        for power in range(1, FURTHEST):
            other = tried(mu * factor**power)
            lower = other[1].objective < best[1].objective or not isfinite(best[1].objective)
            best, tries = (other, 0) if lower else (best, tries + 1)
            if tries == patience:
                break
    return best


def pulled(pull: float) -> str:
    """The name of a run with so many times the tuned mu."""
    return f"SPAG mu x {pull:g}"


def begun(team: Team[Linear], protocol: Protocol) -> np.ndarray:
    """The minimiser of the first rows of worker 0 and the penalty, (d,). Collective."""
    world, x = team.world, team.zeros()
    if world.rank == 0:
        head = team.sites[0].loss.head(min(protocol.sample(START_ROWS), team.sites[0].loss.rows))
        alone = Team.of(World(SelfComm()), [head], L2(protocol.l2))
        x = solve(find("spcg").make(), alone, x, Stop(rounds=60, gradient=1e-7)).x
    return world.bcast(x)


def followed(name: str, method: Method, team: Team[Linear], x: np.ndarray, iterations: int) -> Trail:
    """So many rounds from x, with what every one of them came to; the last point alone is kept. Collective."""
    world, lines, clock = team.world, [], 0.0
    before = world.tallied(0.0)[0], world.tally.vector_rounds, world.tally.messages
    start, run = perf_counter(), None
    with suppress(NumericalError):  # which all ranks raise: what is followed ends there
        for run in rounds(method, team, x.copy()):
            clock += perf_counter() - start
            with world.tally.paused():
                measured = method.measure(run, team)
                counts = world.tallied(clock)[0], world.tally.vector_rounds, world.tally.messages
            spent = [now - then for now, then in zip(counts, before, strict=True)]
            lines.append((run.round, clock, measured.objective, measured.gradient_norm, *spent))
            if run.round >= iterations or not isfinite(measured.objective):
                break
            start = perf_counter()
    columns = dict(zip(COLUMNS, np.array(lines, float).T, strict=True))
    point, none = x if run is None else method.answer(run, team).x.copy(), np.empty((0, 0, 0))
    label = name.replace("=", "").replace(" ", "-").lower()
    return Trail(label, name, world.workers, world.size, team.rows, columns, point[None], none)


def beside(curves: Curves) -> str:
    """What was run, and iterations to the levels, ours beside the published ones where there are such."""
    protocol, published = curves.protocol, curves.protocol.published
    lines = [
        f"{protocol.data}: {protocol.rows:,} rows, {protocol.less:.3g} of the paper's, and so much of its samples; "
        f"{protocol.workers} workers, lambda {protocol.l2:.3g}.",
        f"Local problems are solved to {INNER:g} of their gradient (published: to 1e-9); mu, tuned: "
        f"{', '.join(f'{mu:.3g} for {protocol.sample(n):,} rows' for n, mu in curves.mus.items())}.",
        f"Iterations to F - F* of {', '.join(f'{level:g}' for level in LEVELS)} (published):",
    ]
    for name in curves.trails:
        ours = [curves.iterations(name, level) for level in LEVELS]
        theirs = published.get(name, (None,) * len(LEVELS))
        known = name in published
        told = [f"{_told(a)} ({_told(b)})" if known else _told(a) for a, b in zip(ours, theirs, strict=True)]
        lines.append(f"{name}: {', '.join(told)}.")
    return "\n".join(lines)


def _told(count: float | None) -> str:
    return "-" if count is None or count == inf else f"{count:.0f}"


def drawn(curves: Curves, floor: float) -> "Figure":
    """F - F* against iterations as in the paper, the published points as marks."""
    from mpiopt.jobs.studies.apparatus.canvas import COLOURS, curve, legend, logarithmic, sheet

    with sheet(1, width=7.5, height=5.0) as (figure, ((panel,),)):
        for number, name in enumerate(curves.trails):
            curve(panel, curves.at[name], np.maximum(curves.above[name], floor / 10), number, name)
            points: list[Any] = [
                each for each in zip(curves.protocol.published.get(name, ()), LEVELS, strict=False) if each[0] is not None
            ]
            if points:
                panel.plot(*zip(*points, strict=True), linestyle="", marker="x", color=COLOURS[number % len(COLOURS)])
        logarithmic(panel, floor)
        panel.set(xlabel="iterations (crosses: published)", ylabel="F - F*")
        legend(figure, panel, 4)
        return figure
