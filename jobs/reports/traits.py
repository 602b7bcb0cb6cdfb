"""What a training or a run of a study was of, in words: what runs share, what sets them apart, and names that do."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.reports.comparison import Trait, compressing, labels
from mpiopt.words import counted

Told = Mapping[str, Any]


def _data(told: Told) -> str:
    """The rows; a study's are its own, and go without another name."""
    name = told.get("dataset", "unnamed data")
    counts = ", ".join(f"{told[count]:,} {count}" for count in ("rows", "classes") if count in told)
    return counts if name == told.get("study") else f"{name}: {counts}"


def _test(told: Told) -> str | None:
    return told.get("test") and f"examined on {told['test']}"


def _model(told: Told) -> str | None:
    return told.get("model") and f"{told['model']}, {told.get('parameters', 0):,} parameters"


def _counted(name: str, noun: str, told: Told) -> str | None:
    return counted(int(told[name]), noun) if name in told else None


def _batch(told: Told) -> str | None:
    return f"batch {told['batch']}" if "batch" in told else None


def _seed(told: Told) -> str | None:
    return f"seed {told['seed']}" if "seed" in told else None


def _text(name: str, told: Told) -> str | None:
    return told.get(name)


RANKS, WORKERS = partial(_counted, "world_size", "rank"), partial(_counted, "workers", "worker")
TRAITS = (
    partial(_text, "study"),
    partial(_text, "method"),
    _data,
    _test,
    _model,
    compressing,
    partial(_text, "rule"),
    _batch,
    partial(_text, "ownership"),
    RANKS,
    WORKERS,
)
NAMING = (
    compressing,
    partial(_text, "model"),
    partial(_text, "rule"),
    _batch,
    RANKS,
    WORKERS,
    _seed,
)  # traits that tell runs apart


def names_of(runs: Sequence[RunData]) -> tuple[str, ...]:
    """Runs of a study have names of their own, which are their files'; others are called by what tells them apart."""
    stems = [run.path.stem for run in runs]
    named = all("study" in run.attributes for run in runs) and len(set(stems)) == len(runs)
    return tuple(stems) if named else labels(runs, NAMING)


def shared(runs: Sequence[RunData]) -> str:
    """What all runs have in common."""
    return "; ".join(filter(None, (trait(runs[0].attributes) for trait in TRAITS if _same(trait, runs))))


def own(runs: Sequence[RunData], names: Sequence[str]) -> tuple[str, ...]:
    """What each has of its own that is not in its name."""
    apart = [trait for trait in TRAITS if not _same(trait, runs)]
    said = [
        [text for trait in apart if (text := trait(run.attributes)) and text not in name]
        for run, name in zip(runs, names, strict=True)
    ]
    return tuple("; ".join(texts) for texts in said)


def _same(trait: Trait, runs: Sequence[RunData]) -> bool:
    return len({trait(run.attributes) for run in runs}) == 1
