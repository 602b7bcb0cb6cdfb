"""Laws of agreements on compressed messages: what is sent, what is left, what memories hold, and what means are worth."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.compress.catalogue import find
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.engine.phase import Joint
from mpiopt.errors import DataError, UsageError
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.feedback import ErrorFeedback, TwoWay
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.shifted import Refreshed, Shifted
from mpiopt.exchange.timing import Every
from mpiopt.numerics.schedules import Constant, Inverse, Piecewise
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Message, Team
from mpiopt.sampling.clients import Clients
from tests.exchange_sets import AROUND, COMPRESSORS, DIM, SHAPES, Speaker, agreements, said, team_of

ONE, LAW = pytest.mark.ranks(1), settings(max_examples=12)
texts, seeds, counts = st.sampled_from(COMPRESSORS), st.integers(0, 2**63 - 1), st.integers(1, 5)
UNBIASED = [text for text in COMPRESSORS if find(text).unbiased]


@pytest.fixture
def teams(worlds):
    """A team of so many workers under a seed, all on this rank."""
    made = {}

    def of(workers, seed=11, even=False):
        if workers not in made:
            made[workers] = worlds(workers=workers)
        return team_of(made[workers], seed, even)

    return of


def run(exchange, team, spoken, x=None):
    """(messages, agreed, residual, state) for what is spoken in every round: lists of one vector per worker."""
    state = exchange.init(np.zeros(DIM) if x is None else x, team)
    for k, vectors in enumerate(spoken):
        messages = [Message(v.copy(), np.array([float(w)])) for w, v in enumerate(vectors)]
        agreed, residual, state = exchange(messages, state, Joint(team, k))
        for message, vector in zip(messages, vectors, strict=True):
            np.testing.assert_array_equal(message.vector, vector)  # messages are not spent
        yield messages, agreed, residual, state


def mean(team, vectors):
    return sum(site.share * v for site, v in zip(team.sites, vectors, strict=True))


def draws(seed, workers, rounds, kind=np.float64):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.integers(-2, 3, (rounds, workers, 1))
    return (sizes * rng.standard_normal((rounds, workers, DIM)) * (rng.random((rounds, workers, DIM)) < 0.8)).astype(kind)


def close(found, expected, size=1.0):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * size)


# ---------------------------------------------------------------------------------------------- what is sent and left
@ONE
@LAW
@given(text=texts, workers=counts, seed=seeds, name=st.sampled_from(["plain", "ef21", "diana", "fixed", "rand-diana"]))
def test_what_is_agreed_is_the_mean_of_what_was_sent(teams, text, workers, seed, name):
    """And what was sent and what is left make the message, whatever both sides knew before."""
    team, spoken = teams(workers, seed), draws(seed, workers, 3)
    for messages, agreed, residual, _ in run(AROUND[name](Compressed(find(text))), team, spoken):
        sent = [m.vector - rest for m, rest in zip(messages, residual, strict=True)]
        close(agreed.vector, mean(team, sent), 1e3)
        close(agreed.scalars, [mean(team, range(workers))])


@ONE
@LAW
@given(text=texts, workers=counts, seed=seeds, kind=st.sampled_from([np.float32, np.float64]))
def test_error_feedback_telescopes(teams, text, workers, seed, kind):
    """All that was sent, and what is remembered, is all that was said; with a rate, in units of steps."""
    team, spoken = teams(workers, seed), draws(seed, workers, 6, kind)
    for rate in (1.0, Inverse(0.7, 2.0), Piecewise((1.0, 0.0, 0.5), (2, 4))):
        given_rate = {} if rate == 1.0 else {"rate": rate}
        steps = list(run(ErrorFeedback(Compressed(find(text)), **given_rate), team, spoken, np.zeros(DIM, kind)))
        rates = [1.0 if rate == 1.0 else rate(k) for k in range(6)]
        total = sum(r * agreed.vector for r, (_, agreed, _, _) in zip(rates, steps, strict=True))
        memory = steps[-1][-1][0]
        told = sum(r * mean(team, vectors) for r, vectors in zip(rates, spoken, strict=True))
        assert steps[-1][1].vector.dtype == kind == memory[0].dtype
        np.testing.assert_allclose(total, told - mean(team, memory), rtol=0, atol=1e-9 if kind is np.float64 else 1e-2)
        assert [residual for _, _, residual, _ in steps] == [[0.0] * workers] * 6


@ONE
@LAW
@given(text=texts, workers=counts, seed=seeds)
def test_the_way_back_telescopes_too(teams, text, workers, seed):
    team, spoken = teams(workers, seed), draws(seed, workers, 6)
    for rate in (Constant(1.0), Piecewise((1.0, 0.0, 0.5), (2, 4))):
        inner = ErrorFeedback(Compressed(find(text)), rate)
        there = [rate(k) * agreed.vector for k, (_, agreed, _, _) in enumerate(run(inner, team, spoken))]
        back = list(run(TwoWay(inner, find("topk:0.3"), rate), team, spoken))
        told = sum(rate(k) * agreed.vector for k, (_, agreed, _, _) in enumerate(back))
        close(told, sum(there) - back[-1][-1][0], 1e4)
    assert all(np.count_nonzero(agreed.vector) <= round(0.3 * DIM) for _, agreed, _, _ in back)


@ONE
@LAW
@given(text=texts, workers=counts, seed=seeds, name=st.sampled_from(["ef21", "diana", "fixed", "first-whole", "rand-diana"]))
def test_what_all_know_of_the_shifts_is_their_mean(teams, text, workers, seed, name):
    team, spoken = teams(workers, seed), draws(seed, workers, 6)
    for _, _, _, state in run(AROUND[name](Compressed(find(text))), team, spoken):
        close(state.common, mean(team, state.own), 1e4)


@ONE
@LAW
@given(text=texts, workers=counts, seed=seeds)
def test_marina_adds_differences_to_its_last_agreement(teams, text, workers, seed):
    team, spoken = teams(workers, seed), draws(seed, workers, 6)
    steps = list(run(Refreshed(Compressed(find(text)), 0.3, True), team, spoken))
    close(steps[0][1].vector, mean(team, spoken[0]), 1e3)
    for k, ((before, last, _, _), (now, agreed, residual, _)) in enumerate(pairwise(steps), 1):
        if team.sites[0].streams("refresh", k).random() < 0.3:
            close(agreed.vector, mean(team, spoken[k]), 1e3)
        else:
            moved = [b.vector - a.vector - rest for a, b, rest in zip(before, now, residual, strict=True)]
            close(agreed.vector, last.vector + mean(team, moved), 1e4)


# ---------------------------------------------------------------------------------------------- the identity, and means
@ONE
def test_the_identity_is_the_mean(teams):
    """Around it nothing is left, so that no memory can matter."""
    team = teams(4)
    expected = [agreed for _, agreed, _, _ in agreements(Mean(), team, 5)]
    for name, around in AROUND.items():
        for k, (_, agreed, residual, _) in enumerate(agreements(around(Compressed(find("identity"))), team, 5)):
            if name == "plain":
                np.testing.assert_array_equal(agreed.vector, expected[k].vector)
                np.testing.assert_array_equal(agreed.scalars, expected[k].scalars)
            if agreed is not None and name not in ("two-way", "saved-up"):
                close(agreed.vector, expected[k].vector)
                close(residual, [np.zeros_like(rest) for rest in residual])
    last = [agreed for _, agreed, _, _ in agreements(AROUND["saved-up"](Compressed(find("identity"))), team, 4)][-1]
    close(last.vector, expected[2].vector + expected[3].vector)


@ONE
@pytest.mark.parametrize("text", UNBIASED)
def test_the_agreement_is_unbiased(teams, text):
    """Within five standard errors, over 400 rounds with the same messages."""
    team = teams(3)
    vectors = [said(worker, 0).vector for worker in range(3)]
    found = np.array([agreed.vector for _, agreed, _, _ in run(Compressed(find(text)), team, [vectors] * 400)])
    deviation = found.std(axis=0) / 20
    assert (abs(found.mean(axis=0) - mean(team, vectors)) <= 5 * deviation + 1e-6).all()
    assert deviation.max() > 0 or text == "identity"


@ONE
@pytest.mark.parametrize("text", [text for text in UNBIASED if text != "permk" and not find(text).linear])
def test_errors_of_workers_with_seeds_of_their_own_average_out(teams, text):
    """n workers that say the same: a variance of 1 / n; under one seed for all it would stay what it is."""
    found = []
    for workers in (1, 4):
        team, vector = teams(workers, even=True), said(0, 0).vector
        steps = run(Compressed(find(text)), team, [[vector] * workers] * 300)
        found.append(np.mean([((agreed.vector - vector) ** 2).sum() for _, agreed, _, _ in steps]))
    assert found[1] == pytest.approx(found[0] / 4, rel=0.25)


# ---------------------------------------------------------------------------------------------- memories learn
@ONE
@settings(max_examples=6)
@given(workers=counts, seed=seeds)
def test_what_does_not_change_is_learnt_exactly(teams, workers, seed):
    """Top-k of what is left takes d / k rounds, MARINA none, and so on; without a memory it is never known."""
    team, constant = teams(workers, seed), list(draws(seed, 1, workers)[:, 0])
    best, k = mean(team, constant), round(0.2 * DIM)
    enough = {
        Shifted(Compressed(find("topk:0.2")), 1.0): DIM // k,
        Shifted(Compressed(find("randk:0.2"))): 120,  # alpha = k / d takes over what was sent
        Shifted(Compressed(find("topk:0.2")), 1.0, "message"): 0,
        Refreshed(Compressed(find("randk:0.2")), 0.2, True): 0,
        Refreshed(Compressed(find("randk:0.2")), 0.2): 120,
    }
    for exchange, rounds in enough.items():
        close([one for _, one, _, _ in run(exchange, team, [constant] * (rounds + 3))][-1].vector, best, 1e3)
    plain = [one for _, one, _, _ in run(Compressed(find("topk:0.2")), team, [constant] * 9)][-1].vector
    assert abs(plain - best).max() > 1e-6 * abs(best).max()
    feedback = [one.vector for _, one, _, _ in run(ErrorFeedback(Compressed(find("topk:0.2"))), team, [constant] * 400)]
    assert abs(np.mean(feedback, axis=0) - best).max() <= 0.05 * max(abs(v).max() for v in constant)


@ONE
def test_memories_of_contractions_stay_bounded(teams):
    """|e|^2 <= 4 (1 - delta) / delta^2 of the largest message, as the lemma of Karimireddy et al. 2019 has it."""
    team = teams(3)
    for text in ("topk:0.2", "scaled_sign:8", "two_means", "shrunk:qsgd:3", "randk:0.3,scaled=no", "topk:0.4+natural"):
        delta = find(text).delta(DIM if text != "scaled_sign:8" else 8)
        steps = agreements(ErrorFeedback(Compressed(find(text))), team, 150)
        largest = 0.0
        for messages, _, _, state in steps:
            largest = max(largest, *((m.vector**2).sum() for m in messages))
            assert max((e**2).sum() for e in state.memory) <= 4 * (1 - delta) / delta**2 * largest, text


# ---------------------------------------------------------------------------------------------- votes and low rank
@ONE
@LAW
@given(workers=counts, seed=seeds)
def test_a_vote_is_the_sign_of_the_sum_of_signs(teams, workers, seed):
    """Every worker has one vote, whatever its weight."""
    team, spoken = teams(workers, seed), draws(seed, workers, 2)
    for messages, agreed, residual, _ in run(Vote(), team, spoken):
        np.testing.assert_array_equal(agreed.vector, np.sign(sum(np.sign(m.vector) for m in messages)))
        assert residual == [0.0] * workers
        close(agreed.scalars, [mean(team, range(workers))])


@ONE
def test_votes_of_very_many_workers_do_not_overflow(teams):
    team = teams(300)
    vectors = [np.where(np.arange(DIM) < 9, 1.0, -1.0)] * 300
    ((_, agreed, _, _),) = run(Vote(), team, [vectors])
    np.testing.assert_array_equal(agreed.vector, vectors[0])


@ONE
@LAW
@given(workers=counts, seed=seeds, rank=st.integers(1, 2))
def test_low_rank_agrees_as_one_worker_with_the_mean_would(teams, workers, seed, rank):
    team, alone, spoken = teams(workers, seed), teams(1, seed), draws(seed, workers, 5)
    together = run(LowRank(PowerSgd(rank)), team, spoken)
    for (messages, agreed, residual, _), (_, other, _, _) in zip(
        together, run(LowRank(PowerSgd(rank)), alone, [[mean(team, v)] for v in spoken]), strict=True
    ):
        np.testing.assert_allclose(agreed.vector, other.vector, rtol=0, atol=1e-6)
        m, first = mean(team, [m.vector for m in messages]), 0
        for shape in SHAPES:
            size = int(np.prod(shape))
            block = agreed.vector[first : first + size].reshape(shape[0], -1)
            if len(shape) == 1:
                close(block.ravel(), m[first : first + size], 1e3)
            else:
                assert np.linalg.matrix_rank(block, tol=1e-9 * (1 + abs(block).max())) <= rank
            first += size
        for message, rest in zip(messages, residual, strict=True):
            np.testing.assert_array_equal(rest, message.vector - agreed.vector)


@ONE
@LAW
@given(workers=counts, seed=seeds)
def test_low_rank_with_error_feedback_telescopes(teams, workers, seed):
    team, spoken = teams(workers, seed), draws(seed, workers, 6)
    steps = list(run(ErrorFeedback(LowRank(PowerSgd(1))), team, spoken))
    close(
        sum(agreed.vector for _, agreed, _, _ in steps), sum(mean(team, v) for v in spoken) - mean(team, steps[-1][-1][0]), 1e4
    )


# ---------------------------------------------------------------------------------------------- bad input
@ONE
def test_nothing_is_agreed_where_nobody_that_takes_part_holds_rows(teams, worlds):
    team = Team.of(worlds(workers=3), [Speaker()] * 3, Zero(), weights=[1.0, 0.0, 0.0])
    exchange, clients = Compressed(find("topk:0.2")), Clients(dead=(0,), since=2)
    messages, state = [said(w, 0) for w in range(3)], exchange.init(np.zeros(DIM), team)
    agreed, residual, _ = exchange(messages, state, Joint(team, 0, clients))
    assert np.count_nonzero(agreed.vector) == 7 and not (residual[1] - messages[1].vector).any()
    with pytest.raises(DataError, match="none of the workers that take part in round 2 holds any rows"):
        exchange(messages, state, Joint(team, 2, clients))


@ONE
def test_impossible_parameters_are_refused(teams):
    for alpha in (-0.1, 1.1):
        with pytest.raises(
            UsageError, match=f"alpha, the rate at which shifts are learnt, is {alpha}: give a number from 0 to 1"
        ):
            Shifted(Mean(), alpha)
    for p in (0.0, 1.5, -1.0):
        with pytest.raises(UsageError, match=f"the probability of a refresh is {p}: give a number above 0, at most 1"):
            Refreshed(Mean(), p)
    for exchange in (Shifted(Compressed(find("topk:0.2"))), Refreshed(Compressed(find("sign"))), Shifted(Every(2, Mean()))):
        with pytest.raises(UsageError, match="has no variance constant to learn shifts by: give alpha or the probability"):
            exchange.init(np.zeros(DIM), teams(2))
    assert Shifted(Compressed(find("permk"))).init(np.zeros(DIM), teams(4)).rate == 1 / 4  # one among four
