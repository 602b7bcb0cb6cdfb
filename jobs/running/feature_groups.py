"""``--group-l1`` and ``--groups``: a file of features and the groups that they are in."""

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
    from mpiopt.jobs.cli.solve_options import Solve

TAKE = ("spcg", "prox_newton", "fista", "prox_gradient")
NEIGHBOURS = 5  # features of a group in a rehearsal


def check(job: "Solve") -> None:
    """Refuse what does not go with groups, before anything is read. Raises CapabilityError, UsageError. Not collective."""
    if not np.isfinite(job.group_l1):
        raise UsageError(f"--group-l1 {job.group_l1:g}: give a finite number")
    if not (job.group_l1 or job.groups):
        return
    if job.groups is None:
        raise UsageError(
            f"--group-l1 {job.group_l1:g} is a penalty of groups: name by --groups a file that says what is in which"
        )
    if not job.group_l1:
        raise UsageError(f"--groups {job.groups} says nothing without a penalty of groups: give --group-l1 above 0")
    if job.method not in TAKE:
        raise CapabilityError(
            f"{job.method} takes no penalty of groups: with --group-l1 use {', '.join(TAKE[:-1])} or {TAKE[-1]}"
        )
    others = {"--l1": job.l1 or None, "--lower": job.lower, "--upper": job.upper, "--penalty-factors": job.penalty_factors}
    for name, given in others.items():
        if given is not None:
            raise UsageError(f"--group-l1 goes with --l2 alone: leave it, or {name} {given}, out")
    for name, asked in (("--compress", job.compress), ("--device gpu", job.device == "gpu")):
        if asked:
            raise CapabilityError(f"{name} is for penalties that are a sum over features: leave it, or --group-l1, out")


def groups_of(job: "Solve", source: Source, world: "World") -> Array | None:
    """(features,) int64, numbers from 0 on; None without a file. Collective. Raises DataError, UsageError on every rank."""
    if job.groups is None:
        return None
    out = np.full(source.cols, -1)
    with world.together(f"reading {job.groups}"):
        if world.rank == 0:
            _fill(out, job.groups, FeatureNames.of(source))
    return world.bcast(out)


def neighbouring(features: int) -> Array:
    """Groups of made-up features."""
    return np.arange(features) // NEIGHBOURS


def digest(groups: Array | None) -> str | None:
    """What tells groups from others, whatever they are called; None for none."""
    return None if groups is None else blake2b(groups.tobytes(), digest_size=8).hexdigest()


def _fill(out: Array, path: Path, names: FeatureNames) -> None:
    """Number the groups in the order in which they come. Raises DataError, UsageError."""
    known, first = dict[str, int](), dict[int, int]()
    for number, text, feature, group in feature_lines(path):
        if not (feature and group):
            raise DataError(f"{path}, line {number}: {text!r} is no feature and its group: write age,person")
        place = names.place(feature, "a group")
        if place in first:
            raise DataError(
                f"{path}, line {number}: {feature} is in a group already, by line {first[place]}: leave one of them out"
            )
        first[place], out[place] = number, known.setdefault(group, len(known))
    if not known:
        raise DataError(f"{path} names no group: write a line age,person for every feature")
    if (missing := np.flatnonzero(out < 0)).size:
        raise DataError(
            f"{path} names no group for {missing.size:,} of {out.size:,} features, the first of them "
            f"{names.name(int(missing[0]))}: give every feature a line, a group of its own if nothing goes with it"
        )
