"""The options of ``mpiopt train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.options import Batch, MaybeWhole, Settings, Whole
from mpiopt.jobs.cli.run_options import RunOptions
from mpiopt.words import counted


@dataclass(frozen=True, kw_only=True)
class ModelFit:
    """What is trained, on which rows, by which method, and how long. In --help before the options that every run has."""

    preset: str | None = field(default=None, kw_only=False)
    """The name of a preset."""
    data: str = "blobs:rows=20000"
    """Rows to train on: DATA.h5 of mpiopt convert, a generator such as blobs:rows=500,seed=3, or a dataset of torch,
    package.module:name (it, or what makes it)."""
    test: str | None = None
    """Rows to be examined on. [default: none, but for blobs]"""
    also: tuple[str, ...] = ()
    """More rows to be examined on, NAME=DATA; may be repeated. Their columns are NAME_loss, NAME_accuracy, ..."""
    model: str = "mlp:32"
    """softmax, mlp:WIDTH,WIDTH,..., cnn, resnet20, gpt:layers=4,width=128,heads=4,dropout=0 (of rows of tokens), or a
    torch.nn.Module of one's own, package.module:name (all but the first two need the extra torch)."""
    loss: str | None = None
    """Of a module of torch: a function (outputs, answers) -> a tensor, package.module:name, or a name in torch.nn.functional.
    [default: cross_entropy]"""
    metric: tuple[str, ...] = ()
    """Of a module of torch: what is examined beside the loss, package.module:name, called as the loss; may be repeated. One
    called accuracy takes the place of the loss's own."""
    chunk: MaybeWhole = None
    """Of a module of torch: rows that go through it at once; a larger batch accumulates its gradient. [default: 512]"""
    bf16: bool = False
    """Run a module of torch under autocast to bfloat16."""
    method: str = "local_sgd"
    """How workers agree: one of those that mpiopt methods lists under training."""
    set: Settings = ()
    compress: str | None = None
    """Send messages in fewer bytes: topk:0.01, randk:0.1, qsgd:bits=4, scaled_sign, natural, powersgd:rank=2, vote, ...
    (mpiopt methods compressors)."""
    per_block: Annotated[bool, Parameter(negative=())] = False
    """Compress every matrix and vector of the model by itself; the same as blocks: before the compressor."""
    error_feedback: Annotated[bool, Parameter(negative=())] = False
    """Add what was not sent to the next message; the same as --link ef."""
    link: Literal["plain", "ef", "ef21", "diana"] = "plain"
    """What is remembered of compressed messages: nothing, errors, or shifts."""
    back: str | None = None
    """Compress what was agreed once more, as a server would on the way back."""
    force: Annotated[bool, Parameter(negative=())] = False
    """Compress also where the theory asks for another link."""
    rule: str | None = None
    """The local rule: sgd, momentum, nag, torch_momentum, torch_nag, adagrad, adadelta, rmsprop, adam, adamw, lion,
    schedule_free, muon, or an optimiser of torch.optim, as "torch:AdamW(weight_decay=0.1)".
    [default: momentum, or what the method brings]"""
    lr: float | None = None
    """Step size. [default: the rule's own]"""
    lr_range: Annotated[str | None, Parameter(metavar="LOW:HIGH")] = None
    """In place of a training: let the step size grow from LOW to HIGH in --epochs, whatever --lr, --schedule and --warmup say,
    and show the loss at each."""
    png: Path | None = None
    """With --lr-range: draw it."""
    momentum: float | None = None
    """Momentum of the rules that have one. [default: 0.9]"""
    schedule: Literal["constant", "cosine", "step", "inverse"] = "constant"
    """Step size over time: cosine to 0, a tenth after half and after three quarters, or lr / (1 + epoch)."""
    warmup: float = 0.0
    """Epochs over which the step size grows to its value."""
    decay: float | None = None
    """Weight decay: this times x is added to the gradient. [default: none; of those that decay apart: adamw 0.01, others 0]"""
    clip: float | None = None
    """Longest gradient of a step, in Euclidean norm."""
    group: Annotated[tuple[str, ...], Parameter(metavar="PATTERN:SETTINGS")] = ()
    """Parameters whose names match a pattern as of files have settings of their own: "*.bias:decay=0,lr=2" (lr: that many times
    the step size), "embed*:rule=adamw,momentum=0.9"; may be repeated, and the first that matches counts."""
    batch: Batch = 32
    """Rows of a worker's step; 32,64,... one number for each worker, by which they also count in what is agreed on."""
    sampling: str | None = None
    """Draw a step's rows anew, by a law and in place of --batch: nice:64, single, independent:count=32,
    partition:blocks=100 (mpiopt methods sampling). [default: shuffled epochs]"""
    ownership: Literal["sharded", "shared", "turns"] | None = None
    """Rows that a worker draws from: its own share, all in an order of its own, or all in turns with the others.
    [default: sharded; shared for leader methods]"""
    split: str | None = None
    """How rows are shared out by their classes: dirichlet:0.3 (the smaller, the less alike are the workers), classes:2 (of so
    many classes each), sizes:1 (worker k has 1/k of the rows of the first), column:3 (rows
    of one value of feature 3, from 0 on, are of one worker). [default: blocks of equal length]"""
    noise: str | None = None
    """Noise on the rows of every gradient: gaussian:0.12, or on images rotation:10, translation:2, scaling:0.2."""
    redundancy: Whole = 1
    """Shares that each worker holds, its own and the next ones; a step draws from all of them alike."""
    clients: MaybeWhole = None
    """Workers that take part in a round, drawn anew each time. [default: all]"""
    dead: tuple[int, ...] = ()
    """Workers that neither work nor count; repeat it for several: --dead 0 --dead 4."""
    delay: Annotated[tuple[str, ...], Parameter(metavar="WORKER:FACTOR")] = ()
    """Make a worker slower by a factor, asleep: 3:5; may be repeated."""
    epochs: float = 5.0
    """Stop after so many epochs."""
    accuracy: float | None = None
    """Stop at this accuracy on the test rows, 0 to 1."""
    rounds: MaybeWhole = None
    """Stop after so many rounds."""
    record: float = 0.1
    """Epochs between records."""
    examine: float = 1.0
    """Epochs between examinations on the test rows."""
    own: bool = False
    """Examine the workers' own points too."""
    leader: bool = False
    """Examine the leader's point too."""


@dataclass(frozen=True, kw_only=True)
class Train(RunOptions, ModelFit):
    """Train a model on dense rows over all ranks: every worker takes local steps, and the method says how they agree.

    A preset (mnist-mlp, mnist-cnn, cifar-cnn, cifar-resnet20, shakespeare-gpt) is a job file that comes with the package; what
    the command line or --config says goes before it. Without one, a small perceptron learns blobs.

    An epoch is as many rows as there are, looked at by all workers together. Signals and the end of a Slurm job end the
    run at the next record; with --checkpoint the exit code is then 75, and the same command goes on; without, it is 130.
    """

    def batches(self, workers: int) -> list[int]:
        """Rows of every worker's step. Raises UsageError unless there is one number, or one for each."""
        found = [int(part) for part in str(self.batch).split(",")]
        if len(found) not in (1, workers):
            raise UsageError(
                f"--batch {self.batch}: {counted(len(found), 'number')} for {counted(workers, 'worker')}; give one, or "
                "one for each"
            )
        return found * workers if len(found) == 1 else found

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """Where rows come from: files and generators."""
        return (self.data, self.test)
