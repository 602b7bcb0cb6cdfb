"""``mpiopt bench family``: methods on many shapes of problems, by what they send until they are there.

A message of b bytes of a worker counts as b / (8 d) vector rounds, whatever it holds, so that Hessians, scalars and short
numbers count for what they are. Every method stops at a relative suboptimality (F - F*) / (F(0) - F*); where it is behind it
is stopped after twice what the best so far has sent (ours after four times as much), or after some time of its own: it is
then not the best. Sums are taken in worker order: counts do not depend on the number of ranks.
"""

import csv
from collections.abc import Mapping
from math import inf, isfinite
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import NumericalError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.benches.shapes import Drawn, shapes
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.methods import find
from mpiopt.problems.penalties import L2

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.engine.method import Method
    from mpiopt.problems.problem import Team

# in this order, so that little is wasted on what is hopeless
METHODS: Mapping[str, tuple[str, dict[str, object]]] = {
    "lbfgs jacobi": ("lbfgs", {"jacobi": True}),
    "spcg": ("spcg", {}),
    "tron": ("tron", {}),
    "giant": ("giant", {}),
    "dane": ("dane", {}),
    "lbfgs": ("lbfgs", {}),
}
OURS, NEAR, FAR, SPARE = "spcg", 1.2, 2.0, 2.0  # within 1.2 times the best, or 2 vector rounds; never above 2 times


class Limit(NamedTuple):
    """What a method may take on a shape."""

    vector_rounds: float
    seconds: float


class Spent(NamedTuple):
    """What a method took on a shape; infinitely many vector rounds where it was not done within its limit."""

    vector_rounds: float = inf
    rounds: int = 0
    bytes: int = 0
    seconds: float = inf


Results = dict[str, dict[str, Spent]]  # by shape and method


def surveying(
    count: int, seed: int, target: float, limit: Limit, file: Path | None, world: "World", console: Console
) -> dict[str, Any]:
    """Run all methods on the first ``count`` shapes of a seed, small ones first, but for those in ``file``. Collective.

    file : a CSV to go on with, to which every shape is added as it is done.
    """
    if count < 1 or limit.vector_rounds < 1 or not limit.seconds > 0:
        raise UsageError(f"--shapes {count} --limit {limit.vector_rounds} --seconds {limit.seconds}: give at least 1 of each")
    with world.together("reading what is done"):
        found = resumed(file, target) if file and world.rank == 0 else {}
    found = world.tell(found)
    family, lab = shapes(count, seed), Lab(world, console)
    for number, shape in enumerate(family, 1):
        if shape.name not in found:
            console(f"{number} of {count}: {shape.name}")
            found[shape.name] = _raced(shape, target, limit, lab)
            with world.together("writing"):
                if file and world.rank == 0:
                    write({shape.name: found[shape.name]}, target, file, "a")
    done = {shape.name: found[shape.name] for shape in family}
    console.show(report(done, target))
    return facts(done, target, seed)


def _raced(shape: Drawn, target: float, limit: Limit, lab: Lab) -> dict[str, Spent]:
    """Every method on a shape. Collective."""
    spent: dict[str, Spent] = {}
    with lab.crew(1) as alone:
        goal = None if alone is None else _goal(_team(shape, alone), target, limit.seconds)
    goal = lab.world.tell(goal)
    with lab.crew(shape.workers) as world:
        if world is not None and goal is not None:
            team = _team(shape, world)
            for name, (method, given) in METHODS.items():
                best = min((each.vector_rounds for each in spent.values()), default=inf)
                most = min(limit.vector_rounds, (4 if name == OURS else 2) * best + 10)
                spent[name] = _walked(find(method).make(**given), team, goal, Limit(most, limit.seconds))
    return lab.world.tell(spent)


def _team(shape: Drawn, world: "World") -> "Team[Any]":
    return team_of(open_source(shape.data, world), world, L2(shape.l2))


def _goal(team: "Team[Any]", target: float, seconds: float) -> float | None:
    """The objective to come down to; None where no method finds the optimum well enough in its time. Collective."""
    names = ("newton", "spcg", "tron") if team.dim <= 500 else ("spcg", "tron")
    for name in names:
        stop = Stop(rounds=2000 if name == "tron" else 200, seconds=seconds, gap=1e-14)
        found = solve(find(name).make(), team, team.zeros(), stop)
        least, start = found.certificate.objective, found.history[0].objective
        if found.certificate.gap <= 0.1 * target * (start - least):
            return least + target * (start - least)
    return None


def _walked(method: "Method", team: "Team[Any]", goal: float, limit: Limit) -> Spent:
    """A method from 0 until its objective is at most ``goal``. Collective."""
    world = team.world
    unit, begun, clock = 8.0 * world.workers * team.dim, world.tallied(0.0)[0], 0.0
    start = perf_counter()
    try:
        for run in rounds(method, team, team.zeros()):
            clock += perf_counter() - start
            with world.tally.paused():
                objective = method.measure(run, team).objective
                sent, seconds, _ = world.tallied(clock)
            spent = Spent((sent - begun) / unit, run.round, sent - begun, seconds)
            if objective <= goal:
                return spent
            if not isfinite(objective) or spent.vector_rounds > limit.vector_rounds or seconds > limit.seconds:
                break
            start = perf_counter()
    except NumericalError:
        pass  # which all ranks raise: a method that breaks is not there
    return Spent()


def resumed(file: Path, target: float) -> Results:
    """What a file says of shapes that all methods have been on; the rest of it is given up. Raises UsageError."""
    if not file.exists():
        write({}, target, file, "w")
        return {}
    text = file.read_text(encoding="utf-8")
    lines = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    found: Results = {}
    try:
        for line in lines:
            if float(line["target"]) != target:
                raise UsageError(
                    f"{file} is of --target {line['target']}, and this is {target:g}: name another file with --csv"
                )
            spent = found.setdefault(line["shape"], {})
            if line["method"]:
                values = zip(Spent._fields, (float, int, int, float), strict=True)
                spent[line["method"]] = Spent(*[kind(line[name]) for name, kind in values])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is not of this bench ({error}): name another file with --csv") from error
    whole = {shape: spent for shape, spent in found.items() if not spent or spent.keys() == METHODS.keys()}
    write(whole, target, file, "w")
    return whole


def write(found: Results, target: float, file: Path, mode: Literal["w", "a"]) -> None:
    """A line for every shape and method; one without a method for a shape without an optimum. Raises OSError."""
    with file.open(mode, newline="", encoding="utf-8") as lines:
        to = csv.writer(lines, lineterminator="\n")
        if mode == "w":
            to.writerow(("shape", "target", "method", *Spent._fields))
        for shape, spent in found.items():
            to.writerows((shape, target, method, *each) for method, each in (spent or {"": Spent()}).items())


class Against(NamedTuple):
    """How ours stands on a shape."""

    shape: str
    ours: float  # vector rounds
    best: float  # of the others

    @property
    def ratio(self) -> float:
        """Ours over the best; 1 where none is there."""
        return self.ours / self.best if isfinite(self.best) else 1.0 if isfinite(self.ours) else inf

    @property
    def near(self) -> bool:
        """Whether ours is about the best."""
        return self.ours <= max(NEAR * self.best, self.best + SPARE) and isfinite(self.ours)

    @property
    def far(self) -> bool:
        """Whether it is another one that should have been taken."""
        return not self.near and self.ratio > FAR


def standings(found: Results) -> list[Against]:
    """Of ours on every shape whose optimum is known, the worst first."""
    vectors = {shape: {name: each.vector_rounds for name, each in spent.items()} for shape, spent in found.items() if spent}
    stands = [Against(shape, of.pop(OURS), min(of.values())) for shape, of in vectors.items()]
    return sorted(stands, key=lambda at: (at.near, -at.ratio))


def report(found: Results, target: float) -> str:
    """How often which method is best, how far ours is from it, and where it is worst."""
    stands = standings(found)
    unknown = [shape for shape, spent in found.items() if not spent]
    near, far = sum(at.near for at in stands), sum(at.far for at in stands)
    known = [spent for spent in found.values() if spent]
    rows = []
    for name in METHODS:
        vectors = [spent[name].vector_rounds for spent in known]
        least = [min(each.vector_rounds for each in spent.values()) for spent in known]
        ratios = [mine / best for mine, best in zip(vectors, least, strict=True) if isfinite(mine)]
        wins = sum(mine == best < inf for mine, best in zip(vectors, least, strict=True))
        shown = [f"{median(ratios):.2f}", f"{max(ratios):.1f}"] if ratios else ["-", "-"]
        rows.append([name, str(wins), str(len(ratios)), *shown])
    worst = [[f"{at.ours:.1f}", f"{at.best:.1f}", at.shape] for at in stands[:10]]
    lines = [
        f"{len(known)} shapes, to {target:g}, vector rounds by bytes; {OURS} within {NEAR} times the best or {SPARE:g} vector "
        f"rounds on {near}, above {FAR:g} times on {far}",
        *(f"no optimum found, left out: {shape}" for shape in unknown),
        "",
        table(["method", "best", "done", "median ratio", "worst"], rows, "lrrrr"),
        "",
        table([OURS, "best other", "the worst ten shapes"], worst, "rrl"),
    ]
    return "\n".join(lines)


def facts(found: Results, target: float, seed: int) -> dict[str, Any]:
    """The same for programs."""
    stands = standings(found)
    return {
        "seed": seed,
        "target": target,
        "shapes": len(found),
        "unknown": [shape for shape, spent in found.items() if not spent],
        "near": sum(at.near for at in stands),
        "far": sum(at.far for at in stands),
        "worst": [{"shape": at.shape, "ours": at.ours, "best": at.best} for at in stands[:10]],
        "spent": {shape: {name: each._asdict() for name, each in spent.items()} for shape, spent in found.items()},
    }
