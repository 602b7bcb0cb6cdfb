"""``mpiopt score --noise``: how far rows may move before the vote of a smoothed classifier can change, row by row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense import PASS, DenseSource, open_dense
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.predictions import Predictions
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.model_team import maker
from mpiopt.problems.buffers import put
from mpiopt.problems.examples import Dense
from mpiopt.smoothing.certify import Ballot, CertifiedClass, Outputs, average_radius, certified_accuracy, certified_rows
from mpiopt.smoothing.laws import NoiseLaw, noise
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

Write = Callable[[np.ndarray, np.ndarray, list[CertifiedClass]], None]  # of rows their numbers, classes and votes
COLUMNS = ("row", "class", "guess", "probability", "radius")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the largest radius that so many votes can certify


def certify(
    files: Sequence[Path], text: str, ballot: Ballot, every: int, sheet: "VoteFile", world: "World", console: Console
) -> dict[str, Any]:
    """Vote over copies of every so many-th row under the noise that a text describes, and count what is proved.

    files : a run of train, and the rows. Collective. Raises MpioptError on every rank.
    """
    if len(files) != 2:
        raise UsageError("one network is certified at a time: mpiopt score RUN.h5 TEST.h5 --noise gaussian:0.12")
    if every < 1:
        raise UsageError(f"--every {every}: give a whole number of at least 1")
    law = noise(text)
    path, data = files
    trained = _read(path, world)
    source = open_dense(str(data), world)
    console(f"certifying {data} under {text}")
    with sheet.opened(files, world) as write:
        numbers = np.arange(0, source.rows, every)
        votes, y = _votes(trained, source, numbers, law, ballot, world)
        write(numbers, y, votes)
    radii = np.array(SHARES) * law.radius(ballot.alpha ** (1 / ballot.samples))
    curve, radius = certified_accuracy(votes, y, radii), average_radius(votes, y)
    silent = sum(vote.guess < 0 for vote in votes)
    rows = [[f"{far:.3g}", f"{100 * share:.2f} %"] for far, share in zip(radii, curve, strict=True)]
    console.show(
        f"{data}: {counted(len(votes), 'row')} under {text}, {ballot.samples:,} votes each, {silent:,} without an answer\n"
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


class VoteFile(NamedTuple):
    """The file that certificates go to, if any."""

    out: Path | None = None
    overwrite: bool = False

    @contextmanager
    def opened(self, files: Sequence[Path], world: "World") -> Iterator[Write]:
        """What writes it; claimed before anything is computed. Collective."""
        with ExitStack() as stack:
            sheet = None
            with world.together(f"writing {self.out}"):
                if self.out is not None and world.rank == 0:
                    about = dict(zip(("run", "data"), map(str, files), strict=True))
                    sheet = stack.enter_context(Predictions(self.out, COLUMNS, about, overwrite=self.overwrite))

            def write(numbers: np.ndarray, y: np.ndarray, votes: list[CertifiedClass]) -> None:
                with world.together(f"writing {self.out}"):
                    if sheet is not None:
                        columns = numbers, y, *(np.array(column) for column in zip(*votes, strict=True))
                        sheet.add(dict(zip(COLUMNS, columns, strict=True)))

            yield write


class Finished(NamedTuple):
    """A finished training: what it says of itself, its x (dim,), and what its model keeps beside."""

    about: dict[str, str]
    x: np.ndarray
    buffers: dict[str, np.ndarray]


def _read(path: Path, world: "World") -> Finished:
    """Collective."""

    found = None
    with world.together(f"reading {path}"):
        if world.rank == 0:
            about = {name: value for name, value in read_run(path).attributes.items() if isinstance(value, str)}
            if "model" not in about:
                raise UsageError(f"{path} is no run of mpiopt train: name one")
            found = Finished(about, read_solution(path)[0], read_buffers(path))
    return world.tell(found)


def _votes(
    trained: Finished,
    source: DenseSource,
    numbers: np.ndarray,
    law: NoiseLaw,
    ballot: Ballot,
    world: "World",
) -> tuple[list[CertifiedClass], np.ndarray]:
    """What is certified of the rows of these numbers, and their classes. Collective."""

    bounds = even(len(numbers), world.size)
    mine = numbers[bounds[world.rank] : bounds[world.rank + 1]]
    with world.together("certifying"):
        outputs = _outputs(trained, source)
        rows, y = _rows(source, mine)
        votes = certified_rows(outputs, rows, mine.tolist(), law, ballot)
        found = np.array([[*vote, label] for vote, label in zip(votes, y, strict=True)]).reshape(-1, 4)
    told = np.concatenate(world.gather(found, "certified"))
    return [CertifiedClass(int(guess), low, far) for guess, low, far, _ in told.tolist()], told[:, 3].astype(np.int64)


def _outputs(trained: Finished, source: DenseSource) -> Outputs:
    """What the model gives to rows. Raises UsageError for rows of another shape. Not collective."""

    job, x = Train(model=trained.about["model"]), trained.x.astype(np.float32)
    model: Any = maker(job, source)(Dense(*source.read(0, 0)))
    if model.dim != x.size:
        raise UsageError(
            f"the run has {x.size:,} parameters, and {job.model} for {source.name} (rows of shape {source.shape}, "
            f"{source.classes} classes) has {model.dim:,}: give rows of the kind that it was trained on"
        )
    put(model, trained.buffers)
    return lambda rows: model.outputs(x, rows)


def _rows(source: DenseSource, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by number, ascending, and their classes, of which a stretch is held at a time. Not collective."""

    parts = [source.read(0, 0)]
    for lo in range(int(numbers[0]), int(numbers[-1]) + 1, PASS) if numbers.size else ():
        x, y = source.read(lo, min(lo + PASS, source.rows))
        own = numbers[(lo <= numbers) & (numbers < lo + PASS)] - lo
        parts.append((x[own], y[own]))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
