"""What a round sends: counted in a rehearsal on other features than those of the job, and brought to the job's.

A message is a number of vectors of the features' length, and a few numbers beside them; what is compressed has the length
that its compressor says. What happens once, in the first round, is left out, and what a coin decides has its expectation.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from mpiopt.comm.tally import Tally
from mpiopt.compress.compressor import Compressor
from mpiopt.engine.method import Method
from mpiopt.engine.phase import Exchange
from mpiopt.errors import UsageError
from mpiopt.exchange.shifted import Refreshed, refreshing
from mpiopt.problems.problem import Team

ENTRY = 8  # bytes of a number: vectors are float64
MOST = 1 << 48
WHOLE = ("first messages", "refresh")  # what exchanges with a memory send as it is, in their first round or by a coin


class Traffic(NamedTuple):
    """Of one rank and one round, on average. payload : bytes of one worker's compressed vector, None where there is none."""

    messages: float
    vector_rounds: float  # as a run file counts them
    long: float  # messages as long as the features
    nbytes: float
    payload: int | None


class Tape:
    """A watcher that reads a tally at the start and after every round. Not collective. ``rounds`` : how many there were."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self.rounds = tally, -1

    def __call__(self, record: object) -> None:
        """Read on."""
        self._last = Counter(self._tally.by_name), self._tally.vector_rounds
        if self.rounds < 0:
            self._first = self._last
        self.rounds += 1

    @property
    def vector_rounds(self) -> int:
        """In all rounds."""
        return self._last[1] - self._first[1]

    def sent(self, what: str) -> dict[str, float]:
        """Messages or bytes by the name of the collective, in all rounds."""
        counts = self._last[0] - self._first[0]
        return {name: count for (name, kind), count in counts.items() if kind == what}


def exchange_of(method: Method) -> Exchange | None:
    """The outermost exchange around a compressor of vectors; None where there is none."""
    for phase in getattr(method, "phases", ()):
        if compressor_in(phase.exchange) is not None:
            return phase.exchange
    return None


def compressor_in(exchange: Exchange | None) -> Compressor | None:
    """The compressor of an exchange or of one within."""
    while exchange is not None:
        found = getattr(exchange, "compressor", None)
        if isinstance(found, Compressor):
            return found
        exchange = getattr(exchange, "inner", None)
    return None


def features_for(method: Method, workers: int, least: int) -> int:
    """``least``, or as much more as the method's compressor needs. Raises UsageError where nothing is enough."""
    compressor = compressor_in(exchange_of(method))
    while compressor is not None:
        try:
            compressor.among(workers).nbytes(least, np.float64)
            break
        except UsageError:
            if least > MOST:
                raise
            least *= 2
    return least


def fits(method: Method, workers: int, dim: int) -> None:
    """Raise UsageError where the method's compressor cannot do with so many coefficients. Not collective."""
    compressor = compressor_in(exchange_of(method))
    if compressor is not None:
        compressor.among(workers).nbytes(dim, np.float64)


def traffic(method: Method, team: Team, tape: Tape, dim: int) -> Traffic:
    """What a round sends of ``dim`` coefficients, from the tape of a rehearsal on ``team``. Not collective."""
    exchange = exchange_of(method)
    compressor = compressor_in(exchange)
    compressor = None if compressor is None else compressor.among(team.world.workers)
    counted, nbytes = tape.sent("messages"), tape.sent("bytes")
    lengths = {
        name: _scaled(name, nbytes.get(name, 0), count, compressor, team, dim) / count for name, count in counted.items()
    }
    usual = _usual(exchange, counted, tape.rounds, team.world.workers, dim)
    short = ("votes", "compressed") if compressor is not None and compressor.linear else ("votes",)  # and yet vector rounds
    vectors = tape.vector_rounds + sum(usual.get(name, 0) - counted.get(name, 0) for name in (*WHOLE, *short))
    whole = ENTRY * dim * _parts(team)
    found = (sum(usual.values()), vectors, vectors - sum(usual.get(name, 0) for name in short),
             sum(count * lengths.get(name, whole) for name, count in usual.items()))  # fmt: skip
    payload = dim if "votes" in counted else None if compressor is None else compressor.nbytes(dim, np.float64)
    return Traffic(*(count / max(1, tape.rounds) for count in found), payload)


def _parts(team: Team) -> int:
    """Vectors that a rank hands over for a sum: in ordered sums those of all its workers."""
    return len(team.world.hosted) if team.world.deterministic else 1


def _scaled(name: str, nbytes: float, messages: float, compressor: Compressor | None, team: Team, dim: int) -> float:
    """The bytes of some messages, had they been of ``dim`` coefficients."""
    if name == "compressed" and compressor is not None:
        parts = _parts(team) if compressor.linear else len(team.world.hosted)
        return nbytes + messages * parts * (compressor.nbytes(dim, np.float64) - compressor.nbytes(team.dim, np.float64))
    if name == "votes":
        return nbytes * dim / team.dim
    return nbytes + nbytes // (ENTRY * team.dim) * ENTRY * (dim - team.dim)


def _usual(exchange: Exchange | None, counted: dict[str, float], rounds: int, workers: int, dim: int) -> dict[str, float]:
    """Messages by name in so many rounds, none of them the first."""
    usual = dict(counted)
    usual["compressed"] = usual.get("compressed", 0) + usual.pop("first messages", 0)
    if isinstance(exchange, Refreshed):
        zeros = np.broadcast_to(0.0, (dim,))
        heads = rounds * (refreshing(exchange.inner, zeros, workers) if exchange.probability is None else exchange.probability)
        usual |= {"compressed": rounds - heads * exchange.previous, "refresh": heads}
    return usual
