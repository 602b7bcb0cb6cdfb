"""A finished training, with its model made again over rows to be applied to.

Code of one's own, named as module:name, is taken from the command line alone: a run file only says which there was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense import DenseSource, open_dense
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.naming import read_naming
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.configuration import parsed
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.model_team import maker
from mpiopt.jobs.running.own_code import OwnRows, own_model, own_rows
from mpiopt.problems.buffers import put
from mpiopt.problems.examples import Dense, Tokens
from mpiopt.registry.code import is_code, load_code

if TYPE_CHECKING:
    from mpiopt.comm.world import World

KEPT = ("model", "loss", "chunk", "bf16")  # options of a training that its model is made by


class OwnCode(NamedTuple):
    """What the command line names: a model, a loss, metrics."""

    model: str | None = None
    loss: str | None = None
    metric: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """job : the options that its model is made by. x : (dim,). buffers : what the model keeps beside it."""

    path: Path
    job: Train
    about: Mapping[str, Any]
    x: np.ndarray
    buffers: Mapping[str, np.ndarray]
    vocabulary: str | None

    @property
    def text(self) -> bool:
        """Whether it is a model of text."""
        return self.vocabulary is not None


@dataclass(frozen=True, eq=False)
class Applied:
    """A model over this rank's rows, lo and on, of ``rows`` in all. shuffle : the seed of their order, None for none."""

    model: Any
    x: np.ndarray
    lo: int
    rows: int
    shuffle: int | None
    data: Any


def is_training(path: Path, world: "World") -> bool:
    """Whether a file is a run of mpiopt train. Collective. Raises DataError on every rank."""
    with world.together(f"reading {path}"):
        found = "model" in read_run(path).attributes if world.rank == 0 else False
    return world.tell(found)


def read_trained(path: Path, code: OwnCode, world: "World", *, judged: bool = True) -> TrainedRun:
    """judged : whether its loss will be asked for. Collective. Raises DataError, UsageError on every rank."""
    with world.together(f"reading {path}"):
        found = _read(path, code, judged) if world.rank == 0 else None
    return cast(TrainedRun, world.tell(found))


def _read(path: Path, code: OwnCode, judged: bool) -> TrainedRun:
    about = read_run(path).attributes
    table = parsed(about.get("config", ""), path)
    known = {field.name for field in fields(Train)} & set(KEPT)
    options = {name: value for name, value in table.items() if name in known}
    if not judged:
        options["loss"] = None
    for name, test in {"model": own_model, "loss": is_code}.items():
        options[name] = _named(path, name, options.get(name), getattr(code, name), test)
    job = Train(**{name: value for name, value in options.items() if value is not None}, metric=code.metric)
    return TrainedRun(path, job, about, read_solution(path)[0], read_buffers(path), read_naming(path).vocabulary)


def _named(path: Path, name: str, kept: str | None, given: str | None, code: Any) -> str | None:
    """What an option is: as the run has it, or as the command line says where it is code. Raises UsageError."""
    if kept is not None and code(kept):
        if given is None:
            raise UsageError(
                f"{path} was trained with --{name} {kept}, which is code, and code is never taken from a run file: give "
                f"--{name}"
            )
        return given
    if given is not None:
        raise UsageError(f"--{name} names code of one's own, and {path} was trained with {kept or 'none'}: leave it out")
    return kept


def applied(run: TrainedRun, data: str, world: "World", *, judged: bool = True) -> Applied:
    """The model over this rank's share of rows, in their order. judged : whether losses are asked for, or outputs alone.

    Collective. Raises DataError, UsageError on every rank.
    """
    if own_rows(data):
        return _over_items(run, data, world, judged)
    source = open_dense(data, world)
    with world.together("making the model"):
        lo, hi = source.blocks(world.size)[world.rank : world.rank + 2].tolist()
        x, y = source.read(lo, hi, None)
        _demand_same_text(run, source)
        rows = Tokens(x) if run.text else Dense(x, y, source.item.scaled)
        like = _TrainedOn(source.name, source.shape, int(run.about.get("classes") or source.classes), source.item)
        model = _model(run, cast(DenseSource, like), rows, judged)
        _put(run, model, source.name)
    return Applied(model, run.x.astype(np.float32), lo, source.rows, _seed(source), rows)


class _TrainedOn(NamedTuple):
    """Rows of the kind that a model was trained on, as far as making it asks."""

    name: str
    shape: tuple[int, ...]
    classes: int
    item: Any


def _seed(source: Any) -> int | None:
    index = getattr(source, "index", None)
    return None if index is None else index.shuffle


def _demand_same_text(run: TrainedRun, source: DenseSource) -> None:
    words = source.item.vocabulary
    if (None if words is None else words.text()) != run.vocabulary:
        raise UsageError(
            f"{source.name} has other tokens than {run.path} was trained on: convert it with `like` the training set"
        )


def _over_items(run: TrainedRun, data: str, world: "World", judged: bool) -> Applied:
    from mpiopt.training.torch.items import Items, items_of

    with world.together(f"loading {data}"):
        found = load_code(data)
        whole = items_of(found() if callable(found) and not hasattr(found, "__getitem__") else found)
        lo, hi = even(whole.rows, world.size)[world.rank : world.rank + 2]
        order = np.arange(whole.rows) if whole.order is None else whole.order
        rows = Items(whole.dataset, order[lo:hi], whole.collate)
        model = _model(run, OwnRows(data, [rows], whole.rows), rows, judged)
        _put(run, model, data)
    return Applied(model, run.x, int(lo), whole.rows, None, rows)


def _model(run: TrainedRun, source: Any, rows: Any, judged: bool) -> Any:
    if judged or not own_model(run.job.model):
        return maker(run.job, source)(rows)
    from mpiopt.training.torch.judging import unasked
    from mpiopt.training.torch.model import CHUNK, TorchModel
    from mpiopt.training.torch.sharing import maker_of

    return TorchModel(maker_of(load_code(run.job.model)), rows, unasked, run.job.chunk or CHUNK, bf16=run.job.bf16)


def _put(run: TrainedRun, model: Any, data: str) -> None:
    if model.dim != run.x.size:
        raise UsageError(
            f"{run.path} has {run.x.size:,} parameters, and {run.job.model} for {data} has {model.dim:,}: give rows of the "
            "kind that it was trained on"
        )
    put(model, dict(run.buffers))
