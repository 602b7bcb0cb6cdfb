"""Step sizes that proofs allow, from constants of the problem and of the compressor. Pure functions.

L : smoothness of the mean; Li : the workers' own; mu : strong convexity; omega, delta : of the compressors; n : workers.
The framework of Shulgin and Richtarik (Shifted compression framework: generalizations and improvements, UAI 2022) has
DCGD, DIANA, Rand-DIANA, GDCI and VR-GDCI.
"""

from math import inf, sqrt
from typing import NamedTuple


class Constants(NamedTuple):
    """What is known of a problem."""

    L: float
    Lmax: float  # the largest Li
    Lsquares: float  # the mean of Li^2
    mu: float
    workers: int


def dcgd(c: Constants, omega: float) -> float:
    """gamma <= 1 / (L + 2 max Li omega / n); also for fixed shifts."""
    return 1 / (c.L + 2 * c.Lmax * omega / c.workers)


def dcgd_star(c: Constants, omega: float, delta: float = 0.0) -> float:
    """gamma <= 1 / (L + max Li omega (1 - delta) / n), for shifts at the optimum."""
    return 1 / (c.L + c.Lmax * omega * (1 - delta) / c.workers)


def diana(c: Constants, omega: float) -> tuple[float, float]:
    """(gamma, alpha): gamma <= 1 / (Lmax (1 + 6 omega / n)), alpha <= 1 / (1 + omega)."""
    return 1 / (c.Lmax * (1 + 6 * omega / c.workers)), 1 / (1 + omega)


def rand_diana(c: Constants, omega: float) -> tuple[float, float]:
    """(gamma, p): p = 1 / (1 + omega), gamma <= 1 / ((1 + 2 omega / n) Lmax + M p Lmax) with M p = 4 omega / n."""
    return 1 / ((1 + 6 * omega / c.workers) * c.Lmax), 1 / (1 + omega)


def gdci(c: Constants, omega: float) -> tuple[float, float]:
    """(gamma, eta): the step inside the fixed-point image, and the relaxation towards it. Needs mu > 0."""
    return _image(c, 2 * omega / c.workers)


def vr_gdci(c: Constants, omega: float) -> tuple[float, float, float]:
    """(gamma, eta, alpha) for learnt shifts. Needs mu > 0."""
    return *_image(c, 6 * omega / c.workers), 1 / (1 + omega)


def _image(c: Constants, noise: float) -> tuple[float, float]:
    eta = 1 / (c.L / c.mu + noise * (c.Lmax / c.mu - 1))
    return (1 + eta * noise) / (eta * (c.L + c.Lmax * noise)), eta


def ef21(c: Constants, delta: float) -> float:
    """gamma <= 1 / (L + L~ sqrt(b / t)), t = 1 - sqrt(1 - delta), b = (1 - delta) / t, L~^2 = mean Li^2.

    Richtarik, Sokolov, Fatkhullin, EF21: a new, simpler, theoretically better, and practically faster error feedback, 2021.
    """
    theta = 1 - sqrt(1 - delta)
    ratio = (1 - delta) / theta**2 if theta else inf
    return 1 / (c.L + sqrt(c.Lsquares * ratio))


def marina(c: Constants, omega: float, probability: float) -> float:
    """gamma <= 1 / (L (1 + sqrt((1 - p) omega / (p n)))), with the root of mean Li^2 in the second place of L.

    Gorbunov, Burlachenko, Li, Richtarik, MARINA: faster non-convex distributed learning with compression, ICML 2021.
    """
    return 1 / (c.L + sqrt(c.Lsquares * (1 - probability) * omega / (probability * c.workers)))


def error_feedback(c: Constants, delta: float) -> float:
    """gamma = delta / (8 L): of the order that Stich, Karimireddy, The error-feedback framework, 2020, allows."""
    return max(delta, 1e-12) / (8 * c.Lmax)
