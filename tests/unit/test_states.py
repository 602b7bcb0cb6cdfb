"""What a method says once of its workers, and its blocks ask."""

import numpy as np
import pytest

from mpiopt.compress.catalogue import find
from mpiopt.engine.phase import Joint, Local, Phase
from mpiopt.errors import CapabilityError
from mpiopt.exchange.compressed import Compressed
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.mean import Alone, Mean
from mpiopt.exchange.shifted import Shifted
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.methods.averaging import AS_FAR, local_sgd, one_shot, sgd
from mpiopt.methods.elastic import easgd
from mpiopt.methods.federated import fedavg
from mpiopt.methods.leader import lsgd
from mpiopt.numerics.streams import Streams
from mpiopt.outer.descend import Descend
from mpiopt.sampling.clients import Clients
from mpiopt.training.method import Training
from mpiopt.transforms import rules
from mpiopt.work.steps import Steps
from tests.training_sets import Shared

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
