"""Which form SPCG takes: by what is sent until the end, as it is foreseen, and later as it is seen (`spcg_costs`)."""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf, sqrt

from mpiopt.engine.forms import Extent, Taken
from mpiopt.errors import CapabilityError
from mpiopt.methods.spcg_costs import BESIDE, DONE, FEW, copying, foreseen, hardness, price, remaining, vectors
from mpiopt.words import counted
from mpiopt.work.local_solvers import TO_THE_END, limit

SMALL = 128  # of so few it is 33 kB, which cost a network little more than a message of any length
HARD = 20.0  # h from which small Hessians pay where rounds gain little
LIGHT = 3.0  # h up to which counts saves a round at most, and its steps cost up to twice as much
EASY_COPY = 10.0  # h of one worker with all rows, up to which its dual is ascended quickly, as `local_solvers.Auto` has it
BEGIN, LOOK = 3, 4  # rounds in the form counts before a first look at how they went, and a second
LITTLE_GAIN = 0.02  # of F by the first round
LONG = 12.0  # rounds to come that are more than a small Hessian takes
WORTH = 2.0  # times what is foreseen has to be more than a copy: one worker then works for all
MOVED = 1 << 22  # entries that are copied at most: one worker passes over them in about 10 ms
FELLOWS, HEAVY = 3, 50_000_000  # workers of which each takes so many more epochs of the dual that one is as quick; entries then
SPARED, BEYOND = 2.0, 3.0  # times the vectors of their rounds may then be copied; of easy problems so many more
SOFT = 0.3  # h from which local models have rounds enough for that
LITTLE = 1 << 17  # entries, a megabyte, that a network brings in the time of some dozen messages
EARLY, LATE = 4.0, 1.5  # Hessians of a run that begins with one, and of one that comes to it


@dataclass(frozen=True)
class AskedFor:
    """The one form that there is."""

    def first(self, extent: Extent, forms: Collection[str]) -> Taken:
        """It. Raises CapabilityError where it is for one worker, and here are several."""
        (form,) = forms
        if form == "alone" and extent.workers > 1:
            raise CapabilityError(
                f"the form alone of spcg is for one worker, and here are {extent.workers}: leave the form out"
            )
        return Taken(form, "asked for")

    def asks_parts(self, extent: Extent) -> bool:
        """No."""
        return False

    def watches(self, taken: Taken, extent: Extent, forms: Collection[str]) -> bool:
        """Never."""
        return False

    def later(self, taken: Taken, extent: Extent, forms: Collection[str], rounds: int, objectives: tuple[float, ...]) -> Taken:
        """It."""
        return taken


@dataclass(frozen=True)
class ByCost:
    """classes where each class is a problem of its own; hessian where features are few and counts would send more, gathered
    where both send more than all rows are; where one worker has all rows dual while that is easy (`work.local_solvers`), else
    alone; mean where h is no more than `LIGHT` and workers have the same features, or a loss is not of rows and columns; else
    counts."""

    def first(self, extent: Extent, forms: Collection[str]) -> Taken:
        """By the size of the problem and h."""
        if not extent.smooth and extent.columns and "face" in forms:
            return Taken("face", "the penalty has kinks or walls")
        if extent.apart and "classes" in forms:
            return Taken("classes", "each class is a problem of its own")
        if not extent.columns:
            return Taken("mean", "the loss is not one of rows and columns")
        h = hardness(extent)
        if extent.workers == 1 and (found := _alone(extent, h)) and found.form in forms:
            return found
        if "gathered" in forms and (why := _copied(extent, "hessian" in forms)):
            return Taken("gathered", why)
        if "hessian" in forms and extent.dim <= FEW and price(extent, EARLY) < foreseen(extent) < inf:
            return Taken(
                "hessian", f"{_size(extent)}, {counted(round(extent.rows / extent.workers), 'row')} a worker, h = {h:.3g}"
            )
        if "mean" in forms and h <= LIGHT and not extent.parts:
            return Taken("mean", f"workers' rows are alike, h = {h:.3g}")
        alike = ", unlike features" if extent.parts else ""
        return Taken("counts", f"{counted(extent.workers, 'worker')}{alike}, h = {h:.3g}")

    def asks_parts(self, extent: Extent) -> bool:
        """Where mean would serve, and there are so many workers that parts may be much shorter than the whole."""
        return extent.columns and extent.dim > FEW and extent.workers > FELLOWS and hardness(extent) <= LIGHT

    def watches(self, taken: Taken, extent: Extent, forms: Collection[str]) -> bool:
        """Where a Hessian or a copy may still come to pay."""
        few = "hessian" in forms and extent.dim <= FEW
        return taken.form == "counts" and (few or ("gathered" in forms and _moves(extent)))

    def later(self, taken: Taken, extent: Extent, forms: Collection[str], rounds: int, objectives: tuple[float, ...]) -> Taken:
        """A Hessian, or a copy of all rows, where the rounds to come would send more."""
        few, h = "hessian" in forms and extent.dim <= FEW, hardness(extent)
        hard = few and extent.dim <= SMALL and h > HARD
        if hard and ((rounds == 1 and _astray(objectives)) or (rounds == BEGIN and _stands(objectives))):
            return Taken("hessian", f"{_size(extent)}, after {counted(rounds, 'round')} of counts that gained little")
        if rounds < LOOK:
            return taken
        left = min(remaining(objectives), 3 * (5 + sqrt(h) / 3))
        costs = {"hessian": price(extent, LATE)} if few else {}
        if "gathered" in forms and _moves(extent):
            costs["gathered"] = copying(extent)
        form = min(costs, key=costs.__getitem__)
        if vectors(extent) * left > 1.5 * costs[form] or (hard and left > LONG):
            return Taken(form, f"{_size(extent)}, after {counted(rounds, 'round')} of counts with slow progress")
        return taken


def _astray(objectives: tuple[float, ...]) -> bool:
    """Whether the first round gained next to nothing: workers of few rows, with rare features, point anywhere but down."""
    first, last = objectives
    return first - last < LITTLE_GAIN * abs(first)


def _stands(objectives: tuple[float, ...]) -> bool:
    """Whether the last round gained more than half of what the one before did: nothing tells that the end is near."""
    earlier, last = objectives[-3] - objectives[-2], objectives[-2] - objectives[-1]
    return last > max(0.5 * earlier, DONE * abs(objectives[-1]))


def _alone(extent: Extent, h: float) -> Taken | None:
    """How one worker solves: few coefficients, or hard for the dual, to the end while that takes little; None by counts."""
    if extent.dim <= FEW:
        return Taken("alone", f"{_size(extent)} on one worker")
    if extent.descends and h <= _easy(extent):
        return Taken("dual", f"one worker, h = {h:.3g}")
    soon = _moves(extent) or extent.dim <= extent.rows
    return Taken("alone", f"{extent.nonzeros:,} entries on one worker, h = {h:.3g}") if soon else None


def _easy(extent: Extent) -> float:
    """h of one worker with all rows, up to which it ascends the dual."""
    return limit(TO_THE_END, extent.dim, extent.rows)


def _moves(extent: Extent) -> bool:
    """Whether there are rows that can be sent, so few that one worker passes over them in no time."""
    return 0 < extent.nonzeros <= MOVED


def _copied(extent: Extent, hessians: bool) -> str:
    """Why a copy of all rows with one worker pays from the start; empty where it does not.

    It has to be less than the rounds by what each worker sends, and no more by what one worker receives; but for `LITTLE`.
    Where parallel work is worth as little as among `FELLOWS`, `SPARED` times as much will do, of easy problems `BEYOND` more,
    of up to `HEAVY` entries.
    """
    few = extent.dim <= FEW and hessians
    ahead = min(foreseen(extent), price(extent, EARLY) if few else inf)
    entries, worth, most, received = extent.nonzeros, WORTH, MOVED, 2
    if _ascends(extent):
        worth, most, received = 1.0, HEAVY, 3
        ahead = SPARED * ahead if hardness(extent) > LIGHT else ahead + BEYOND
    if extent.workers == 1 or not 0 < entries <= most or ahead == inf:
        return ""
    if worth * copying(extent) < ahead and entries <= max(received * ahead * extent.dim, LITTLE):
        return f"{entries:,} entries of all rows are less than the rounds of {counted(extent.workers, 'worker')}"
    return ""


def worth_copies(extent: Extent, classes: int) -> bool:
    """Whether all rows with every worker are less than the rounds of so many classes, which workers then share out: each has
    as much to do as before, and converges as one alone. extent : of one class."""
    easy = extent.descends and extent.dim > FEW and hardness(extent) <= EASY_COPY * extent.workers
    if extent.workers == 1 or classes < extent.workers or not easy or not 0 < extent.nonzeros <= HEAVY:
        return False
    return extent.nonzeros * (1 - 1 / extent.workers) < classes * (foreseen(extent, 2) - BESIDE) * extent.dim


def _ascends(extent: Extent) -> bool:
    """Whether few workers have many features, and one with all rows would ascend the dual: each of two visits its rows about as
    often as one alone visits all, and they have gradients and steps beside. The easiest have too few rounds for that to matter,
    unless rows take time to pass over."""
    h = hardness(extent)
    slow = h > SOFT or extent.nonzeros > MOVED
    return extent.workers <= FELLOWS and extent.descends and extent.dim > FEW and slow and h <= _easy(extent) * extent.workers


def _size(extent: Extent) -> str:
    return f"few coefficients ({extent.dim:,})" if extent.dim <= FEW else f"{counted(extent.dim, 'coefficient')}"
