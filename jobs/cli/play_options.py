"""The options of ``mpiopt play``."""

from dataclasses import dataclass, field
from typing import Any, Literal

from mpiopt.jobs.cli.options import Settings, Whole
from mpiopt.jobs.cli.run_options import RunOptions


@dataclass(frozen=True, kw_only=True)
class GamePlan:
    """Which game is played, by which method, and how exactly. In --help before the options that every run has."""

    game: str = field(default="quadratic", kw_only=False)
    """quadratic:mu=0.1, bilinear:dim=10,samples=50,seed=1, matrix:rows=8,columns=12, robust:features=10, ... (mpiopt methods
    games)."""
    method: str = "extragradient"
    """How it is played: one of those that mpiopt methods lists under playing."""
    set: Settings = ()
    sampling: str | None = None
    """Samples of a worker's look at the game: nice:4, single:importance, ... (mpiopt methods sampling). [default: all]"""
    draws: Literal["own", "shared"] = "own"
    """Whether each worker draws numbers of its own, or all the same."""
    rounds: Whole = 10000
    """Stop after so many rounds."""
    residual_tol: float | None = None
    """Stop where |z - prox(z - F(z))|, that is |F(z)| of a game without bounds, is at most this. [default: 1e-10]"""
    distance_tol: float | None = None
    """Stop at this distance from the solution, of games where it is known."""
    record: Whole = 10
    """Rounds between records."""


@dataclass(frozen=True, kw_only=True)
class Play(RunOptions, GamePlan):
    """Play a game over all ranks: find the point from which neither the player who minimises nor the one who maximises moves.

    A game is made of samples, which the workers share out. Its method looks at the operator F = (df/dx, -df/dy) of the samples
    that are drawn, all workers agree on the mean, and both players move. Records look at all samples.

    Signals, checkpoints and exit codes are those of mpiopt train.
    """

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """Where the game comes from: a generator."""
        return (self.game,)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that the method is given."""
        return dict(self.set)
