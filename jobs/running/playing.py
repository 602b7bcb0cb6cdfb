"""What `mpiopt play` puts into the script of a run: the game, a team of operators, and the playing itself."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from mpiopt.arrays import Array
from mpiopt.comm.blocks import even
from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console, size
from mpiopt.jobs.running.run_script import Course, Outcome, carried_out
from mpiopt.methods import find
from mpiopt.methods import playing as catalogue
from mpiopt.numerics.streams import Streams
from mpiopt.playing.drive import Played, Settled, play
from mpiopt.playing.method import Playing
from mpiopt.problems.games import Game, game_of
from mpiopt.problems.operators import Operator
from mpiopt.problems.optional import Graded
from mpiopt.problems.problem import Sample, Team, everything
from mpiopt.problems.protocols import offers
from mpiopt.sampling.laws import Draws
from mpiopt.sampling.plans import plan_of
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.play_options import Play

FINAL = ("residual", "distance", "merit")


def playing(job: "Play", world: "World", console: Console) -> dict[str, Any]:
    """Play and record. Collective. Raises MpioptError on every rank."""
    return carried_out(PlayHooks(job, world, console), world, console)


class PlayHooks:
    """See `run_script.Hooks`."""

    def __init__(self, job: "Play", world: "World", console: Console) -> None:
        self.job, self.doing = job, "playing"
        self._world, self._console = world, console

    def opened(self) -> Mapping[str, Any]:
        """Make the game, the same on every rank, and the method."""
        with self._world.together("making the game"):
            self._game = game_of(self.job.game)
            self._method = method_of(self.job)
            if self.job.distance_tol is not None and self._game.solution is None:
                raise UsageError(
                    f"the solution of {self.job.game} is not known, which `distance_tol` is about: give `residual_tol` instead"
                )
        return identity(self.job, self._world)

    def demand_start(self, size: int) -> None:
        """It has to be of as many coordinates."""
        if size != (dim := self._game.whole.dim):
            raise UsageError(
                f"{self.job.from_} has {size:,} coordinates, but {self.job.game} has {dim:,}: give a run of this game"
            )

    def built(self) -> tuple[Team[Operator], dict[str, Any]]:
        """The team, and what the run file says from the start."""
        self._team = team_of(self.job, self._game, self._world)
        self._about = described(self.job, self._game)
        return self._team, dict(self._about)

    def ended(self, course: Course) -> Outcome:
        """Play to the end."""
        job, game = self.job, self._game
        until = Settled(job.rounds, job.bytes, job.seconds, job.residual_tol, job.distance_tol)
        x = course.standing() or start(job, game, self._world)
        played = play(
            self._method, self._team, x, until, game.solution, course.watch, course.keep, course.interruption, self._due
        )
        last = played.final
        facts = {"steps": last.steps, "residual": last.objective, "distance": last.distance, "merit": last.merit}
        return Outcome(played, played.reason.converged, facts, FINAL, lines(job, self._about, played, self._world))

    def _due(self, round: int) -> bool:  # noqa: A002 - the field's word
        self._console.phase = f"under way, after round {round}"
        return round % self.job.record == 0


def method_of(job: "Play") -> Playing:
    """The method. Raises UsageError."""
    method = find(job.method, catalogue()).make(**job.given)
    if not isinstance(method, Playing):
        raise UsageError(
            f"{job.method} is registered as one that plays, and makes a {type(method).__name__}: let it make a "
            "mpiopt.playing.method.Playing"
        )
    return method


def team_of(job: "Play", game: Game, world: "World") -> Team[Operator]:
    """Every hosted worker's part of the samples, and what it draws. Collective. Raises UsageError on every rank."""
    bounds = even(game.whole.rows, world.workers)
    with world.together("sharing out the samples"):
        if game.whole.rows < world.workers:
            raise UsageError(
                f"{job.game} has {counted(game.whole.rows, 'sample')} for {world.workers} workers: take fewer workers"
            )
        parts = [game.whole.part(int(bounds[w]), int(bounds[w + 1])) for w in world.hosted]
        samples = [_sample(job, part, w) for part, w in zip(parts, world.hosted, strict=True)]
    return Team.of(world, parts, game.penalty, job.seed, samples)


def _sample(job: "Play", part: Any, worker: int) -> Sample:
    if job.sampling is None:
        return everything
    each = part.row_lipschitz if offers(part, Graded) else None
    return Draws(plan_of(job.sampling).law(part.rows, each), Streams(job.seed), worker if job.draws == "own" else -1)


def start(job: "Play", game: Game, world: "World") -> Array:
    """Where to start, (dim,): the game's start, or another run's answer. Collective. Raises DataError."""
    z = game.start.copy()
    with world.together(f"reading {job.from_}"):
        if job.from_ is not None and world.rank == 0:
            z[:], _ = read_solution(job.from_)
    return world.bcast(z)


def identity(job: "Play", world: "World") -> dict[str, Any]:
    """What a checkpoint must have been of, for this job to go on from it."""
    defaults = {name: parameter.default for name, parameter in find(job.method, catalogue()).parameters.items()}
    names = ("method", "game", "sampling", "draws", "seed", "record")
    return {"workers": world.workers, **{name: getattr(job, name) for name in names}, **defaults, **job.given}


def described(job: "Play", game: Game) -> dict[str, Any]:
    """What is known of a game before it starts: attributes of its file, beside those of every run."""
    return {
        "dataset": job.game,
        "rows": game.whole.rows,
        "features": game.whole.dim,
        "first": game.whole.first,
        "sampling": job.sampling,
        "draws": job.draws,
    }


def lines(job: "Play", about: Mapping[str, Any], played: Played, world: "World") -> list[tuple[str, str]]:
    """A game for people."""
    last = played.final
    known = "".join(
        f", {name} {value:.3g}" for name, value in (("merit", last.merit), ("distance", last.distance)) if isfinite(value)
    )
    drawn = f", {job.sampling} ({job.draws} draws)" if job.sampling else ""
    players = f"{about['first']} + {about['features'] - about['first']} coordinates"
    cost = f"{size(last.bytes_sent)} sent, {last.seconds:.2f} s"
    return [
        ("game", f"{job.game}: {counted(about['rows'], 'sample')}, {players}"),
        ("method", f"{job.method} on {counted(world.size, 'rank')}, {counted(world.workers, 'worker')}{drawn}"),
        ("work", f"{counted(last.round, 'round')}, {counted(last.steps, 'look')}, {cost}"),
        ("residual", f"{last.objective:.3e}{known}"),
    ]
