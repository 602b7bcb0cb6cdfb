"""Code from outside: a loss, a method, a compressor and a reader, a file each, by the command line; and what loads no code."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.run_file import RunFile, read_run, read_solution
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.blocks import BlockParser, RowBlock
from mpiopt.io.text.parsed_rows import RunStore
from mpiopt.io.text.parts import Part
from mpiopt.io.text.readers import READERS, SVMLIGHT, reader_of, register
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.running.started_alike import started
from mpiopt.methods import SOLVERS
from mpiopt.registry.plugins import load_file
from tests.launcher import ROOT
from tests.own_loss import LOSS

READER = """
import numpy as np

from mpiopt.io.text.blocks import RowBlock
from mpiopt.io.text.readers import register


@register("Shafranovich, Common format and MIME type for CSV files, 2005", suffixes=[".own.csv"])
def own_csv(path):
    '''Numbers between commas, the label first.'''
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    n, d = rows.shape[0], rows.shape[1] - 1
    for lo in range(0, n, 10):
        part = rows[lo : lo + 10]
        yield RowBlock(part[:, 0], np.full(len(part), d), np.tile(np.arange(1, d + 1), len(part)), part[:, 1:].ravel())
"""
COMPRESSOR = """
from dataclasses import dataclass

import numpy as np

from mpiopt.compress.catalogue import register
from mpiopt.compress.compressor import Compressor


@register("IEEE 754-2008", name="own_half")
@dataclass(frozen=True)
class OwnHalf(Compressor):
    '''Numbers of 16 bits, times a scale.'''

    scale: float = 1.0

    def nbytes(self, d, dtype=np.float32):
        return 2 * d

    def delta(self, d):
        return 1 - 2.0**-20

    def _packed(self, x, stream):
        return (x * self.scale).astype(np.float16).view(np.uint8)

    def _write(self, payload, out, stream, scale, fresh):
        y = payload.view(np.float16).astype(out.dtype) * (scale / self.scale)
        out[:] = y if fresh else out + y
"""
METHOD = """
from mpiopt import Composed, Phase, find_compressor
from mpiopt.exchange.compressed import Compressed
from mpiopt.methods import register
from mpiopt.methods.dane import GRADIENT
from mpiopt.outer.relax import Add
from mpiopt.work.corrected import Corrected
from mpiopt.work.exact import Exact


@register("Shamir, Srebro, Zhang, Communication-efficient distributed optimization, 2014")
def own_dane(compress: str = "identity", mu: float = 0.1) -> Composed:
    '''DANE whose second message is compressed.'''
    return Composed(GRADIENT, (Phase(Corrected(Exact(1e-6), mu), Compressed(find_compressor(compress))),), Add(), dvectors=16)
"""
FILES = {"own_reader.py": READER, "own_loss.py": LOSS, "own_compressor.py": COMPRESSOR, "own_method.py": METHOD}
MARK = "from pathlib import Path\nPath({!r}).touch()\n"


def laid(folder: Path) -> list[str]:
    """The four files, and the options that name them."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return [word for name in FILES for word in ("--plugin", str(folder / name))]


def test_one_of_each_from_outside_on_two_ranks(launch, tmp_path):
    plugins, rng = laid(tmp_path), np.random.default_rng(0)
    a = rng.standard_normal((60, 4))
    y = a @ rng.standard_normal(4) + 0.1 * rng.standard_t(2, 60)
    np.savetxt(tmp_path / "rows.own.csv", np.column_stack([y, a]), delimiter=",")
    convert = ["convert", str(tmp_path / "rows.own.csv"), str(tmp_path / "own.h5"), "--values", "float64", *plugins[:2]]
    solve = [
        "solve",
        str(tmp_path / "own.h5"),
        "--loss",
        "own_loss",
        "--method",
        "own_dane",
        "--set",
        "compress=own_half:scale=64",
        "--l2",
        "0.1",
        "--out",
        str(tmp_path / "run.h5"),
        *plugins,
    ]
    done = launch(
        2, f"from mpiopt.jobs.launch import main\nassert main({convert}) == 0\nassert main({solve}) == 0", timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "own_dane on 2 ranks" in done.stdout and "own_loss" in done.stdout
    x = read_solution(tmp_path / "run.h5")[0]
    e = a @ x - y
    assert abs(a.T @ (e / np.sqrt(1 + e * e)) / 60 + 0.1 * x).max() < 1e-4
    assert "own_loss.py" in read_run(tmp_path / "run.h5").attributes["config"]


def test_the_lists_have_what_a_file_brings(launch, tmp_path):
    plugins = laid(tmp_path)
    names = ["losses", "compressors", "readers", "own_dane"]
    asked = [["solve", "--help", *plugins], *(["methods", name, *plugins] for name in names)]
    done = launch(None, "from mpiopt.jobs.launch import main\n" + "".join(f"assert main({argv}) == 0\n" for argv in asked))
    assert done.returncode == 0, done.stderr
    help_text = " ".join(done.stdout.replace("│", " ").split())  # of the options
    assert "poisson, squared_hinge, own_loss; mpiopt methods losses shows them" in help_text
    assert all(word in done.stdout for word in ("own_loss", "own_half", "own_csv", "mpiopt solve --method own_dane"))


def test_an_installed_package_brings_its_own(launch, tmp_path):
    laid(tmp_path)
    info = tmp_path / "theirs-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[mpiopt.methods]\nown_dane = own_method:own_dane\n[mpiopt.losses]\nx = no_such_module\n"
    )
    code = """
from mpiopt.errors import UsageError
from mpiopt.losses.registry import find as loss
from mpiopt.methods import catalogue, find
from mpiopt.registry.plugins import loaded
assert find("spcg").make() and not loaded()
assert find("own_dane").make(mu=1.0) and "own_dane" in catalogue()
assert loss("huber") and dict(loaded()) == {"the plugin own_dane of theirs": "1.5"}
try:
    loss("nobody")
except UsageError as error:
    print(error)
"""
    done = launch(None, code, env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])})
    assert done.stdout.startswith("the plugin x of theirs cannot be loaded: ModuleNotFoundError: No module named"), done.stderr


def test_code_is_never_taken_from_a_run_file(tmp_path):
    evil, mark = tmp_path / "evil.py", tmp_path / "mark"
    evil.write_text(MARK.format(str(mark)))
    config = f"plugin = [{str(evil)!r}]\nl2 = 0.25\n"
    with RunFile(tmp_path / "RUN.h5", {"config": config}) as file:
        file.add({"round": 0})
    call = parse(["solve", "--config", str(tmp_path / "RUN.h5")])
    assert call.job.plugin == () and call.job.l2 == 0.25 and not mark.exists()
    (tmp_path / "own.toml").write_text(config)
    call = parse(["solve", "--config", str(tmp_path / "own.toml")])
    assert call.job.plugin == (evil,) and mark.exists()


def test_ranks_compare_what_they_have_loaded(tmp_path):
    path, told = tmp_path / "innocent.py", []
    for content in ("a = 1", "a = 2"):
        path.write_text(content)
        told.append(started("solve", parse(["solve", "--plugin", str(path)]).job))
    (differs,) = [name for name in told[0] if told[0][name] != told[1][name]]
    assert differs == f"the plugin {path}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: no such file"),
        ("a = ", "cannot be loaded: SyntaxError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit"),
        ("from mpiopt.methods import register\n@register('-')\ndef sgd():\n    pass", "there is a method 'sgd' already"),
        ("from mpiopt.compress.catalogue import register\nregister('-', name='topk')(int)", "a compressor 'topk' already"),
        ("from mpiopt.io.text.readers import register\n@register('-')\ndef svmlight(path):\n    pass", "a reader 'svmlight'"),
    ],
)
def test_a_file_that_cannot_be_a_plugin(tmp_path, content, says):
    path = tmp_path / "plug.py"
    if content is not None:
        path.write_text(content)
    for _ in range(2):  # what failed once is not taken for loaded
        with pytest.raises(UsageError, match=says):
            load_file(path)
    assert "plug" not in sys.modules and "sgd" not in SOLVERS


def test_which_reader(tmp_path):
    known = dict(READERS)  # what is registered here is forgotten afterwards
    try:
        register("-", magic=b"\x01OWN")(_nothing)
        one, other = tmp_path / "a.bin", tmp_path / "b.svm"
        one.write_bytes(b"\x01OWN and more")
        other.write_text("1 1:1\n")
        assert reader_of(None, [one]).name == "_nothing" and reader_of(None, [other]) is None
        assert reader_of("svmlight", [one]) is SVMLIGHT
        with pytest.raises(UsageError, match=r"different formats: .*a.bin is _nothing, .*b.svm is not known"):
            reader_of(None, [one, other])
        with pytest.raises(UsageError, match=r"there is no reader 'libsvm': choose one of svmlight, .*, _nothing"):
            reader_of("libsvm", [one])
    finally:
        READERS.clear()
        READERS.update(known)


def _nothing(path):
    """Nothing."""
    return iter(())


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (RowBlock([1.0], [2], [1, 1], [1.0, 2.0]), "row 3 has an index that is not above"),
        (RowBlock([1.0, 2.0], [1, 1], [1, -4], [1.0, 2.0]), "row 4 has an index not from 0 to"),
        (RowBlock([1.0], [1], [1 << 40], [1.0]), "row 3 has an index not from 0 to"),
        (RowBlock([1.0], [1], [1], [1e39]), "row 3 has a value that is not a finite float32"),
        (RowBlock([1.0, np.nan], [0, 0], [], []), "row 4 has a label that is not finite"),
        (RowBlock([1.0], [2], [1], [1.0]), "1 labels, 1 lengths that add up to 2, 1 indices and 1 values"),
        (RowBlock(["one"], [1], [1], [1.0]), "no block of numbers"),
        (7, "no block of numbers"),
    ],
)
def test_what_a_reader_hands_over_is_looked_at(tmp_path, block, says):
    good = RowBlock([0.5, 1.5], [1, 0], [3], [2.0])
    parser = BlockParser(
        lambda path: iter([good, block]), RunStore(1 << 20, tmp_path / "scratch"), RowRequest(values=np.dtype(np.float32))
    )
    with pytest.raises(DataError, match=says):
        parser.read(Part(0, tmp_path / "rows", 0, None), lambda size: True)


def test_rows_of_blocks_are_kept(tmp_path):
    blocks = [RowBlock([0.5, 1.5], [1, 0], [3], [2.0]), RowBlock([2.5], [2], [0, 7], [1.0, -1.0])]
    parser = BlockParser(
        lambda path: iter(blocks), RunStore(1 << 20, tmp_path / "scratch"), RowRequest(values=np.dtype(np.float32), limit=7)
    )
    assert parser.read(Part(0, tmp_path / "rows", 0, None), lambda size: True) == [3]
    (run,) = parser.store.runs
    assert (run.y.tolist(), run.indptr.tolist(), run.indices.tolist()) == ([0.5, 1.5, 2.5], [0, 1, 1, 2], [3, 0])
    assert (parser.rows, parser.nnz, parser.least, parser.greatest, parser.dropped) == (3, 2, 0, 7, 1)


def _fails(path):
    yield RowBlock([1.0], [1], [1], [1.0])
    raise KeyError("column")


def test_a_reader_that_fails_names_the_file(tmp_path):
    parser = BlockParser(_fails, RunStore(1 << 20, tmp_path / "scratch"), RowRequest(values=np.dtype(np.float32)))
    with pytest.raises(DataError, match=r"rows cannot be read by its reader .KeyError: 'column'."):
        parser.read(Part(0, tmp_path / "rows", 0, None), lambda size: True)
