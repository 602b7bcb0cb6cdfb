"""The guide's table "to add a ... touch ...": each row is followed in a copy of the tree, and what was added is used there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.launcher import ROOT
from tests.unit.test_plugins import COMPRESSOR, LOSS, READER

FACE, METHODS = "mpiopt/__init__.py", "mpiopt/methods/__init__.py"


class Tree:
    """A copy of the package's folders, in which files are added and lines put in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("mpiopt", "io", "jobs"):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "tests/unit/test_layers.py"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, root / file)

    def new(self, path: str, text: str) -> None:
        assert not (self.root / path).exists()
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_text(text)

    def more(self, path: str, text: str) -> None:
        with (self.root / path).open("a") as file:
            file.write(text)

    def before(self, path: str, mark: str, text: str) -> None:
        """Put a text in front of the first place of a mark."""
        whole = (self.root / path).read_text()
        assert mark in whole, (path, mark)
        (self.root / path).write_text(whole.replace(mark, text + mark, 1))


BLOCK = """
from dataclasses import dataclass

from mpiopt.{home} import {base}


@dataclass(frozen=True)
class Own{base}({base}):
    '''As that.'''
"""
FAMILY = """
from mpiopt.engine.method import Composed
from mpiopt.engine.phase import Phase
from mpiopt.exchange.own import OwnSum
from mpiopt.methods.entry import Entry
from mpiopt.outer.own import OwnProximal
from mpiopt.work.own import OwnGradient


def of_own_blocks() -> Composed:
    '''Steps along a sum of gradients.'''
    return Composed(Phase(OwnGradient(), OwnSum()), (), OwnProximal())


ENTRIES = (Entry(of_own_blocks, "-"),)
"""
METHOD = """def own_method(mu: float | None = None) -> Composed:
    '''DANE again.'''
    return dane(mu)


"""
PACK = """
from pathlib import Path
from typing import NamedTuple

import numpy as np


class OwnPack(NamedTuple):
    '''One row of two numbers.'''

    path: Path
    rows: int = 1
    shape: tuple[int, ...] = (2,)
    stored: str = "uint8"

    @property
    def files(self):
        return (self.path,)

    def blocks(self, lo, hi):
        yield np.ones((hi - lo, 2), np.uint8), np.zeros(hi - lo, np.int32)
"""
COMMAND = """
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Own:
    '''Say a number.'''

    number: int = 7


def run(job, world, console):
    return {"said": job.number}
"""
HALF = re.sub(r"@register.*\n", "", COMPRESSOR).replace("from mpiopt.compress.catalogue import register\n", "")
MINE = READER.split("\n\n\n", 1)[1]
BENCH = "        if job.what == 'own':\n            from mpiopt.jobs.benches.own import own\n\n            return own()\n"


TOUCH: dict[str, Callable[[Tree], list[None]]] = {
    "a loss": lambda t: [t.new("mpiopt/losses/own_loss.py", LOSS)],
    "a method": lambda t: [
        t.before("mpiopt/methods/dane.py", "ENTRIES = (\n", METHOD),
        t.before("mpiopt/methods/dane.py", "    Entry(\n        dane", "    Entry(own_method, '-'),\n"),
    ],
    "a family of methods": lambda t: [
        t.new("mpiopt/methods/own.py", FAMILY),
        t.before(METHODS, "from mpiopt.methods.pruning", "from mpiopt.methods.own import ENTRIES as OWN\n"),
        t.before(METHODS, "    DANE,\n", "    OWN,\n"),
    ],
    "a work, an exchange, an outer step": lambda t: [
        t.new(f"mpiopt/{room}/own.py", BLOCK.format(home=home, base=base))
        for room, home, base in (
            ("work", "work.gradient", "Gradient"),
            ("exchange", "exchange.sum", "Sum"),
            ("outer", "outer.steps", "Proximal"),
        )
    ],
    "a compressor": lambda t: [
        t.new("mpiopt/compress/own.py", HALF),
        t.before("mpiopt/compress/catalogue.py", "from mpiopt.compress.quantise", "from mpiopt.compress.own import OwnHalf\n"),
        t.before("mpiopt/compress/catalogue.py", "        Spelt(Fp16", "        Spelt(OwnHalf, '-', name='own_half'),\n"),
    ],
    "a format of sparse rows": lambda t: [t.more("io/text/readers.py", "\n\n" + MINE)],
    "a figure of `score`": lambda t: [
        t.before("mpiopt/metrics/figures.py", '        "rmse":', '        "own_figure": weight,\n'),
        t.before("jobs/reports/scores.py", '    "brier": "Brier', '    "own_figure": "My own",\n'),
    ],
    "a family of graphs": lambda t: [
        t.more("mpiopt/graphs/families.py", "\n\n@dataclass(frozen=True)\nclass OwnRing(Ring):\n    '''A ring.'''\n"),
        t.before("mpiopt/graphs/topology.py", "    Path,\n", "    OwnRing,\n"),
        t.before("mpiopt/graphs/topology.py", "        Spelt(Path", "        Spelt(OwnRing, '-', 'seed', name='own'),\n"),
    ],
    "a game": lambda t: [
        t.before("mpiopt/problems/games.py", "GAMES:", "def own(dim: int = 2) -> Game:\n    return bilinear(dim)\n\n\n"),
        t.before("mpiopt/problems/games.py", "        Spelt(matrix", "        Spelt(own, '-', 'dim'),\n"),
    ],
    "a sampling": lambda t: [
        t.more("mpiopt/sampling/laws.py", "\n\n@dataclass(frozen=True)\nclass OwnNice(Nice):\n    '''As that.'''\n"),
        t.before(
            "mpiopt/sampling/plans.py",
            "SAMPLINGS:",
            "@dataclass(frozen=True)\nclass OwnPlan(NicePlan):\n    '''As that.'''\n\n    def law(self, rows, each):\n"
            "        from mpiopt.sampling.laws import OwnNice\n\n        return OwnNice(rows, self.size)\n\n\n",
        ),
        t.before("mpiopt/sampling/plans.py", "        Spelt(SinglePlan", "        Spelt(OwnPlan, '-', 'size', name='own'),\n"),
    ],
    "an update rule": lambda t: [
        t.before("mpiopt/transforms/rules.py", "RULES:", "def own(lr: float = 0.1) -> Transform:\n    return sgd(lr)\n\n\n"),
        t.before("mpiopt/transforms/rules.py", "        Registered(sgd", "        Registered(own, '-'),\n"),
    ],
    "a penalty": lambda t: [
        t.more("mpiopt/problems/penalties.py", "\n\n@dataclass(frozen=True)\nclass OwnNet(ElasticNet):\n    '''As that.'''\n")
    ],
    "a model to train": lambda t: [
        t.new("mpiopt/problems/own.py", BLOCK.format(home="problems.perceptron", base="Perceptron")),
        t.before(
            "jobs/running/model_team.py",
            "    numbers = widths",
            "    if kind == 'own':\n        from mpiopt.problems.own import OwnPerceptron\n\n"
            "        return lambda data: OwnPerceptron(data, (data.features, source.classes))\n",
        ),
    ],
    "a format of dense rows": lambda t: [
        t.new("io/images/own.py", PACK),
        t.before("io/images/recognise.py", "    if head[:2] ==", "    if head.startswith(b'OWN'):\n        return 'own'\n"),
        t.before(
            "io/images/recognise.py",
            '    if kind == "pickle":',
            "    if kind == 'own':\n        from mpiopt.io.images.own import OwnPack\n\n        return OwnPack(path)\n",
        ),
    ],
    "a public name": lambda t: [
        t.before(FACE, "    from mpiopt.io.dataset.linear_team", "    from mpiopt.graphs.topology import Topology\n"),
        t.before(FACE, '    "io.dataset.linear_team"', '    "graphs.topology": "Topology",\n'),
        t.before(FACE, '    "TorchModel",\n', '    "Topology",\n'),
    ],
    "an option of `solve` or `train`": lambda t: [
        t.before("jobs/cli/solve_options.py", "    check_against:", '    own_solve: int = 1\n    """Mine."""\n'),
        t.before("jobs/cli/train_options.py", "    epochs:", '    own_train: int = 2\n    """Mine."""\n'),
        t.before("jobs/cli/run_options.py", "    workers:", '    own_both: int = 3\n    """Mine."""\n'),
    ],
    "a command": lambda t: [
        t.new("jobs/own.py", COMMAND),
        t.before("jobs/cli/commands.py", '    "describe":', '    "own": Needs(False, False),\n'),
    ],
    "a reproduced claim": lambda t: [
        t.new("jobs/studies/own_claim.py", '"""That one is one."""\n\n\ndef run(lab): ...\n\n\ndef draw(found): ...\n')
    ],
    "a bench": lambda t: [
        t.new("jobs/benches/own.py", "def own():\n    return {'fast': True}\n"),
        t.before("jobs/bench.py", '"sums", "gpu"]', '"own", '),
        t.before("jobs/bench.py", "        if job.what ==", BENCH),
    ],
    "a preset of `train`": lambda t: [t.new("jobs/presets/own.toml", 'data = "blobs:rows=60"\nmodel = "own"\nepochs = 1\n')],
    "a folder": lambda t: [
        t.new("mpiopt/own/__init__.py", '"""A room."""\n'),
        t.before("pyproject.toml", '"mpiopt.comm"', '"mpiopt.own", '),
        t.before("tests/unit/test_layers.py", "arrays errors words", "own "),
    ],
}
USE = """
from pathlib import Path

import numpy as np

from mpiopt import Stop, Team, Topology, World, catalogue, find, find_compressor, find_loss, solve
from mpiopt.compress.compressor import Stream
from mpiopt.io.images.recognise import scan
from mpiopt.io.text.readers import READERS
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.launch import main
from mpiopt.jobs.reports.scores import CALLED
from mpiopt.jobs.studies import find as find_study, listing
from mpiopt.metrics.figures import Rows, figures
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.penalties import OwnNet
from mpiopt.transforms.rules import find as find_rule
import mpiopt, mpiopt.own

assert mpiopt.__file__.startswith({root!r})
assert find_loss("own_loss").scalars()["slope"](1.0, 1.0) == 0.0
half = find_compressor("own_half")
assert half.decode(half.encode(np.ones(3), Stream(1, 2)), np.zeros(3), Stream(1, 2)).tolist() == [1, 1, 1]
assert "own_csv" in READERS and "own-claim" in listing() and find_study("own-claim").run
assert Topology.of("own").at(5, 0).dense.shape == (5, 5) and find_rule("own").make()
path = Path({root!r}, "rows.own")
path.write_bytes(b"OWN rows")
assert scan([path])[0].rows == 1
for kind in ("solve", "train"):
    asked = parse([kind, "--own-both", "5", "--own-" + kind, "4"]).job
    assert (asked.own_both, getattr(asked, "own_" + kind)) == (5, 4)
world, y = World(), np.array([1.0, 2.0])
assert figures(world, find_loss("least_squares"), Rows(y, y))["own_figure"] == 2 and "own_figure" in CALLED
team = Team.of(world, [Quadratic((1.0, 2.0), (3.0, 4.0))], OwnNet(0.0, 0.5))
for name in ("own_method", "of_own_blocks"):
    assert name in catalogue()
found = solve(find("of_own_blocks").make(), team, np.array([3.0, 4.0]), Stop(rounds=200, gap=1e-9))
assert abs(found.x).max() < 1e-4, found
assert main(["own", "--number", "8", "--json"]) == 0
assert main(["bench", "own", "--json"]) == 0
assert main(["methods", "own_method"]) == 0
assert main(["train", "own", "--rule", "own"]) == 0
assert main(["play", "own:3", "--sampling", "own:2", "--rounds", "3"]) == 0
"""


def rows() -> list[str]:
    """What the guide's table tells how to add."""
    table = (ROOT / "mpiopt/README.md").read_text().split("## To add a ... touch ...")[1].split("\n\n")[1]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_every_row_of_the_table_is_true(tmp_path):
    assert rows() == list(TOUCH)
    tree = Tree(tmp_path)
    for touch in TOUCH.values():
        touch(tree)
    layers = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_layers.py", "-k", "keeps_its_layers or listed"]
    for argv in (["-c", USE.format(root=str(tmp_path))], layers):
        done = subprocess.run([sys.executable, *argv], cwd=tmp_path, text=True, capture_output=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
