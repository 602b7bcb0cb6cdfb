"""``mpiopt score``: how good models are on rows with labels, exactly, over all ranks."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.options import Plugins, Whole
from mpiopt.jobs.cli.raw_options import RawRows
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.io.dataset.source import Share
    from mpiopt.io.runs.class_fitted import AnyFitted
    from mpiopt.io.runs.fitted import Fitted
    from mpiopt.jobs.reports.scores import Scored
    from mpiopt.metrics.figures import Rows


@dataclass(frozen=True, kw_only=True)
class Score(RawRows):
    """Score models on rows with labels: mpiopt score RUN.h5... DATA.h5

    Of two classes: area under the ROC curve and average precision, exact with ties, accuracy (also balanced), precision,
    recall, F1 at probability 1/2; of several: accuracy, means over the classes of precision, recall, F1 and the area of each
    against the rest, and all of them by class; of numbers: RMSE, MAE, R2. Log loss, Brier score, deviance and pseudo-R2 where
    a loss has them. Rows stay on their ranks.

    A run of mpiopt train is scored on dense rows, or on a dataset of torch, package.module:name: of classes as above, of text
    and of modules of one's own by loss, perplexity and --metric.

    With --noise: a network of mpiopt train, which votes over noisy copies of each row, and how far a row may move (gaussian: in
    Euclidean norm) before another class could win, proved by a bound of Clopper and Pearson on the winner's share. The noise
    of a row follows from its number. Train with the same --noise.
    """

    files: Annotated[tuple[Path, ...], Parameter(name="--file", metavar="RUN.h5... DATA.h5")] = field(kw_only=False)
    """Runs of mpiopt solve, or of mpiopt train, and last the data: a data set, a generator, or a file of svmlight text or of a
    table."""
    model: str | None = None
    """Of a run of mpiopt train: its module of one's own, package.module:name, which is never taken from a run file."""
    loss: str | None = None
    """The same for its loss."""
    metric: tuple[str, ...] = ()
    """Only this figure; may be repeated. Of a run of mpiopt train also a metric of one's own,
    package.module:name. [default: all]"""
    weights: str | None = None
    """A file of sample weights of the rows of text, a column of a table, or label where labels are LABEL:WEIGHT; a data set has
    its own."""
    calibration: Annotated[bool, Parameter(negative=())] = False
    """Also show how often rows of about equal probability are of class +1."""
    png: Path | None = None
    """Write a picture of the ROC curve, precision against recall, and calibration."""
    noise: str | None = None
    """Certify a network under gaussian:0.12, or on images rotation:10, translation:2, scaling:0.2."""
    samples: Whole = 1000
    """Votes that bound the probability of the winning class, with --noise."""
    alpha: float = 0.001
    """The chance that a certificate is wrong, with --noise."""
    every: Whole = 1
    """Certify every so many-th row, with --noise."""
    out: Path | None = None
    """Write a line a row, P.csv or P.h5, with --noise: class, guess (-1: no answer), bound of its probability, radius."""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace such a file."""
    plugin: Plugins = ()


def run(job: Score, world: "World", console: Console) -> dict[str, Any]:
    """Read, apply, sum up. Collective. Raises MpioptError on every rank."""
    if job.noise is not None:
        from mpiopt.jobs.running.certifying import VoteFile, certify
        from mpiopt.smoothing.certify import Ballot

        ballot = Ballot(samples=job.samples, alpha=job.alpha)
        return certify(job.files, job.noise, ballot, job.every, VoteFile(job.out, job.overwrite), world, console)
    if job.out is not None:
        raise UsageError("--out is for the certificates of --noise: mpiopt predict writes predictions")
    from mpiopt.jobs.reports.scores import demand_drawable, tables
    from mpiopt.jobs.running.applying import models, rows, stacked
    from mpiopt.jobs.running.trained_run import is_training

    if len(job.files) < 2:
        raise UsageError("score needs a run and, last, the data: mpiopt score RUN.h5 TEST.h5")
    *runs, data = job.files
    demand_drawable(job.png)
    if any([is_training(path, world) for path in runs]):
        return _trainings(job, world, console)
    if job.model is not None or job.loss is not None:
        raise UsageError("--model and --loss are for runs of mpiopt train: leave them out")
    fitted = models(runs, world)
    console(f"reading {data}")
    with rows([data], fitted[0], world, console, job) as source:
        for model in fitted:
            model.demand_columns(source)
            model.demand_labels(source)
        console(f"scoring {counted(source.rows, 'row')} on {counted(world.size, 'rank')}")
        held = stacked(source, world)
        found = [_scored(job, model, held, world) for model in fitted]
    console.show(
        "\n\n".join([f"{data}: {counted(source.rows, 'row')}", *tables([path.stem for path in runs], found, job.calibration)])
    )
    if job.png is not None:
        with world.together(f"drawing {job.png}"):
            if world.rank == 0:
                _draw(job.png, runs, found)
        console.note(f"wrote {job.png}")
    return {
        "data": str(data),
        "rows": source.rows,
        "scores": [{"run": str(path), **one.said} for path, one in zip(runs, found, strict=True)],
    }


def _trainings(job: Score, world: "World", console: Console) -> dict[str, Any]:
    """Of runs of mpiopt train. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.reports.scores import tables
    from mpiopt.jobs.running.trained_run import OwnCode, is_training, read_trained
    from mpiopt.jobs.running.training_scores import scored
    from mpiopt.registry.code import is_code

    *runs, data = job.files
    job.demand_none(data)
    if job.weights or job.calibration or job.png:
        raise UsageError("--weights, --calibration and --png are for runs of mpiopt solve: leave them out")
    if other := [path for path in runs if not is_training(path, world)]:
        raise UsageError(f"{other[0]} is no run of mpiopt train, and others are: score one kind at a time")
    code = OwnCode(job.model, job.loss, tuple(filter(is_code, job.metric)))
    figures = tuple(name for name in job.metric if name not in code.metric)
    console(f"scoring {data} on {counted(world.size, 'rank')}")
    told = [scored(read_trained(path, code, world), str(data), figures, world) for path in runs]
    found, count = [one for one, _ in told], told[0][1]
    console.show("\n\n".join([f"{data}: {counted(count, 'row')}", *tables([path.stem for path in runs], found, False)]))
    scores = [{"run": str(path), **one.said} for path, one in zip(runs, found, strict=True)]
    return {"data": str(data), "rows": count, "scores": scores}


def _rows(model: "Fitted", share: "Share") -> "Rows":
    """A rank's rows with what a model says of them."""
    from mpiopt.metrics.figures import Rows

    return Rows(model.margins(share), model.labels(share.labels), share.weight)


def _scored(job: Score, fitted: "AnyFitted", share: "Share", world: "World") -> "Scored":
    """What is said of one model. Collective. Raises UsageError."""
    from mpiopt.io.runs.class_fitted import ClassFitted
    from mpiopt.jobs.reports.class_scores import ClassScores
    from mpiopt.jobs.reports.scores import Scored
    from mpiopt.metrics.class_figures import class_figures

    if not isinstance(fitted, ClassFitted):
        return _of_one_margin(job, fitted, _rows(fitted, share), world)
    if job.calibration or job.png:
        told = f"{fitted.path} has {len(fitted.classes)}"
        raise UsageError(f"--calibration and --png are for two classes, and {told}: leave them out")
    several = class_figures(world, fitted.rows([share], share.weight))
    shown = _asked(job, fitted, several.overall)
    return Scored(shown, None, None, None if job.metric else ClassScores(fitted.classes, several))


def _asked(job: Score, model: "AnyFitted", found: dict[str, float]) -> dict[str, float]:
    """The figures that are to be shown. Raises UsageError."""
    if unknown := [name for name in job.metric if name not in found]:
        raise UsageError(f"--metric {unknown[0]}: {model.path} is scored by {', '.join(found)}")
    return {name: found[name] for name in job.metric or found}


def _of_one_margin(job: Score, model: "Fitted", rows: "Rows", world: "World") -> "Scored":
    """What is said of a model of two classes, or of numbers. Collective. Raises UsageError."""
    from mpiopt.jobs.reports.scores import Scored
    from mpiopt.metrics.figures import calibration, figures, ranked

    ranking = ranked(world, rows) if model.classes else None
    found = figures(world, model.family, rows, ranking)
    shown = _asked(job, model, found)
    curve = ranking.curve(world) if job.png and ranking is not None else None
    table = calibration(world, model.family, rows) if (job.calibration or job.png) and model.family.chance else None
    return Scored(shown, curve, table)


def _draw(path: Path, runs: list[Path], found: "list[Scored]") -> None:
    from mpiopt.jobs.reports.plots import save
    from mpiopt.jobs.reports.scores_plot import figure

    try:
        save(figure([run.stem for run in runs], found), path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
