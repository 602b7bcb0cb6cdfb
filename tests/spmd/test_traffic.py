"""Exchanges say what they send: what the tally then counts, over all ranks."""

import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pytest

import mpiopt.exchange
from mpiopt.compress.catalogue import find
from mpiopt.compress.masks import mask
from mpiopt.engine.phase import Exchange, Joint
from mpiopt.engine.traffic import Shape
from mpiopt.errors import CapabilityError
from mpiopt.exchange.around import Around
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.gossip import Remembered, Repeated
from mpiopt.exchange.handout import HandOut
from mpiopt.exchange.leader import Leader
from mpiopt.exchange.mean import Alone, From, Mean
from mpiopt.exchange.narrow import Changes, Narrowed
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.exchange.robust import MiddleOf
from mpiopt.exchange.shifted import Refreshed
from mpiopt.exchange.slices import Anchored, Slices
from mpiopt.exchange.sum import Sum
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.graphs.topology import Topology
from mpiopt.numerics.robust import MIDDLES, middle
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.coin import Coin
from tests.exchange_sets import AROUND, DIM, agreements, exchanges, team_of

WORKERS, PERIOD = 5, 6  # rounds after which what is agreed now and then has come round
SOME = Clients(2, dead=(1,))
TWO = ("topk:0.2", "randk:0.3,shared=yes")  # one whose payloads are gathered, one whose payloads are added up
SKETCHED = Slices(mask("randk:0.3"))
PARTIAL = (Mean(), SKETCHED, *(Compressed(find(text)) for text in TWO))
ALL = (
    Mean(),
    Narrowed(),
    Changes(),
    Sum(),
    SKETCHED,
    Slices(mask("permk")),
    Anchored(SKETCHED, Coin(0.4)),
    HandOut(),
    *(MiddleOf(middle(text)) for text in MIDDLES),
    From(3),
    Alone(),
    Leader(),
    Every(3, Mean()),
    Neighbours(Topology.of("ring")),
    Repeated(Neighbours(Topology.of("ring")), 3),
    Remembered(Neighbours(Topology.of("ring"), find("topk:0.2"))),
    *(Neighbours(Topology.of("complete", every=1), find(text)) for text in TWO),
    *(exchange for _, _, exchange in exchanges([(name, text) for name in AROUND for text in TWO])),
)


def tossed(exchange, team):
    """The exchange with the share of heads in the rounds that are counted in place of their probability."""
    if not isinstance(exchange, Refreshed | Anchored):
        return exchange
    probability = exchange.coin.probability if isinstance(exchange, Anchored) else exchange.probability
    heads = [team.sites[0].streams("refresh", k).random() < probability for k in range(1, PERIOD + 1)]
    assert any(heads)
    share = float(np.mean(heads))
    return replace(exchange, coin=Coin(share)) if isinstance(exchange, Anchored) else replace(exchange, probability=share)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("kind, ordered", [(np.float64, False), (np.float32, True)], ids=["double", "single, ordered"])
def test_an_exchange_says_what_it_sends(worlds, kind, ordered):
    world = worlds(workers=WORKERS, deterministic=ordered)
    team, tally = team_of(world), world.tally
    asked = [(exchange, EVERYONE) for exchange in (*ALL, Grouped(Mean(), world.size))]
    for exchange, clients in (*asked, *((exchange, SOME) for exchange in PARTIAL)):
        rounds = agreements(exchange, team, PERIOD + 1, kind, clients)
        spent = [(tally.bytes, tally.messages, tally.vector_rounds) for _ in rounds]
        told = tossed(exchange, team).traffic(Shape(DIM, 2, np.dtype(kind)), Joint(team, 0, clients)).times(PERIOD)
        found = np.array(world.tell_all(tuple(np.subtract(spent[-1], spent[0])))).sum(0)
        said = np.array(world.tell_all((told.nbytes, told.messages, told.vector_rounds))).sum(0)
        np.testing.assert_allclose(said, found, rtol=1e-12, err_msg=str(exchange))
        assert 0 <= told.long <= told.vector_rounds


@pytest.mark.ranks(3)
def test_what_is_gathered_in_pieces_is_said_so(worlds, monkeypatch):
    monkeypatch.setattr("mpiopt.comm.moves.BATCH", 500)
    world = worlds(workers=WORKERS)
    assert [world.pieces(np.full(WORKERS, each)) for each in (1, 100, 250, 300)] == [1, 1, 3, 3]  # of 2, 2 and 1 workers


def within(exchange):
    """The classes of an exchange and of those in it."""
    yield type(exchange)
    if isinstance(exchange, Around):
        yield from within(exchange.inner)


def test_every_exchange_is_asked():
    rooms = [importlib.import_module(f"mpiopt.exchange.{room.name}") for room in pkgutil.iter_modules(mpiopt.exchange.__path__)]
    kinds = {kind for room in rooms for kind in vars(room).values() if isinstance(kind, type) and Exchange in kind.__mro__}
    asked = {kind for exchange in (*ALL, Grouped(Mean())) for kind in within(exchange)}
    assert kinds - {Exchange, Around} <= asked and len(asked) > 10


def test_one_that_does_not_say_is_named():
    class Whispers(Exchange):
        pass

    with pytest.raises(CapabilityError, match="Whispers does not say what it sends, which a forecast asks: give it a traffic"):
        Whispers().traffic(Shape(3, 0, np.dtype(float)), None)
