"""Whether a run that was read back is one of this problem: kernels trust its lengths."""

from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerRow, PerWorker, Tree
from mpiopt.errors import DataError
from mpiopt.problems.problem import Point, Team


def demand_fit(run: Tree, team: Team) -> None:
    """See that a run has a point of this problem for every worker here, and as many entries per row as there are rows.

    Not collective. Raises DataError.
    """
    rows = [site.loss.rows for site in team.sites]
    if not (isinstance(run, Run) and isinstance(run.points, PerWorker) and len(run.points) == len(rows)):
        raise DataError("it has no point for every worker")
    for point, count in zip(run.points, rows, strict=True):
        if not (isinstance(point, Point) and point.x.shape == (team.dim,)):
            raise DataError("its points are not of this problem")
        if point.margins is not None and point.margins.shape[:1] != (count,):
            raise DataError("its points are not of this problem")
    _demand_rows(run, rows)


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
