"""The options of ``mpiopt solve``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mpiopt.jobs.cli.options import Loss, MaybeWhole, Settings, Whole
from mpiopt.jobs.cli.run_options import RunOptions

DEFAULT = "default"  # the data of a job that names none


@dataclass(frozen=True, kw_only=True)
class LinearRows:
    """Which rows are fitted by which loss. In --help before all other options."""

    data: str | None = field(default=None, kw_only=False)
    """DATA.h5 of mpiopt convert, or a generator: default, rcv1, text12, kdd2010, rcv1:rows=60000,seed=3. [default: default]"""
    loss: Loss = "logistic"
    positive: str | None = None
    """For losses of two classes: the label or rule that is +1 against the rest, 3 or "<=10"."""
    class_weight: str | None = None
    """For losses of two classes: balanced, or NEG:POS, by which the weights of rows labelled -1 and +1 are multiplied."""
    intercept: bool = False
    """Fit an intercept, which is not penalised."""
    values: Literal["float32", "float64"] | None = None
    """Type of the stored entries; vectors are always float64. [default: as they are stored]"""


@dataclass(frozen=True, kw_only=True)
class LinearFit(LinearRows):
    """What is minimised, by which method, and how exactly. In --help before the options that every run has."""

    multiclass: Literal["multinomial", "ovr"] | None = None
    """For labels of several classes, at most 64: one softmax over all, or each class against the rest, all solved at once."""
    method: str = "spcg"
    """One of the list that mpiopt methods prints."""
    set: Settings = ()
    compress: str | None = None
    """Send the second message of dane, spcg and their kin in fewer bytes: topk:0.01, qsgd:bits=4, natural, ..."""
    error_feedback: Annotated[bool, Parameter(negative=())] = False
    """Add what was not sent to the next message."""
    force: Annotated[bool, Parameter(negative=())] = False
    """Compress also where the theory asks for error feedback."""
    l2: float = 1e-5
    """Lambda of l2/2 |x|^2, beside the mean loss over rows: 1/(N C), N the sum of their weights."""
    l1: float = 0.0
    """Lambda of l1 |x|_1, beside the mean loss over rows."""
    lower: float | None = None
    """Keep every coefficient but the intercept at this number or above it: 0 for none that is negative."""
    upper: float | None = None
    """Keep every coefficient but the intercept at this number or below it."""
    penalty_factors: Path | None = None
    """A file with lines FEATURE,FACTOR: what the penalty of a feature is multiplied by, 0 for none; 1 for those not named."""
    group_l1: float = 0.0
    """Lambda of the sum over groups g of features of sqrt(|g|) |x_g|, which keeps or drops a group as one; with --groups."""
    groups: Path | None = None
    """A file with lines FEATURE,GROUP, one for every feature: what is in which group of --group-l1."""
    rounds: Whole = 1000
    """Stop after so many rounds."""
    gradient_tol: float | None = None
    """Stop at this norm of the gradient (with l1: of the shortest subgradient)."""
    gap_tol: float | None = None
    """Stop when F - F* is certified to be at most this. [default: 1e-8 unless --gradient-tol is given]"""
    server_rows: MaybeWhole = None
    """Rows of worker 0 that model the whole, for methods with a server."""
    mu: float | None = None
    """Regularisation of the local models; methods that use it find it themselves."""
    replicate: Literal["auto", "never"] | None = None
    """Whether spcg may send all rows to one worker, once, where that is less than the rounds it saves. [default: auto]"""


@dataclass(frozen=True, kw_only=True)
class Solve(RunOptions, LinearFit):
    """Fit a sparse linear model over all ranks, in few rounds.

    Minimises the mean of the rows' losses plus l2/2 |x|^2 + l1 |x|_1; the intercept is not penalised. The constant C of
    LIBLINEAR and scikit-learn is 1 / (N l2), with N rows, or the sum of their weights.

    SIGTERM, SIGUSR1, SIGUSR2 or SIGINT to any rank, and the approaching end of a Slurm job, end the run after the round
    under way, its run file complete. With --checkpoint the exit code is then 75, and the same command goes on as if it
    had never stopped, bit for bit (with --workers on any number of ranks, and then bit for bit with --deterministic);
    without, it is 130. A second SIGINT ends the run at once.
    """

    test: str | None = None
    """Rows to score every round and the answer on, a data set or a generator: columns test_loss, test_accuracy, test_roc_auc
    (or test_rmse and test_r2) of the history."""
    inference: str | None = None
    """Standard errors of the coefficients: hessian, of a likelihood; sandwich, whatever the variances; cluster:FEATURE, where
    rows of one value of a feature go together, which is then no part of the model."""
    inference_of: str | None = None
    """With --inference: the features whose errors are wanted, age,price, and (intercept), by conjugate gradients, which serve
    any number of coefficients. [default: all, up to 4,000 coefficients on one rank, 20,000 on several]"""
    patience: MaybeWhole = None
    """With --test: stop where test_loss has been no lower for so many rounds."""
    check_against: Literal["cpu"] | None = None
    """After a solve on a GPU, compare value, gradient and optimum with the CPU's; exit with 1 where they differ."""
    dry_run: bool = False
    """Read no rows: say what memory and messages the run would take. Exit with 1 where a node has too little memory."""

    @property
    def kink(self) -> str:
        """The option by which the penalty is not smooth; "" where it is."""
        given = {"l1": self.l1 or None, "group-l1": self.group_l1 or None, "lower": self.lower, "upper": self.upper}
        return next((f"--{name} {value:g}" for name, value in given.items() if value is not None), "")

    @property
    def also_read(self) -> dict[str, Path]:
        """The files of penalty factors and of groups."""
        found = {"--penalty-factors": self.penalty_factors, "--groups": self.groups}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """Where rows come from: files and generators."""
        return (self.data, self.test)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that the method is given."""
        found: dict[str, Any] = {
            "server_rows": self.server_rows,
            "mu": self.mu,
            "replicate": self.replicate,
            **self.neighbourhood,
            **dict(self.set),
        }
        return {name: value for name, value in found.items() if value is not None}
