"""Which form SPCG takes: by what is sent until the end, as it is foreseen from the problem, and later as it is seen.

A message of b bytes a worker counts as b / (8 d) vectors. A round of counts is two vectors, of more than `FEW` coefficients
one, since both then travel in 32 bits (`exchange.narrow`). How many rounds it takes grows with

    h = c mean|a_i|^2 workers / (l2 N),

what a row adds to the Hessian of a worker's rows over l2: about 5 + h^(1/2) / 3 (measured; conjugate gradients take rounds as
the square root of a condition number). A Hessian is (d + 1) / 4 vectors in float32, twice as many where l2 is too small for
that. All rows are as many vectors as they have entries for each feature and worker; on one worker they are solved at once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf, log, sqrt

from mpiopt.engine.forms import Extent, Taken
from mpiopt.errors import CapabilityError
from mpiopt.methods.lazy_newton import fits_single
from mpiopt.words import counted

FEW = 1500  # coefficients of which a Hessian is summed and factored
TINY = 16  # of so few it costs about what two rounds do
SMALL = 128  # of so few it is 33 kB, which cost a network little more than a message of any length
POOR = 8  # rows a worker for each coefficient, below which a worker's own Hessian tells little of all rows'
HARD, HOPELESS = 20.0, 2000.0  # h from which small Hessians pay after a few rounds, and from the start
LIGHT = 3.0  # h up to which counts saves a round at most, and its steps cost up to twice as much
EASY = 100.0  # h up to which epochs of dual coordinate descent converge sooner than conjugate gradients
EASY_COPY = 10.0  # h of one worker with all rows, up to which its dual is ascended quickly, as `local_solvers.Auto` has it
BEGIN, LOOK = 3, 4  # rounds in the form counts before a Hessian, and before a look at how they went
AFTER = 8  # vectors of the rounds beside a Hessian
BESIDE = 3.0  # vectors of the rounds beside a copy of all rows
WORTH = 2.0  # times what is foreseen has to be more than a copy: one worker then works for all
MOVED = 1 << 22  # entries that are copied at most: one worker passes over them in about 10 ms
FELLOWS, HEAVY = 3, 50_000_000  # workers of which each takes so many more epochs of the dual that one is as quick; entries then
SPARED = 2.0  # times the vectors of their rounds may then be copied
LITTLE = 1 << 17  # entries, a megabyte, that a network brings in the time of some dozen messages
EARLY, LATE = 4.0, 1.5  # Hessians of a run that begins with one, and of one that comes to it
DONE = 1e-9  # of F: a decrease of no account


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

    def watches(self, taken: Taken, extent: Extent, forms: Collection[str]) -> bool:
        """Never."""
        return False

    def later(self, taken: Taken, extent: Extent, rounds: int, objectives: tuple[float, ...]) -> Taken:
        """It."""
        return taken


@dataclass(frozen=True)
class ByCost:
    """counts; classes where each class is a problem of its own; hessian where features are few and counts would send more,
    gathered where both send more than all rows are;
    dual where one worker has all rows and h is no more than `EASY`; mean where h is no more than `LIGHT`, or a loss is not of
    rows and columns."""

    def first(self, extent: Extent, forms: Collection[str]) -> Taken:
        """By the size of the problem and h."""
        if not extent.smooth and extent.columns and "face" in forms:
            return Taken("face", "the penalty has kinks or walls")
        if extent.apart and "classes" in forms:
            return Taken("classes", "each class is a problem of its own")
        if not extent.columns:
            return Taken("mean", "the loss is not one of rows and columns")
        if extent.workers == 1 and "alone" in forms and TINY < extent.dim <= FEW:
            return Taken("alone", f"{_size(extent)} on one worker")
        if "gathered" in forms and (why := _copied(extent, "hessian" in forms)):
            return Taken("gathered", why)
        if "hessian" in forms and (why := _few(extent)):
            return Taken("hessian", why)
        h = hardness(extent)
        if "dual" in forms and extent.workers == 1 and extent.descends and extent.dim > FEW and h <= EASY:
            return Taken("dual", f"one worker, h = {h:.3g}")
        if "mean" in forms and extent.dim > FEW and h <= LIGHT:
            return Taken("mean", f"workers' rows are alike, h = {h:.3g}")
        return Taken("counts", f"{counted(extent.workers, 'worker')}, h = {h:.3g}")

    def watches(self, taken: Taken, extent: Extent, forms: Collection[str]) -> bool:
        """Where a Hessian may still come to pay."""
        return taken.form == "counts" and "hessian" in forms and extent.dim <= FEW

    def later(self, taken: Taken, extent: Extent, rounds: int, objectives: tuple[float, ...]) -> Taken:
        """A Hessian where the rounds to come would send more."""
        h = hardness(extent)
        if _small(extent) and HARD < h < inf and rounds >= BEGIN:
            return Taken("hessian", f"{_size(extent)}, after {counted(rounds, 'round')} of counts since h = {h:.3g}")
        if rounds >= LOOK and 2 * remaining(objectives) > 1.5 * price(extent, LATE):
            return Taken("hessian", f"{_size(extent)}, after {counted(rounds, 'round')} of counts with slow progress")
        return taken


def hardness(extent: Extent) -> float:
    """h, infinity without l2."""
    ridge = extent.l2 * extent.weight
    return extent.bend * extent.squares * extent.workers / ridge if ridge > 0 else inf


def price(extent: Extent, hessians: float) -> float:
    """Vectors that the form hessian sends, with so many of them."""
    return hessians * (extent.dim + 1) / (4 if fits_single(extent) else 2) + AFTER


def foreseen(extent: Extent, a_round: int | None = None) -> float:
    """Vectors that the form counts sends; or with so many a round."""
    each = (1 if extent.dim > FEW else 2) if a_round is None else a_round
    return each * (5 + sqrt(hardness(extent)) / 3)


def copying(extent: Extent) -> float:
    """Vectors that the form gathered sends: what a worker has of the rows, and the rounds."""
    entries = extent.nonzeros * (1 - 1 / extent.workers)
    return entries / (extent.workers * extent.dim) + BESIDE


def remaining(objectives: tuple[float, ...]) -> float:
    """Rounds until a decrease is of no account, if the last three go on as they did; 0 where they already do not count."""
    if len(objectives) < 5:
        return 0.0
    earlier, last = objectives[-5] - objectives[-4], objectives[-2] - objectives[-1]
    least = DONE * abs(objectives[-1])
    if not last > least:
        return 0.0
    return log(last / least) / log(earlier / last) * 3 if earlier > last else inf


def _copied(extent: Extent, hessians: bool) -> str:
    """Why a copy of all rows with one worker pays from the start; empty where it does not.

    It has to be less than the rounds by what each worker sends, and no more by what one worker receives; but for `LITTLE`.
    Where parallel work is worth as little as among `FELLOWS`, `SPARED` times as much will do, of up to `HEAVY` entries.
    """
    few = extent.dim <= FEW and hessians
    ahead = min(foreseen(extent), price(extent, EARLY) if few else inf)
    entries = extent.nonzeros
    worth, most = (1.0, HEAVY) if _ascends(extent) else (WORTH, MOVED)
    ahead *= SPARED if _ascends(extent) else 1.0
    if extent.workers == 1 or extent.dim <= TINY or not 0 < entries <= most or ahead == inf:
        return ""
    if worth * copying(extent) < ahead and entries <= max(2 * ahead * extent.dim, LITTLE):
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
    """Whether few workers have many features, and one with all rows would ascend the dual where their local models are hard."""
    h = hardness(extent)
    return extent.workers <= FELLOWS and extent.descends and extent.dim > FEW and h > LIGHT and h <= EASY * extent.workers


def _small(extent: Extent) -> bool:
    return extent.dim <= SMALL and extent.workers > 1


def _few(extent: Extent) -> str:
    """Why a Hessian pays from the start; empty where it does not."""
    h = hardness(extent)
    if extent.dim <= TINY:
        return _size(extent)
    if h == inf:  # nothing is foreseen without l2
        return ""
    if _small(extent) and h > HOPELESS:
        return f"{_size(extent)}, h = {h:.3g}"
    if extent.dim <= FEW and extent.rows < POOR * extent.dim * extent.workers and price(extent, EARLY) < foreseen(extent):
        return f"{_size(extent)}, {counted(round(extent.rows / extent.workers), 'row')} a worker, h = {h:.3g}"
    return ""


def _size(extent: Extent) -> str:
    return f"few coefficients ({extent.dim:,})"
