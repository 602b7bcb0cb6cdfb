"""Runs of one problem side by side: the reference optimum, relative gaps, and what each run needed to close them.

    gap(run, k) = (F_k - F*) / (F_0 - F*)

F* is the lowest objective of all runs and of the reference given, F_0 the highest that any of them started from.

F* itself is certified up to the best run's bound on F - F*; a gap below ``Comparison.floor`` cannot be told from none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunData
from mpiopt.words import counted

TARGETS = {f"1e-{digits}": 10.0**-digits for digits in (2, 4, 6, 8)}
PROBLEM = ("rows", "features", "nonzeros", "loss", "l2", "l1", "group_l1", "groups", "lower", "upper", "intercept", "positive")
EPSILON = 1e-15  # relative gaps below this are rounding

Trait = Callable[[Mapping[str, Any]], str | None]


@dataclass(frozen=True)
class Comparison:
    """Runs of one problem; ``labels`` tell them apart, ``optimum`` is F*, ``source`` the file it comes from.

    scale : F_0 - F*. certified : relative bound on how far ``optimum`` can be above the true one; infinity where nobody knows.
    """

    runs: tuple[RunData, ...]
    labels: tuple[str, ...]
    optimum: float
    source: str
    scale: float
    certified: float

    def gaps(self, run: RunData) -> np.ndarray:
        """Relative gap after each round, (rounds,); 0 where the run is at the optimum."""
        return np.maximum(run.history["objective"] - self.optimum, 0) / self.scale

    @property
    def floor(self) -> float:
        """Where a gap of 0 is drawn: at the certificate, or below it at the smallest gap that is not 0."""
        gaps = np.concatenate([self.gaps(run) for run in self.runs])
        return max(EPSILON, min(self.certified, float(gaps[gaps > 0].min(initial=1.0))))

    def rounds_to(self, run: RunData, target: float) -> int | None:
        """The first round whose gap is at most ``target``."""
        reached = np.flatnonzero(self.gaps(run) <= target)
        return int(run.history["round"][reached[0]]) if reached.size else None


def compare(runs: Sequence[RunData], reference: RunData | None = None) -> Comparison:
    """Put runs side by side. Raises UsageError where they are not runs of one problem, or hold no round."""
    everything = [*runs, *([reference] if reference is not None else [])]
    for run in everything:
        if not len(run.history.get("objective", ())):
            raise UsageError(f"{run.path} holds no round: that run was stopped before its first; leave it out")
        _same_problem(everything[0], run)
    best = min(everything, key=lowest)
    optimum = lowest(best)
    gap = min(float(np.nanmin(best.history.get("gap", [np.inf]))), best.attributes.get("tight_gap", np.inf))
    scale = max(float(run.history["objective"][0]) for run in everything) - optimum or 1.0
    return Comparison(tuple(runs), labels(runs), optimum, str(best.path), scale, gap / scale)


def lowest(run: RunData) -> float:
    """The objective of a run's answer, computed afresh at its end; of a run without an end, the lowest on record."""
    return float(run.attributes.get("objective", np.nanmin(run.history["objective"])))


def _same_problem(one: RunData, other: RunData) -> None:
    for name in PROBLEM:
        a, b = one.attributes.get(name), other.attributes.get(name)
        if a != b:
            raise UsageError(
                f"{one.path} has {name} = {a}, but {other.path} has {b}: their objectives cannot be compared; "
                "report runs of one problem at a time"
            )


def compressing(told: Mapping[str, Any]) -> str | None:
    """How messages were compressed, and what was remembered of them; None where they were not."""
    link = told.get("link")
    return told.get("compress") and f"{told['compress']}{f' ({link})' if link not in (None, 'plain') else ''}"


def _ranks(told: Mapping[str, Any]) -> str:
    return counted(int(told.get("world_size", 0)), "rank")


def _workers(told: Mapping[str, Any]) -> str:
    return counted(int(told.get("workers", 0)), "worker")


def labels(runs: Sequence[RunData], traits: Sequence[Trait] = (compressing, _ranks, _workers)) -> tuple[str, ...]:
    """The shortest names that tell runs apart: the method, with one of its traits; else with its file.

    traits : attributes of a run -> what it has, in a few words, or None; the first that is enough is taken.
    """
    methods = [str(run.attributes.get("method", "a run")) for run in runs]
    columns = [[trait(run.attributes) for run in runs] for trait in traits]
    ends: list[Sequence[str | None]] = [*columns, [run.path.stem for run in runs], [str(run.path) for run in runs]]
    names = [methods, *([", ".join(filter(None, pair)) for pair in zip(methods, column, strict=True)] for column in ends)]
    return tuple(next((column for column in names if len(set(column)) == len(runs)), names[-1]))
