"""A state that somebody has changed in its file is refused in one sentence, or goes on: no other error, and no crash."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from itertools import islice, product
from random import Random
from typing import Any

import numpy as np
import pytest

from mpiopt.engine.drive import Standing, drive, rounds
from mpiopt.engine.method import Run
from mpiopt.engine.stop import Record, Stop
from mpiopt.errors import MpioptError
from mpiopt.io.runs.fitting import fitting
from mpiopt.io.runs.state_tree import FlatTree, flatten, unflatten
from mpiopt.methods import catalogue, find
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from tests.problem_sets import Data
from tests.training_sets import GENERAL, Shared, built

Place = tuple[int, tuple[Any, ...]]  # a worker's part, or -1 for what all have in common; and the way to it
ARRAYS = {"one": np.ones(1), "many": np.ones(1000), "whole": np.ones(6, int), "square": np.ones((6, 6))}
OTHERS = [
    None,
    True,
    "x",
    3,
    -7,
    1e300,
    [],
    [[1.0, [2.0]]],
    {"scalar": "<f8", "value": 1.0},
    *({"array": name} for name in ARRAYS),
]


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in a tree of JSON."""
    yield way
    if isinstance(node, dict):
        inner = {("parts", name): part for name, part in node["parts"].items()} if "parts" in node else {}
        if isinstance(node.get("each"), list):
            inner |= {("each", k): part for k, part in enumerate(node["each"])}
    else:
        inner = {(k,): part for k, part in enumerate(node)} if isinstance(node, list) else {}
    for step, part in inner.items():
        yield from places(part, way + step)


def changed(tree: Any, way: tuple[Any, ...], other: Any) -> Any:
    """A copy with something else in one place."""
    if not way:
        return other
    tree = deepcopy(tree)
    at = tree
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = other
    return tree


def goes_on(method, team: Team, flat: FlatTree, place: Place, other: Any) -> None:
    """Take up a forged state and run three rounds, as a job does."""
    part, way = place
    parts = [changed(tree, way, other) if k == part else tree for k, tree in enumerate(flat.parts)]
    arrays = {name: array.copy() for name, array in {**flat.arrays, **ARRAYS}.items()}
    own = [{name: array.copy() for name, array in {**mine, **ARRAYS}.items()} for mine in flat.own]
    run, _ = fitting(unflatten(changed(flat.tree, way, other) if part < 0 else flat.tree, arrays, parts, own), team)
    drive(method, team, Standing(run), partial(measured, method, team), Stop(rounds=run.round + 3))


def measured(method, team: Team, run: Run, clock: float, word: str) -> tuple[Record, bool, str]:
    """The record of a round."""
    found = method.measure(run, team)
    return Record(run.round, clock, found.objective, found.gradient_norm, found.gap, 0, 0, 0), found.fresh, word


def forge(method, team: Team, x: np.ndarray, tries: int | None, kept=lambda run, team: run) -> None:
    """Change the state after two rounds, in places and ways drawn at random, or (None) in all."""
    run = next(islice(rounds(method, team, x), 2, None))
    flat = flatten((kept(run, team), None))
    every = [(-1, way) for way in places(flat.tree)] + [(0, way) for way in places(flat.parts[0])]
    trials = list(product(every, OTHERS))
    refused = 0
    for place, other in trials if tries is None else Random(method.name).sample(trials, tries):
        try:
            goes_on(method, team, flat, place, other)
        except MpioptError as error:
            assert "\n" not in str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"{method.name}: {other!r} at {place}") from error
    assert refused


def forge_all(worlds, tries: int | None) -> None:
    """Every method, on two workers."""
    data, few = Data(rows=60, features=6), worlds(workers=2)
    with np.errstate(all="ignore"):
        for name in catalogue():
            forge(find(name).make(), data.team(few, L2(0.1)), np.zeros(6), tries)
        shared, many = Shared(workers=4), worlds(workers=4)
        for name in GENERAL:
            method = built(name, meeting=8)
            forge(method, shared.team(many), shared.start, tries, method.kept)


def test_some_forged_states(worlds):
    forge_all(worlds, 12)


@pytest.mark.study
def test_all_forged_states(worlds):
    forge_all(worlds, None)
