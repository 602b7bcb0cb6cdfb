"""``mpiopt bench family``: methods on many shapes of problems, by what they send until they are there.

A message of b bytes of a worker counts as b / (8 d) vector rounds, whatever it holds, so that Hessians, scalars and short
numbers count for what they are. Every method stops at a relative suboptimality (F - F*) / (F(0) - F*); once it is no longer
near the best so far it is stopped, but for ours, which goes first; and after some time of its own. Sums are taken in worker
order: counts do not depend on the number of ranks, nor on how busy they are.
"""

from collections.abc import Mapping
from math import inf, isfinite
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.stop import Stop
from mpiopt.errors import NumericalError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.benches.family_lines import NOWHERE, Raced, Results, Spent, resumed, write
from mpiopt.jobs.benches.family_report import OURS, facts, near, report
from mpiopt.jobs.benches.shapes import Drawn, shapes
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.methods import find
from mpiopt.problems.penalties import L2

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.engine.method import Method
    from mpiopt.problems.problem import Team

# in this order: ours decides how far the others are followed
METHODS: Mapping[str, tuple[str, dict[str, object]]] = {
    OURS: ("spcg", {}),
    "lbfgs jacobi": ("lbfgs", {"jacobi": True}),
    "lbfgs": ("lbfgs", {}),
    "tron": ("tron", {}),
    "giant": ("giant", {}),
    "dane": ("dane", {}),
}
PATIENT = 4.0  # times a method's seconds for the optimum, by the clock
EXACT = 0.03  # of what is asked for: how well the optimum is known


class Limit(NamedTuple):
    """What a method may take on a shape: vector rounds, and seconds of a CPU."""

    vector_rounds: float
    seconds: float


def surveying(
    count: int, seed: int, target: float, limit: Limit, file: Path | None, world: "World", console: Console
) -> dict[str, Any]:
    """Run all methods on the first ``count`` shapes of a seed, small ones first, but for those in ``file``. Collective.

    file : a CSV to go on with, to which every shape is added as it is done; lines that are taken out of it are run again.
    """
    if count < 1 or limit.vector_rounds < 1 or not limit.seconds > 0:
        raise UsageError(f"--shapes {count} --limit {limit.vector_rounds} --seconds {limit.seconds}: give at least 1 of each")
    with world.together("reading what is done"):
        found = resumed(file, target) if file and world.rank == 0 else {}
    found = world.tell(found)
    family, lab = shapes(count, seed), Lab(world, console)
    for number, shape in enumerate(family, 1):
        before = found.get(shape.name)
        if before is None or (before.known and not before.spent.keys() >= METHODS.keys()):
            console(f"{number} of {count}: {shape.name}")
            now = _raced(shape, target, limit, lab, before)
            found[shape.name] = Raced(now.goal, {**(before or NOWHERE).spent, **now.spent})
            with world.together("writing"):
                if file and world.rank == 0:
                    write({shape.name: now}, target, file, "a")
    done: Results = {shape.name: found[shape.name] for shape in family}
    console.show(report(done, target))
    return facts(done, target, seed)


def _raced(shape: Drawn, target: float, limit: Limit, lab: Lab, before: Raced | None) -> Raced:
    """What the methods take on a shape that are not among those before. Collective."""
    goal = before.goal if before else None
    if goal is None:
        with lab.crew(1) as alone:
            goal = None if alone is None else _goal(_team(shape, alone), target, limit.seconds)
        goal = lab.world.tell(goal)
    done = dict(before.spent) if before else {}
    missing = [name for name in METHODS if name not in done and isfinite(goal)]
    with lab.crew(shape.workers) as world:
        if world is not None and missing:
            team = _team(shape, world)
            for name in missing:
                best = min((each.vector_rounds for each in done.values()), default=inf)
                most = min(limit.vector_rounds, inf if name == OURS else near(best))
                done[name] = _walked(name, team, goal, Limit(most, limit.seconds))
    done = lab.world.tell(done)
    return Raced(goal, {name: done[name] for name in missing})


def _team(shape: Drawn, world: "World") -> "Team[Any]":
    return team_of(open_source(shape.data, world), world, L2(shape.l2))


def _goal(team: "Team[Any]", target: float, seconds: float) -> float:
    """The objective to come down to; nan where no method finds the optimum well enough in its time. Collective."""
    for name in ("newton", "spcg", "tron") if team.dim <= 500 else ("spcg", "tron"):
        fallen = 1.0
        for _ in range(2):  # how far it falls is known after the first
            stop = Stop(2000 if name == "tron" else 200, None, PATIENT * seconds, None, EXACT * target * fallen)
            found = solve(find(name).make(), team, team.zeros(), stop)
            least, start = found.certificate.objective, found.history[0].objective
            fallen = start - least
            if found.certificate.gap <= 2 * EXACT * target * fallen:
                return least + target * fallen
    return NOWHERE.goal


def _walked(name: str, team: "Team[Any]", goal: float, limit: Limit) -> Spent:
    """A method from 0 until its objective is at most ``goal``. Collective."""
    world, (method, given) = team.world, METHODS[name]
    unit, begun, clock = 8.0 * world.workers * team.dim, world.tallied(0.0)[0], 0.0
    walker: Method = find(method).make(**given)
    start = process_time()
    try:
        for run in rounds(walker, team, team.zeros()):
            clock += process_time() - start
            with world.tally.paused():
                objective = walker.measure(run, team).objective
                sent, seconds, _ = world.tallied(clock)
            taken = taken_by(run)
            spent = Spent((sent - begun) / unit, run.round, sent - begun, seconds, taken.form if taken else "")
            if objective <= goal:
                return spent
            if not isfinite(objective) or spent.vector_rounds > limit.vector_rounds or seconds > limit.seconds:
                return Spent(form=spent.form)
            start = process_time()
    except NumericalError:
        pass  # which all ranks raise: a method that breaks is not there
    return Spent()
