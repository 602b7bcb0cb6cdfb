"""Workers that say whatever a test wants, and the exchanges of compressed messages, for the tests of agreements."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mpiopt.comm.world import World
from mpiopt.compress.catalogue import find
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.feedback import ErrorFeedback, TwoWay
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.shifted import Refreshed, Shifted
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.numerics.schedules import Inverse
from mpiopt.problems.model import Block
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.sampling.clients import EVERYONE, Clients

SEED = 11
SHAPES = ((5, 4), (3,), (2, 3, 2))
DIM = 35  # of the model with those blocks
COMPRESSORS = (
    "identity",
    "fp16",
    "bf16",
    "topk:0.2",
    "topk:1",
    "randk:0.3",
    "randk:0.3,shared=yes",
    "randk:0.3,scaled=no",
    "block:0.4",
    "permk",
    "sign",
    "scaled_sign:8",
    "two_means",
    "qsgd:4",
    "terngrad",
    "natural",
    "natural_dithering",
    "sketch:0.5,rows=3",
    "kashin",
    "topk:0.4+natural",
    "randk:0.5,shared=yes+sketch:columns=3,rows=2",
    "shrunk:qsgd:3",
    "chunk_topk:k=2,chunk=8+bins",
    "blocks:topk:0.2",
    "blocks:qsgd:4",
    "blocks:randk:0.5,shared=yes",
)


@dataclass(frozen=True)
class Speaker:
    """A worker's loss that nobody asks."""

    dim: int = DIM
    rows: int = 1
    weight: float = 1.0
    blocks: tuple[Block, ...] = tuple(Block(f"b{i}", shape) for i, shape in enumerate(SHAPES))

    def point(self, x: np.ndarray) -> Point:
        """As every loss."""
        return Point(x)

    def value_grad(self, at: Point) -> tuple[float, np.ndarray]:
        """Nothing."""
        return 0.0, np.zeros_like(at.x)


def team_of(world: World, seed: int = SEED, even: bool = False) -> Team:
    """Workers 0, 1, 2, ... of weights 1, 2, 3, ..., or all 1."""
    weights = [1.0 if even else 1.0 + worker for worker in world.hosted]
    return Team.of(world, [Speaker() for _ in world.hosted], Zero(), seed, weights=weights)


def said(worker: int, k: int, kind: type = np.float64) -> Message:
    """What a worker says in round k: a vector of its own that changes slowly, and two scalars."""
    vector, scalars = _said(worker, k)
    return Message(vector.astype(kind), scalars.copy())


@cache
def _said(worker: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([worker, k])
    vector = np.random.default_rng(worker).standard_normal(DIM) + 0.3 * rng.standard_normal(DIM)
    return vector, rng.standard_normal(2)


def nearly(site, x: np.ndarray) -> np.ndarray:
    """A shift that a worker has from the start."""
    return np.random.default_rng(site.worker).standard_normal(x.size).astype(x.dtype)


AROUND: dict[str, Callable[[Exchange], Exchange]] = {
    "plain": lambda c: c,
    "ef": lambda c: ErrorFeedback(c),
    "ef-rate": lambda c: ErrorFeedback(c, Inverse(0.5, 3.0)),
    "two-way": lambda c: TwoWay(ErrorFeedback(c), find("topk:0.3")),
    "ef21": lambda c: Shifted(c, 1.0),
    "diana": lambda c: Shifted(c, 0.3),
    "fixed": lambda c: Shifted(c, 0.0, nearly),
    "first-whole": lambda c: Shifted(c, 0.5, "message"),
    "rand-diana": lambda c: Refreshed(c, 0.4),
    "marina": lambda c: Refreshed(c, 0.4, True),
    "every": lambda c: Every(2, ErrorFeedback(c)),
    "saved-up": lambda c: ErrorFeedback(Every(2, c)),
    "grouped": lambda c: Grouped(ErrorFeedback(c), 1),
}
SUMMING = ("fixed", "first-whole", "rand-diana", "marina")  # these have vector sums besides what is compressed


EVERYTHING = [(name, text) for text in COMPRESSORS for name in AROUND]
FEW = [(name, text) for name, text in EVERYTHING if name == "ef" or text in ("topk:0.2", "randk:0.3,shared=yes")]


def exchanges(pairs: Sequence[tuple[str, str]] = FEW) -> Iterator[tuple[str, str, Exchange]]:
    """Exchanges around compressors of vectors; votes and low rank besides: (around, compressor, exchange)."""
    for name, text in pairs:
        yield name, text, AROUND[name](Compressed(find(text)))
    yield "plain", "vote", Vote()
    for name in ("plain", "ef", "two-way", "saved-up", "grouped", "diana"):
        yield name, "powersgd", AROUND[name](LowRank(PowerSgd(1)))


def agreements(
    exchange: Exchange, team: Team, rounds: int, kind: type = np.float64, clients: Clients = EVERYONE
) -> Iterator[tuple]:
    """(messages, agreed, residual, state) of every round. Collective."""
    state: Tree = exchange.init(np.zeros(DIM, kind), team)
    for k in range(rounds):
        messages = [said(site.worker, k, kind) for site in team.sites]
        agreed, residual, state = exchange(messages, state, Joint(team, k, clients))
        yield messages, agreed, residual, state
