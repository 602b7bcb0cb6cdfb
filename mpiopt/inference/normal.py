"""What follows from an estimate and its standard error, and from how much better one model is than another."""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array

LEVEL = 0.95  # of intervals


class Estimates(NamedTuple):
    """Coefficients and what is known of them, (n,) each; NaN where there is no error."""

    x: Array
    errors: Array

    @property
    def z(self) -> Array:
        """x over its error."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.x / self.errors

    @property
    def p(self) -> Array:
        """The probability of a |z| at least as large, were the true coefficient 0."""
        from scipy.special import ndtr  # a tenth of a second, which only those who ask for errors wait for

        return 2 * ndtr(-abs(self.z))

    @property
    def interval(self) -> tuple[Array, Array]:
        """The ends of the interval of level `LEVEL`."""
        from scipy.special import ndtri

        half = ndtri(0.5 + LEVEL / 2) * self.errors
        return self.x - half, self.x + half


class LikelihoodRatio(NamedTuple):
    """Twice the difference of two log-likelihoods, the coefficients that the larger model has more, the probability."""

    statistic: float
    freedom: int
    p: float


def likelihood_ratio(smaller: float, larger: float, weight: float, freedom: int, rows: int | None = None) -> LikelihoodRatio:
    """The test of two nested models by their mean losses, the larger's the lower. Wilks, The large-sample distribution of the
    likelihood ratio for testing composite hypotheses, 1938.

    weight : the sum of the sample weights. rows : of least squares, whose variance is estimated: rows log(smaller / larger).
    """
    statistic = 2 * weight * (smaller - larger) if rows is None else rows * float(np.log(smaller / larger))
    from scipy.special import chdtrc

    return LikelihoodRatio(max(statistic, 0.0), freedom, float(chdtrc(freedom, max(statistic, 0.0))))
