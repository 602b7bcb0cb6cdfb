"""``mpiopt describe``: what a data set holds, and whether its checksums hold."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from mpiopt.errors import DataError
from mpiopt.jobs.cli.console import Console, size
from mpiopt.jobs.cli.options import Plugins
from mpiopt.losses.registry import catalogue
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.io.dataset.dense_row import Item
    from mpiopt.io.dataset.index import Index, Numbering
    from mpiopt.io.dataset.reading import Shards
    from mpiopt.io.dataset.recipe import Recipe
    from mpiopt.io.dataset.reduced_index import ReducedIndex


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say what a data set holds: shape, labels, shards, how it was made, and whether its checksums hold."""

    data: Path = field(kw_only=False)
    """DATA.h5, written by mpiopt convert."""
    check: bool = True
    """Read every shard and verify its checksums."""
    plugin: Plugins = ()


def run(job: Describe, world: None, console: Console) -> dict[str, Any]:
    """Read the index, check the shards, print. Raises DataError for a file that is missing or damaged."""
    from mpiopt.io.dataset.dense import open_either

    dataset = open_either(job.data)
    damage = _damage(dataset, console) if job.check else []
    console.show(text(job.data, dataset.index, len(damage) if job.check else None))
    if damage:
        raise DataError(damage[0])
    if job.check:
        _demand_reduced(dataset, console)
    return facts(job.data, dataset.index) | {"checksums": "hold" if job.check else "not checked"}


def _damage(dataset: "Shards", console: Console) -> list[str]:
    found = []
    for number, shard in enumerate(dataset.index.shards):
        console.live_line(f"checking {shard.name}")
        try:
            dataset.verify(number)
        except DataError as error:
            found.append(str(error))
    return found


def _demand_reduced(dataset: "Shards", console: Console) -> None:
    """See that rows in fewer columns, where a set has such, are what would be made of its own. Raises DataError."""
    from mpiopt.io.dataset.reading import Dataset
    from mpiopt.io.dataset.reduced_check import verify_reduced

    if isinstance(dataset, Dataset) and dataset.index.reduced is not None:
        console.live_line("checking rows in fewer columns")
        verify_reduced(dataset)


def facts(path: Path, index: "Index") -> dict[str, Any]:
    """What ``--json`` prints about a data set."""
    labels = index.labels
    return {
        "data": str(path),
        "rows": index.rows,
        "features": index.cols,
        **_kind_facts(index),
        "labels": {
            "distinct": labels.distinct,
            "rows": labels.counts,
            "least": labels.least,
            "greatest": labels.greatest,
            "mean": labels.mean,
            "positive": labels.plus,
        },
        "numbering": None if index.numbering is None else index.numbering._asdict(),
        "beside": index.beside,
        "reduced": None if index.reduced is None else {"columns": index.reduced.cols, "nonzeros": int(index.reduced.nnz.sum())},
        "normalize": index.normalize,
        "shuffle": index.shuffle,
        "sources": index.sources,
        "shards": [shard._asdict() for shard in index.shards],
        "created": index.created,
        "version": index.version,
    }


def _kind_facts(index: "Index") -> dict[str, Any]:
    if index.item is not None:
        return {"kind": "dense", "classes": int(index.labels.greatest) + 1, "item": vars(index.item)}
    lengths = dict(zip(("least", "median", "greatest"), index.lengths, strict=True))
    return {"kind": "sparse", "nonzeros": index.nnz, "row_lengths": lengths, "losses": losses(index)}


def text(path: Path, index: "Index", damaged: int | None) -> str:
    """The description for people, within 80 columns; ``damaged`` : shards that are, None if nobody has looked."""
    shards = len(index.shards)
    lines = {
        "rows": f"{index.rows:,}",
        **(_sparse_lines(index) if index.item is None else _dense_lines(index, index.item)),
        "order": "as in the sources" if index.shuffle is None else f"shuffled with seed {index.shuffle}",
        "shards": f"{shards} of {size(sum(shard.nbytes for shard in index.shards))} in all",
        "checksums": "not checked" if damaged is None else f"{damaged} of {shards} damaged" if damaged else "hold",
        "sources": ", ".join(index.sources),
        "written": f"{index.created} by mpiopt {index.version}",
    }
    shown = (
        fill(f"{name:12}{value}", 79, initial_indent="  ", subsequent_indent=" " * 14, break_on_hyphens=False)
        for name, value in lines.items()
    )
    return "\n".join([str(path), *shown])


def _sparse_lines(index: "Index") -> dict[str, str]:
    least, median, greatest = index.lengths
    return {
        "features": f"{index.cols:,}{_numbers(index.numbering)}{', those that occurred' * (index.ids is not None)}",
        **({} if index.recipe is None else {"columns": _columns(index.recipe)}),
        **({} if index.scale is None else {"scaled": "each feature by a number of its own, which coef and export undo"}),
        "nonzeros": f"{index.nnz:,} ({100 * index.nnz / index.rows / index.cols:.3g} % of all entries)",
        "in a row": f"{least:,} to {greatest:,}, mean {index.nnz / index.rows:.4g}, median {median:g}",
        "labels": _labels(index) + _plus(index),
        **({"beside": f"{' and '.join(index.beside)} of every row"} if index.beside else {}),
        "for --loss": ", ".join(losses(index)),
        "normalised": {"none": "no", "l2": "rows to Euclidean norm 1"}[index.normalize],
        **({} if index.reduced is None else {"reduced": _reduced(index.reduced)}),
    }


def _reduced(reduced: "ReducedIndex") -> str:
    """What lies beside X."""
    nnz = int(reduced.nnz.sum())
    return f"to {reduced.cols:,} columns and {nnz:,} nonzeros beside these, for spcg with l2 or no penalty"


def reduction_text(index: "Index") -> str:
    """That there are rows in fewer columns, in a few words with a comma behind them; "" where there are none."""
    return "" if index.reduced is None else f"also in {index.reduced.cols:,} columns, "


def _numbers(numbering: "Numbering | None") -> str:
    """How the text numbered them."""
    if numbering is None:
        return ""
    how = {
        "given": "as given",
        "like": f"as in {numbering.like}",
        "seen": "an index 0 occurs",
        "guessed": "a guess, since no index 0 occurs",
    }[numbering.by]
    left = f"; {counted(numbering.dropped, 'entry', 'entries')} beyond them left out" if numbering.dropped else ""
    return f", the first is number {numbering.base} in the text ({how}){left}"


def _columns(recipe: "Recipe") -> str:
    """What the columns of a table have become."""
    kinds = [column.kind for column in recipe.columns]
    words = {"number": "numbers", "category": "texts", "list": "lists", "bag": "lists of texts"}
    told = [f"{kinds.count(kind):,} of {word}" for kind, word in words.items() if kind in kinds]
    label = "" if recipe.label is None else f"; labels of {recipe.label}"
    return f"{', '.join(told)}{', hashed' * recipe.hashed}{label}"


def _plus(index: "Index") -> str:
    """Which of two classes is which."""
    return "" if index.labels.plus is None else f"; {_named(index, index.labels.plus)} is +1"


def _named(index: "Index", label: float) -> str:
    """A label as its source called it."""
    from mpiopt.io.dataset.labels import shown

    return shown(label) if index.recipe is None else index.recipe.class_of(shown(label))


def losses(index: "Index") -> list[str]:
    """The losses that take these labels, some of them one class against the rest (--positive)."""
    return [name for name, entry in catalogue().items() if entry.build.labels.takes(index.labels)]


def _dense_lines(index: "Index", item: "Item") -> dict[str, str]:
    return {
        "a row": item.text(),
        "stored as": item.stored + (f", divided by {item.scale:g} when read" if item.scale != 1 else ""),
        "labels": labels_text(index) if index.labels.distinct is None else _labels(index),
        "normalised": "no" if item.mean is None or item.std is None else _channels(item.mean, item.std),
    }


def _channels(means: tuple[float, ...], deviations: tuple[float, ...]) -> str:
    if len(means) > 4:
        return f"each of {len(means)} features to mean 0 and deviation 1 when read"
    pairs = ", ".join(f"{mean:.4g} and {std:.4g}" for mean, std in zip(means, deviations, strict=True))
    return f"when read, by mean and deviation {pairs}"


def contents(index: "Index") -> str:
    """What the rows are made of, in a few words: ``123 features, 451,592 nonzeros`` or ``28 x 28 uint8``."""
    if index.item is None:
        return f"{counted(index.cols, 'feature')}, {counted(index.nnz, 'nonzero')}"
    return f"{index.item.text()} {index.item.stored}"


def labels_text(index: "Index") -> str:
    """The labels in a few words; dense rows have classes, however many."""
    if index.item is not None and index.labels.distinct is None:
        return f"{index.labels.least:.0f} to {index.labels.greatest:.0f}"
    return ", ".join(index.recipe.classes) if index.recipe is not None and index.recipe.classes else index.labels.text()


def _labels(index: "Index") -> str:
    labels = index.labels
    if labels.distinct is None:
        return f"{labels.text()}, mean {labels.mean:.6g}"
    if labels.counts is None:
        return labels.text()
    return ", ".join(
        f"{_named(index, value)}: {counted(count, 'row')} ({100 * count / index.rows:.3g} %)"
        for value, count in zip(labels.distinct, labels.counts, strict=True)
    )
