"""Text whose features go by hashes: those that occur become columns, on 1, 2 and 3 ranks; the numbers are kept and used."""

import re
from io import BytesIO
from itertools import chain

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import read_index
from mpiopt.io.dataset.made_features import Numbers
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.runs.coefficients import Coefficients
from mpiopt.io.runs.exports import FORMATS
from mpiopt.io.text import svmlight
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from tests.forged import forged, put
from tests.spmd.test_convert import assert_same_rows, lay, rows_of
from tests.svm_text import random_text

SIZES = pytest.mark.ranks(1, 2, 3)
LARGEST = 2**64 - 1
IDS = sorted(
    {0, 7, 2**31 - 1, 2**31, 10**18, 10**19 - 1, 10**19, LARGEST - 1, LARGEST}
    | set(np.random.default_rng(5).integers(0, LARGEST, 21, np.uint64).tolist())
)


def renumbered(text: str, ids) -> str:
    """The text with feature k called ids[k]."""
    return re.sub(r"(?<= )(\d+):", lambda match: f"{ids[int(match[1])]}:", text)


def backwards(text: str) -> str:
    """The text with the entries of every row the other way round."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return "".join(" ".join([label, *reversed(entries)]) + "\n" for label, *entries in lines)


@SIZES
@pytest.mark.parametrize("memory", [1 << 30, 1], ids=["held", "scratch"])
@pytest.mark.parametrize("indices", ["refuse", "sort", "sum"])
def test_it_is_the_text_with_features_numbered_without_gaps(world, shared_tmp, memory, indices, monkeypatch):
    monkeypatch.setattr(svmlight, "ROOM", 64)  # several runs, each with numbers of its own
    plain = "1 0:1\n" + random_text(90, len(IDS), base=0)
    used = sorted({int(found) for found in re.findall(r" (\d+):", plain)})
    dense = renumbered(plain, {old: new for new, old in enumerate(used)})
    hashed = renumbered(plain, IDS)
    if indices != "refuse":
        dense, hashed = backwards(dense), backwards(hashed)
    how = {"memory": memory, "indices": indices, "scale": "max"}
    convert(world, [lay(world, shared_tmp / "a.svm", dense)], shared_tmp / "a.h5", TextOptions(**how))
    found = convert(world, [lay(world, shared_tmp / "h.svm", hashed)], shared_tmp / "h.h5", TextOptions(**how, compact=True))
    assert_same_rows(*(rows_of(Dataset.open(shared_tmp / f"{name}.h5", world)) for name in "ah"))
    assert found.ids.tolist() == [IDS[k] for k in used] and found.numbering is None
    assert_array_equal(read_index(shared_tmp / "h.h5").ids, found.ids)


@SIZES
def test_a_value_that_comes_twice_is_added_up_or_told_by_its_number(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", f"1 {LARGEST}:1 5:2 {LARGEST}:3\n-1 {2**40}:1 9:1\n")
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None, compact=True, indices="sum"))
    _, _, columns, values = rows_of(Dataset.open(shared_tmp / "a.h5", world))
    assert_array_equal(columns, [0, 3, 1, 2])
    assert_array_equal(values, [2, 4, 1, 1])
    with pytest.raises(DataError, match=f"a row has the index {LARGEST} twice"):
        convert(world, [text], shared_tmp / "b.h5", TextOptions(compact=True, indices="sort"))


@SIZES
def test_a_test_set_has_the_columns_of_its_training_set(world, shared_tmp):
    train = lay(world, shared_tmp / "a.svm", f"1 3:1 {2**50}:2\n-1 {LARGEST}:1\n")
    test = lay(world, shared_tmp / "t.svm", f"1 4:1 {2**50}:1 {2**50 + 1}:1\n-1 {LARGEST - 1}:5 {LARGEST}:2 3:1\n")
    convert(world, [train], shared_tmp / "a.h5", TextOptions(shuffle=None, compact=True))
    how = TextOptions(shuffle=None, like=shared_tmp / "a.h5", indices="sort")
    index = convert(world, [test], shared_tmp / "t.h5", how)
    _, ends, columns, values = rows_of(Dataset.open(shared_tmp / "t.h5", world))
    assert_array_equal(columns, [1, 0, 2])
    assert (ends.tolist(), values.tolist()) == ([0, 1, 3], [1, 1, 2])
    assert index.numbering.dropped == 3 and index.ids.tolist() == [3, 2**50, LARGEST]


@pytest.mark.ranks(1, 2)
def test_what_cannot_be_is_told(world, shared_tmp):
    plain = lay(world, shared_tmp / "a.svm", "1 1:1\n-1 2:1\n")
    convert(world, [plain], shared_tmp / "a.h5", TextOptions())
    for given, told in (
        ({"base": "1"}, "`base` is of features that are numbered from the first one on"),
        ({"features": 9}, "`features` is of"),
        ({"names": plain}, "`names` is of"),
        ({"like": shared_tmp / "a.h5"}, "`compact` contradicts `like`"),
    ):
        with pytest.raises(UsageError, match=told):
            convert(world, [plain], shared_tmp / "b.h5", TextOptions(compact=True, **given))
    for number in (2**64, 2**64 + 5, 3 * 10**19, 10**20):
        wide = lay(world, shared_tmp / "w.svm", f"1 1:1\n-1 5:2 {number}:1\n")
        with pytest.raises(DataError, match=r"w\.svm, line 2: the index of .* has more than 64 bits"):
            convert(world, [wide], shared_tmp / "b.h5", TextOptions(compact=True))
    with pytest.raises(DataError, match=r"line 2: the index of .* is above 2147483647, .*: `compact` makes columns"):
        convert(world, [wide], shared_tmp / "b.h5", TextOptions())


@pytest.mark.ranks(1)
def test_numbers_in_a_file_ascend(world, shared_tmp):
    convert(world, [lay(world, shared_tmp / "a.svm", "1 1:1\n-1 2:1\n")], shared_tmp / "a.h5", TextOptions(compact=True))
    forged(shared_tmp / "a.h5", put("made/ids", np.array([2, 1], np.uint64)))
    with pytest.raises(DataError, match="its features had numbers that do not ascend"):
        read_index(shared_tmp / "a.h5")


def test_features_are_called_by_their_numbers():
    names = Numbers(np.array(IDS, np.uint64))
    assert list(names) == [str(number) for number in IDS] and list(names[1:3]) == [str(IDS[1]), str(IDS[2])]
    assert [names.index(name) for name in names] == list(range(len(IDS)))
    assert not any(text in names for text in ("8", "07", "-1", "x", str(2**64), ""))
    with pytest.raises(ValueError, match="there is no feature 8"):
        names.index("8")


def test_a_model_goes_by_the_numbers_in_the_text(series, tmp_path):
    """Solved, listed, exported, scored and applied, it is the one of the same rows numbered without gaps."""
    plain = random_text(80, 12, base=1, labels=(0, 1))
    (tmp_path / "a.svm").write_text(plain)
    (tmp_path / "h.svm").write_text(renumbered(plain, [None, *IDS[-12:]]))
    a, h = ([f"{tmp_path}/{name}{end}" for end in (".svm", ".h5", "-run.h5", ".csv")] for name in "ah")
    done = series(
        2,
        ["convert", a[0], a[1]],
        ["convert", h[0], h[1], "--compact"],
        *(["solve", one[1], "--l2", "1e-2", "--deterministic", "--out", one[2]] for one in (a, h)),
        *(["predict", one[2], one[0], "--out", one[3]] for one in (a, h)),
        ["score", h[2], h[0], "--metric", "roc_auc"],
    )
    assert all(one.returncode == 0 for one in done), [one.stderr for one in done]
    rows = [(tmp_path / f"{name}.csv").read_text() for name in "ah"]
    assert rows[0] == rows[1] and "AUC" in done[-1].stdout
    plain_model, model = (dict(chain(*Coefficients.read(one[2]).nonzero())) for one in (a, h))
    assert model == {str(IDS[int(name) - 13]): value for name, value in plain_model.items()}
    with pytest.raises(UsageError, match="this model has numbers with gaps"):
        FORMATS["liblinear"].writer(Coefficients.read(h[2]), BytesIO())
