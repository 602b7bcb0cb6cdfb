"""The library names parameters, the command line flags: every name that a sentence of the library has is one of either."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.jobs.cli.commands import COMMANDS
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import NAMED, flag, flagged, switches
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.methods import SOLVERS, TRAINERS

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted(path for folder in ("mpiopt", "io") for path in (ROOT / folder).rglob("*.py"))
OPTIONS = switches(Solve())


def sentences(tree: ast.Module) -> Iterator[str]:
    """The strings of a module with a space in them, less docstrings; in place of what is formatted stands {}."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in formatted for part in node.values}
    for node in formatted:
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and " " in str(node.value) and id(node) not in parts | docs:
            yield str(node.value)


def test_the_library_speaks_of_no_flags():
    lines = [(path.name, line) for path in LIBRARY for line in path.read_text().splitlines()]
    flags = [(name, line) for name, line in lines if re.search(r"(?<![\w-])--[a-z]", line)]
    assert [(name, line) for name, line in flags if "srun --mpi" not in line] == []  # which is Slurm's


def test_every_parameter_that_a_sentence_names_is_one():
    jobs = [getattr(import_module(f"mpiopt.jobs.{name}"), name.capitalize()) for name in COMMANDS]
    options = {field.name.rstrip("_") for job in jobs for field in fields(job)}
    own = {name for entry in (*SOLVERS.values(), *TRAINERS.values()) for name in entry.parameters}
    said = [text for path in LIBRARY for text in sentences(ast.parse(path.read_text()))]
    named = {match.groups() for text in said for match in NAMED.finditer(text)}
    assert {"l2", "method", "overwrite", "server_rows"} <= {name for name, _ in named}
    assert [name for name, value in named if name not in options and not (value is not None and name in own)] == []


def test_options_become_flags_and_what_a_method_takes_is_set():
    text = "give `l2` above 0, `server_rows`, `method=fista`, `gamma=0.1` or `force=true`, or insist with `force`; `x` stays"
    flags = "give --l2 above 0, --server-rows, --method fista, --set gamma=0.1 or --set force=true, or insist with --force"
    assert flagged(text, OPTIONS) == f"{flags}; `x` stays"
    assert flagged(text, {}) == text


@given(st.sampled_from(sorted(OPTIONS)), st.text(st.characters(exclude_characters="`")))
def test_a_name_is_said_as_its_option_and_nothing_else_is_touched(name, around):
    assert flagged(f"{around}`{name}`{around}", OPTIONS) == f"{around}{flag(name)}{around}"
    assert flag(name)[2:].replace("-", "_") == name
    assert flagged(around, OPTIONS) == around


@pytest.mark.parametrize("say", [Console.note, Console.error])
def test_the_console_says_flags_once_it_knows_the_job(capfd, say):
    console = Console()
    say(console, "use `method=fista`")
    console.options = OPTIONS
    say(console, "use `method=fista`")
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("use `method=fista`") and second.endswith("use --method fista")
