"""Methods for games and variational inequalities; F is that of all workers over a sample, step(z, F) is prox(z - gamma F).

    simultaneous           Field -> Mean                                    z <- step(z, F(z))
    alternating            Field -> Mean, Reply -> Mean                     x first, and y hears of it
    extragradient          Field -> Mean, Field(ahead), same draw -> Mean   y = step(z, F(z)); z <- step(z, F(y))
    mirror_prox            the same, each half with a draw of its own
    optimistic             Field(ahead) -> Mean                             y = step(z, F(last y)); z <- step(z, F(y))
    local_extragradient    Wander -> Mean                                   z <- mean of where the workers' own steps led

Advance has a ``momentum``, which damps rotations where it is below 0; ``gamma`` is found where it is not given. With samples
of a bilinear game extragradient alone converges, for it looks at each twice; mirror_prox and optimistic do with all rows.
"""

from mpiopt.engine.phase import Phase, Work
from mpiopt.exchange.mean import Mean
from mpiopt.methods.averaging import AS_FAR
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import demand
from mpiopt.outer.advance import Advance
from mpiopt.outer.descend import Descend
from mpiopt.playing.method import Playing
from mpiopt.sampling.pace import Period
from mpiopt.work.field import Field, Reply, Wander

MISHCHENKO = "Mishchenko, Kovalev, Shulgin, Richtarik, Malitsky, Revisiting stochastic extragradient, AISTATS 2020"


def extragradient(gamma: float | None = None, momentum: float = 0.0) -> Playing:
    """Stochastic extragradient that looks at the same sample twice: converges on games where fresh samples lead away."""
    return _play(gamma, momentum, Field(), Field(ahead=True))


def mirror_prox(gamma: float | None = None, momentum: float = 0.0) -> Playing:
    """Extragradient with a sample of its own for each half of a step."""
    return _play(gamma, momentum, Field(draw=(0, 2)), Field(ahead=True, draw=(1, 2)))


def optimistic(gamma: float | None = None, momentum: float = 0.0) -> Playing:
    """Past extragradient: the first half takes what the step before has found, so that one operator a round is enough."""
    return _play(gamma, momentum, Field(ahead=True))


def simultaneous(gamma: float | None = None, momentum: float = 0.0) -> Playing:
    """Gradient descent and ascent at once: spirals outward on bilinear games."""
    return _play(gamma, momentum, Field())


def alternating(gamma: float | None = None, momentum: float = 0.0) -> Playing:
    """Gradient descent, and then ascent from where that led: stays at a distance on bilinear games."""
    return _play(gamma, momentum, Field(), Reply())


def local_extragradient(gamma: float | None = None, period: int = 16) -> Playing:
    """Extragradient on each worker's own rows, averaged after every ``period`` steps."""
    return Playing(None, (Phase(Wander(pace=Period(period)), Mean()),), Descend(AS_FAR), gamma=gamma)


def _play(gamma: float | None, momentum: float, *works: Work) -> Playing:
    demand(-1 < momentum < 1, "momentum", momentum, "a number between -1 and 1")
    return Playing(None, tuple(Phase(work, Mean()) for work in works), Advance(momentum), gamma=gamma)


ENTRIES = (
    Entry(extragradient, MISHCHENKO),
    Entry(mirror_prox, "Juditsky, Nemirovski, Tauvel, Solving variational inequalities with stochastic mirror-prox, 2011"),
    Entry(optimistic, "Popov, A modification of the Arrow-Hurwicz method for search of saddle points, 1980"),
    Entry(simultaneous, "Arrow, Hurwicz, Uzawa, Studies in linear and non-linear programming, 1958"),
    Entry(alternating, "Gidel, Hemmat, Pezeshki, et al., Negative momentum for improved game dynamics, AISTATS 2019"),
    Entry(local_extragradient, "Beznosikov, Samokhin, Gasnikov, Distributed saddle-point problems: lower bounds, 2020"),
)
