"""``mpiopt predict``: what a model says of rows, in the order of their source."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mpiopt.errors import DataError, MpioptError, UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.options import Plugins, Whole
from mpiopt.jobs.cli.raw_options import RawRows
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.arrays import Array
    from mpiopt.comm.world import World
    from mpiopt.io.runs.class_fitted import AnyFitted
    from mpiopt.io.runs.predictions import Predictions, Sink
    from mpiopt.jobs.running.training_scores import TrainedOutputs


@dataclass(frozen=True, kw_only=True)
class Predict(RawRows):
    """Apply a model to rows: mpiopt predict RUN.h5 DATA.h5 --out P.csv

    Of two classes: margin, probability (where the loss has one) and class; of several: class, and the probability of each; of a
    module of one's own its outputs; else the expected label. One line a row, in the order of the source; a data set that was
    shuffled is put back into it.
    """

    files: Annotated[tuple[Path, ...], Parameter(name="--file", metavar="RUN.h5 DATA.h5|TEXT...")] = field(kw_only=False)
    """A run of mpiopt solve, then a data set, a generator, or files of svmlight text (- for standard input) or of tables; or a
    run of mpiopt train, then dense rows, or a dataset of torch, package.module:name."""
    out: Path | None = None
    """Where to write, .csv, .h5 or .parquet (extra: arrow). [default: CSV on standard output]"""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace an existing file of predictions; nothing else is."""
    model: str | None = None
    """Of a run of mpiopt train: its module of one's own, package.module:name, which is never taken from a run file."""
    prompt: str | None = None
    """Of a run of a language model (mpiopt train --model gpt), in place of data: the text to write on from."""
    length: Whole = 200
    """Tokens to write, with --prompt."""
    temperature: float = 0.8
    """With --prompt: below 1 the likelier tokens are preferred; 0 takes the likeliest."""
    seed: Whole = 0
    """What the text follows from, with --prompt."""
    plugin: Plugins = ()


def run(job: Predict, world: "World", console: Console) -> dict[str, Any]:
    """Read, apply, write. Collective. Raises MpioptError on every rank."""
    if job.prompt is not None:
        from mpiopt.jobs.running.prompting import Prompt, prompted

        if len(job.files) != 1 or job.out is not None or job.offset is not None:
            raise UsageError(
                "--prompt asks one run to write on, without data, --out and --offset: mpiopt predict RUN.h5 --prompt TEXT"
            )
        return prompted(job.files[0], Prompt(job.prompt, job.length, job.temperature, job.seed), world, console)
    from mpiopt.jobs.running.applying import in_order, models, rows, stacked
    from mpiopt.jobs.running.trained_run import is_training

    if len(job.files) < 2:
        raise UsageError("predict needs a run and the data: mpiopt predict RUN.h5 DATA.h5")
    if job.out is None and console.json:
        raise UsageError("--json takes standard output for itself: give --out for the predictions")
    path, *data = job.files
    if is_training(path, world):
        return _by_training(job, world, console)
    if job.model is not None:
        raise UsageError(f"--model is for runs of mpiopt train, and {path} is none: leave it out")
    (model,) = models([path], world)
    named = ", ".join(map(str, data))
    console(f"reading {named}")
    with rows(data, model, world, console, job, unlabelled=True) as source:
        model.demand_columns(source)
        share = stacked(source, world)
        margins = in_order(model.margins(share), share, source, world)
        console(f"writing {counted(source.rows, 'prediction')}")
        _write(job, model, named, margins, world)
    if job.out is not None:
        console.show(f"{job.out}: {counted(source.rows, 'prediction')}, {', '.join(model.names)}")
    return {"run": str(path), "data": named, "rows": source.rows, "out": None if job.out is None else str(job.out)}


def _by_training(job: Predict, world: "World", console: Console) -> dict[str, Any]:
    """Of a run of mpiopt train. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.trained_run import OwnCode, read_trained
    from mpiopt.jobs.running.training_scores import outputs

    path, data, *more = job.files
    if more:
        raise UsageError(f"{more[0]}: a training is applied to one set of dense rows at a time")
    job.demand_none(data)
    console(f"reading {data}")
    model, z, count = outputs(read_trained(path, OwnCode(job.model), world, judged=False), str(data), world)
    console(f"writing {counted(count, 'prediction')}")
    _write(job, model, str(data), z, world)
    if job.out is not None:
        console.show(f"{job.out}: {counted(count, 'prediction')}, {', '.join(model.names)}")
    return {"run": str(path), "data": str(data), "rows": count, "out": None if job.out is None else str(job.out)}


def _write(job: Predict, model: "AnyFitted | TrainedOutputs", data: str, margins: "Array", world: "World") -> None:
    """Gather the margins piece by piece on the rank that writes. Collective. Raises MpioptError on every rank."""
    pieces, error = world.each(margins, "predictions"), None
    if world.rank == 0:
        try:
            with _sheet(job, model, data) as sheet:
                for piece in pieces:
                    sheet.add(model.predictions(piece))
        except (OSError, MpioptError) as failed:
            error = failed
    for _ in pieces:
        pass
    with world.together(f"writing {job.out or 'predictions'}"):
        if isinstance(error, OSError):
            raise DataError(f"{job.out or 'standard output'} cannot be written: {(error.strerror or str(error)).lower()}")
        if error is not None:
            raise error


def _sheet(job: Predict, model: "AnyFitted | TrainedOutputs", data: str) -> "AbstractContextManager[Sink | Predictions]":
    from mpiopt.io.runs.predictions import Predictions, TextSink

    if job.out is None:
        return nullcontext(TextSink(sys.stdout.buffer, model.names))
    return Predictions(job.out, model.names, {"run": str(model.path), "data": data}, overwrite=job.overwrite)
