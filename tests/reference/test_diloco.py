"""DiLoCo's descendants against their papers' lines, step by step in plain numpy: 20 parameters."""

from inspect import signature
from itertools import count, islice, pairwise

import numpy as np
import pytest

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.errors import UsageError
from mpiopt.methods.diloco import FLOATS, diloco, sparse_loco, streaming_diloco
from mpiopt.numerics.streams import Streams
from mpiopt.problems.model import Block
from mpiopt.transforms.rules import adamw, sgd
from mpiopt.work.streamed import fragments_of
from tests.exchange_sets import Speaker
from tests.training_sets import LR, Shared, averaged, path, plainly, taken

SIZES = pytest.mark.ranks(1, 3)
D = 20


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=tolerance)


# ---------------------------------------------------------------------------------------------- streaming
def streamed(data, period, fragments, delay, alpha, lr, beta):
    """The outer point after every round, what was last agreed taken in at once. All clocks count steps."""
    cuts = np.array_split(np.arange(D), fragments)
    theta, x, v = data.start.copy(), np.tile(data.start, (data.workers, 1)), np.zeros(D)
    due = {}

    def outer(theta, v, p, g):
        theta, v = theta.copy(), v.copy()
        v[p] = beta * v[p] + g
        theta[p] -= lr * (g + beta * v[p])
        return theta, v

    def taken_in(t, theta, v):
        if t not in due:
            return theta, v
        p, g = due.pop(t)
        theta, v = outer(theta, v, p, g)
        x[:, p] = alpha * x[:, p] + (1 - alpha) * theta[p]
        return theta, v

    yield theta
    for t in count(1):
        for w in range(data.workers):
            x[w] = x[w] - LR * data.gradient(w, x[w], t - 1)
        theta, v = taken_in(t, theta, v)
        if t % period == 0:
            p = cuts[(t // period - 1) % fragments]
            due[t + delay] = p, data.mean(theta[p] - x[:, p])
            yield outer(theta, v, *due[t + delay])[0]
            theta, v = taken_in(t, theta, v)


@SIZES
@pytest.mark.parametrize("period, fragments, delay, alpha", [(4, 4, 1, 0.5), (3, 2, 3, 0.0), (2, 3, 0, 0.25), (5, 1, 2, 1.0)])
def test_streaming_diloco(worlds, period, fragments, delay, alpha):
    data = Shared(rows=43, features=D)
    method = streaming_diloco(sgd(LR), period, fragments, delay, alpha, 0.7, 0.9, "identity")
    found = path(method, data.team(worlds(workers=4)), data.start, 17)
    close(found, list(islice(streamed(data, period, fragments, delay, alpha, 0.7, 0.9), 18)))


@SIZES
def test_one_fragment_without_delay_or_mixture_is_diloco(worlds):
    data, world = Shared(rows=43, features=D), worlds(workers=4)
    found = path(streaming_diloco(adamw(LR), 5, 1, 0, 0.0, compress="identity"), data.team(world), data.start, 8)
    close(found, path(diloco(adamw(LR), 5), data.team(world), data.start, 8))


def test_messages_are_of_four_bits_whose_noise_does_not_grow_with_the_fragment():
    code = find(FLOATS)
    assert code.bits_of_code == 4 and signature(streaming_diloco).parameters["compress"].default == FLOATS
    rng = np.random.default_rng(0)
    for size in (20, 200_000):
        x = rng.standard_normal(size) * np.exp(rng.normal(0, 2, size))
        keys = [Stream.of(Streams(k), "fragment") for k in range(10)]
        noise = [code.decode(code.encode(x, key), x, key) - x for key in keys]
        assert code.omega(size) <= 0.25 and np.mean([n @ n for n in noise]) <= 1.1 * code.omega(size) * (x @ x)


def test_fragments_are_blocks_of_about_equal_length():
    sizes = [30, 5, 40, 5, 20, 7, 9]
    loss = Speaker(sum(sizes), blocks=tuple(Block(f"b{i}", (size,)) for i, size in enumerate(sizes)))
    which = fragments_of(loss, sum(sizes), 3)
    ends = np.cumsum([0, *sizes])
    assert all(len(set(which[lo:hi])) == 1 for lo, hi in pairwise(ends))
    assert np.bincount(which).tolist() == [30 + 7, 5 + 5 + 20 + 9, 40]
    assert np.bincount(fragments_of(loss, sum(sizes), 10)).tolist() == [12] * 6 + [11] * 4  # of fewer blocks pieces


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"delay": 5, "period": 4}, "the delay in steps is 5: give at most the 4 steps between two agreements"),
        ({"fragments": 0}, "fragments is 0: give at least 1"),
        ({"alpha": 1.5}, "alpha is 1.5: give a number from 0 to 1"),
        ({"compress": "topk:0.1"}, "`compress=topk:0.1` cannot be of a fragment: give an unbiased compressor of vectors"),
        ({"compress": "powersgd"}, "`compress=powersgd` cannot be of a fragment"),
    ],
    ids=["delay", "none", "alpha", "biased", "powersgd"],
)
def test_what_cannot_be_streamed_is_one_sentence(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        streaming_diloco(sgd(LR), **given)


def test_more_fragments_than_coordinates_are_refused():
    with pytest.raises(UsageError, match="fragments is 36: give at most the 35 coordinates that there are"):
        fragments_of(Speaker(), 35, 36)


# ---------------------------------------------------------------------------------------------- sparse
def kept(x, k, chunk):
    """The places of the k largest of every chunk."""
    places = []
    for at in range(0, x.size, chunk):
        part = abs(x[at : at + chunk])
        n = k if part.size == chunk else max(1, round(k * part.size / chunk))
        places += sorted(at + np.argsort(-part, kind="stable")[:n])
    return np.array(places)


def quantised(v, bits, sigmas=6):
    """Every number by the mean of those in its bin."""
    bins, c = 2**bits, v - v.mean()
    width = sigmas * c.std(ddof=1) / bins
    code = np.clip(np.rint(c / width) + bins // 2, 0, bins - 1)
    return np.array([v[code == own].mean() for own in code])


@SIZES
def test_sparse_loco(worlds):
    data = Shared(rows=43, features=D)
    e = np.zeros((4, D))

    def sparse(far):
        """What the workers say of how far they came as gradients, -far; the memories move along."""
        out = np.zeros_like(far)
        for w in range(4):
            e[w] = 0.95 * e[w] - far[w]
            at = kept(e[w], 3, 8)
            out[w, at] = quantised(e[w][at], 2)
            e[w] -= out[w]
        return -out

    found = path(sparse_loco(sgd(LR), 5, k=3, chunk=8, outer_lr=0.8), data.team(worlds(workers=4)), data.start, 12)
    x, expected = data.start, [data.start]
    for k in range(12):
        ends = np.array([_stepped(data, w, x, 5 * k) for w in range(4)])
        x = x + 0.8 * data.mean(sparse(ends - x))
        expected.append(x)
    close(found, expected)


def _stepped(data, w, y, first):
    for step in range(first, first + 5):
        y = y - LR * data.gradient(w, y, step)
    return y


def test_a_share_in_two_bits_is_a_thousandth_of_the_bytes():
    """64 of 4,096 by 12 bits of place and 2 of value every 30 steps, against 32 bits a coordinate in every step."""
    from mpiopt.compress.catalogue import find

    d = 800_000
    code = find("blocks:chunk_topk:k=64,chunk=4096+bins:2").on([Block("w", (d,))])
    assert 30 * 4 * d / code.nbytes(d) > 4_000


@SIZES
def test_sparse_loco_of_everything_in_whole_numbers_is_local_sgd(worlds):
    data, world = Shared(rows=43, features=D), worlds(workers=4)
    found = path(sparse_loco(sgd(LR), 5, k=D, chunk=D, bits=8, decay=0.0), data.team(world), data.start, 6)
    exact = taken(averaged(data, 5, plainly(data)), 6)
    assert abs(found - exact).max() < 0.05 * abs(exact).max()
