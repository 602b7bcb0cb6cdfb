"""The options of ``mpiopt path``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from mpiopt.jobs.cli.options import Whole
from mpiopt.jobs.cli.run_options import RunOptions
from mpiopt.jobs.cli.solve_options import LinearRows


@dataclass(frozen=True, kw_only=True)
class PathOptions(RunOptions, LinearRows):
    """Fit a linear model along falling penalties, and choose one by rows that are held out.

    The penalty is lambda (r |x|_1 + (1 - r)/2 |x|^2) for each share r of l1. Every fit begins at the one before, certified.
    With --folds each is repeated without the rows of one fold after the other, and scored on them. The run file has the
    model of the chosen penalty, for predict, score, coef and export, a line for every penalty in its history, and all
    coefficients (solution/buffers/path). With --checkpoint it goes on, penalty by penalty, as solve does.
    """

    lambdas: str | None = None
    """Penalties, falling: 1e-1,1e-2, or 1e-1:1e-6:50 for 50 of them, or max:0.01:50 from the least l1 at which no coefficient
    is left to 0.01 of that. [default: max:0.01:50, for l2 alone 1e-1:1e-6:50]"""
    l1_ratio: str = "0"
    """Share of l1 in the penalty: 0 for l2 alone, 1 for l1; several (0.1,0.5,1) are a path each."""
    penalty_factors: Path | None = None
    """A file with lines FEATURE,FACTOR: what the penalty of a feature is multiplied by, 0 for none; 1 for those not named."""
    folds: Whole = 0
    """Hold out the rows of one of so many folds at a time; with classes each fold has its part of both."""
    fold_by: str | None = None
    """Keep rows of one value of this feature in one fold; it is then no part of the model."""
    choose: Literal["loss", "auc", "1se"] = "loss"
    """By the mean loss of held-out rows, by their area under the ROC curve, or the largest penalty within one standard error of
    the least loss. Without --folds the smallest penalty is taken."""
    gap_tol: float = 1e-8
    """Solve each until F - F* is certified to be at most this."""
    rounds: Whole = 1000
    """Give each solve up after so many rounds."""
    png: Path | None = None
    """Draw the coefficients and the losses of held-out rows against the penalty (extra: report)."""
    method: ClassVar[str] = "spcg"
    elsewhere: ClassVar[dict[str, str]] = {
        "--multiclass": "path follows penalties for numbers and for two classes: for several classes run mpiopt solve "
        "--multiclass with one --l2 after the other, and choose by mpiopt score on rows held out"
    }

    @property
    def also_read(self) -> dict[str, Path]:
        """The file of penalty factors."""
        return {} if self.penalty_factors is None else {"--penalty-factors": self.penalty_factors}

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """Where rows come from."""
        return (self.data,)
