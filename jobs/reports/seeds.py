"""Runs that differ in their seed alone as one: the mean of their histories, and a band from the least to the most of them."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.reports.sheet import known

LEAST, MOST = ":least", ":most"  # behind the name of a column: the ends of its band
OWN = ("seed", "out", "config", "overwrite")  # options that do not set runs apart
ALIKE = ("method", "model", "dataset", "content", "rows", "workers", "world_size", "study")
FINAL = ("test_loss", "accuracy", "objective")  # of what a run says of its answer, the numbers that have a mean


def gathered(runs: Sequence[RunData]) -> list[RunData]:
    """A run for each that is of one seed only, and one for all seeds of the others. Raises UsageError for none such."""
    groups: dict[str, list[RunData]] = {}
    for run in runs:
        groups.setdefault(_but_for_the_seed(run), []).append(run)
    if len(groups) == len(runs):
        raise UsageError("no two of these runs differ in their seed alone: leave --seeds out")
    return [_mean(group) if len(group) > 1 else group[0] for group in groups.values()]


def _but_for_the_seed(run: RunData) -> str:
    options = {name: value for name, value in tomllib.loads(run.attributes.get("config", "")).items() if name not in OWN}
    return repr((sorted(options.items()), [str(run.attributes.get(name)) for name in ALIKE]))


def _mean(runs: Sequence[RunData]) -> RunData:
    """One run, as long as the shortest; the numbers of its end have a deviation, NAME_sd. Raises UsageError."""
    seeds = [run.attributes.get("seed") for run in runs]
    if len(set(seeds)) < len(seeds):
        twice = next(run.path for run in runs if seeds.count(run.attributes.get("seed")) > 1)
        raise UsageError(f"{twice} and another of these runs have one seed: leave one of them out")
    rounds = runs[0].history["round"]
    for run in runs[1:]:
        rounds = np.intersect1d(rounds, run.history["round"])
    if not rounds.size:
        raise UsageError(f"{runs[0].path} and {runs[1].path} have no recorded round in common: leave --seeds out")
    return replace(runs[0], attributes=_ends(runs), history=_columns(runs, rounds))


def _columns(runs: Sequence[RunData], rounds: np.ndarray) -> dict[str, np.ndarray]:
    """Means of the columns that all have, with their bands."""
    at, found = [np.searchsorted(run.history["round"], rounds) for run in runs], {"round": rounds}
    for name in runs[0].history:
        if name != "round" and all(name in run.history for run in runs):
            table = np.array([run.history[name][places] for run, places in zip(runs, at, strict=True)], float)
            found |= {name: table.mean(axis=0), f"{name}{LEAST}": table.min(axis=0), f"{name}{MOST}": table.max(axis=0)}
    return found


def _ends(runs: Sequence[RunData]) -> dict[str, Any]:
    """What the run of all seeds says of itself."""
    told: dict[str, Any] = {name: value for name, value in runs[0].attributes.items() if name != "seed"}
    for name in FINAL:
        values = [run.attributes[name] for run in runs if known(run.attributes.get(name))]
        if len(values) == len(runs):
            told |= {name: fmean(values), f"{name}_sd": stdev(values)}
    return told | {"seeds": len(runs)}
