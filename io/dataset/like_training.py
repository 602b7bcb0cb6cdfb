"""What a test set takes from its training set, so that a column and a label mean the same in both."""

from pathlib import Path

from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.io.dataset.index import Index, Numbering
from mpiopt.io.dataset.labels import Labels, shown
from mpiopt.io.dataset.reading import Dataset
from mpiopt.words import counted


def training_set(path: str | Path, world: World, base: str, features: int | None, normalize: str) -> Index:
    """The index of the training set, where it says what is needed and nothing given beside it says otherwise.

    Collective. Raises UsageError or DataError on every rank.
    """
    index = Dataset.open(path, world).index
    number = base if index.numbering is None else str(index.numbering.base)
    if number == "auto":
        raise UsageError(f"{path} does not say by which number its first feature went: give `base=0` or `base=1` as well, "
                         "whichever its text had")  # fmt: skip
    for name, given, wanted in (("base", base, number), ("features", features, index.cols),
                                ("normalize", normalize, index.normalize)):  # fmt: skip
        if given not in (wanted, None, "auto", "none"):
            raise UsageError(f"`{name}={given}` contradicts `like`: {path} has {wanted}; leave one of them out")
    return index if index.numbering is not None else _numbered(index, int(number))


def _numbered(index: Index, base: int) -> Index:
    return Index(**{**vars(index), "numbering": Numbering(base, "given")})


def notes(index: Index, like: Index | None) -> list[str]:
    """What is to be said of a set from text, made like ``like``, in sentences."""
    numbering = index.numbering
    out: list[str] = []
    if numbering is None:
        return out
    if numbering.by == "guessed":
        out.append("the first feature is taken to be number 1, since no index 0 occurs; if that is wrong give `base=0`, and "
                   "`like=TRAIN.h5` for a test set")  # fmt: skip
    if numbering.dropped:
        left = counted(numbering.dropped, "entry", "entries")
        out.append(f"{left} of features beyond the {index.cols:,} of {numbering.like} left out")
    if like is not None and (strange := unknown_labels(index.labels, like.labels)):
        out.append(f"labels that {numbering.like} does not have: {', '.join(map(shown, strange[:8]))}"
                   f"{', ...' if len(strange) > 8 else ''}")  # fmt: skip
    return out


def unknown_labels(labels: Labels, known: Labels) -> list[float]:
    """Labels of one set that another does not have; none where those are real numbers."""
    if known.distinct is None:
        return []
    return [label for label in labels.distinct or (labels.least, labels.greatest) if label not in known.distinct]
