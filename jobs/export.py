"""``mpiopt export``: a model as a file for other programs."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mpiopt.errors import DataError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.options import Plugins


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the coefficients of a run of mpiopt solve for other programs, those that are not 0 by name.

    csv, json and parquet have the features' names, or their numbers in the text, and are of the features before they were
    scaled, as all are; liblinear is a model file for LIBLINEAR's predict, onnx a graph from rows to margins, probabilities
    and classes, skops an estimator of scikit-learn, vw a model of Vowpal Wabbit (extras of these names; parquet: arrow).
    """

    run: Path = field(kw_only=False)
    """A run of mpiopt solve."""
    to: Literal["csv", "json", "parquet", "liblinear", "onnx", "skops", "vw"] = "csv"
    """What to write."""
    out: Path | None = None
    """Where to. [default: in the working folder, by the run's name: RUN.csv, RUN.onnx ...; .model for liblinear]"""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace an earlier export of the kind; nothing else is."""
    plugin: Plugins = ()


def run(job: Export, world: None, console: Console) -> dict[str, Any]:
    """Read and write. Raises UsageError, DataError, CapabilityError."""
    from mpiopt.io.runs.coefficients import Coefficients
    from mpiopt.io.runs.exports import FORMATS, ExportFormat, write

    form = FORMATS.get(job.to)
    if form is None:
        from mpiopt.estimators.export_skops import write_skops

        form = ExportFormat(".skops", b"PK", write_skops)
    found = Coefficients.read(job.run)
    out = job.out or Path(job.run.name.removesuffix(".h5") + form.suffix)
    try:
        write(found, out, form, overwrite=job.overwrite)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {(error.strerror or str(error)).lower()}") from error
    if found.normalize != "none":
        console.note("note: the model is of rows of length 1: divide each by its Euclidean norm before it is applied")
    console.show(f"{out}: {len(found.model.x):,} features, {int((found.model.x != 0).sum()):,} of their coefficients not 0")
    return {"run": str(job.run), "to": job.to, "out": str(out)}
