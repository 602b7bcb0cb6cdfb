"""One door to the driver loop for any method: `solve` for convex problems, `train` for those that train, `play` for games."""

from collections.abc import Sequence
from typing import Any, overload

from mpiopt.arrays import Array
from mpiopt.engine.drive import Keeper, Solution, Standing, solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Record, Stop, Watcher
from mpiopt.errors import UsageError
from mpiopt.playing.drive import Move, Played, Settled, play
from mpiopt.playing.method import Playing
from mpiopt.problems.problem import Team
from mpiopt.training.drive import Exam, Goal, Lesson, Trained, train
from mpiopt.training.method import Training


@overload
def run(
    method: Method,
    team: Team,
    x: Array | Standing[Lesson],
    until: Goal,
    watch: Sequence[Watcher[Lesson]] = (),
    keep: Sequence[Keeper[Lesson]] = (),
    *,
    exam: Exam | None = None,
) -> Trained: ...
@overload
def run(
    method: Method,
    team: Team,
    x: Array | Standing[Record],
    until: Stop,
    watch: Sequence[Watcher[Record]] = (),
    keep: Sequence[Keeper[Record]] = (),
) -> Solution: ...
@overload
def run(
    method: Method,
    team: Team[Any],
    x: Array | Standing[Move],
    until: Settled,
    watch: Sequence[Watcher[Move]] = (),
    keep: Sequence[Keeper[Move]] = (),
) -> Played: ...
def run(
    method: Method,
    team: Team[Any],
    x: Array | Standing[Any],
    until: Stop | Goal | Settled,
    watch: Sequence[Watcher[Any]] = (),
    keep: Sequence[Keeper[Any]] = (),
    *,
    exam: Exam | None = None,
) -> Solution | Trained | Played:
    """Run any method on any team from x (dim,), the same on every rank, or from where a run stood. Collective.

    until : a Stop for methods that solve, a Goal for those that train, a Settled for games; exam : the held-out rows of a
    training. watch, keep : as in `mpiopt.engine.drive.solve`. Raises UsageError for an end or an examination that the method
    has no use for.
    """
    if exam is not None and not isinstance(method, Training):
        raise UsageError("held-out rows are examined in a training, and the method does not train: leave exam out")
    if isinstance(method, Playing):
        if not isinstance(until, Settled):
            raise UsageError(f"the method plays, and {type(until).__name__} is not about games: say by a Settled when it ends")
        return play(method, team, x, until, None, watch, keep)
    if isinstance(method, Training):
        if not isinstance(until, Goal):
            raise UsageError(f"the method trains, and {type(until).__name__} is about solving: say by a Goal when it ends")
        return train(method, team, x, until, exam, watch, keep)
    if not isinstance(until, Stop):
        raise UsageError(f"the method solves, and {type(until).__name__} is about training: say by a Stop when it ends")
    return solve(method, team, x, until, watch, keep)
