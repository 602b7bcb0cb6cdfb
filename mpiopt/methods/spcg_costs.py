"""What the forms of SPCG send until the end, as it is foreseen from the problem, and as the rounds so far tell.

A message of b bytes a worker counts as b / (8 d) vectors. A round of counts is two vectors, of more than `FEW` coefficients
one, since both then travel in 32 bits (`exchange.narrow`), and some `SPOKEN` numbers of the search. How many rounds it takes
grows with what parts a worker's Hessian from that of all rows: at most

    h = c mean|a_i|^2 workers / (l2 N),

what a row adds to the Hessian of a worker's rows over l2, and less where workers have many rows for each coefficient: then
Hessians of samples are alike. About 5 + min(h^(1/2) / 3, s) rounds, s = (1 + g^(1/2)) / (1 - g^(1/2)) the square root of the
condition of one sample's covariance in the other's, for g = `UNEVEN` d workers / N (measured; conjugate gradients take rounds
as the square root of a condition number; Marchenko, Pastur, Distribution of eigenvalues for some sets of random matrices,
1967). A Hessian is (d + 1) / 4 vectors in float32, twice as many where l2 is too small for that. All rows are sent once, and
then solved by one worker.
"""

from math import inf, log, sqrt

from mpiopt.engine.forms import Extent
from mpiopt.methods.lazy_newton import fits_single

FEW = 1500  # coefficients of which a Hessian is summed and factored
UNEVEN = 2.0  # features are not equally frequent: as if there were so many times as many
SPOKEN = 32  # numbers of a round's search, where features are few
AFTER = 8  # vectors of the rounds beside a Hessian
BESIDE = 2.5  # vectors of the rounds beside a copy of all rows
DONE = 1e-9  # of F: a decrease of no account


def hardness(extent: Extent) -> float:
    """h, infinity without l2."""
    ridge = extent.l2 * extent.weight
    return extent.bend * extent.squares * extent.workers / ridge if ridge > 0 else inf


def price(extent: Extent, hessians: float) -> float:
    """Vectors that the form hessian sends, with so many of them."""
    return hessians * (extent.dim + 1) / (4 if fits_single(extent) else 2) + AFTER + 6 * SPOKEN / extent.dim


def foreseen(extent: Extent, a_round: int | None = None) -> float:
    """Vectors that the form counts sends, or with so many a round; infinitely many without l2, of which nothing is foreseen."""
    h, g = hardness(extent), UNEVEN * extent.dim * extent.workers / max(extent.rows, 1)
    if h == inf:
        return inf
    alike = (1 + sqrt(g)) / (1 - sqrt(g)) if g < 1 else inf
    return ((vectors(extent) if a_round is None else a_round) + SPOKEN / extent.dim) * (5 + min(sqrt(h) / 3, alike))


def vectors(extent: Extent) -> int:
    """What a round of counts sends beside its search."""
    return 1 if extent.dim > FEW else 2


def copying(extent: Extent) -> float:
    """Vectors that the form gathered sends: what a worker has of the rows, and the rounds."""
    entries = extent.nonzeros * (1 - 1 / extent.workers)
    return entries * extent.width / 8 / (extent.workers * extent.dim) + BESIDE


def remaining(objectives: tuple[float, ...]) -> float:
    """Rounds until a decrease is of no account, if the last three go on as they did; 0 where they already do not count."""
    if len(objectives) < 5:
        return 0.0
    earlier, last = objectives[-4] - objectives[-3], objectives[-2] - objectives[-1]
    least = DONE * abs(objectives[-1])
    if not last > least:
        return 0.0
    return log(last / least) / log(earlier / last) * 2 if earlier > last else inf
