"""What stands beside the label of a row: weights, offsets and names from text to the model, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from mpiopt.errors import DataError, MpioptError, UsageError
from mpiopt.io.dataset.index import read_index
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.text.convert import convert
from mpiopt.io.text.numbers import names, numbers
from mpiopt.io.text.options import TextOptions
from mpiopt.problems.penalties import L2

ROWS = 57
OPTIONS = TextOptions(values="float64", shuffle=3, shards=3)


def written(folder, rank: int, label=lambda y, w: f"{y:g}"):
    """Text of two files, and beside it weights and offsets; row i has the weight i, but no row the weight 0."""
    rng = np.random.default_rng(0)
    y, w = rng.choice([-1.0, 1.0], ROWS), np.arange(1.0, ROWS + 1)
    o = np.round(rng.standard_normal(ROWS), 6)
    if rank == 0:
        lines = [f"{label(a, b)} 1:{i + 1} {3 + i % 4}:0.5\n" for i, (a, b) in enumerate(zip(y, w, strict=True))]
        (folder / "a.svm").write_text("".join(lines[:20]))
        (folder / "b.svm").write_text("".join(lines[20:]))
        (folder / "w.txt").write_text("\n".join(map(str, w)) + "\n\n")
        (folder / "o.txt").write_text("".join(f" {v:.6f}\r\n" for v in o))
    return [folder / "a.svm", folder / "b.svm"], y, w, o


def check(data: Dataset, y, w, o) -> None:
    """Every row has what was beside it, wherever the shuffle has put it; its first entry says which one it was."""
    matrix, labels, weight, offset = data.read(0, ROWS)
    was = matrix.data[matrix.indptr[:-1]].astype(int) - 1
    assert sorted(was) == list(range(ROWS))
    np.testing.assert_array_equal(labels, y[was])
    for found, wanted in ((weight, w), (offset, o)):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(found, wanted[was])
    parts = [data.read(int(lo), int(hi)) for lo, hi in zip(*[iter(data.blocks(4).repeat(2)[1:-1])] * 2, strict=True)]
    if weight is not None:
        np.testing.assert_array_equal(np.concatenate([part.weight for part in parts]), weight)


@pytest.mark.ranks(1, 2, 3)
def test_weights_and_offsets_go_where_their_rows_go(world, shared_tmp):
    sources, y, w, o = written(shared_tmp, world.rank)
    world.barrier()
    files = {"weights": shared_tmp / "w.txt", "offset": shared_tmp / "o.txt"}
    for memory, given in ((1 << 30, files), (0, files), (1 << 30, {"offset": files["offset"]})):
        index = convert(world, sources, shared_tmp / "d.h5", replace(OPTIONS, memory=memory, overwrite=True, **given))
        assert index.beside == (("weight", "offset") if len(given) == 2 else ("offset",))
        check(Dataset.open(shared_tmp / "d.h5", world), y, w if len(given) == 2 else None, o)
    world.barrier()
    again = write_shards(world, Dataset.open(shared_tmp / "d.h5", world), shared_tmp / "e.h5", values=np.float64, shards=2)
    assert again.beside == read_index(shared_tmp / "e.h5").beside == ("offset",)
    check(Dataset.open(shared_tmp / "e.h5", world), y, None, o)
    team = team_of(Dataset.open(shared_tmp / "d.h5", world), world, L2(0.1))
    assert all(site.loss.offset.size == site.loss.rows for site in team.sites)


@pytest.mark.ranks(1, 2)
def test_a_weight_may_stand_behind_the_label(world, shared_tmp):
    sources, y, w, _ = written(shared_tmp, world.rank, lambda y, w: f"{y:g}:{w:g}" if w % 5 else f"{y:g}")
    w[w % 5 == 0] = 1.0
    world.barrier()
    for memory in (1 << 30, 0):
        convert(world, sources, shared_tmp / "d.h5", replace(OPTIONS, memory=memory, overwrite=True, weights="label"))
        check(Dataset.open(shared_tmp / "d.h5", world), y, w, None)
    with pytest.raises(DataError, match=r"a.svm, line 1: the label '.*:1' is not a number \(if it is LABEL:WEIGHT"):
        convert(world, sources, shared_tmp / "e.h5", OPTIONS)


@pytest.mark.ranks(1, 2)
def test_classes_have_their_weights(world, shared_tmp):
    sources, y, w, _ = written(shared_tmp, world.rank)
    world.barrier()
    convert(world, sources, shared_tmp / "d.h5", replace(OPTIONS, weights=shared_tmp / "w.txt"))
    data = Dataset.open(shared_tmp / "d.h5", world)
    up, down = w[y > 0].sum(), w[y < 0].sum()
    for text, factors in (("balanced", (w.sum() / 2 / down, w.sum() / 2 / up)), ("0.5:3", (0.5, 3.0)), ("0:1", (0.0, 1.0))):
        team = team_of(data, world, L2(0.1), class_weight=text)
        assert team.weight == pytest.approx(factors[0] * down + factors[1] * up)
        plain = team_of(data, world, L2(0.1))
        for site, other in zip(team.sites, plain.sites, strict=True):
            wanted = other.loss.weights * np.where(other.loss.y > 0, factors[1], factors[0])
            np.testing.assert_allclose(site.loss.weights, wanted, rtol=1e-15)
    for loss, text, said in (
        ("logistic", "1:2:3", "`class_weight=1:2:3`: give balanced, or two numbers"),
        ("logistic", "-1:2", "that are not negative"),
        ("huber", "balanced", "is for losses of two classes, and huber is none"),
    ):
        with pytest.raises(UsageError, match=said):
            team_of(data, world, L2(0.1), loss=loss, class_weight=text)


NAMES = "".join(f"feature {k}\n" for k in range(6))
WRONG = {
    "short": ("weights", "1\n" * 56, "w has 56 weights, and the sources have 57 rows: give one a row"),
    "long": ("offset", "1\n" * 58, "w has 58 offsets"),
    "negative": ("weights", "1\n" * 5 + "-1\n" + "1\n" * 51, "w, line 6: '-1' is negative"),
    "word": ("offset", "1\n\n1\n" + "one\n" * 55, "w, line 4: 'one' is not a number"),
    "infinite": ("offset", "1\n" * 56 + "inf", "w, line 57: 'inf' is not finite"),
    "two": ("weights", "1 2\n" * 57, "w, line 1: '1 2' is not a number"),
    "underscore": ("weights", "1_0\n" * 57, "w, line 1: '1_0' is not a number"),
    "few names": ("names", "a\nb\n", "w names 2 of the 6 features"),
    "same names": ("names", "a\nb\na\n", "w, line 3: 'a' is the name of feature 1 already"),
    "no name": ("names", "a\n\nb\n", "w, line 2 is empty"),
    "no text": ("names", b"a\n\xff\n", "w is no text in UTF-8"),
}


@pytest.mark.ranks(1, 2)
def test_what_is_wrong_with_a_file_beside_is_said_on_every_rank(world, shared_tmp):
    sources, *_ = written(shared_tmp, world.rank)
    for option, content, said in WRONG.values():
        if world.rank == 0:
            (shared_tmp / "w").write_bytes(content if isinstance(content, bytes) else content.encode())
        world.barrier()
        with pytest.raises(MpioptError, match=said.replace("(", r"\(")):
            convert(world, sources, shared_tmp / "d.h5", replace(OPTIONS, **{option: shared_tmp / "w"}))
        world.barrier()
        assert not (shared_tmp / "d.h5").exists() and not (shared_tmp / "d.shards.partial").exists()
        world.barrier()
    with pytest.raises(DataError, match="nowhere cannot be read: no such file"):
        convert(world, sources, shared_tmp / "d.h5", replace(OPTIONS, weights=shared_tmp / "nowhere"))


def test_features_have_the_names_that_are_given(world, tmp_path):
    sources, *_ = written(tmp_path, 0)
    (tmp_path / "n").write_text(NAMES + "another\n", encoding="utf-8-sig")
    index = convert(world, sources, tmp_path / "d.h5", replace(OPTIONS, names=tmp_path / "n"))
    assert index.features == names(tmp_path / "n") and index.cols == 7 and index.features[0] == "feature 0"
    assert Dataset.open(tmp_path / "d.h5").index.features == index.features
    assert len(numbers(tmp_path / "w.txt", "weight")) == ROWS


@pytest.mark.ranks(1, 2)
def test_indices_in_any_order_are_sorted_and_added_up(world, shared_tmp):
    rng = np.random.default_rng(5)
    dense, lines, twice = np.zeros((40, 9)), [], []
    for i in range(40):
        at, values = rng.integers(0, 9, 6), rng.integers(1, 9, 6).astype(float)
        np.add.at(dense[i], at, values)
        kept = np.unique(at, return_index=True)[1]
        lines.append(f"{i % 2} " + " ".join(f"{j + 1}:{v:g}" for j, v in zip(at, values, strict=True)))
        twice.append(f"{i % 2} " + " ".join(f"{at[k] + 1}:{dense[i, at[k]]:g}" for k in rng.permutation(kept)))
    if world.rank == 0:
        (shared_tmp / "a.svm").write_text("\n".join(lines))
        (shared_tmp / "b.svm").write_text("\n".join(twice))
    world.barrier()
    for name, order in (("a", "sum"), ("b", "sum"), ("b", "sort")):
        options = replace(OPTIONS, shuffle=None, base="1", features=9, overwrite=True, indices=order)
        convert(world, [shared_tmp / f"{name}.svm"], shared_tmp / "d.h5", options)
        matrix = Dataset.open(shared_tmp / "d.h5", world).read(0, 40).matrix
        found = scipy.sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(40, 9))
        assert found.has_canonical_format
        np.testing.assert_array_equal(found.toarray(), dense)
        world.barrier()
    refused = {"sort": "a.svm: a row has the index . twice: give `indices=sum`", "refuse": "is not above the one before"}
    for order, said in refused.items():
        with pytest.raises(DataError, match=said):
            convert(world, [shared_tmp / "a.svm"], shared_tmp / "e.h5", replace(OPTIONS, indices=order))
