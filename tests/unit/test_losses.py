"""The registry of losses, the rules for labels, and a loss from outside the package."""

import subprocess
import sys

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.labels import Labels
from mpiopt.losses import registry
from mpiopt.losses.family import Family
from mpiopt.losses.labels import COUNTS, REAL, SIGNS
from mpiopt.losses.registry import catalogue, find, register
from mpiopt.registry.registry import Registry
from tests.own_loss import LOSS

USE = """
import numpy as np

from mpiopt.comm.world import World
from mpiopt.kernels.csr import CSR
from mpiopt.losses.registry import find
from mpiopt.methods import find as method
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop

world, rng = World(), np.random.default_rng(0)
a, y = rng.standard_normal((40, 3)), 3 * rng.standard_normal(40)
matrix = CSR.of(np.arange(41) * 3, np.tile(np.arange(3), 40), a.ravel(), a.shape)
team = Team.of(world, [Linear(matrix, y, find("own_loss"))], L2(0.1))
found = solve(method("spcg").make(), team, np.zeros(3), Stop(rounds=50, gap=1e-10))
m = a @ found.x
slope = a.T @ ((m - y) / np.sqrt(1 + (m - y) ** 2)) / 40 + 0.1 * found.x
assert found.certificate.gap <= 1e-10 and abs(slope).max() < 1e-5, (found, slope)
print(found.reason.name, "own_loss" in __import__("mpiopt.losses.registry", fromlist=["x"]).catalogue())
"""


def test_a_loss_from_outside_is_one_file(tmp_path):
    program = tmp_path / "own.py"
    program.write_text(LOSS + USE)
    for _ in range(2):  # the second run finds the machine code of the first
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert done.stdout == "GAP True\n", done.stderr
    assert list((tmp_path / "__pycache__").glob("own.Smooth.*.nbc"))


def test_a_text_names_a_loss_and_its_parameters():
    assert str(find("huber:delta=2")) == "huber:delta=2" and str(find(" logistic ")) == "logistic"
    assert [*catalogue()][:2] == ["logistic", "least_squares"]
    for text, says in (
        ("hinge", "choose one of logistic, least_squares, huber"),
        ("huber:width=2", "huber loss takes delta"),
        ("logistic:2", "takes no parameters"),
        ("huber:delta=wide", "give a number"),
        ("huber:delta=0", "above 0"),
        ("huber:delta=1,delta=2", "leave that out"),
    ):
        with pytest.raises(UsageError, match=says):
            find(text)


def test_losses_are_listed_in_one_order_whichever_module_came_first(monkeypatch):
    usual = list(catalogue())
    for order in (usual[::-1], usual[1:] + usual[:1]):
        monkeypatch.setattr(registry, "_KNOWN", Registry("loss", [catalogue()[name] for name in order]))
        assert list(catalogue()) == registry.names() == usual


def test_a_name_is_given_once():
    with pytest.raises(UsageError, match="already"):
        register("-")(type("Another", (type(find("logistic")),), {"name": "logistic"}))
    assert catalogue()["logistic"].build.__name__ == "Logistic"


def test_a_loss_that_lacks_something_is_told_so():
    class Bare(Family):
        recedes = True
        value = staticmethod(lambda m, y: 0.0)

    with pytest.raises(UsageError, match=r"the loss .*Bare has no name, slope, bend, conjugate, receding: define them"):
        register("nobody")(Bare)


def test_every_loss_says_what_it_is():
    for name, entry in catalogue().items():
        assert len(entry.summary) > 10 and any(letter.isdigit() for letter in entry.paper), name
        assert entry.make().cuda is not None and str(entry.make()).startswith(name)


def test_labels_that_do_not_fit():
    signs, counts = Labels((-1.0, 1.0), None, -1.0, 1.0, 0.0), Labels((0.0, 1.0, 7.0), None, 0.0, 7.0, 2.0)
    same = Labels((3.0,), None, 3.0, 3.0, 3.0)
    assert [rule.takes(found) for rule in (SIGNS, REAL, COUNTS) for found in (signs, counts, same)] == [
        True,
        True,
        False,
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    COUNTS.check(counts, "poisson")
    with pytest.raises(DataError, match="poisson loss takes numbers of at least 0, and the labels go down to -1"):
        COUNTS.check(signs, "poisson")


def test_right_answers():
    assert find("poisson").correct(np.log([2.2, 4.0]), np.array([2.0, 5.0])) == 1
    assert find("squared_hinge").correct(np.array([0.1, -2.0]), np.array([1.0, 1.0])) == 1
