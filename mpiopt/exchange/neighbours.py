"""Agreements between neighbours alone: every worker is a node of a graph, and each makes something else of what it hears.

Neighbours(topology)             heard_i = sum_j W_ij message_j                messages between neighbouring ranks
Neighbours(topology, c)          heard_i = sum_j W_ij c(message_j)             the same in fewer bytes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.compressor import Compressor
from mpiopt.engine.phase import Exchange, Joint, PerWorker, Tree
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.errors import DataError
from mpiopt.exchange.neighbour_rows import Short, Whole
from mpiopt.graphs.mixing import Mixing, Spectrum
from mpiopt.graphs.topology import LOOKED_AT, Topology
from mpiopt.problems.problem import Message, Team


class EdgePlan(NamedTuple):
    """One exchange of one rank."""

    ranks: list[int]  # the neighbouring ones
    sent: list[list[int]]  # for each of them the workers of this rank that it hears
    heard: list[list[int]]  # for each the workers of it that are heard here
    edges: list[tuple[int, int]]  # from workers of this rank to their neighbours, here and elsewhere
    rows: list[list[tuple[int, float]]]  # for each worker of this rank whom it listens to, in order, and how much


@dataclass(frozen=True)
class Neighbours(Exchange):
    """What each worker hears is weighed and added up in the order of the workers, whatever ranks they are on.

    A worker's message goes once to every other rank with neighbours of it; edges within a rank cost no message. The exchange
    of a round is the round-th of the topology. compressor : what vectors are sent by; what was not sent of a worker's is the
    rest of its own. each : whether every single graph has to lead everywhere; fixed : whether there has to be only one; least :
    what eigenvalues of its matrix have to be above. Scalars travel beside. A vector that is not
    finite makes what its neighbours hear not finite either: nobody else is told, so that nobody has to be asked.
    """

    topology: Topology
    compressor: Compressor | None = None
    purpose: str = "neighbours"
    each: bool = False
    fixed: bool = False
    least: float = -1.0

    def spectrum(self, dim: int, workers: int) -> Spectrum:
        """See `Exchange`: that of the graphs."""
        return self.topology.spectrum(workers)

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember. Collective. Raises DataError where ranks have other graphs or compress otherwise."""
        world = team.world
        with world.together("looking at the graph"):
            self.topology.check(world.workers, self.each)
            if self.fixed:
                self.topology.demand_fixed()
            self.topology.demand_above(self.least, world.workers)
            nbytes = None if self.compressor is None else self.compressor.among(world.workers).nbytes(x.size, x.dtype)
            form = crc32(f"{self} {nbytes} {x.dtype} {self.topology.at(world.workers, 0).graph.edges.tolist()}".encode())
        forms = world.tell_all(form)
        if odd := [rank for rank, other in enumerate(forms) if other != forms[0]]:
            raise DataError(f"rank {odd[0]} has another graph or compressor than rank 0: give all ranks the same")
        return ()

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[PerWorker, list[Array | float], Tree]:
        """A `Message` for each worker of this rank. Collective among neighbouring ranks."""
        world = here.team.world
        now = plan(self.topology.at(world.workers, here.round), tuple(world.hosts.tolist()), world.rank)
        coder = Whole(messages[0]) if self.compressor is None else Short(messages[0], self.compressor, self.purpose, here)
        own = [coder.row(message, worker) for message, worker in zip(messages, world.hosted, strict=True)]
        rows = dict(zip(world.hosted, own, strict=True))
        stack, nothing = namespace(own[0]).stack, own[0][None][:0]
        parts = [stack([rows[worker] for worker in some]) if some else nothing for some in now.sent]
        arrived = world.swap(parts, now.ranks, [len(some) for some in now.heard], "neighbours")
        world.tally.along(now.edges, own[0].nbytes)
        rows.update(zip(chain(*now.heard), chain(*arrived), strict=True))
        heard = PerWorker(coder.total([(j, rows[j], much) for j, much in who]) for who in now.rows)
        left = [coder.left(message, row, w) for message, row, w in zip(messages, own, world.hosted, strict=True)]
        return heard, left, state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`: over the first graphs, where they change."""
        world, hosts, every = here.team.world, tuple(here.team.world.hosts.tolist()), self.topology.every
        times = range(0, LOOKED_AT * every, every) if every else (0,)
        plans = [plan(self.topology.at(world.workers, time), hosts, world.rank) for time in times]
        rows = sum(len(some) for now in plans for some in now.sent) / len(plans)
        if self.compressor is None:
            return Traffic(1, 1, 1, rows * shape.nbytes())
        payload = self.compressor.among(world.workers).nbytes(shape.dim, shape.dtype)
        return Traffic(1, 1, 0, rows * (payload + 8 * (shape.scalars + 1)), payload)


@lru_cache(16)
def plan(mixing: Mixing, hosts: tuple[int, ...], rank: int) -> EdgePlan:
    """What a rank does in an exchange; hosts : the rank of every worker."""
    at = np.array(hosts)
    sender, receiver = mixing.graph.arcs.T
    here, there = at[sender] == rank, at[receiver] == rank
    goes, comes = np.flatnonzero(here & ~there), np.flatnonzero(there & ~here)
    out = np.unique(np.stack([at[receiver[goes]], sender[goes]]).T, axis=0)  # (rank, worker) once each, in order
    back = np.unique(np.stack([at[sender[comes]], sender[comes]]).T, axis=0)
    ranks = np.unique(np.concatenate([out[:, 0], back[:, 0]])).tolist()  # with nothing to say to some, where edges go one way
    rows = [
        [*zip(*(part.tolist() for part in mixing.row(worker)), strict=True)] for worker in np.flatnonzero(at == rank).tolist()
    ]
    sent, heard = ([pairs[pairs[:, 0] == other, 1].tolist() for other in ranks] for pairs in (out, back))
    return EdgePlan(ranks, sent, heard, [*zip(sender[here].tolist(), receiver[here].tolist(), strict=True)], rows)
