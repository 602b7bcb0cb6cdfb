"""Tables on 1, 2 and 3 ranks: against scikit-learn's encoders, against each other, and with all that can be wrong."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.like_training import notes
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.tables.hashing import places
from mpiopt.io.tables.plan import TableOptions
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.io.text.readers import READERS, reader_of
from tests.spmd.test_convert import lay

pa = pytest.importorskip("pyarrow", reason="tables are read by pyarrow")
feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
SIZES = pytest.mark.ranks(1, 2, 3)
TWO = pytest.mark.ranks(2)  # where another test holds that ranks make no difference


def people(rows: int = 60, seed: int = 0, gaps: bool = True) -> dict[str, list]:
    """A table of all kinds of columns, some values missing."""
    rng = np.random.default_rng(seed)
    some = [None, "rome", "oslo", "a,b", 'quo"te', "größe"] if gaps else ["rome", "oslo", "a,b"]
    return {
        "income": rng.choice(["<=50K", ">50K"], rows).tolist(),
        "age": [None if gaps and rng.random() < 0.2 else float(v) for v in rng.integers(0, 90, rows)],
        "city": [some[k] for k in rng.integers(0, len(some), rows)],
        "zip": rng.integers(1, 5, rows).tolist(),
        "own": rng.choice([True, False], rows).tolist(),
        "pay": rng.uniform(0.5, 2, rows).round(3).tolist(),
    }


def csv_text(table: dict[str, list], delimiter: str = ",", header: bool = True) -> str:
    import csv
    from io import StringIO

    out = StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(table)
    writer.writerows(["" if v is None else v for v in row] for row in zip(*table.values(), strict=True))
    return out.getvalue()


def made(world, folder: Path, sources: list[Path], name: str = "t", **options):
    """The rows of a conversion, dense, in the order of the sources, with labels and index."""
    given = {"label": "income", **options.pop("table", {})}
    text = {"shuffle": None, "values": "float64", "overwrite": True, "reader": reader_of(None, sources), **options}
    index = convert(world, sources, folder / f"{name}.h5", TextOptions(table=TableOptions(**given), **text))
    data = Dataset.open(folder / f"{name}.h5", world)
    matrix, y, *_ = data.read(0, data.rows)
    out = np.zeros(matrix.shape)
    out[np.repeat(np.arange(data.rows), np.diff(matrix.indptr)), matrix.indices] = matrix.data
    return out, y, index


@TWO
def test_features_are_numbers_and_categories_by_name(world, shared_tmp):
    table = people()
    source = lay(world, shared_tmp / "p.csv", csv_text(table))
    x, y, index = made(world, shared_tmp, [source], table={"missing": "indicator", "categorical": ("z*",)}, weights="pay")
    assert index.features[:2] == ("age", "age (missing)") and index.recipe.classes == ("<=50K", ">50K")
    assert index.features[2:] == (
        *(f"city={c}" for c in sorted(filter(None, set(table["city"])))),
        "city (missing)",
        *(f"zip={z}" for z in range(1, 5)),
        "own",
    )
    for j, name in enumerate(index.features):
        column, _, value = name.partition("=")
        if column.endswith("(missing)"):
            wanted = [v is None for v in table[column.split()[0]]]
        elif value:
            wanted = [str(v) == value for v in table[column]]
        else:
            wanted = [0 if v is None else v for v in table[column]]
        assert_array_equal(x[:, j], np.array(wanted, float), name)
    assert_array_equal(y, [label == ">50K" for label in table["income"]])
    assert_array_equal(Dataset.open(shared_tmp / "t.h5", world).read(0, 60).weight, table["pay"])


@SIZES
def test_the_same_rows_come_from_every_format_and_number_of_ranks(world, shared_tmp):
    """Parquet of several row groups, Arrow of several batches, two files, a TSV without names, all gaps and texts alike."""
    table = people()
    whole = lay(world, shared_tmp / "p.csv", csv_text(table))
    options = {"table": {"missing": "indicator", "categorical": ("zip",)}, "scale": "std"}
    x, y, index = made(world, shared_tmp, [whole], **options)
    if world.rank == 0:
        arrow = pa.table(table)
        cities = arrow["city"].combine_chunks().dictionary_encode()
        parquet.write_table(arrow.set_column(2, "city", cities), shared_tmp / "p.parquet", row_group_size=7)
        feather.write_feather(arrow, str(shared_tmp / "p.feather"), chunksize=11, compression="uncompressed")
    world.barrier()
    cut = [{name: values[lo:hi] for name, values in table.items()} for lo, hi in ((0, 23), (23, 60))]
    parts = [lay(world, shared_tmp / f"{k}.csv", csv_text(part)) for k, part in enumerate(cut)]
    for sources in ([shared_tmp / "p.parquet"], [shared_tmp / "p.feather"], parts):
        other = made(world, shared_tmp, sources, "o", **options)
        assert_array_equal(other[0], x)
        assert_array_equal(other[1], y)
        assert other[2].features == index.features and other[2].recipe == index.recipe
        assert_array_equal(other[2].scale, index.scale)
    bare = lay(world, shared_tmp / "n.tsv", csv_text(table, "\t", header=False))
    given = {"label": "1", "missing": "indicator", "categorical": ("4",), "header": False}
    assert_array_equal(made(world, shared_tmp, [bare], "o", table=given, scale="std")[0], x)


@SIZES
def test_scales_and_means_are_those_of_scikit_learn(world, shared_tmp):
    table = {name: people(200)[name] for name in ("income", "age", "pay", "zip")}
    table |= {"same": [7.25] * 200, "wide": [1e6 + k % 3 for k in range(200)]}
    source = lay(world, shared_tmp / "p.csv", csv_text(table))
    x, _, index = made(world, shared_tmp, [source], table={"missing": "mean"})
    age = np.array([np.nan if v is None else v for v in table["age"]])
    assert_allclose(x[:, 0], np.where(np.isnan(age), np.nanmean(age), age), rtol=1e-15)
    assert index.recipe.columns[0].fill == x[np.isnan(age), 0][0]
    for how, wanted in (("max", abs(x).max(axis=0)), ("std", np.where(x.std(axis=0) > 1e-9, x.std(axis=0), 1))):
        scaled, _, index = made(world, shared_tmp, [source], "s", table={"missing": "mean"}, scale=how)
        assert_allclose(1 / index.scale, wanted, rtol=1e-14)
        assert_allclose(scaled, x / wanted, rtol=1e-14)


def sharing(names: list[str], cols: int) -> tuple[int, int]:
    """How many names there are, and how many share their feature, one after the other."""
    features = places(names, cols).features
    counts = np.bincount(features)
    return len(names), int((counts[features] > 1).sum())


@TWO
def test_hashed_features_are_those_of_scikit_learn(world, shared_tmp):
    table = people() | {"a": [[f"w{k % 5}", "x", "x"] for k in range(60)]}
    tokens = []
    for row in zip(*table.values(), strict=True):
        of = dict(zip(table, row, strict=True))
        texts = [f"{name}={of[name]}" for name in ("city", "zip") if of[name] is not None]
        counts = [(name, float(of[name] or 0)) for name in ("age", "own", "pay")]
        tokens.append([*counts, *((text, 1) for text in (*texts, *(f"a={word}" for word in of["a"])))])
    wanted = None
    if world.rank == 0:
        from sklearn.feature_extraction import FeatureHasher

        wanted = FeatureHasher(32, input_type="pair").transform(tokens).toarray()
        parquet.write_table(pa.table(table), shared_tmp / "p.parquet", row_group_size=9)
    wanted = world.tell(wanted)
    given = {"missing": "zero", "hash": 32, "categorical": ("zip",)}
    x, _, index = made(world, shared_tmp, [shared_tmp / "p.parquet"], table=given)
    assert_array_equal(x, wanted)
    assert index.cols == 32 and index.features is None and index.recipe.hashed
    names = {f"{n}={v}" for n in ("city", "zip") for v in table[n] if v is not None} | {
        f"a={w}" for ws in table["a"] for w in ws
    }
    assert (index.recipe.tokens, index.recipe.shared) == sharing([*names, "age", "own", "pay"], 32)
    assert "share a feature with another" in notes(index, None)[0]
    again = made(world, shared_tmp, [shared_tmp / "p.parquet"], "u", table={"label": None}, like=shared_tmp / "t.h5")
    assert_array_equal(again[0], wanted)


@TWO
def test_lists_and_bags_of_words(world, shared_tmp):
    table = {
        "income": [1, 0, 1, 0],
        "v": [[1.0, 0.0, 2.0], None, [3.0], []],
        "f": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8.0)), 2),
        "w": [["b", "a", "b"], ["c"], None, ["a"]],
    }
    if world.rank == 0:
        parquet.write_table(pa.table(table), shared_tmp / "p.parquet", row_group_size=1)
    world.barrier()
    x, _, index = made(world, shared_tmp, [shared_tmp / "p.parquet"], table={"missing": "indicator"})
    assert index.features == (*("v[0]", "v[1]", "v[2]", "v (missing)", "f[0]", "f[1]", "w=a", "w=b", "w=c", "w (missing)"),)
    wanted = np.zeros((4, 10))
    wanted[0, [0, 2, 5, 6, 7]] = 1, 2, 1, 1, 2
    wanted[1, [3, 4, 5, 8]] = 1, 2, 3, 1
    wanted[2, [0, 4, 5, 9]] = 3, 4, 5, 1
    wanted[3, [4, 5, 6]] = 6, 7, 1
    assert_array_equal(x, wanted)


@SIZES
@pytest.mark.parametrize("missing", ["indicator", "mean"])
def test_a_part_made_like_the_whole_has_its_columns(world, shared_tmp, missing):
    """Whatever categories it has; those that are new are left out and counted; the labels may be missing."""
    table = people()
    whole = lay(world, shared_tmp / "p.csv", csv_text(table))
    x, _, index = made(world, shared_tmp, [whole], table={"missing": missing, "categorical": ("zip",)}, scale="max")
    shuffled = {name: [*values[40:45], values[3]] for name, values in reversed(table.items()) if name != "income"}
    shuffled["city"][-1], shuffled["zip"][-1] = "lima", 77
    part = lay(world, shared_tmp / "part.csv", csv_text(shuffled))
    bare = {"label": None, "unlabelled": True}
    found, y, other = made(world, shared_tmp, [part], "u", table=bare, like=shared_tmp / "t.h5")
    wanted = x[[*range(40, 45), 3]].copy()
    wanted[-1, [j for j, name in enumerate(index.features) if name.startswith(("city", "zip"))]] = 0
    assert_array_equal(found, wanted)
    assert other.numbering.dropped == 2 and other.recipe == index.recipe and not y.any()
    with pytest.raises(UsageError, match=r"part.csv has no column 'income', which is to hold the labels \(`label` may name"):
        made(world, shared_tmp, [part], "u", table={"label": None}, like=shared_tmp / "t.h5")


@TWO
@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("a,b\n1,2\n3\n", {}, r"p.csv, line 3 has 1 values, and there are 2 columns"),
        ('a,b\n1,"x\ny"\n', {}, r"p.csv, line 2 has a quote that is not closed"),
        ("a,b\n1,2\n0,x\n", {"label": "c"}, r"has no column 'c': its columns are a, b"),
        ("a,b\n1,2\n", {"label": None}, r"say by `label` which column holds the labels; its columns are a, b"),
        ("a,a\n1,2\n", {}, r"line 1: column 2 is called 'a' like another"),
        ("a,b\n1,2\n0,\n", {}, r"p.csv, line 3: a value of the column 'b' is missing.*`missing`"),
        ("a,b\n1,2\n,3\n", {}, r"p.csv, line 3: the label of the column 'a' is missing"),
        ("a,b\n1,2\n1,3\n", {}, r"every row of .*p.csv has the label 1"),
        ("a,b\n1,2\n0,1e400\n", {}, r"line 3: the value inf is not finite"),
        ("a,b\n1,2\n0,3\n", {"drop": ("b",)}, r"no column is left to make features of"),
        ("a,b\n1,2\n0,3\n", {"columns": ("c*",)}, r"has no column 'c\*' for `features`: its columns are b"),
        ("a,b\n1,x\n0,y\n0,z\n", {"vocabulary": 2}, r"the column 'b' has 3 categories or more, and `vocabulary=2`"),
        ("a,b\n", {}, r"there are no rows"),
        ("a,b\n" + "\n".join(f"t{k},1" for k in range(70)), {}, r"the column 'a' has more than 64 different texts"),
        ("a,b\n1,2\n0,3\n", {"hash": 8, "missing": "mean"}, r"`missing=mean` is of columns, which `hash` does not keep apart"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_on_every_rank(world, shared_tmp, text, given, said):
    source = lay(world, shared_tmp / "p.csv", text)
    with pytest.raises((DataError, UsageError), match=said):
        made(world, shared_tmp, [source], table={"label": "a", **given})
    assert not (shared_tmp / "t.h5").exists()


@pytest.mark.ranks(2)
def test_a_number_that_is_none_is_told_with_its_line_far_down(world, shared_tmp):
    """Beyond the rows by which types are told."""
    lines = [f"{k % 2},{k}.5\n" for k in range(150_000)]
    lines[140_000] = "1,abc\n"
    source = lay(world, shared_tmp / "p.csv", "a,b\n" + "".join(lines))
    with pytest.raises(DataError, match=r"p.csv, line 140002 has 'abc' in the column 'b', which is no number"):
        made(world, shared_tmp, [source], table={"label": "a"})


@TWO
def test_files_of_other_kinds_are_refused(world, shared_tmp):
    if world.rank == 0:
        parquet.write_table(pa.table({"a": [1, 0], "s": [{"x": 1}, {"x": 2}]}), shared_tmp / "s.parquet")
        (shared_tmp / "cut.parquet").write_bytes((shared_tmp / "s.parquet").read_bytes()[:-30])
        (shared_tmp / "l.svm").write_text("1 1:2\n0 1:1\n")
        (shared_tmp / "l.csv").write_text("a,b\n1,2\n0,3\n")
    world.barrier()
    for name, table, said in (
        ("s.parquet", {}, "column 's' holds neither numbers nor texts nor lists of them: leave it out by `drop=s`"),
        ("s.parquet", {"label": "s"}, "the column 's' holds lists or nested values"),
        ("cut.parquet", {}, "cut.parquet cannot be read"),
    ):
        with pytest.raises((DataError, UsageError), match=said):
            made(world, shared_tmp, [shared_tmp / name], table={"label": "a", **table})
    with pytest.raises(UsageError, match=r"`drop` is about the columns of tables, and .*l.svm is read by svmlight"):
        made(world, shared_tmp, [shared_tmp / "l.svm"], table={"label": None, "drop": ("a",)}, reader=READERS.find("svmlight"))
    made(world, shared_tmp, [shared_tmp / "l.csv"], table={"label": "a"})
    other = {"table": {"label": None}, "like": shared_tmp / "t.h5"}
    with pytest.raises(UsageError, match=r"were made of columns of a table, and .*l.svm is read by svmlight"):
        made(world, shared_tmp, [shared_tmp / "l.svm"], "u", **other, reader=READERS.find("svmlight"))
    lay(world, shared_tmp / "m.csv", "a,c\n1,2\n0,3\n")
    with pytest.raises(DataError, match=r"m.csv has no column 'b', of which features were made"):
        made(world, shared_tmp, [shared_tmp / "m.csv"], "u", **other)
