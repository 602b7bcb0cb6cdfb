"""``mpiopt convert`` and ``mpiopt describe`` as users start them: results, sentences, exit codes, nothing left behind."""

import json
from shutil import copytree

import h5py
import pytest

MPIOPT = ["-m", "mpiopt.jobs"]
TEXT = "+1 1:3 2:4\n-1 2:1 # half\n-1\n+1 5:2\n"


@pytest.fixture(scope="module")
def converted(series, tmp_path_factory):
    """The folder of a data set made by two ranks, and what is said of its making and of it."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "a.svm").write_text(TEXT)
    target = str(folder / "a.h5")
    return folder, series(
        2, ["convert", str(folder / "a.svm"), target, "--normalize", "l2", "--shuffle", "7"], ["describe", target]
    )


def test_convert_and_describe(launch, converted):
    folder, (done, shown) = converted
    assert done.returncode == 0, done.stderr
    assert "4 rows, 5 features, 4 nonzeros" in done.stdout
    assert done.stderr.count("note: the first feature is taken to be number 1, since no index 0 occurs") == 1
    assert shown.returncode == 0, shown.stderr
    for line in (
        "rows        4",
        "-1: 2 rows (50 %), 1: 2 rows (50 %); 1 is +1",
        "5, the first is number 1 in the text",
        "to Euclidean norm 1",
        "seed 7",
        "checksums   hold",
    ):
        assert line in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()[1:]) <= 80
    told = json.loads(launch(None, [*MPIOPT, "describe", str(folder / "a.h5"), "--json", "--no-check"]).stdout)
    assert told["numbering"]["by"] == "guessed" and told["labels"]["positive"] == 1
    assert (told["rows"], told["nonzeros"], told["shuffle"], told["checksums"]) == (4, 4, 7, "not checked")


def test_describe_tells_of_damage(launch, converted, tmp_path):
    copytree(converted[0], tmp_path / "b")
    shard = tmp_path / "b" / "a.shards" / "0000.h5"
    with h5py.File(shard) as file:
        at = file["y"].id.get_chunk_info(0).byte_offset
    raw = bytearray(shard.read_bytes())
    raw[at] ^= 1
    shard.write_bytes(raw)
    done = launch(None, [*MPIOPT, "describe", str(tmp_path / "b" / "a.h5")])
    assert done.returncode == 1
    assert "1 of 1 damaged" in done.stdout
    assert done.stderr.count("0000.h5 is damaged") == 1 and "Traceback" not in done.stderr


BAD = {
    "contradict each other": (["--shuffle", "3", "--no-shuffle"], 2),
    "--gzip 10 is not between 1 and 9": (["--gzip", "10"], 2),
    "line 2: '0:1' has index 0": (["--base", "1"], 1),
}


def test_bad_input_is_one_sentence_on_three_ranks(series, tmp_path):
    (tmp_path / "a.svm").write_text("1 1:1\n-1 0:1\n")
    files = [str(tmp_path / "a.svm"), str(tmp_path / "a.h5")]
    for (sentence, (_, code)), done in zip(
        BAD.items(), series(3, *(["convert", *files, *options] for options, _ in BAD.values())), strict=True
    ):
        assert done.returncode == code
        assert done.stderr.count(sentence) == 1 and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.svm"]


def test_values_are_solved_as_they_are_stored(series, tmp_path):
    texts = {"a.svm": "1 1:0.1 2:1\n-1 1:0.3 2:1\n1 2:0.7\n", "b.svm": "1 1:1e200\n-1 1:-1e-200\n"}
    target = str(tmp_path / "a.h5")
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    small, large = (["convert", str(tmp_path / name), target, "--values", "float64", "--overwrite"] for name in texts)
    solve = ["solve", target, "--l2", "1e-3"]
    done, *solved, refused, normal, last = series(
        1,
        small,
        [*solve, "--json"],
        [*solve, "--json", "--values", "float32"],
        large,
        [*large, "--normalize", "l2"],
        solve,
    )
    assert done.returncode == 0
    plain, single = (json.loads(one.stdout) for one in solved)
    assert (plain["config"]["values"], single["config"]["values"]) == ("float64", "float32")
    assert plain["objective"] != single["objective"]
    assert refused.returncode == 1 and refused.stderr.count("b.svm has the value 1e+200, and no value may be above 1e+150") == 1
    assert normal.returncode == last.returncode == 0 and "Warning" not in last.stderr


def test_a_full_disk_loses_nothing(launch, converted, tmp_path):
    copytree(converted[0], tmp_path, dirs_exist_ok=True)
    target = tmp_path / "a.h5"
    (tmp_path / "b.svm").write_text("".join(f"{k % 2} {k % 99 + 1}:{k}\n" for k in range(20_000)))
    before = target.read_bytes()
    script = tmp_path / "full.py"
    script.write_text(
        "import resource, sys\nfrom mpi4py import MPI\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from mpiopt.jobs.launch import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    done = launch(2, [str(script), "convert", str(tmp_path / "b.svm"), str(target), "--overwrite"])
    assert done.returncode == 1
    assert done.stderr.count("cannot be written (file too large)") == 1 and "Traceback" not in done.stderr
    assert target.read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "a.shards").iterdir()) == ["0000.h5"]
    assert not list(tmp_path.glob("*.partial"))
