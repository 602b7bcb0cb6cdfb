"""``mpiopt certify``: how far rows may move before the vote of a smoothed classifier can change, proved row by row."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.cli.options import MaybeWhole, Whole
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.io.dataset.dense import DenseSource
    from mpiopt.smoothing.certify import Ballot, CertifiedClass, Outputs
    from mpiopt.smoothing.laws import NoiseLaw

Write = Callable[[np.ndarray, np.ndarray, "list[CertifiedClass]"], None]  # of rows their numbers, classes and votes
COLUMNS = ("row", "class", "guess", "probability", "radius")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the largest radius that so many votes can certify


@dataclass(frozen=True, kw_only=True)
class Certify:
    """Certify the classes that a trained network gives to rows under noise: mpiopt certify RUN.h5 TEST.h5

    Every row is classified by votes over noisy copies; a bound of Clopper and Pearson on the winner's share proves how far the
    row may move (gaussian: in Euclidean norm) before another class could win. Train with the same --noise. Rows are shared
    out over the ranks; the noise of a row follows from its number, so that the result is the same on any number of ranks.
    """

    files: Annotated[tuple[Path, ...], Parameter(name="--file", metavar="RUN.h5 DATA.h5")] = field(kw_only=False)
    """A run of mpiopt train, and the rows: a dense data set, or a generator."""
    noise: str | None = None
    """gaussian:0.12, or on images rotation:10, translation:2, scaling:0.2. [default: that of the training]"""
    first: Whole = 100
    """Votes that name the class."""
    samples: Whole = 1000
    """Further votes that bound its probability."""
    alpha: float = 0.001
    """The chance that a certificate is wrong."""
    every: Whole = 1
    """Look at every so many-th row."""
    rows: MaybeWhole = None
    """Look at so many rows at most. [default: all]"""
    seed: Whole = 0
    """Seed of the noise."""
    out: Path | None = None
    """Also write a line a row, P.csv or P.h5: class, guess (-1: no answer), bound of its probability, radius."""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace such a file."""


def run(job: Certify, world: "World", console: Console) -> dict[str, Any]:
    """Read, vote, count. Collective. Raises MpioptError on every rank."""
    from mpiopt.io.dataset.dense import open_dense
    from mpiopt.smoothing.certify import Ballot, average_radius, certified_accuracy
    from mpiopt.smoothing.laws import noise

    if len(job.files) != 2:
        raise UsageError("certify needs a run and the rows: mpiopt certify RUN.h5 TEST.h5")
    if job.every < 1 or (job.rows is not None and job.rows < 1):
        raise UsageError("--every and --rows: give whole numbers of at least 1")
    (path, data), ballot = job.files, Ballot(job.first, job.samples, job.alpha)
    trained = _read(path, world)
    text = job.noise or trained.about.get("noise")
    if not text:
        raise UsageError(f"{path} was trained without noise: give --noise gaussian:0.12, and train with it for larger radii")
    law, source = noise(text), open_dense(str(data), world)
    console(f"certifying {data} under {text}")
    with _sheet(job, world) as write:
        numbers = np.arange(0, source.rows, job.every)[: job.rows]
        votes, y = _votes(trained, source, numbers, law, ballot, job.seed, world)
        write(numbers, y, votes)
    radii = np.array(SHARES) * law.radius(job.alpha ** (1 / job.samples))
    curve, radius = certified_accuracy(votes, y, radii), average_radius(votes, y)
    silent = sum(vote.guess < 0 for vote in votes)
    rows = [[f"{far:.3g}", f"{100 * share:.2f} %"] for far, share in zip(radii, curve, strict=True)]
    console.show(
        f"{data}: {counted(len(votes), 'row')} under {text}, {job.samples:,} votes each, {silent:,} without an answer\n"
        f"average certified radius {radius:.4g}\n\n{table(['radius', 'certified'], rows, 'rr')}"
    )
    return {
        "data": str(data),
        "noise": text,
        "rows": len(votes),
        "without_answer": silent,
        "average_radius": radius,
        "radii": radii.tolist(),
        "certified_accuracy": curve.tolist(),
    }


class Trained(NamedTuple):
    """A finished training: what it says of itself, its x (dim,), and what its model keeps beside."""

    about: dict[str, str]
    x: np.ndarray
    buffers: dict[str, np.ndarray]


def _read(path: Path, world: "World") -> Trained:
    """Collective."""
    from mpiopt.io.runs.run_file import read_buffers, read_run, read_solution

    found = None
    with world.together(f"reading {path}"):
        if world.rank == 0:
            about = {name: value for name, value in read_run(path).attributes.items() if isinstance(value, str)}
            if "model" not in about:
                raise UsageError(f"{path} is no run of mpiopt train: name one")
            found = Trained(about, read_solution(path)[0], read_buffers(path))
    return world.tell(found)


def _votes(
    trained: Trained,
    source: "DenseSource",
    numbers: np.ndarray,
    law: "NoiseLaw",
    ballot: "Ballot",
    seed: int,
    world: "World",
) -> "tuple[list[CertifiedClass], np.ndarray]":
    """What is certified of the rows of these numbers, and their classes. Collective."""
    from mpiopt.comm.blocks import even
    from mpiopt.smoothing.certify import CertifiedClass, certified_rows

    bounds = even(len(numbers), world.size)
    mine = numbers[bounds[world.rank] : bounds[world.rank + 1]]
    with world.together("certifying"):
        outputs = _outputs(trained, source)
        rows, y = _rows(source, mine)
        votes = certified_rows(outputs, rows, mine.tolist(), law, ballot, seed)
        found = np.array([[*vote, label] for vote, label in zip(votes, y, strict=True)]).reshape(-1, 4)
    told = np.concatenate(world.gather(found, "certified"))
    return [CertifiedClass(int(guess), low, far) for guess, low, far, _ in told.tolist()], told[:, 3].astype(np.int64)


def _outputs(trained: Trained, source: "DenseSource") -> "Outputs":
    """What the model gives to rows. Raises UsageError for rows of another shape. Not collective."""
    from mpiopt.jobs.cli.train_options import Train
    from mpiopt.jobs.running.model_team import maker
    from mpiopt.problems.buffers import put
    from mpiopt.problems.examples import Dense

    job, x = Train(model=trained.about["model"]), trained.x.astype(np.float32)
    model: Any = maker(job, source)(Dense(*source.read(0, 0)))
    if model.dim != x.size:
        raise UsageError(
            f"the run has {x.size:,} parameters, and {job.model} for {source.name} (rows of shape {source.shape}, "
            f"{source.classes} classes) has {model.dim:,}: give rows of the kind that it was trained on"
        )
    put(model, trained.buffers)
    return lambda rows: model.outputs(x, rows)


def _rows(source: "DenseSource", numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by number, ascending, and their classes, of which a stretch is held at a time. Not collective."""
    from mpiopt.io.dataset.dense import PASS

    parts = [source.read(0, 0)]
    for lo in range(int(numbers[0]), int(numbers[-1]) + 1, PASS) if numbers.size else ():
        x, y = source.read(lo, min(lo + PASS, source.rows))
        own = numbers[(lo <= numbers) & (numbers < lo + PASS)] - lo
        parts.append((x[own], y[own]))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@contextmanager
def _sheet(job: Certify, world: "World") -> Iterator[Write]:
    """What writes the file, which is claimed before anything is computed. Collective."""
    from mpiopt.io.runs.predictions import Predictions

    with ExitStack() as stack:
        sheet = None
        with world.together(f"writing {job.out}"):
            if job.out is not None and world.rank == 0:
                about = dict(zip(("run", "data"), map(str, job.files), strict=True))
                sheet = stack.enter_context(Predictions(job.out, COLUMNS, about, overwrite=job.overwrite))

        def write(numbers: np.ndarray, y: np.ndarray, votes: "list[CertifiedClass]") -> None:
            with world.together(f"writing {job.out}"):
                if sheet is not None:
                    columns = numbers, y, *(np.array(column) for column in zip(*votes, strict=True))
                    sheet.add(dict(zip(COLUMNS, columns, strict=True)))

        yield write
