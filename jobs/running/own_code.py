"""A training of one's own code: rows, a loss and metrics that are named as module:name, for a model of torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mpiopt.errors import UsageError
from mpiopt.registry.code import is_code, load_code

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train
    from mpiopt.training.torch.items import Items
    from mpiopt.training.torch.judging import Judge

BUILT_IN = ("softmax", "mlp", "cnn", "resnet20", "gpt")
TORCH = ("cnn", "resnet20", "gpt")  # of these, the modules of torch
GENERATORS = ("blobs",)
FOR_TORCH = ("loss", "metric", "chunk", "bf16")  # options that modules of torch alone have a use for


def own_model(model: str) -> bool:
    """Whether --model names code of one's own."""
    return is_code(model) and model.partition(":")[0] not in BUILT_IN


def of_torch(model: str) -> bool:
    """Whether --model is a module of torch."""
    return own_model(model) or model.partition(":")[0] in TORCH


def own_rows(data: str | None) -> bool:
    """Whether --data or --test names code of one's own."""
    return data is not None and is_code(data) and data.partition(":")[0] not in GENERATORS


@dataclass(frozen=True, eq=False)
class OwnRows:
    """Rows of a dataset of one's own. parts : of the hosted workers. rows : of all."""

    name: str
    parts: "list[Items]"
    rows: int
    content: None = None
    classes: None = None


def opened_own(name: str, job: "Train", whose: Literal["sharded", "shared"], world: "World") -> OwnRows:
    """The dataset of this name: an object, or what a function or class of no arguments makes. Collective.

    Raises UsageError on every rank.
    """
    from mpiopt.training.torch.sharing import shared_out, total_rows

    with world.together(f"loading {name}"):
        found = load_code(name)
        found = found() if callable(found) and not hasattr(found, "__getitem__") else found
    parts = shared_out(found, world, whose, job.seed)
    return OwnRows(name, parts, total_rows(world, [part.rows for part in parts], whose))


def loss_of(job: "Train") -> "Judge | None":
    """What --loss names: a function of one's own, or one of torch. Raises UsageError."""
    from mpiopt.training.torch.judging import loss_named

    if job.loss is None:
        return None
    return _called(job.loss) if is_code(job.loss) else loss_named(job.loss)


def metrics_of(job: "Train") -> "dict[str, Judge]":
    """What --metric names, by the names of the functions. Raises UsageError."""
    found = {text.rpartition(":")[2].rpartition(".")[2]: _called(text) for text in job.metric}
    if len(found) < len(job.metric):
        raise UsageError(f"--metric names {', '.join(job.metric)}, of which two are called the same: rename one")
    return found


def _called(text: str) -> Any:
    """A function, or an instance of a class such as torch.nn.HuberLoss. Raises UsageError."""
    if not is_code(text):
        raise UsageError(f"{text} names no function: give MODULE:NAME")
    found = load_code(text)
    found = found() if isinstance(found, type) else found
    if not callable(found):
        raise UsageError(f"{text} is a {type(found).__name__}: give a function of outputs and answers")
    return found


def further(job: "Train") -> dict[str, str]:
    """The further test sets that --also names. Raises UsageError."""
    found: dict[str, str] = {}
    for text in job.also:
        name, equals, data = text.partition("=")
        if not (equals and data and name.isidentifier()) or name in (*found, "test"):
            raise UsageError(f"--also {text}: give NAME=DATA, each with a name of its own")
        found[name] = data
    return found


def demand_suited(job: "Train") -> None:
    """Raise where options about code of one's own do not fit together. Not collective."""
    further(job)
    if job.also and job.test is None and not job.data.startswith("blobs"):
        raise UsageError("--also adds to the test rows: give --test too")
    if job.chunk is not None and job.chunk < 1:
        raise UsageError(f"--chunk {job.chunk}: give a whole number of at least 1")
    if not of_torch(job.model):
        for name in FOR_TORCH:
            if getattr(job, name):
                raise UsageError(f"--{name} is for modules of torch, and --model is {job.model}: leave it out")
    if own_rows(job.data) and not own_model(job.model):
        raise UsageError(f"--data {job.data} holds rows of any kind: give a --model of your own too, as module:name")
    if own_rows(job.data) is not own_rows(job.test) and job.test is not None:
        raise UsageError(f"--data {job.data} and --test {job.test} are rows of two kinds: give both by module:name, or none")
    unfit = {"--split": job.split, "--redundancy": job.redundancy > 1, "--noise": job.noise}
    unfit["--ownership turns"] = job.ownership == "turns"
    if own_rows(job.data) and (given := [name for name, value in unfit.items() if value]):
        raise UsageError(f"{given[0]} is for rows of a data set of mpiopt, and --data is {job.data}: leave it out")


def code_in(options: dict[str, Any]) -> Callable[[str], bool]:
    """Which of the options in a job file name code."""
    tests = {"model": own_model, "data": own_rows, "test": own_rows, "loss": is_code}
    found = {name for name, test in tests.items() if isinstance(options.get(name), str) and test(options[name])}
    found |= {"metric"} if options.get("metric") else set()
    found |= {"also"} if any(own_rows(str(text).partition("=")[2]) for text in options.get("also", ())) else set()
    return found.__contains__
