"""What a test set takes from its training set, or from a run on it, so that a column and a label mean the same in both."""

from pathlib import Path
from typing import NamedTuple

from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.io.dataset.index import Index
from mpiopt.io.dataset.labels import Labels, shown
from mpiopt.io.dataset.made_features import NO_MADE, Made
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.disk.file_kind import RUN, schema_of
from mpiopt.io.runs.beside_solution import read_made
from mpiopt.io.runs.run_file import read_run
from mpiopt.words import counted


class Frame(NamedTuple):
    """What the columns and labels of a data set mean.

    first : number of the first feature in text. normalize : none or l2. positive : the label that is +1 where nothing else
    is said. labels : of its rows, None where only a run tells of it. made : how the features were made.
    """

    name: str
    cols: int
    first: int
    normalize: str
    positive: float | None = None
    labels: Labels | None = None
    made: Made = NO_MADE

    @staticmethod
    def of(index: Index, name: str, base: str = "auto") -> "Frame":
        """That of a data set; ``base`` tells of one that does not say so. Not collective. Raises UsageError."""
        if index.recipe is not None or index.ids is not None:
            return Frame(name, index.cols, 0, index.normalize, index.labels.plus, index.labels, index.made)
        if index.numbering is None and base == "auto":
            raise UsageError(
                f"{name} does not say by which number its first feature went: give `base=0` or `base=1` as well, "
                "whichever its text had"
            )
        first = int(base) if index.numbering is None else index.numbering.base
        return Frame(name, index.cols, first, index.normalize, index.labels.plus, index.labels, index.made)

    @staticmethod
    def of_run(path: str | Path) -> "Frame":
        """That of the data which a run was on. Not collective. Raises DataError, UsageError."""
        told, made = read_run(path).attributes, read_made(path)
        if made.recipe is not None or made.ids is not None:
            return Frame(str(path), told["features"], 0, str(told.get("normalize", "none")), made=made)
        if not {"features", "number_base", "normalize"} <= told.keys():
            raise UsageError(f"{path} does not say how the text of its data was numbered: give the data set in its place")
        return Frame(str(path), told["features"], told["number_base"], told["normalize"], made=made)


def training_frame(path: str | Path, world: World, base: str, features: int | None, normalize: str) -> Frame:
    """The frame of a training set (DATA.h5) or of a run on it (RUN.h5), where nothing given beside it says otherwise.

    Collective. Raises UsageError or DataError on every rank.
    """
    with world.together(f"reading {path}"):
        run = Frame.of_run(path) if world.rank == 0 and schema_of(Path(path)) == RUN else None
    frame = world.tell(run) or Frame.of(Dataset.open(path, world).index, str(path), base)
    for name, given, wanted in (
        ("base", base, str(frame.first)),
        ("features", features, frame.cols),
        ("normalize", normalize, frame.normalize),
    ):
        if given not in (wanted, None, "auto", "none"):
            raise UsageError(f"`{name}={given}` contradicts `like`: {path} has {wanted}; leave one of them out")
    return frame


def notes(index: Index, like: Frame | None) -> list[str]:
    """What is to be said of a set from text or a table, made like ``like``, in sentences."""
    numbering = index.numbering
    out: list[str] = []
    if index.recipe is not None and index.recipe.shared and like is None:
        out.append(
            f"{index.recipe.shared:,} of {counted(index.recipe.tokens, 'name')} share a feature with another: more features, "
            f"`hash={4 * index.cols}`, would keep more of them apart"
        )
    if numbering is None:
        return out
    if numbering.by == "guessed":
        out.append(
            "the first feature is taken to be number 1, since no index 0 occurs; if that is wrong give `base=0`, and "
            "`like=TRAIN.h5` for a test set"
        )
    if numbering.dropped:
        left = counted(numbering.dropped, "entry", "entries")
        out.append(f"{left} of features beyond the {index.cols:,} of {numbering.like} left out")
    if like is not None and like.labels is not None and (strange := unknown_labels(index.labels, like.labels)):
        out.append(
            f"labels that {numbering.like} does not have: {', '.join(map(shown, strange[:8]))}"
            f"{', ...' if len(strange) > 8 else ''}"
        )
    return out


def unknown_labels(labels: Labels, known: Labels) -> list[float]:
    """Labels of one set that another does not have; none where those are real numbers."""
    if known.distinct is None:
        return []
    return [label for label in labels.distinct or (labels.least, labels.greatest) if label not in known.distinct]
