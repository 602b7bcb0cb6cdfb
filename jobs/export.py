"""``mpiopt export``: a model as a file for other programs."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.options import Plugins

if TYPE_CHECKING:
    from mpiopt.io.runs.class_coefficients import ClassCoefficients
    from mpiopt.io.runs.coefficients import Coefficients
    from mpiopt.io.runs.exports import ExportFormat


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the coefficients of a run of mpiopt solve for other programs, those that are not 0 by name.

    csv, json and parquet have the features' names, or their numbers in the text, and are of the features before they were
    scaled, as all are; liblinear is a model file for LIBLINEAR's predict, onnx a graph from rows to margins, probabilities
    and classes, skops an estimator of scikit-learn, vw a model of Vowpal Wabbit (extras of these names; parquet: arrow). Of
    several classes csv, json, liblinear, onnx and skops. Of a training: state_dict is what torch loads into the module (extra:
    torch), safetensors the same tensors by name.
    """

    run: Path = field(kw_only=False)
    """A run of mpiopt solve; of mpiopt train for the last two kinds."""
    to: Literal["csv", "json", "parquet", "liblinear", "onnx", "skops", "vw", "state_dict", "safetensors"] = "csv"
    """What to write."""
    out: Path | None = None
    """Where to. [default: in the working folder, by the run's name: RUN.csv, RUN.onnx ...; .model for liblinear,
    .pt for state_dict]"""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace an earlier export of the kind; nothing else is."""
    plugin: Plugins = ()


def run(job: Export, world: None, console: Console) -> dict[str, Any]:
    """Read and write. Raises UsageError, DataError, CapabilityError."""
    if job.to in ("state_dict", "safetensors"):
        return _module(job, console)
    from mpiopt.io.runs.exports import write

    found, form = _found(job)
    out = job.out or Path(job.run.name.removesuffix(".h5") + form.suffix)
    try:
        write(found, out, form, overwrite=job.overwrite)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {(error.strerror or str(error)).lower()}") from error
    if found.normalize != "none":
        console.note("note: the model is of rows of length 1: divide each by its Euclidean norm before it is applied")
    console.show(f"{out}: {len(found.model.x):,} features, {int((found.model.x != 0).sum()):,} of their coefficients not 0")
    return {"run": str(job.run), "to": job.to, "out": str(out)}


def _module(job: Export, console: Console) -> dict[str, Any]:
    """The tensors of a training. Raises UsageError, DataError, CapabilityError."""
    from mpiopt.io.disk.held_name import HeldName
    from mpiopt.io.runs.export_module import arrays_of, write_safetensors
    from mpiopt.training.torch.loading import save

    arrays = arrays_of(job.run)
    out = job.out or Path(job.run.name.removesuffix(".h5") + (".pt" if job.to == "state_dict" else ".safetensors"))
    if out.exists() and not (job.overwrite and _such(out, job.to)):
        what = " and is no such export: name another file" if job.overwrite else ": name another file, or give `overwrite`"
        raise UsageError(f"{out} exists{what}")
    held = HeldName(out, lambda leftover: True)
    try:
        (save if job.to == "state_dict" else write_safetensors)(arrays, held.draft())
        held.publish()
    except OSError as error:
        raise DataError(f"{out} cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        held.close()
    numbers = sum(array.size for array in arrays.values())
    console.show(f"{out}: {len(arrays)} tensors, {numbers:,} numbers")
    return {"run": str(job.run), "to": job.to, "out": str(out)}


def _such(path: Path, kind: str) -> bool:
    """Whether a file begins as an export of this kind does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return head.startswith(b"PK") if kind == "state_dict" else head[8:] == b"{"


def _found(job: Export) -> "tuple[Coefficients | ClassCoefficients, ExportFormat]":
    """The coefficients and how they are written. Raises UsageError, DataError, CapabilityError."""
    from mpiopt.io.runs.class_coefficients import ClassCoefficients
    from mpiopt.io.runs.class_exports import CLASS_FORMATS
    from mpiopt.io.runs.class_fitted import of_classes
    from mpiopt.io.runs.coefficients import Coefficients
    from mpiopt.io.runs.exports import FORMATS, ExportFormat

    several = of_classes(job.run)
    formats = dict(CLASS_FORMATS if several else FORMATS)
    if job.to == "skops":
        from mpiopt.estimators.export_skops import write_skops

        formats["skops"] = ExportFormat(".skops", b"PK", write_skops)
    if job.to not in formats:
        raise CapabilityError(f"{job.run} is a model of several classes, which {job.to} is not made for: use --to csv or json")
    return (ClassCoefficients if several else Coefficients).read(job.run), formats[job.to]
