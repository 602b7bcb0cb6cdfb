"""Long rounds of a local rule between agreements on how far the workers came: for slow networks.

diloco               Steps(period) -> Mean                                               Nesterov's momentum
streaming_diloco     Steps(period, Streaming(Nesterov's momentum)) -> Mean / Compressed  x_i as they are
sparse_loco          Steps(period) -> ErrorFeedback(Compressed(PerBlock), decay)         x + outer_lr mean
"""

from dataclasses import dataclass, field

from mpiopt.compress.bins import Bins
from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.compress.per_block import PerBlock
from mpiopt.compress.sparse import ChunkTopK
from mpiopt.compress.then import Then
from mpiopt.engine.method import Run
from mpiopt.engine.phase import Exchange, Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import demand
from mpiopt.outer.descend import Descend, Stay
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd as plain
from mpiopt.transforms.rules import torch_nag
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Steps
from mpiopt.work.streamed import Streaming

# a sign and three bits of exponent. Multiples of a norm, as qsgd's, are no way to so few bits: of 200,000 coordinates their
# noise is sixty times as large as what is sent, and trainings diverge
FLOATS = "natural_dithering:levels=7,norm=inf,bucket=512"


def diloco(
    rule: Transform, period: int = 500, outer_lr: float = 0.7, outer_momentum: float = 0.9, clients: Clients = EVERYONE
) -> Training:
    """DiLoCo: long rounds of a local rule (adamw), whose mean displacement is a gradient for Nesterov's momentum."""
    steps = Steps(rule, Period(period))
    return Training(None, (Phase(steps, Mean()),), Descend(torch_nag(outer_lr, outer_momentum)), clients=clients)


@dataclass(frozen=True)
class Streamed(Training):
    """The answer is the outer point. drift : of the first phase's work."""

    drift: Streaming = field(kw_only=True)

    def answer(self, run: Run, team: Team) -> Point:
        """The outer point after the last agreement. Not collective."""
        return Point(self.drift.outside(run.states.works[0][0].drift, run.agreed))


def streaming_diloco(
    rule: Transform,
    period: int = 25,
    fragments: int = 4,
    delay: int = 1,
    alpha: float = 0.5,
    outer_lr: float = 0.7,
    outer_momentum: float = 0.9,
    compress: str = FLOATS,
) -> Training:
    """Streaming DiLoCo: every ``period`` steps an agreement on the next of the fragments, taken in ``delay`` steps later.

    The constants are as recalled from the paper: 100 steps a turn of all fragments, alpha 1/2, outer steps as of DiLoCo, and
    messages in floats of four bits; that these are shares of the largest of 512, and rounded at random, is ours.
    """
    demand(delay <= period, "the delay in steps", delay, f"at most the {period} steps between two agreements")
    drift = Streaming(torch_nag(outer_lr, outer_momentum), fragments, delay, alpha)
    return Streamed(None, (Phase(Steps(rule, Period(period), drift), _fragment(compress)),), Stay(), drift=drift)


def _fragment(compress: str) -> Exchange:
    """The agreement on a fragment: without a memory, since its messages are now of these coordinates, now of those."""
    code = find(compress)
    if not isinstance(code, Compressor) or not code.unbiased or isinstance(code, PerBlock):
        raise UsageError(
            f"`compress={compress}` cannot be of a fragment: give an unbiased compressor of vectors, such as {FLOATS}, "
            "or identity"
        )
    return Compressed(code)


def sparse_loco(
    rule: Transform,
    period: int = 30,
    k: int = 64,
    chunk: int = 4096,
    bits: int = 2,
    decay: float = 0.95,
    outer_lr: float = 1.0,
    clients: Clients = EVERYONE,
) -> Training:
    """SparseLoCo: of every chunk of each matrix the k largest in codes of 2 bits; what is not sent fades as a momentum does.

    Means are over all workers, as in the paper; the authors' program divides by how many sent a coordinate. Chunks go along
    rows, which is ours: theirs are tiles.
    """
    code = PerBlock(Then(ChunkTopK(k, chunk), Bins(bits)))
    phase = Phase(Steps(rule, Period(period)), ErrorFeedback(Compressed(code), decay=decay))
    return Training(None, (phase,), Descend(plain(outer_lr)), clients=clients)


ENTRIES = (
    Entry(diloco, "Douillard et al., DiLoCo: distributed low-communication training of language models, 2023"),
    Entry(streaming_diloco, "Douillard et al., Streaming DiLoCo with overlapping communication, 2025"),
    Entry(sparse_loco, "Sarfi, Therien, Lidin, Belilovsky, Communication efficient LLM pre-training with SparseLoCo, 2025"),
)
