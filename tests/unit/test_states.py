"""What a method says once of its workers, and its blocks ask; what it keeps, by name."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from mpiopt.compress.catalogue import find
from mpiopt.engine.drive import rounds
from mpiopt.engine.method import Run
from mpiopt.engine.phase import Joint, Local, PerWorker, Phase
from mpiopt.errors import CapabilityError
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.mean import Alone, Mean
from mpiopt.exchange.shifted import Shifted
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.io.runs.state_tree import flatten, unflatten
from mpiopt.methods import catalogue
from mpiopt.methods import find as named
from mpiopt.methods.averaging import AS_FAR, local_sgd, one_shot, sgd
from mpiopt.methods.elastic import easgd
from mpiopt.methods.federated import fedavg
from mpiopt.methods.leader import lsgd
from mpiopt.numerics.streams import Streams
from mpiopt.numerics.trees import names
from mpiopt.outer.descend import Descend
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.clients import Clients
from mpiopt.training.method import Training
from mpiopt.transforms import rules
from mpiopt.transforms.rules import RULES
from mpiopt.work.steps import Steps
from tests.exchange_sets import AROUND, agreements, exchanges, team_of
from tests.problem_sets import Data
from tests.training_sets import GENERAL, Shared, built

RULE = rules.sgd(0.1)
SOME = Clients(2)


# ------------------------------------------------------------------------------------------------ said once
def test_the_outer_step_says_whether_points_are_the_workers_own():
    assert all(method.own for method in (one_shot(RULE, 9), easgd(RULE, 4), lsgd(RULE)))
    assert not any(method.own for method in (sgd(RULE), local_sgd(RULE), fedavg(RULE)))


def test_every_block_hears_what_the_method_says(worlds, monkeypatch):
    """Who takes part, and whether points are own: in each work, exchange and outer step of a method."""
    heard = []
    for kind in (Steps, Mean, Descend):

        def listening(self, *given, call=kind.__call__):
            heard.append((type(self), given[-1]))
            return call(self, *given)

        monkeypatch.setattr(kind, "__call__", listening)
    data, world = Shared(workers=4), worlds(workers=4)
    method = local_sgd(RULE, 2, SOME)
    method.step(method.init(data.start, data.team(world)), data.team(world))
    assert [kind for kind, _ in heard] == [Steps] * 4 + [Mean, Descend]
    assert all(here.clients == SOME for _, here in heard)
    assert [here.own for _, here in heard[:4]] == [False] * 4
    present = SOME(4, Streams(heard[0][1].site.streams.seed), 0)
    assert [here.present for _, here in heard[:4]] == present.tolist() == heard[-1][1].present.tolist()


def test_workers_that_take_no_part_make_no_step(worlds):
    data, world = Shared(workers=4), worlds(workers=4)
    method = local_sgd(RULE, 3, SOME)
    run = method.step(method.init(data.start, data.team(world)), data.team(world))
    present = Joint(data.team(world), 0, SOME).present
    assert [log.steps for log in method.logs(run)] == (3 * present).tolist()
    assert all(Local(site, 0).present for site in data.team(world).sites)


PLAIN = Compressed(find("topk:0.2"))
NEEDY = (Shifted(PLAIN, 1.0), Grouped(Mean(), 1), Every(2, Grouped(Mean())), ErrorFeedback(Shifted(Mean(), 1.0)))


@pytest.mark.parametrize("exchange", NEEDY, ids=lambda exchange: type(exchange).__name__)
def test_an_exchange_that_needs_all_workers_refuses_a_method_that_leaves_some_out(worlds, exchange):
    data, world = Shared(workers=4), worlds(workers=4)
    method = Training(None, (Phase(Steps(RULE), exchange),), Descend(AS_FAR), clients=SOME)
    with pytest.raises(CapabilityError, match=f"needs all workers in every round, for its {type(exchange).__name__}: leave"):
        method.init(np.array(data.start), data.team(world))


def test_exchanges_around_others_need_what_those_need():
    assert not any(one.needs_all for one in (PLAIN, Mean(), Alone(), Every(2, ErrorFeedback(PLAIN))))


# ------------------------------------------------------------------------------------------------ named
def unnamed(tree, path: str = "run") -> Iterator[str]:
    """Where something that is no tuple has a place in a plain one, and no name."""
    for name, child in zip(names(tree), tree, strict=True) if isinstance(tree, tuple) else ():
        if type(tree) is tuple and not isinstance(child, tuple):
            yield f"{path}/{name}"
        yield from unnamed(child, f"{path}/{name}")


def checked(method, team: Team, x: np.ndarray, kept=lambda run, team: run) -> None:
    """See that every part of some runs has a name, and comes back out of a file's parts as what it was."""
    for run in islice(rounds(method, team, x), 4):
        found = list(unnamed(kept(run, team)))
        assert not found, (method.name, found)
        flat = flatten(run)
        again = unflatten(flat.tree, flat.arrays, flat.parts, flat.own)  # which looks at the kinds of parts
        assert repr(kinds(again)) == repr(kinds(run)), method.name


def kinds(tree):
    """The kinds of a tree's parts."""
    return [type(tree), *map(kinds, tree)] if isinstance(tree, tuple) else type(tree)


def test_whatever_a_method_that_solves_keeps_has_a_name(worlds):
    data, penalty = Data(rows=60, features=6), L2(0.1)
    for name in catalogue():
        checked(named(name).make(), data.team(worlds(workers=2), penalty), np.zeros(6))


def test_whatever_a_method_that_trains_keeps_has_a_name(worlds):
    data = Shared(workers=4)
    for name in GENERAL:
        method = built(name, meeting=8)
        checked(method, data.team(worlds(workers=4)), data.start, method.kept)
    for rule in RULES:
        checked(sgd(RULES[rule].make()), data.team(worlds(workers=4)), data.start)


def test_whatever_an_agreement_in_fewer_bytes_keeps_has_a_name(worlds):
    team = team_of(worlds(workers=4))
    for name, text, exchange in exchanges([(name, "topk:0.2") for name in AROUND]):
        for *_, state in agreements(exchange, team, 3):
            assert not list(unnamed((state,))), (name, text)
            flat = flatten(state)
            assert repr(kinds(unflatten(flat.tree, flat.arrays, flat.parts, flat.own))) == repr(kinds(state)), (name, text)


def test_a_plain_tuple_of_numbers_is_seen():
    assert list(unnamed(Run(PerWorker((Point(np.zeros(1)),)), None, ((1.0, ()),)))) == ["run/states/0/0"]
