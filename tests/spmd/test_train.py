"""Training as a whole: its records, examinations and ends, going on after a stop, models of torch, and bad input."""

from itertools import pairwise

import numpy as np
import pytest

from mpiopt.comm.blocks import even
from mpiopt.engine import drive
from mpiopt.engine.stop import Reason
from mpiopt.errors import DataError, NumericalError, UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import find, training
from mpiopt.methods.averaging import hierarchical_sgd, local_sgd, post_local_sgd, sgd
from mpiopt.methods.elastic import eamsgd, easgd
from mpiopt.methods.federated import fedavg, fedprox, scaffnew, scaffold, slowmo
from mpiopt.methods.leader import async_lsgd, lsgd, multi_leader_lsgd
from mpiopt.methods.linked import linked
from mpiopt.methods.one_sided import async_easgd, async_sgd, downpour
from mpiopt.numerics.schedules import Constant
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Team
from mpiopt.problems.softmax import Softmax
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.clients import Clients
from mpiopt.training.drive import Exam, Goal, train
from mpiopt.transforms import rules
from tests.training_sets import GENERAL, Shared, points

SIZES = pytest.mark.ranks(1, 2, 3)
RULE = rules.sgd(0.1)


class Spots:
    """Three noisy clouds in the plane, most of which a linear model can tell apart; training and held-out rows."""

    def __init__(self, workers: int, rows=90, held_out=31, size=5):
        rng = np.random.default_rng(1)
        total = rows + held_out
        self.y = rng.integers(0, 3, total)
        self.x = np.array([(0.0, 2.0), (2.0, -1.0), (-2.0, -1.0)])[self.y] + rng.standard_normal((total, 2))
        self.rows, self.total, self.size, self.workers = rows, total, size, workers

    def model(self, lo: int, hi: int) -> Perceptron:
        return Softmax(Dense(self.x[lo:hi], self.y[lo:hi]), 3)

    def shares(self, world, lo: int, hi: int, make=None) -> list:
        bounds = lo + even(hi - lo, self.workers)
        return [(make or self.model)(int(bounds[w]), int(bounds[w + 1])) for w in world.hosted]

    def team(self, world, make=None) -> Team:
        models = self.shares(world, 0, self.rows, make)
        samples = [Batches(m.rows, self.size, Streams(0), w) for m, w in zip(models, world.hosted, strict=True)]
        return Team.of(world, models, Zero(), 0, samples)

    def exam(self, world, make=None, **options) -> Exam:
        return Exam(tuple(self.shares(world, self.rows, self.total, make)), **options)

    def score(self, x) -> tuple[float, float]:
        """Of all held-out rows at once."""
        loss, correct, rows = self.model(self.rows, self.total).evaluate(x)[:3]
        return loss / rows, correct / rows


# ---------------------------------------------------------------------------------------------- records
@SIZES
def test_a_record_says_how_far_all_have_come(worlds):
    data, world = Shared(rows=43), worlds(workers=4)
    trained = train(lsgd(RULE, 4, 0.2), data.team(world), data.start, Goal(rounds=6))
    assert [record.round for record in trained.history] == list(range(7))
    assert [record.steps for record in trained.history] == [4 * 4 * k for k in range(7)]
    np.testing.assert_allclose([record.epoch for record in trained.history], [4 * 4 * 3 * k / 43 for k in range(7)])
    assert np.isnan(trained.history[0].objective) and np.isnan([record.accuracy for record in trained.history]).all()
    # one more look at the first round: at most 10 losses count
    x, recent = np.tile(data.start, (4, 1)), []
    for w in range(4):
        recent.append([])
        for j in range(4):
            recent[w].append(data.value(w, x[w], j))
            x[w] -= 0.1 * data.gradient(w, x[w], j)
    losses = [np.mean(one) for one in recent]
    assert trained.history[1].objective == pytest.approx(data.mean(losses), rel=1e-12)
    assert trained.history[1].leader == np.argmin(losses)
    assert (trained.reason, trained.reason_text) == (Reason.ROUNDS, "The limit of rounds was reached (6 rounds).")
    assert trained.final is trained.history[-1]


@SIZES
def test_the_running_loss_is_the_mean_of_the_last_ten(worlds):
    data, world = Shared(workers=3, rows=30), worlds(workers=3)
    history = train(sgd(RULE), data.team(world), data.start, Goal(rounds=14)).history
    x, losses = data.start, []
    for k in range(14):
        losses.append([data.value(w, x, k) for w in range(3)])
        x = x - 0.1 * data.mean_gradient(x, k)
        assert history[k + 1].objective == pytest.approx(data.mean(np.mean(losses[-10:], axis=0)), rel=1e-12)


@SIZES
def test_rounds_that_are_not_due_are_not_looked_at(worlds):
    data, world, seen = Shared(), worlds(workers=4), []
    every = train(local_sgd(RULE, 3), data.team(world), data.start, Goal(rounds=9))
    third = train(
        local_sgd(RULE, 3), data.team(world), data.start, Goal(rounds=9), watch=[seen.append], due=lambda k: k % 3 == 0
    )
    assert [record.round for record in third.history] == [0, 3, 6, 9] == [record.round for record in seen]
    np.testing.assert_array_equal(third.x, every.x)
    for record in third.history:
        other = every.history[record.round]
        assert record.steps == other.steps
        np.testing.assert_equal(record.objective, other.objective)
    seconds = [record.seconds for record in third.history]
    assert all(a < b for a, b in pairwise(seconds))
    last = train(local_sgd(RULE, 3), data.team(world), data.start, Goal(rounds=7), due=lambda k: k % 3 == 0)
    assert [record.round for record in last.history] == [0, 3, 6, 7] and last.reason is Reason.ROUNDS


@SIZES
def test_epochs_are_counted_in_rows(worlds):
    data, world = Shared(), worlds(workers=4)
    team = data.team(world)
    trained = train(local_sgd(RULE, 2), team, data.start, Goal(epochs=2.0))
    assert trained.reason is Reason.EPOCHS and "epochs" in trained.reason_text
    assert trained.history[-2].epoch < 2 <= trained.final.epoch == trained.final.steps * 3 / 40
    shared = train(local_sgd(RULE, 2), team, data.start, Goal(epochs=2.0), rows=10)  # all draw from 10 rows
    assert shared.final.steps * 3 / 10 == shared.final.epoch >= 2 > shared.history[-2].epoch


@SIZES
def test_what_is_recorded_costs_neither_bytes_nor_seconds(worlds, monkeypatch):
    """By a clock that looks at losses alone move on: by a second for a gradient, by 100 for an examination."""
    clock = [0.0]

    def taking(act, seconds):
        def slowly(*given, **more):
            clock[0] += seconds
            return act(*given, **more)

        return slowly

    monkeypatch.setattr(drive, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(Perceptron, "value_grad", taking(Perceptron.value_grad, 1.0))
    monkeypatch.setattr(Perceptron, "evaluate", taking(Perceptron.evaluate, 100.0))
    data, finals = Spots(3), []
    for examined in (True, False):
        world = worlds(workers=3)
        make = lambda lo, hi: Perceptron(Dense(data.x[lo:hi], data.y[lo:hi]), (2, 3))  # noqa: E731
        exam = data.exam(world, make, own=True, leader=True) if examined else None
        finals.append(train(lsgd(RULE, 3), data.team(world), np.zeros(9), Goal(rounds=5), exam).final)
        assert (world.tally.messages, world.tally.vector_rounds) == (finals[-1].messages, 5)  # a broadcast in each round
    assert finals[0].bytes_sent == finals[1].bytes_sent and finals[0].messages == finals[1].messages
    assert finals[0].seconds == finals[1].seconds >= 5 * 3


# ---------------------------------------------------------------------------------------------- examinations
@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("name", ["sgd", "local_sgd", "lsgd", "easgd", "hierarchical_sgd", "downpour", "scaffold"])
def test_scores_are_those_of_all_held_out_rows(worlds, name):
    world = worlds(workers=4)
    data, entry = Spots(4), find(name, training())
    known = {"rule": rules.sgd(0.3), "lr": Constant(0.3), "workers": 4, "period": 4, "meeting": 5}
    method = entry.make(**{key: value for key, value in known.items() if key in entry.parameters})
    runs = []
    exam = data.exam(world, due=lambda k: k in (0, 2, 5), own=True, leader=True)
    team = data.team(world)

    def keep(at, reason):
        run = at.run._replace(states=at.run.states.states)  # without what models hold beside x
        runs.append((points(run, world), method.answer(run, team).x.copy()))

    trained = train(method, team, np.zeros(9), Goal(rounds=5), exam, keep=[keep])
    for record, (own, answer) in zip(trained.history, runs, strict=True):
        if record.round not in (0, 2, 5):
            assert np.isnan([record.test_loss, record.accuracy, record.own_accuracy, record.consensus]).all()
            continue
        assert (record.test_loss, record.accuracy) == pytest.approx(data.score(answer), rel=1e-12)
        assert record.leader_accuracy == pytest.approx(data.score(own[record.leader])[1])
        bounds = data.rows + even(data.total - data.rows, 4)  # each examines its own point on its share
        correct = sum(data.model(*bounds[w : w + 2]).evaluate(own[w]).correct for w in range(4))
        assert record.own_accuracy == pytest.approx(correct / (data.total - data.rows))
        shares = np.diff(even(data.rows, 4)) / data.rows
        apart = np.sqrt(shares @ ((own - answer) ** 2).sum(axis=1)) if method.own else 0.0
        assert record.consensus == pytest.approx(apart, abs=1e-14)
    assert (trained.test_loss, trained.accuracy) == pytest.approx(data.score(trained.x), rel=1e-12)
    np.testing.assert_array_equal(trained.x, runs[-1][1])
    assert trained.accuracy > 0.6


@SIZES
def test_training_ends_at_an_accuracy(worlds):
    world = worlds(workers=3)
    data = Spots(3)
    trained = train(local_sgd(RULE, 2), data.team(world), np.zeros(9), Goal(rounds=500, accuracy=0.8), data.exam(world))
    assert trained.reason is Reason.TARGET and trained.reason_text.startswith("The target was reached (accuracy 0.")
    assert trained.final.accuracy >= 0.8 > max(record.accuracy for record in trained.history[:-1])


# ---------------------------------------------------------------------------------------------- going on
@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("name", sorted(GENERAL))
def test_what_stops_and_goes_on_is_what_never_stopped(worlds, shared_tmp, ranks, name):
    """Bit for bit where nobody works without waiting; a run without rounds to go stays what it is in any case."""
    entry, data, world = find(name, training()), Shared(workers=4), worlds(workers=4)
    known = {
        "rule": rules.adam(0.05),
        "lr": Constant(0.05),
        "workers": 4,
        "period": 3,
        "meeting": 6,
        "total_steps": 18,
        "groups": 1,
        "clients": Clients(3),
    }
    method = entry.make(**{key: value for key, value in known.items() if key in entry.parameters})
    exact = ranks == 1 or not ("async" in name or name == "downpour")
    team = data.team(world)
    straight = train(method, team, data.start, Goal(rounds=6))
    store = Store(shared_tmp / f"{name}.h5", world, "run")
    half = train(method, team, data.start, Goal(rounds=3), keep=[lambda at, _: store.save(at, {}, team)])
    again = Store(store.path, world, "")
    fresh = data.team(worlds(workers=4))
    ended = train(method, fresh, again.load(again.find(), fresh), Goal(rounds=3))
    np.testing.assert_array_equal(ended.x, half.x)
    later = train(method, fresh, again.load(again.find(), fresh), Goal(rounds=6))
    if exact:
        np.testing.assert_array_equal(later.x, straight.x)
        np.testing.assert_array_equal(points(later.run, world), points(straight.run, world))
    for a, b in zip(later.history, straight.history, strict=True):
        assert (a.round, exact) == (b.round, exact and a.steps == b.steps and a.leader == b.leader)
        if exact:
            np.testing.assert_equal(a.objective, b.objective)
    if not exact:
        assert abs(later.x - straight.x).max() < 2 and later.final.steps >= 4 * 18


# ---------------------------------------------------------------------------------------------- torch
def module(dtype, normed: bool):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 8), *([torch.nn.BatchNorm1d(8)] if normed else []), torch.nn.ReLU(), torch.nn.Linear(8, 3)]
    return torch.nn.Sequential(*layers).to(getattr(torch, dtype))


def torch_rows(data: Spots, dtype: str, normed: bool):
    from mpiopt.training.torch.model import TorchModel

    return lambda lo, hi: TorchModel(lambda: module(dtype, normed), Dense(data.x[lo:hi], data.y[lo:hi]))


@pytest.mark.ranks(1, 2)
def test_torch_modules_train_in_their_own_memory(worlds):
    module("float64", False)
    data, world = Spots(3), worlds(workers=3)
    make = torch_rows(data, "float64", False)
    team = data.team(world, make)
    start = team.sites[0].loss.initial(Streams(0)("start"))
    led = train(lsgd(rules.momentum(0.1), 3, 0.3), team, start, Goal(rounds=4))
    for at, site in zip(led.run.points, team.sites, strict=True):
        assert at.x is site.loss.x
    found = []
    for method in (sgd(RULE), local_sgd(RULE, 1)):
        team = data.team(world, make)
        team.sites[0].loss.x[:] = start
        found.append(train(method, team, team.sites[0].loss.x, Goal(rounds=6)).x)  # starting at a model's own memory
    np.testing.assert_allclose(*found, rtol=0, atol=1e-13)
    assert abs(found[0] - start).max() > 1e-3


@pytest.mark.ranks(1, 2)
def test_averages_are_examined_with_statistics_of_their_own(worlds):
    module("float32", True)
    data, world = Spots(3), worlds(workers=3)
    make = torch_rows(data, "float32", True)
    finals = []
    for exam in (data.exam(world, make, own=True, leader=True), None):
        team = data.team(world, make)
        start = team.sites[0].loss.initial(Streams(0)("start"))
        finals.append(train(lsgd(rules.sgd(0.1), 3, 0.3), team, start, Goal(rounds=8), exam))
        finals.append([array for site in team.sites for array in site.loss.buffers.values()])
    examined, own, plain, untouched = finals
    np.testing.assert_array_equal(examined.x, plain.x)  # to be examined leaves no trace
    for a, b in zip(own, untouched, strict=True):
        np.testing.assert_array_equal(a, b)
    assert examined.accuracy > 0.6 and np.isnan(plain.accuracy)
    # straight from the definition: the mean over the workers of statistics of their rows at the answer
    bounds, shares = even(data.rows, 3), np.diff(even(data.rows, 3)) / data.rows
    means = [make(*map(int, bounds[w : w + 2])).settled(examined.x)["1.running_mean"] for w in range(3)]
    np.testing.assert_allclose(examined.buffers["1.running_mean"], shares @ means, rtol=1e-5)


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: local_sgd(RULE, 0), "period of 0 local steps between agreements is not possible: give at least 1"),
        (lambda: lsgd(RULE, -3), "period of -3 local steps"),
        (lambda: async_lsgd(RULE, 0), "period of 0 local steps"),
        (lambda: async_easgd(RULE, 4, 0), "period of 0 local steps"),
        (lambda: post_local_sgd(RULE, 100, 0), "period of 0 local steps"),
        (lambda: post_local_sgd(RULE, 100, start=-1), "start is -1"),
        (lambda: hierarchical_sgd(RULE, rounds=0), "an agreement every 0 rounds is not possible"),
        (lambda: lsgd(RULE, pull=1.5), "pull is 1.5: give the part of the way to the leader, from 0 to 1"),
        (lambda: async_lsgd(RULE, pull=-0.1), "pull is -0.1"),
        (lambda: multi_leader_lsgd(RULE, global_pull=2), "global_pull is 2"),
        (lambda: easgd(RULE, 4, beta=1.2), "beta is 1.2: give a number from 0 to 1"),
        (lambda: eamsgd(Constant(0.1), 4, beta=-1), "beta is -1"),
        (lambda: async_sgd(RULE, bound=-1), "bound on the delay is -1"),
        (lambda: downpour(RULE, meeting=0), "a meeting every 0 steps is not possible"),
        (lambda: fedprox(RULE, mu=-0.1), "mu is -0.1"),
        (lambda: scaffnew(Constant(0.1), 0.0), "probability of an agreement is 0.0"),
        (lambda: slowmo(RULE, Constant(0.1), beta=1.0), "beta is 1.0"),
    ],
)
def test_impossible_parameters_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


@SIZES
def test_more_groups_than_ranks_are_refused_on_every_rank(worlds, ranks):
    data, world = Shared(), worlds(workers=4)
    for method in (hierarchical_sgd(RULE, groups=ranks + 1), multi_leader_lsgd(RULE, groups=ranks + 1)):
        with pytest.raises(UsageError, match=f"{ranks + 1} groups of {ranks} ranks? cannot be made"):
            train(method, data.team(world), data.start, Goal(rounds=2))


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize(
    ("clients", "sentence"),
    [
        (Clients(5), "5 of 4 living workers were asked to take part: give a number from 1 to 4"),
        (Clients(0), "0 of 4 living workers"),
        (Clients(3, dead=(0, 2)), "3 of 2 living workers were asked to take part: give a number from 1 to 2"),
        (Clients(dead=(0, 1, 2, 3)), "0 of 0 living workers"),
        (Clients(dead=(4,)), "worker 4 cannot be dead: there are workers 0 to 3"),
        (Clients(dead=(-1,)), "worker -1 cannot be dead"),
    ],
)
def test_impossible_clients_are_refused_on_every_rank(worlds, clients, sentence):
    data, world = Shared(), worlds(workers=4)
    with pytest.raises(UsageError, match=sentence):
        train(fedavg(RULE, 2, clients=clients), data.team(world), data.start, Goal(rounds=2))


@SIZES
def test_clients_without_rows_are_refused_on_every_rank(worlds):
    data = Spots(3)
    world = worlds(workers=3)
    weights = [0.0 if w == 1 else 1.0 for w in world.hosted]
    team = Team.of(world, data.shares(world, 0, data.rows), Zero(), 0, None, weights)
    with pytest.raises(DataError, match="none of the workers that take part in round 2 holds any rows"):
        train(local_sgd(RULE, 2, Clients(dead=(0, 2), since=2)), team, np.zeros(9), Goal(rounds=5))


class Breaks(Quadratic):
    """A bowl whose value is no number in its ``last``-th look and after."""

    def __init__(self, last: int):
        super().__init__((1.0, 2.0), (1.0, 1.0))
        self.__dict__.update(last=last, looks=0)

    def value_grad(self, at):
        value, g = super().value_grad(at)
        self.__dict__["looks"] += 1
        return (float("nan") if self.looks >= self.last else value), g


FAILING = {
    "sgd": sgd(RULE),
    "local_sgd": local_sgd(RULE, 3),
    "lsgd": lsgd(RULE, 2),
    "scaffold": scaffold(Constant(0.1), 4),
    "easgd": easgd(RULE, 4, 3),
    "downpour": downpour(RULE, 2, meeting=6),
    "async_lsgd": async_lsgd(RULE, 2),
}


SHORTENED = {"topk": linked(sgd(RULE), "sgd", "topk:0.5", "ef"), "qsgd": linked(local_sgd(RULE, 2), "local_sgd", "qsgd:4")}


@SIZES
@pytest.mark.parametrize("method", FAILING.values(), ids=FAILING)
def test_a_loss_that_is_no_number_ends_all_ranks_with_one_sentence(worlds, method):
    world = worlds(workers=4)
    team = Team.of(world, [Breaks({1: 9, 2: 7}.get(w, 10**9)) for w in world.hosted], Zero())
    with pytest.raises(NumericalError) as caught:
        train(method, team, np.ones(2), Goal(rounds=20))
    sentences = world.tell_all(str(caught.value))
    assert len(set(sentences)) == 1
    waiting = method not in (FAILING["downpour"], FAILING["async_lsgd"])  # or worker 1 may come to its own first
    broken = [
        f"worker {w} (rank {world.host_of(w)}) is no longer a finite number at its step {step}:"
        for w, step in ([(2, 7)] if waiting else [(2, 7), (1, 9)])
    ]
    assert any(sentences[0].startswith(f"the loss of {first} the iteration has diverged; take") for first in broken)


@SIZES
@pytest.mark.parametrize("method", (FAILING | SHORTENED).values(), ids=FAILING | SHORTENED)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_in_the_data_is_told_as_that(worlds, method, value):
    """Not as a divergence that a smaller step size would mend; also where messages are compressed."""
    data, world = Spots(4), worlds(workers=4)
    row = int(even(data.rows, 4)[2]) + 3
    data.x[row, 1] = value
    with np.errstate(all="ignore"), pytest.raises(DataError) as caught:
        train(method, data.team(world), np.zeros(9), Goal(rounds=60))
    said = f"row 3 of worker 2 (rank {world.host_of(2)}) holds a value that is not a finite number: the data are at fault"
    assert str(caught.value).startswith(said) and len(set(world.tell_all(str(caught.value)))) == 1


@SIZES
def test_divergence_is_told_too(worlds):
    data, world = Shared(), worlds(workers=4)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NumericalError, match=r"no longer a finite number at its step \d+: the"),
    ):
        train(local_sgd(rules.sgd(1e30), 2), data.team(world), data.start, Goal(rounds=50))
