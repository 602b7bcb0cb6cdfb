"""Agreements between neighbours on 1, 2 and 3 ranks, against the dense product of the mixing matrix with all messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.comm.blocks import even
from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.engine.phase import Joint
from mpiopt.errors import DataError, UsageError
from mpiopt.exchange.neighbours import Neighbours, plan
from mpiopt.graphs.topology import Topology
from tests.exchange_sets import DIM, SEED, said, team_of

SIZES = pytest.mark.ranks(1, 2, 3)
TEXTS = ("ring", "path", "star", "complete", "torus:2", "geometric:radius=0.7", "erdos_renyi:0.5,seed=2")


def mixed(topology: Topology, workers: int, time: int, parts: np.ndarray) -> np.ndarray:
    """W parts, each row added up in the order of the workers: the definition, bit for bit."""
    w = topology.at(workers, time).dense
    rows = []
    for i in range(workers):
        total = None
        for j in np.flatnonzero(w[i]):
            total = w[i, j] * parts[j] if total is None else total + w[i, j] * parts[j]
        rows.append(total)
    return np.array(rows)


def vectors(k: int, workers: int) -> np.ndarray:
    return np.array([said(w, k).vector for w in range(workers)])


@SIZES
@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("text", TEXTS)
def test_workers_hear_the_weighted_sum_of_their_neighbours_whatever_ranks_they_are_on(worlds, text, every):
    world = worlds(workers=6)
    exchange, team = Neighbours(Topology.of(text, every)), team_of(world)
    state = exchange.init(np.zeros(DIM), team)
    for k in range(3):
        heard, left, state = exchange([said(w, k) for w in world.hosted], state, Joint(team, k))
        mine = slice(world.hosted.start, world.hosted.stop)
        wanted = mixed(exchange.topology, 6, k, vectors(k, 6))[mine]
        np.testing.assert_array_equal([m.vector for m in heard], wanted)
        scalars = mixed(exchange.topology, 6, k, np.array([said(w, k).scalars for w in range(6)]))[mine]
        np.testing.assert_array_equal([m.scalars for m in heard], scalars)
        assert left == [0.0] * len(world.hosted)


@SIZES
@pytest.mark.parametrize("text", ["topk:0.2", "randk:0.3", "qsgd:4", "identity", "natural", "randk:0.3,shared=yes"])
def test_what_is_heard_of_compressed_messages_is_what_they_decode_to(worlds, text):
    world, compressor = worlds(workers=5), find(text)
    exchange, team = Neighbours(Topology.of("ring"), compressor), team_of(world)
    state = exchange.init(np.zeros(DIM), team)
    for k in range(2):
        messages = [said(w, k) for w in world.hosted]
        heard, left, state = exchange(messages, state, Joint(team, k))
        decoded = []
        for w in range(5):
            stream = Stream.of(team.sites[0].streams, "neighbours", k, w, 5)._replace(worker=w)
            decoded.append(compressor.decode(compressor.encode(said(w, k).vector, stream), said(w, k).vector, stream))
        wanted = mixed(exchange.topology, 5, k, np.array(decoded))
        for w, m, message, rest in zip(world.hosted, heard, messages, left, strict=True):
            np.testing.assert_allclose(m.vector, wanted[w], rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(message.vector - rest, decoded[w], rtol=1e-12, atol=1e-14)


@SIZES
def test_float32_stays_float32(worlds):
    world = worlds(workers=4)
    exchange, team = Neighbours(Topology.of("ring")), team_of(world)
    exchange.init(np.zeros(DIM, np.float32), team)
    heard, _, _ = exchange([said(w, 0, np.float32) for w in world.hosted], (), Joint(team, 0))
    assert {m.vector.dtype for m in heard} == {np.dtype(np.float32)}


@SIZES
@pytest.mark.parametrize("compress", [None, "topk:0.2"])
def test_the_tally_has_what_leaves_the_rank_and_what_every_edge_carries(worlds, ranks, compress):
    world = worlds(workers=6)
    exchange = Neighbours(Topology.of("ring"), None if compress is None else find(compress))
    team = team_of(world)
    exchange.init(np.zeros(DIM), team)
    world.tally.bytes = 0
    for k in range(3):
        exchange([said(w, k) for w in world.hosted], (), Joint(team, k))
    row = 8 * (DIM + 2) if compress is None else find(compress).nbytes(DIM, np.float64) + 8 * 3
    assert world.tally.bytes == 3 * row * {1: 0, 2: 2, 3: 2}[ranks]  # the two ends of the block have a neighbour elsewhere
    assert dict(world.tally.by_edge) == {(w, n % 6): 3 * row for w in world.hosted for n in (w - 1, w + 1)}
    assert world.tally.vector_rounds == 3
    with world.tally.paused():
        exchange([said(w, 0) for w in world.hosted], (), Joint(team, 0))
    assert sum(world.tally.by_edge.values()) == 6 * row * len(world.hosted)


@SIZES
@pytest.mark.parametrize("compress", [None, "topk:0.2"])
def test_a_vector_that_is_no_number_is_heard_by_its_neighbours_alone(worlds, compress):
    world = worlds(workers=6)
    exchange, team = Neighbours(Topology.of("ring"), None if compress is None else find(compress)), team_of(world)
    exchange.init(np.zeros(DIM), team)
    messages = [said(w, 0) for w in world.hosted]
    if 2 in world.hosted:
        messages[2 - world.hosted.start].vector[:] = np.inf
    heard, _, _ = exchange(messages, (), Joint(team, 0))
    assert [bool(np.isfinite(m.vector).all()) for m in heard] == [w not in (1, 2, 3) for w in world.hosted]


@pytest.mark.ranks(2, 3)
def test_ranks_with_other_graphs_are_told(worlds):
    world = worlds(workers=4)
    with pytest.raises(DataError, match="rank 1 has another graph or compressor than rank 0"):
        Neighbours(Topology.of("path" if world.rank == 1 else "ring")).init(np.zeros(DIM), team_of(world))


@SIZES
def test_a_graph_that_is_not_for_so_many_workers_is_refused_on_every_rank(worlds):
    with pytest.raises(UsageError, match=r"hypercube and one_peer are for 1, 2, 4, 8, ... workers, not 6"):
        Neighbours(Topology.of("hypercube")).init(np.zeros(DIM), team_of(worlds(workers=6), SEED))


# ---------------------------------------------------------------------------------------------- plans
@settings(max_examples=40)
@given(st.sampled_from(TEXTS), st.integers(1, 12), st.integers(0, 3), st.integers(0, 2))
def test_plans_of_all_ranks_fit_together(text, ranks, extra, turn):
    nodes = 2 * ((ranks + extra + 1) // 2)
    mixing = Topology.of(text, 1).at(nodes, turn)
    bounds = even(nodes, ranks)
    hosts = tuple(np.repeat(np.arange(ranks), np.diff(bounds)).tolist())
    plans = [plan(mixing, hosts, rank) for rank in range(ranks)]
    for rank, one in enumerate(plans):
        for other, sent, heard in zip(one.ranks, one.sent, one.heard, strict=True):
            back = plans[other]
            assert (back.sent[back.ranks.index(rank)], back.heard[back.ranks.index(rank)]) == (heard, sent)
        for worker, who in zip(np.flatnonzero(np.array(hosts) == rank), one.rows, strict=True):
            known = {int(worker), *(w for some in one.heard for w in some), *np.flatnonzero(np.array(hosts) == rank).tolist()}
            assert {j for j, _ in who} <= known
    assert sorted(edge for one in plans for edge in one.edges) == sorted(map(tuple, mixing.graph.arcs.tolist()))


def test_what_a_rank_of_a_ring_sends_does_not_grow_with_the_ranks():
    sent = []
    for ranks in (3, 8, 64, 500):
        hosts = tuple(np.repeat(np.arange(ranks), 2).tolist())
        found = [plan(Topology.of("ring").at(2 * ranks, 0), hosts, rank) for rank in (0, 1)]
        sent.append([[len(some) for some in one.sent] for one in found])
    assert sent == [[[1, 1], [1, 1]]] * 4
