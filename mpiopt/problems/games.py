"""Games from a line of text, with samples drawn from a seed.

bilinear:dim=10,samples=50,noise=0,seed=1     min over x, max over y of mean x.B_i y + c_i.x + d_i.y
quadratic:dim=10,samples=50,mu=0.1            the same, with mu/2 |x|^2 + x.P_i x / 2 and the like for y
matrix:rows=8,columns=12                      x.B y over two simplices: mixed strategies
robust:samples=200,features=10,radius=0.3     logistic regression against displaced rows
gan:samples=512,hidden=32                     a generator of eight normal spots against who tells them from real ones

A row is one sample; the workers share the rows out. The same text is the same game on every rank.
"""

from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.problems.feasible import Beside, Simplex
from mpiopt.problems.gan import Adversaries, begun, mixture
from mpiopt.problems.operators import Affine, Robust
from mpiopt.problems.penalties import Box, ElasticNet, Zero
from mpiopt.problems.protocols import Penalty
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry


@dataclass(frozen=True, eq=False)
class Game:
    """All rows of a game. start, solution : (dim,); no solution where it is not known."""

    whole: Affine | Robust | Adversaries
    penalty: Penalty
    start: Array
    solution: Array | None = None


def bilinear(dim: int = 10, samples: int = 50, noise: float = 0.0, seed: int = 1) -> Game:
    """x.B_i y with normal matrices B_i.

    noise : the deviation of c_i and d_i, which add up to 0; without it all samples have one solution.
    """
    _positive(dim=dim, samples=samples)
    _not_negative(noise=noise)
    stream = Streams(seed)("bilinear")
    return _affine(_coupled(stream, samples, dim), _offsets(stream, samples, 2 * dim, noise), dim, stream)


def quadratic(
    dim: int = 10, samples: int = 50, mu: float = 0.1, coupling: float = 1.0, noise: float = 1.0, seed: int = 1
) -> Game:
    """Strongly convex in x and concave in y, with samples that differ.

    mu : of how much at least; coupling : how much of B_i there is.
    """
    _positive(dim=dim, samples=samples)
    _not_negative(mu=mu, coupling=coupling, noise=noise)
    stream = Streams(seed)("quadratic")
    a = coupling * _coupled(stream, samples, dim)
    for block in (slice(dim), slice(dim, None)):
        root = stream.standard_normal((samples, dim, dim)) / sqrt(dim)
        a[:, block, block] = root @ root.swapaxes(1, 2) / 4 + mu * np.eye(dim)
    return _affine(a, _offsets(stream, samples, 2 * dim, noise) + stream.standard_normal(2 * dim), dim, stream)


def matrix(rows: int = 8, columns: int = 12, samples: int = 50, seed: int = 1) -> Game:
    """Both players mix their strategies; the payoffs are the mean of noisy samples."""
    _positive(rows=rows, columns=columns, samples=samples)
    stream = Streams(seed)("matrix")
    b = stream.standard_normal((rows, columns)) + stream.standard_normal((samples, rows, columns))
    a = np.zeros((samples, rows + columns, rows + columns))
    a[:, :rows, rows:], a[:, rows:, :rows] = b, -b.swapaxes(1, 2)
    start = np.concatenate([np.full(rows, 1 / rows), np.full(columns, 1 / columns)])
    return Game(Affine(a, np.zeros((samples, rows + columns)), rows), Beside((Simplex(), Simplex()), (rows, columns)), start)


def robust(
    samples: int = 200, features: int = 10, radius: float = 0.3, l2: float = 0.1, price: float | None = None, seed: int = 1
) -> Game:
    """Logistic regression against a displacement of all rows.

    With l2/2 |x|^2, against |y_j| <= radius that pays price/2 |y|^2; price : ln 2 / (2 l2) unless given, which makes the game
    monotone.
    """
    _positive(samples=samples, features=features, l2=l2)
    _not_negative(radius=radius, price=price or 0.0)
    stream = Streams(seed)("robust")
    a, truth = stream.standard_normal((samples, features)), stream.standard_normal(features)
    signs = np.where(a @ truth + stream.standard_normal(samples) > 0, 1.0, -1.0)
    longest = sqrt(2 * log(2) / l2), radius * sqrt(features)  # of x, as f(x) is no more than f(0) at a solution; of y
    paid = log(2) / (2 * l2) if price is None else price
    penalty = Beside((ElasticNet(l2=l2), Box(-radius, radius, l2=paid)), (features, features))
    return Game(Robust(a, signs, longest), penalty, np.zeros(2 * features))


def gan(samples: int = 512, hidden: int = 32, noise: int = 4, spread: float = 0.05, seed: int = 1) -> Game:
    """A generator of a mixture of eight normal distributions against who tells its points from real ones.

    samples : real points, each with noise of so many numbers; hidden : the width of the two hidden layers of either network.
    Neither the solution nor a step is known: give gamma.
    """
    _positive(samples=samples, hidden=hidden, noise=noise, spread=spread)
    stream = Streams(seed)("gan")
    whole = Adversaries(mixture(stream, samples, spread), stream.standard_normal((samples, noise)), (hidden, hidden))
    return Game(whole, Zero(), np.concatenate([begun(stream, whole.generator), begun(stream, whole.judge)]))


GAMES: Registry[Spelt] = Registry(
    "game",
    (
        Spelt(bilinear, "Mishchenko, Kovalev, Shulgin, Richtarik, Malitsky, Revisiting stochastic extragradient, 2020", "dim"),
        Spelt(quadratic, "-", "dim"),
        Spelt(matrix, "von Neumann, Zur Theorie der Gesellschaftsspiele, 1928", "rows"),
        Spelt(robust, "Ben-Tal, El Ghaoui, Nemirovski, Robust optimization, 2009", "samples"),
        Spelt(gan, "Goodfellow, Pouget-Abadie, Mirza, Xu, et al., Generative adversarial nets, NIPS 2014", "samples"),
    ),
)


def game_of(text: str) -> Game:
    """The game that a text spells. Raises UsageError with the games that there are."""
    name, _, rest = text.strip().partition(":")
    return GAMES.find(name).spelt(rest)


def _coupled(stream: np.random.Generator, samples: int, dim: int) -> Array:
    """[[0, B], [-B^T, 0]] of normal B / sqrt(dim)."""
    b = stream.standard_normal((samples, dim, dim)) / sqrt(dim)
    a = np.zeros((samples, 2 * dim, 2 * dim))
    a[:, :dim, dim:], a[:, dim:, :dim] = b, -b.swapaxes(1, 2)
    return a


def _offsets(stream: np.random.Generator, samples: int, dim: int, noise: float) -> Array:
    offsets = noise * stream.standard_normal((samples, dim))
    return offsets - offsets.mean(axis=0)


def _affine(a: Array, b: Array, first: int, stream: np.random.Generator) -> Game:
    """A game without bounds, from a normal start of length 1."""
    start = stream.standard_normal(b.shape[1])
    return Game(Affine(a, b, first), Zero(), start / np.linalg.norm(start), np.linalg.solve(a.mean(axis=0), -b.mean(axis=0)))


def _positive(**given: Any) -> None:
    for name, value in given.items():
        if not value > 0:
            raise UsageError(f"{name} of a game is {value:g}: give a number above 0")


def _not_negative(**given: float) -> None:
    for name, value in given.items():
        if not 0 <= value < np.inf:
            raise UsageError(f"{name} of a game is {value:g}: give a finite number that is not negative")
