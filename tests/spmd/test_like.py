"""A test set made like its training set: the same columns, normalisation and classes, and all of it on record."""

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import Numbering, read_index
from mpiopt.io.dataset.labels import binary_labels
from mpiopt.io.dataset.like_training import Frame, notes
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.source import open_source
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from tests.forged import forged
from tests.svm_text import random_text

SIZES = pytest.mark.ranks(1, 2, 3)
TRAIN = "2 0:1 3:2\n7 1:1\n2 2:4 5:1\n7 0:3\n"  # an index 0, labels 2 and 7
TEST = "7 1:3 2:4 9:1\n7 3:2\n7 5:1 6:5 7:1\n"  # none, one label, three features that are new


def laid(world, path, content):
    """A text file written by rank 0. Collective."""
    with world.together("writing"):
        if world.rank == 0:
            path.write_text(content)
    return path


def dense(path, world):
    """All rows as an array, and the labels as +1 and -1."""
    dataset = Dataset.open(path, world)
    matrix, y, *_ = dataset.read(0, dataset.rows)
    out = np.zeros(matrix.shape)
    for i in range(len(y)):
        span = slice(*matrix.indptr[i : i + 2])
        out[i, matrix.indices[span]] = matrix.data[span]
    return out, y, dataset.index


@SIZES
@pytest.mark.parametrize("normalize", ["none", "l2"])
def test_columns_normalisation_and_classes_are_those_of_the_training_set(world, shared_tmp, normalize):
    train, test = laid(world, shared_tmp / "a.svm", TRAIN), laid(world, shared_tmp / "t.svm", TEST)
    convert(world, [train], shared_tmp / "a.h5", TextOptions(normalize=normalize, shuffle=None))
    convert(world, [test], shared_tmp / "t.h5", TextOptions(like=shared_tmp / "a.h5", shuffle=None))
    rows, _, index = dense(shared_tmp / "t.h5", world)
    wanted = np.zeros((3, 6))
    wanted[[0, 0, 1, 2], [1, 2, 3, 5]] = 3, 4, 2, 1
    assert_allclose(rows, wanted / (np.linalg.norm(wanted, axis=1, keepdims=True) if normalize == "l2" else 1), rtol=1e-6)
    assert index.numbering == Numbering(0, "like", str(shared_tmp / "a.h5"), 3) and index.normalize == normalize
    assert dense(shared_tmp / "a.h5", world)[2].numbering == Numbering(0, "seen")
    assert index.labels.plus == 7 and index.labels.one
    said = notes(index, Frame.of(read_index(shared_tmp / "a.h5"), ""))
    assert len(said) == 1 and said[0].startswith("3 entries of features beyond the 6 of")


@SIZES
@pytest.mark.parametrize("base", [0, 1])
def test_any_part_of_the_rows_made_like_the_whole_has_its_columns(world, shared_tmp, base):
    """Whatever indices the part happens to have."""
    lines = random_text(60, 12, seed=base, base=base).splitlines(keepends=True)
    whole = laid(world, shared_tmp / "a.svm", "".join(lines))
    convert(world, [whole], shared_tmp / "a.h5", TextOptions(shuffle=None, base=str(base)))
    rows, y, _ = dense(shared_tmp / "a.h5", world)
    for lo, hi in ((0, 30), (55, 60), (40, 41)):
        part = laid(world, shared_tmp / f"{lo}.svm", "".join(lines[lo:hi]))
        convert(world, [part], shared_tmp / f"{lo}.h5", TextOptions(like=shared_tmp / "a.h5", shuffle=None))
        found, labels, index = dense(shared_tmp / f"{lo}.h5", world)
        assert_array_equal(found, rows[lo:hi])
        assert_array_equal(labels, y[lo:hi])
        assert index.numbering == Numbering(base, "like", str(shared_tmp / "a.h5"), 0)


@SIZES
def test_a_class_keeps_its_sign_in_a_set_that_has_others(world, shared_tmp):
    """Labels that the training set does not have are told of, and the positive one stays the positive one."""
    train = laid(world, shared_tmp / "a.svm", "0 1:1\n1 1:1\n")
    test = laid(world, shared_tmp / "t.svm", "1 1:1\n5 1:1\n")
    convert(world, [train], shared_tmp / "a.h5", TextOptions(base="1"))
    index = convert(world, [test], shared_tmp / "t.h5", TextOptions(like=shared_tmp / "a.h5", shuffle=None))
    labels = open_source(str(shared_tmp / "t.h5"), world).labels
    assert_array_equal(binary_labels(np.array([1.0, 5.0]), labels), [1, -1])
    assert notes(index, Frame.of(read_index(shared_tmp / "a.h5"), "")) == [
        f"labels that {shared_tmp / 'a.h5'} does not have: 5"
    ]


@SIZES
def test_a_guess_is_told_of_and_what_is_given_or_seen_is_not(world, shared_tmp):
    one, zero = laid(world, shared_tmp / "a.svm", "-1 1:1\n1 2:1\n"), laid(world, shared_tmp / "b.svm", "-1 0:1\n1 2:1\n")
    for source, base, by in ((one, "auto", "guessed"), (zero, "auto", "seen"), (one, "0", "given"), (one, "1", "given")):
        index = convert(world, [source], shared_tmp / "x.h5", TextOptions(base=base, overwrite=True))
        assert index.numbering == Numbering(int(by == "guessed" or base == "1"), by)
        assert read_index(shared_tmp / "x.h5").numbering == index.numbering
        assert [note[:35] for note in notes(index, None)] == ["the first feature is taken to be nu"] * (by == "guessed")
        world.barrier()


@SIZES
def test_what_contradicts_the_training_set_is_refused(world, shared_tmp):
    train, test = laid(world, shared_tmp / "a.svm", "-1 1:1\n1 2:1\n"), laid(world, shared_tmp / "t.svm", "1 0:1 1:1\n")
    convert(world, [train], shared_tmp / "a.h5", TextOptions(normalize="l2"))
    convert(world, [train], shared_tmp / "old.h5")
    with world.together("ageing"):
        if world.rank == 0:
            forged(shared_tmp / "old.h5", aged)
    for options, error, sentence in (
        ({"base": "0"}, UsageError, "`base=0` contradicts `like`: .* has 1"),
        ({"features": 9}, UsageError, "`features=9` contradicts `like`: .* has 2"),
        ({}, DataError, "line 1: '0:1' has index 0, but with `base=1` .given, or of the set in `like`"),
        ({"like": shared_tmp / "old.h5"}, UsageError, "does not say by which number its first feature went: give `base"),
        ({"like": shared_tmp / "old.h5", "normalize": "l2"}, UsageError, "does not say by which"),
        ({"like": shared_tmp / "old.h5", "normalize": "l2", "base": "1"}, UsageError, "`normalize=l2` contradicts .* none"),
    ):
        with pytest.raises(error, match=sentence):
            convert(world, [test], shared_tmp / "t.h5", TextOptions(**{"like": shared_tmp / "a.h5", **options}))
        assert not (shared_tmp / "t.h5").exists()
        world.barrier()
    index = convert(world, [test], shared_tmp / "t.h5", TextOptions(like=shared_tmp / "old.h5", base="0"))
    assert index.numbering == Numbering(0, "like", str(shared_tmp / "old.h5"))


def aged(file: h5py.File) -> None:
    """What data sets did not say before."""
    for name in ("label_positive", *(name for name in file.attrs if name.startswith("number_"))):
        del file.attrs[name]


@pytest.mark.ranks(1)
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], ("7", "2")),
        (["--positive", "2"], ("2", "7")),
        (["--positive", "< 5"], ("2", "7")),
        (["--loss", "least_squares"], None),
    ],
)
def test_a_run_says_which_label_is_which(world, shared_tmp, options, wanted, capsys):
    source = laid(world, shared_tmp / "a.svm", TRAIN)
    convert(world, [source], shared_tmp / "a.h5")
    call = parse(["solve", str(shared_tmp / "a.h5"), "--l2", "0.1", "--out", str(shared_tmp / "r.h5"), *options])
    found = call.run(call.job, world, Console())
    with h5py.File(shared_tmp / "r.h5") as file:
        for side, name in enumerate(("label_positive", "label_negative")):
            assert file.attrs.get(name) == found.get(name) == (None if wanted is None else wanted[side])
    shown = capsys.readouterr().out
    assert (f"labels     {wanted[0]} is +1, {wanted[1]} is -1" in shown) if wanted else ("labels" not in shown)
