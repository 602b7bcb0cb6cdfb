"""Whether a run that was read back is one of this problem: kernels trust its lengths."""

from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerRow, PerWorker, Tree
from mpiopt.engine.verdict import Best
from mpiopt.errors import DataError
from mpiopt.io.runs.part_kinds import fits
from mpiopt.problems.parted import OwnedPart
from mpiopt.problems.problem import Point, Team, offered
from mpiopt.problems.protocols import Margins, OfRows, offers


def fitting(kept: Tree, team: Team) -> tuple[Run, Best | None]:
    """The run and the best point that were kept, once both are of this problem: a point for every worker here, as many entries
    per row as there are rows, or margins, and a best point of the problem's length. Points of rows and columns may be in fewer
    coordinates (`problems.reduced`), which the method looks at.

    Not collective. Raises DataError.
    """
    if not (isinstance(kept, tuple) and len(kept) == 2 and isinstance(kept[0], Run) and fits(kept[1], Best | None)):
        raise DataError("it does not hold a run and its best point")
    run, best = kept
    rows = [site.loss.margin_count if offers(site.loss, Margins) else site.loss.rows for site in team.sites]
    least = 0 if offered(team, OfRows) else team.dim
    if len(run.points) != len(rows):
        raise DataError("it has no point for every worker")
    if best is not None and not _of(best.x, team):
        raise DataError("its best point is not of this problem")
    for point, count in zip(run.points, rows, strict=True):
        if not (isinstance(point, Point) and point.x.ndim == 1 and least <= point.x.size <= team.dim):
            raise DataError("its points are not of this problem")
        if point.margins is not None and point.margins.shape[:1] != (count,):
            raise DataError("its points are not of this problem")
    _demand_rows(run, rows)
    return run, best


def _of(x: Tree, team: Team) -> bool:
    """Whether x is a point of a problem, or parts of one, whose places are looked at where they are put together."""
    if isinstance(x, PerWorker):
        return len(x) == len(team.sites) and all(isinstance(own, OwnedPart) for own in x)
    return x.shape == (team.dim,)


def _demand_rows(node: Tree, rows: list[int]) -> None:
    """What is kept by row, wherever it is, must have an entry for each of a worker's rows."""
    if isinstance(node, PerRow) and len(node) == len(rows):
        for array, count in zip(node, rows, strict=True):
            if array is not None and (not getattr(array, "shape", ()) or array.shape[-1] != count):
                raise DataError("it keeps something by row that is not of these rows")
    elif isinstance(node, PerWorker) and len(node) == len(rows):
        for child, count in zip(node, rows, strict=True):
            _demand_rows(child, [count])
    elif isinstance(node, tuple):
        for child in node:
            _demand_rows(child, rows)
