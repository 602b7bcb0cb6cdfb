"""``--penalty-factors``: a file of features and what their penalty is multiplied by."""

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.io.dataset.source import Source
from mpiopt.jobs.running.feature_lines import feature_lines
from mpiopt.jobs.running.feature_names import FeatureNames

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.solve_options import Solve

TAKE = ("spcg", "prox_newton")


def check(job: "Solve") -> None:
    """Refuse what does not go with factors, before anything is read. Raises CapabilityError, UsageError. Not collective."""
    if job.penalty_factors is None:
        return
    if job.method not in TAKE:
        raise CapabilityError(f"{job.method} has one penalty for all features: with --penalty-factors use {' or '.join(TAKE)}")
    if job.lower is not None or job.upper is not None:
        raise UsageError("--penalty-factors are of --l1 and --l2: leave them, or --lower and --upper, out")
    told = {
        "--inference": job.inference,
        "--dry-run": job.dry_run,
        "--compress": job.compress,
        "--device gpu": job.device == "gpu",
    }
    for name, asked in told.items():
        if asked:
            raise CapabilityError(f"{name} is for one penalty of all features: leave it, or --penalty-factors, out")


def factors_of(job: "Solve | PathOptions", source: Source, world: "World") -> Array | None:
    """(features,), 1 for those that the file does not name; None without a file. Collective. Raises DataError, UsageError."""
    if job.penalty_factors is None:
        return None
    out = np.ones(source.cols)
    with world.together(f"reading {job.penalty_factors}"):
        if world.rank == 0:
            names = FeatureNames.of(source)
            for feature, factor in _lines(job.penalty_factors):
                out[names.place(feature, "a penalty")] = factor
    return world.bcast(out)


def digest(factors: Array | None) -> str | None:
    """What tells factors from others; None for none."""
    return None if factors is None else blake2b(factors.tobytes(), digest_size=8).hexdigest()


def _lines(path: Path) -> list[tuple[str, float]]:
    """Features and factors. Raises DataError."""
    found = []
    for number, text, feature, factor in feature_lines(path):
        try:
            value = float(factor)
        except ValueError:
            value = np.nan
        if not (feature and 0 <= value < np.inf):
            raise DataError(f"{path}, line {number}: {text!r} is no feature and its factor: write age,0.5, 0 or more")
        found.append((feature, value))
    return found
