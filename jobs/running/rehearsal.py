"""A rehearsal: a job's method on small made-up rows, on the very ranks, while what it allocates and sends is counted.

Exchanges say themselves what they send. What a method says beside them (sums of a line search, products of a Newton step)
is counted, and brought to the job's features: a message is a number of vectors of that length, and a few numbers.
"""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.tally import Tally
from mpiopt.engine.drive import solve
from mpiopt.engine.forms import Extent, Forms, Taken
from mpiopt.engine.method import Composed, Method, limit
from mpiopt.engine.phase import Agreed, Exchange, Joint, Tree
from mpiopt.engine.stop import Stop
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.errors import UsageError
from mpiopt.exchange.around import Around
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.reduced_index import ReducedIndex
from mpiopt.io.dataset.source import Source
from mpiopt.io.dataset.sparse_rows import SparseRows
from mpiopt.io.dataset.synthetic import Synthetic
from mpiopt.jobs.machine.node import resident
from mpiopt.jobs.running.feature_groups import neighbouring
from mpiopt.jobs.running.linear_data import penalty_of
from mpiopt.jobs.running.warm_up import warm
from mpiopt.losses.registry import find
from mpiopt.methods.by_owner import NEVER, ByOwner
from mpiopt.methods.prox_newton import FEW
from mpiopt.methods.reducing import Reducing
from mpiopt.methods.spcg_rule import FELLOWS
from mpiopt.outer.plane_search import SPARSE
from mpiopt.problems.parted import LONG
from mpiopt.problems.problem import Message, Team
from mpiopt.problems.reduced import MANY
from mpiopt.sampling.clients import Clients

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve

Make = Callable[["Solve"], Method]  # the method that a job asks for

ROUNDS = 12  # enough to fill the memory of L-BFGS
NARROW, WIDE, TALL = 1 << 6, 1 << 16, 1 << 14  # features of the rehearsals, rows of a rank in the narrow one
ENTRY = 8  # bytes of a number: vectors are float64
MOST = 1 << 48
FEWER = (0.6, 0.4, 0.2)  # of all coordinates: at most so many are left where rows are reduced, and often fewer


class Effort(NamedTuple):
    """Bytes of the program itself, vectors of doubles that a method holds on this rank, what this rank sends a round.

    longest : numbers in a message, at most.
    """

    program: int
    dvectors: float
    row_vectors: float
    traffic: Traffic
    longest: int


@dataclass(frozen=True)
class Asked(Around):
    """An exchange that is left out of the tally, since it will be asked.

    shapes : of the messages that it has heard. dims : of the points then, of which a message may hold several.
    """

    inner: Exchange
    clients: Clients
    shapes: list[Shape] = field(default_factory=list)
    dims: list[int] = field(default_factory=list)

    def init(self, x: Array, team: Team) -> Tree:
        """See `Exchange`."""
        self.dims[:] = [x.size]
        return self.inner.init(x, team)

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Agreed, Sequence[Array | float], Tree]:
        """See `Exchange`."""
        vector, scalars = messages[0]
        self.shapes[:] = [Shape(vector.size, scalars.size, vector.dtype)]
        with here.team.world.tally.paused():
            return self.inner(messages, state, here)

    def demand(self, dim: int, team: Team) -> None:
        """Raise UsageError where vectors of that length cannot be compressed. Not collective."""
        self.traffic(Shape(dim, 0, np.dtype(np.float64)), Joint(team, 0, self.clients))

    def at(self, dim: int, team: Team) -> Traffic:
        """What a call sends of ``dim`` coefficients; nothing where there was none."""
        here = Joint(team, 0, self.clients)
        return sum((self.traffic(shape, here) for shape in self.told(dim)), Traffic())

    def told(self, dim: int) -> list[Shape]:
        """The shapes of its messages of ``dim`` coefficients."""
        return [shape._replace(dim=dim * shape.dim // few) for shape, few in zip(self.shapes, self.dims, strict=False)]


class Tape:
    """A watcher that reads a tally at the start and after every round. Not collective."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._rounds = tally, -1

    def __call__(self, record: object) -> None:
        """Read on."""
        self._last = Counter(self._tally.by_name), self._tally.vector_rounds
        if self._rounds < 0:
            self._first = self._last
        self._rounds += 1

    def traffic(self, few: int, dim: int) -> Traffic:
        """What was sent in a round of ``few`` coefficients, had there been ``dim``."""
        counts, vectors = self._last[0] - self._first[0], self._last[1] - self._first[1]
        messages = sum(count for (_, kind), count in counts.items() if kind == "messages")
        nbytes = sum(
            count + count // (ENTRY * few) * ENTRY * (dim - few) for (_, kind), count in counts.items() if kind == "bytes"
        )
        return Traffic(messages, vectors, vectors, nbytes).times(1 / max(1, self._rounds))

    def longest(self) -> int:
        """Numbers in a message of the longest kind, on average: a Hessian's, say."""
        counts = self._last[0]
        sizes = ((nbytes, counts[name, "messages"]) for (name, kind), nbytes in counts.items() if kind == "bytes")
        return max((nbytes // (ENTRY * messages) for nbytes, messages in sizes if messages), default=0)


def rehearse(job: "Solve", make: Make, world: "World", dim: int) -> Effort:
    """Run the job's method on made-up rows and count. Collective, some seconds. Raises MpioptError on every rank.

    make : a method, in the form that it will take. dim : the job's own, which its messages are to be of.
    """
    method, asked = overheard(made(job, make))
    features = (NARROW if dim < SPARSE else SPARSE, WIDE)
    if limit(method) is not None:
        features = (dim - job.intercept,) * 2  # what does not grow as vectors do is seen as it is
    least = _team(job, world, features[0], 8 * world.workers)
    with world.together("looking at the compressor"):
        few, many = (_enough(asked, enough, least) for enough in features)
        for exchange in asked:
            exchange.demand(dim, least)
    team = least if few == features[0] else _team(job, world, few, 8 * world.workers)
    _solved(method, team)  # what is compiled or loaded once must not count
    program = resident()
    team = _team(job, world, many, 8 * world.workers)
    wide, tape = _counted(method, team)
    easy, _ = _counted(method, _team(job, world, many, 64 * world.workers, 1.0))  # some choose their local solver by this
    tall, _ = _counted(method, _team(job, world, few, TALL * world.size))
    tall -= _counted(method, _team(job, world, few, 8 * world.workers))[0]  # what features take is no row vector
    sent = sum((exchange.at(dim, team) for exchange in asked), tape.traffic(team.dim, dim))  # each has its turn once a round
    longest = max([dim, *(shape.dim for exchange in asked for shape in exchange.told(dim))])
    if team.dim == dim:
        longest = max(longest, tape.longest())
    return Effort(program, max(wide, easy) / (8 * many), max(tall, 0) / (8 * TALL), sent, longest)


def made(job: "Solve", make: Make) -> Method:
    """The method, with all rows of a worker as server sample: made-up rows are few."""
    return make(replace(job, server_rows=None))


def reduces(method: Method, job: "Solve", source: Source) -> bool:
    """Whether a method may make a second copy of its rows, in fewer coordinates: it is not known before they are read."""
    return isinstance(method, Reducing) and source.cols >= MANY and not job.kink and job.device == "cpu"


def known(method: Method, job: "Solve", source: Source) -> ReducedIndex | None:
    """The fewer coordinates that a method will run in, where the data set brings them."""
    taken = reduces(method, job, source) and isinstance(source, Dataset) and job.values in (None, source.values)
    return source.index.reduced if taken and isinstance(source, Dataset) else None


def screens(job: "Solve", source: Source, taken: Taken | None) -> bool:
    """Whether a method may make a second copy of its rows, in the features that a gap does not prove to be 0."""
    face = job.method == "prox_newton" or (taken is not None and taken.form == "face")
    return face and job.l1 > 0 and source.cols > FEW


def parted(job: "Solve", method: Method, source: Source, taken: Taken | None, world: "World") -> bool:
    """Whether each rank may keep the coordinates of its own rows alone, in the form counts: that is not known before they are
    read."""
    several = world.workers == world.size > 1 and not world.deterministic and job.device == "cpu"
    forms = method.inner.forms if isinstance(method, Reducing) and isinstance(method.inner, Forms) else {}
    form = forms.get("counts")
    likely = taken is not None and (taken.form == "counts" or (taken.form == "mean" and world.size > FELLOWS))
    return several and likely and source.cols >= LONG and isinstance(form, ByOwner) and form.able


def foreseen(source: Source) -> int:
    """The entries of all rows, of large synthetic sets as many as are meant: they would take a minute to count."""
    return source.foreseen if isinstance(source, Synthetic) else source.nnz


def settled(method: Method, job: "Solve", source: Source, workers: int) -> tuple[Method, Taken | None]:
    """A method in the form that it will begin with, and which that is, if it has several. Not collective.

    The entries of rows that are not normalised are taken for ones, since none is read. Nor is it known, unless the data set
    brings them, in how many fewer coordinates a method will run: a form that it may then take is named beside.
    """
    small = known(method, job, source)
    fewer = FEWER if small is None and reduces(method, job, source) else ()
    cols, entries = (source.cols, foreseen(source)) if small is None else (small.cols, int(small.nnz.sum()))
    method = method.inner if isinstance(method, Reducing) else method
    if not isinstance(method, Forms):
        return method, None
    unit = source.index.normalize == "l2" if isinstance(source, Dataset) else isinstance(source, Synthetic)
    squares = 1.0 if unit else source.nnz / source.rows
    bend = find(job.loss).curvature_bound
    bend = bend if isfinite(bend) else 1.0
    extent = Extent(source.rows, source.rows, cols + job.intercept, squares, workers, job.l2, bend)
    extent = extent._replace(smooth=not job.kink, descends=find(job.loss).descends and job.device == "cpu")
    entry = np.dtype(job.values or source.values).itemsize + np.min_scalar_type(extent.dim).itemsize
    extent = extent._replace(nonzeros=entries if job.device == "cpu" else 0, width=float(entry))
    taken = method.rule.first(extent, method.forms)
    chosen = method.form(taken)
    dims = [max(1, round(part * extent.dim)) for part in fewer]
    others = {method.rule.first(extent._replace(dim=dim), method.forms).form for dim in dims} - {taken.form}
    if others:
        beside = " or ".join(sorted(others))
        taken = taken._replace(why=f"{taken.why}; perhaps {beside} in fewer coordinates, if the rows have such")
    return chosen, taken


def overheard(method: Method) -> tuple[Method, list[Asked]]:
    """The method with all its exchanges `Asked`, and these."""
    if not isinstance(method, Composed):
        return method, []
    asked = [Asked(phase.exchange, method.clients) for phase in method.walked]
    walked = [phase._replace(exchange=exchange) for phase, exchange in zip(method.walked, asked, strict=True)]
    first = len(walked) - len(method.phases)  # 1 with an opening
    method = replace(method, parts=NEVER) if isinstance(method, ByOwner) else method  # of the rows that are made up
    return replace(method, opening=walked[0] if first else None, phases=tuple(walked[first:])), asked


def _enough(asked: Sequence[Asked], least: int, team: Team) -> int:
    """``least`` features, or as much more as a compressor needs. Raises UsageError where nothing is enough."""
    while True:
        try:
            for exchange in asked:
                exchange.demand(least, team)
            return least
        except UsageError:
            if least > MOST:
                raise
            least *= 2


class MadeUp(Synthetic):
    """Rows whose labels are 0 and 1, which every loss takes."""

    @property
    def labels(self) -> Labels:
        """0 and 1, not counted."""
        return Labels((0.0, 1.0), None, 0.0, 1.0, float("nan"))

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = np.float32) -> SparseRows:
        """See `Synthetic.read`."""
        rows = super().read(lo, hi, dtype)
        return rows._replace(labels=np.maximum(rows.labels, 0.0))


def _team(job: "Solve", world: "World", features: int, rows: int, l2: float = 1e-3) -> Team:
    source = MadeUp(rows=max(rows, world.workers), cols=features, per_row=4.0)
    groups = neighbouring(features) if job.group_l1 else None
    penalty = penalty_of(job, max(job.l2, l2) if job.l2 else 0.0, groups=groups)
    team = team_of(source, world, penalty, loss=job.loss, values=job.values)
    warm(team)
    return team


def _solved(method: Method, team: Team) -> Tape:
    """What some rounds sent."""
    tape = Tape(team.world.tally)
    with np.errstate(all="ignore"):
        solve(method, team, np.zeros(team.dim), Stop(rounds=ROUNDS), [tape])
    return tape


def _counted(method: Method, team: Team) -> tuple[int, Tape]:
    """The most bytes that a solve has allocated at a time, and its tape."""
    tracemalloc.start()
    try:
        tape = _solved(method, team)
        return tracemalloc.get_traced_memory()[1], tape
    finally:
        tracemalloc.stop()
