"""Step sizes that proofs allow, from constants of the problem and of the compressor. Pure functions.

L : smoothness of the mean; Li : the workers' own; mu : strong convexity; delta : contraction; omega : variance of one
message; m : variance of the mean of all workers' messages, E |mean Q(a_i) - mean a_i|^2 <= m mean |a_i|^2. The papers draw
every message by itself, for which m = omega / n; their proofs need no more of it than that bound.
The framework of Shulgin and Richtarik (Shifted compression framework: generalizations and improvements, UAI 2022) has
DCGD, DIANA, Rand-DIANA, GDCI and VR-GDCI.
"""

from math import inf, sqrt
from typing import NamedTuple


class Constants(NamedTuple):
    """What is known of a problem."""

    L: float
    Lmax: float  # the largest Li
    Lrms: float  # the root of the mean of Li^2
    mu: float
    workers: int


class Noise(NamedTuple):
    """The variance constants of an unbiased compressor."""

    one: float  # omega, of a message
    mean: float  # m, of the mean of the workers' messages


def independent(omega: float, workers: int) -> Noise:
    """Of messages that are drawn each by itself."""
    return Noise(omega, omega / workers)


def dcgd(c: Constants, noise: Noise) -> float:
    """gamma <= 1 / (L + 2 max Li m); also for fixed shifts."""
    return 1 / (c.L + 2 * c.Lmax * noise.mean)


def dcgd_star(c: Constants, noise: Noise, delta: float = 0.0) -> float:
    """gamma <= 1 / (L + max Li m (1 - delta)), for shifts at the optimum."""
    return 1 / (c.L + c.Lmax * noise.mean * (1 - delta))


def diana(c: Constants, noise: Noise) -> tuple[float, float]:
    """(gamma, alpha): gamma <= 1 / (Lmax (1 + 6 m)), alpha <= 1 / (1 + omega)."""
    return 1 / (c.Lmax * (1 + 6 * noise.mean)), 1 / (1 + noise.one)


def rand_diana(c: Constants, noise: Noise) -> tuple[float, float]:
    """(gamma, p): p = 1 / (1 + omega), gamma <= 1 / ((1 + 2 m) Lmax + M p Lmax) with M p = 4 m."""
    return 1 / ((1 + 6 * noise.mean) * c.Lmax), 1 / (1 + noise.one)


def gdci(c: Constants, noise: Noise) -> tuple[float, float]:
    """(gamma, eta): the step inside the fixed-point image, and the relaxation towards it. Needs mu > 0."""
    return _image(c, 2 * noise.mean)


def vr_gdci(c: Constants, noise: Noise) -> tuple[float, float, float]:
    """(gamma, eta, alpha) for learnt shifts. Needs mu > 0."""
    return *_image(c, 6 * noise.mean), 1 / (1 + noise.one)


def _image(c: Constants, noise: float) -> tuple[float, float]:
    eta = 1 / (c.L / c.mu + noise * (c.Lmax / c.mu - 1))
    return (1 + eta * noise) / (eta * (c.L + c.Lmax * noise)), eta


def ef21(c: Constants, delta: float) -> float:
    """gamma <= 1 / (L + L~ sqrt(b / t)), t = 1 - sqrt(1 - delta), b = (1 - delta) / t, L~^2 = mean Li^2.

    Richtarik, Sokolov, Fatkhullin, EF21: a new, simpler, theoretically better, and practically faster error feedback, 2021.
    """
    theta = 1 - sqrt(1 - delta)
    ratio = (1 - delta) / theta**2 if theta else inf
    return 1 / (c.L + c.Lrms * sqrt(ratio))


def marina(c: Constants, noise: Noise, probability: float) -> float:
    """gamma <= 1 / (L (1 + sqrt((1 - p) m / p))), with the root of mean Li^2 in the second place of L.

    Gorbunov, Burlachenko, Li, Richtarik, MARINA: faster non-convex distributed learning with compression, ICML 2021.
    """
    return 1 / (c.L + c.Lrms * sqrt((1 - probability) * noise.mean / probability))


def error_feedback(c: Constants, delta: float) -> float:
    """gamma = delta / (8 L): of the order that Stich, Karimireddy, The error-feedback framework, 2020, allows."""
    return max(delta, 1e-12) / (8 * c.Lmax)


def sampled(smoothness: float, noise: float, mu: float, accuracy: float) -> float:
    """The step with which SGD comes within ``accuracy`` of the optimum, in mean squared distance, in the fewest steps.

    noise : the variance of its gradient at the optimum. Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general
    analysis and improved rates, ICML 2019, theorem 3.1.
    """
    return min(1 / (2 * smoothness), accuracy * mu / (4 * noise) if noise > 0 else inf)


def best_minibatch(rows: int, whole: float, steepest: float, squares: float, mu: float, accuracy: float) -> float:
    """Rows of a step that is `sampled` with every set of so many as likely, for the least work: between 1 and ``rows``.

    whole : L of the mean; steepest : the largest L_i; squares : the mean of |grad f_i|^2 at the optimum. The same paper,
    section 4.2.
    """
    theta = 2 * squares / (accuracy * mu)
    if theta <= steepest:
        return 1.0
    return min(max(rows * (theta + whole - steepest) / (theta + rows * whole - steepest), 1.0), float(rows))


def mast(c: Constants, gain: float) -> float:
    """gamma <= 1 / (max Li L_S) for gradients through masks, L_S = gain^2 the largest eigenvalue of any S^T S.

    Demidovich, Malinovsky, Shulgin, Richtarik, MAST: model-agnostic sparsified training, ICLR 2025, theorem 1.
    """
    return 1 / (c.Lmax * gain * gain)


def mast_floor(step: float, mu: float, L: float, gain: float, apart: float) -> float:
    """2 gamma L L_S apart / (mu_D mu): where E |x - x*|^2 of MAST is bound to go, L_S = gain^2 and mu_D = gain.

    apart : how far the least of the mean over masks lies above the least of f. Theorem 1 as of `mast`.
    """
    return 2 * step * L * gain * apart / mu


def mast_vr(c: Constants, gain: float) -> float:
    """gamma <= 1 / (6 max Li L_S), as of loopless SVRG on the functions f(v + S (x - v)), which are L L_S smooth.

    Kovalev, Horvath, Richtarik, Don't jump through hoops and remove those loops, ALT 2020, theorem 5.
    """
    return mast(c, gain) / 6


def consensus(step: float, lambda_max: float) -> float:
    """Half of the longest step of decentralised gradient descent, (1 + lambda_min(W)) / L with lambda_max of I - W.

    step : 1 / L, of the worst worker. Yuan, Ling, Yin, On the convergence of decentralized gradient descent, 2016, section 2.
    """
    return step * (2 - lambda_max) / 2


def tracking(step: float, lambda_max: float) -> float:
    """Half of (1 + lambda_min(W))^2 / (2 L), beyond which DIGing diverges even where all workers have the same loss.

    As that is stable where both eigenvalues of [[w, -a], [L (w - 1), w - a L]] are within the unit circle for every eigenvalue
    w of W. step : 1 / L, of the worst worker.
    """
    return step * (2 - lambda_max) ** 2 / 4


class Adom(NamedTuple):
    """The parameters of ADOM."""

    alpha: float
    eta: float
    theta: float
    sigma: float
    tau: float


def adom(mu: float, L: float, lambda_min: float, lambda_max: float) -> Adom:
    """Those by which the distance falls to 1 - tau of it in a round, for losses that are all mu-strongly convex and L-smooth
    and graphs whose matrices I - W have no eigenvalues but 0 outside of [lambda_min, lambda_max].

    Kovalev, Shulgin, Richtarik, Rogozin, Gasnikov, ADOM: accelerated decentralized optimization method for time-varying
    networks, ICML 2021, theorem 1.
    """
    eta = 2 * lambda_min * sqrt(mu) * sqrt(L) / (7 * lambda_max)  # roots apart: a product may have no room
    return Adom(1 / (2 * L), eta, mu / lambda_max, 1 / lambda_max, lambda_min / (7 * lambda_max) * sqrt(mu / L))


class AdomPlus(NamedTuple):
    """The parameters of ADOM+; scale : what makes 1 of the largest eigenvalue of what neighbours do."""

    alpha: float
    beta: float
    gamma: float
    delta: float
    zeta: float
    eta: float
    theta: float
    nu: float
    sigma: float
    sigma_behind: float
    tau: float
    tau_behind: float
    scale: float


def adom_plus(mu: float, L: float, lambda_min: float, lambda_max: float) -> AdomPlus:
    """Those by which the distance falls to 1 - O(sqrt(mu / L) lambda_min / lambda_max) of it; losses and graphs as of `adom`.

    Kovalev, Gasanov, Gasnikov, Richtarik, Lower bounds and optimal algorithms for smooth and strongly convex decentralized
    optimization over time-varying networks, NeurIPS 2021, theorem 4 (ADOM+).
    """
    chi, root = lambda_max / lambda_min if lambda_min > 0 else inf, sqrt(mu) / sqrt(L)
    behind, nu = root / (16 * chi), mu / 2
    return AdomPlus(
        alpha=mu / 2,
        beta=1 / (2 * L),
        gamma=nu / (14 * behind * chi**2) if behind else 0.0,
        delta=1 / (17 * L),
        zeta=0.5,
        eta=1 / (L * root),
        theta=nu / (4 * behind) if behind else 0.0,
        nu=nu,
        sigma=1 / (1 / behind + 0.5) if behind else 0.0,
        sigma_behind=behind,
        tau=1 / (1 / root + 0.5),
        tau_behind=root,
        scale=1 / lambda_max,
    )
