"""Laws of compressors: bytes, constants, what is sent and what is left, and how payloads add up."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpiopt.compress.catalogue import CATALOGUE, find
from mpiopt.compress.compressor import Stream
from mpiopt.compress.kashin import Orthogonal, RandomHadamard, democratic
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.compress.then import Then
from mpiopt.errors import CapabilityError, DataError, NumericalError, UsageError
from mpiopt.kernels import host
from mpiopt.numerics.streams import Streams
from mpiopt.problems.model import Block, split

TEXTS = [
    "identity",
    "fp16",
    "bf16",
    "topk:0.2",
    "topk:1.0",
    "topk:1",
    "randk:0.3",
    "randk:0.3,shared=yes",
    "randk:0.3,scaled=no",
    "block:0.4",
    "block:0.4,shared=no",
    "permk:3",
    "sign",
    "scaled_sign",
    "scaled_sign:5",
    "two_means",
    "two_means:7",
    "qsgd",
    "qsgd:2",
    "qsgd:9",
    "qsgd:levels=5,bucket=6",
    "qsgd:bits=3,norm=inf",
    "terngrad",
    "terngrad:9",
    "natural",
    "natural_dithering",
    "natural_dithering:3,norm=inf",
    "natural_dithering:levels=300,bucket=8",
    "sketch:0.5",
    "sketch:columns=4,rows=3,estimate=median",
    "sketch:0.9,rows=3,keep=1",
    "kashin",
    "kashin:3,bucket=6",
    "kashin:1,frame=orthogonal",
    "topk:0.4+natural",
    "randk:0.5,shared=yes+sketch:columns=3,rows=2",
    "randk:0.5+qsgd:8",
    "randk:0.5,scaled=no+scaled_sign",
    "topk:0.5+topk:0.5+fp16",
    "shrunk:qsgd:3",
    "shrunk:randk:0.2+natural",
    "chunk_topk:k=2,chunk=8",
    "chunk_topk:1,chunk=3+bins",
    "bins",
    "bins:3,range=4",
    "blocks:topk:0.3",
    "blocks:shrunk:qsgd:3",
    "blocks:randk:0.3,shared=yes",
]


def known(text):
    """The compressor of a text; of vectors that are one block, where it compresses blocks."""
    return find(text).on(())


ALL = [known(text) for text in TEXTS]
PLAIN = [text for text in TEXTS if text not in ("sign", "natural") and "natural" not in text]  # alike at any scale
RANDOM = [text for text in TEXTS if known(text).unbiased or known(text).delta(20) is not None]

numbers = st.floats(-100, 100, allow_subnormal=False, width=32).map(lambda v: v if abs(v) > 1e-20 else 0.0)
kinds = st.sampled_from([np.float32, np.float64])
vectors = st.integers(1, 40).flatmap(lambda d: arrays(float, d, elements=numbers)).flatmap(lambda x: kinds.map(x.astype))
some = st.sampled_from(ALL)
seeds = st.integers(0, 2**63)


def stream(seed, worker=0, workers=3):
    return Stream.of(Streams(seed), "test", 1, worker, workers)


def sent(compressor, x, key):
    return compressor.decode(compressor.encode(x, key), x, key)


def squares(x):
    return float(x.astype(np.float64) @ x.astype(np.float64))


@given(some, vectors, seeds)
def test_bytes_follow_the_formula_and_types_are_kept(compressor, x, seed):
    before, key = x.copy(), stream(seed)
    payload = compressor.encode(x, key)
    assert payload.ndim == 1 and payload.nbytes == compressor.nbytes(x.size, x.dtype)
    assert payload.dtype == (x.dtype if compressor.linear else np.uint8)
    assert not np.shares_memory(payload, x)
    y = compressor.decode(payload, x, key)
    assert (y.dtype, y.shape) == (x.dtype, x.shape) and np.isfinite(y).all()
    np.testing.assert_array_equal(x, before)


@given(some, vectors, seeds)
def test_equal_streams_give_equal_payloads(compressor, x, seed):
    first = compressor.encode(x, stream(seed))
    compressor.encode(x, stream(seed + 1))
    np.testing.assert_array_equal(first, compressor.encode(x.copy(), stream(seed)))


@given(some, vectors, seeds, st.floats(-3, 3, allow_subnormal=False))
def test_adding_is_decoding_and_adding(compressor, x, seed, scale):
    key = stream(seed)
    payload = compressor.encode(x, key)
    y, total, start = compressor.decode(payload, x, key), np.zeros_like(x), np.cos(x)
    compressor.add(payload, total, key)
    np.testing.assert_allclose(total, y, rtol=1e-6, atol=0)
    moved = start.copy()
    compressor.add(payload, moved, key, scale)
    wanted = start + scale * y.astype(np.float64)
    np.testing.assert_allclose(moved, wanted, rtol=1e-5, atol=1e-6 * (1 + abs(scale) * abs(y).max()))
    into = np.full_like(x, np.nan)
    assert compressor.decode(payload, x, key, into) is into
    np.testing.assert_array_equal(into, y)


@given(some, vectors, seeds, st.integers(1, 15))
def test_a_payload_may_lie_anywhere_in_a_buffer(compressor, x, seed, shift):
    key = stream(seed)
    payload = compressor.encode(x, key)
    if compressor.linear:
        return
    buffer = np.zeros(payload.size + shift, np.uint8)
    buffer[shift:] = payload
    np.testing.assert_array_equal(compressor.decode(buffer[shift:], x, key), compressor.decode(payload, x, key))


@given(some, vectors, seeds)
def test_what_is_sent_and_what_is_left_make_the_vector(compressor, x, seed):
    y = sent(compressor, x, stream(seed)).astype(np.float64)
    left = x - y
    np.testing.assert_allclose(y + left, x, atol=1e-9 * (1 + abs(y).max()))
    if getattr(compressor, "projection", False):
        assert ((left == 0) | (y == 0)).all()
        assert np.count_nonzero(y) <= compressor.length(x.size)


@given(st.sampled_from([c for c in ALL if c.linear]), st.integers(1, 40), st.data(), seeds)
def test_the_sum_of_linear_payloads_is_the_payload_of_the_sum(compressor, d, data, seed):
    whole = st.integers(-1000, 1000).map(float)
    x, y = (data.draw(arrays(np.float64, d, elements=whole)) for _ in range(2))
    key, other = stream(seed, 0), stream(seed, 1)
    total = compressor.encode(x, key) + compressor.encode(y, other)
    np.testing.assert_array_equal(total, compressor.encode(x + y, key))
    if compressor.unbiased and compressor.omega(d) is not None:
        decoded = compressor.decode(total, x, key)
        np.testing.assert_allclose(decoded, sent(compressor, x, key) + sent(compressor, y, other), atol=1e-9)


@given(
    st.sampled_from(
        [
            "topk:0.2",
            "topk:1",
            "scaled_sign",
            "scaled_sign:5",
            "two_means",
            "two_means:7",
            "fp16",
            "bf16",
            "identity",
            "topk:0.5+topk:0.5+fp16",
            "topk:0.3+two_means",
        ]
    ),
    vectors,
    seeds,
)
def test_contractions_that_draw_nothing_contract_every_vector(text, x, seed):
    compressor = known(text)
    error = squares(x - sent(compressor, x, stream(seed)))
    assert error <= (1 - compressor.delta(x.size) + 1e-6 * (x.dtype == np.float32)) * squares(x) * (1 + 1e-9)


@given(vectors, seeds)
def test_the_scaled_sign_contracts_by_what_it_says(x, seed):
    error, q = squares(x - sent(find("scaled_sign"), x, stream(seed))), squares(x)
    np.testing.assert_allclose(error, q - np.abs(x.astype(float)).sum() ** 2 / x.size, rtol=1e-4, atol=1e-5 * q)


def shapes(d, kind):
    rng = np.random.default_rng(d)
    flat = np.full(d, 1 / (1 + d**0.5))
    flat[d // 2] = -1.0
    return [
        v.astype(kind) for v in (rng.standard_normal(d), flat, np.eye(d)[1], rng.standard_cauchy(d) ** 3, np.full(d, 4 / 3))
    ]


@pytest.mark.parametrize(
    ("text", "d", "kind"), [(t, *((20, np.float64), (33, np.float32))[i % 2]) for i, t in enumerate(RANDOM)]
)
def test_constants_hold_and_the_unbiased_are_so(text, d, kind):
    """Within five standard errors of the sample, for vectors that attain the constants and others."""
    compressor, runs = known(text), 500
    for x in shapes(d, kind):
        ys = np.array([sent(compressor, x, stream(run)) for run in range(runs)], np.float64)
        errors, q = ((ys - x) ** 2).sum(axis=1) / squares(x), squares(x)
        slack = 5 * errors.std() / runs**0.5 + 1e-6
        if compressor.omega(d) is not None:
            assert errors.mean() <= compressor.omega(d) + slack
        if compressor.delta(d) is not None:
            assert errors.mean() <= 1 - compressor.delta(d) + slack
        if compressor.unbiased:
            deviation = ys.std(axis=0) / runs**0.5
            rare = abs(ys).max() * 10 / runs  # what a value that ten runs should have shown may be missed by
            assert (abs(ys.mean(axis=0) - x) <= 5 * deviation + rare + 1e-5 * q**0.5).all()


AVERAGED = [text for text in TEXTS if known(text).unbiased and known(text).omega(20) is not None] + [
    "permk:3+natural",
    "block:0.5+qsgd:2",
    "randk:0.5+block:0.5",
    "block:0.5+permk:3",
    "permk:3+block:0.5",
    "identity+terngrad",
    "randk:0.5,shared=yes+block:0.4+natural",
    "randk:0.5+permk:3",
]


@pytest.mark.parametrize("text", AVERAGED)
def test_the_mean_of_messages_errs_by_no_more_than_its_constant(text):
    """Of vectors that are equal, opposite, different, and of one worker alone: within five standard errors."""
    compressor, workers, d, runs = known(text), 3, 12, 150
    one = np.random.default_rng(3).standard_normal((workers, d))
    bound = compressor.mean_omega(d, workers)
    for a in (one, np.tile(one[0], (workers, 1)), one[0] * np.array([[1.0], [-1.0], [0.0]]), one * np.eye(workers)[:, :1]):
        errors = np.empty(runs)
        for run in range(runs):
            total = -a.mean(axis=0)
            for worker, x in enumerate(a):
                key = stream(run, worker, workers)
                compressor.add(compressor.encode(x, key), total, key, 1 / workers)
            errors[run] = squares(total) / (squares(a.ravel()) / workers)
        assert errors.mean() <= bound + 5 * errors.std() / runs**0.5 + 1e-12


def test_only_errors_that_are_drawn_apart_lose_by_the_number_of_workers():
    """What is proved, and no more: a factor n for independent draws, none for one map of all, 1 for shares of one vector."""
    apart, same, mixed = find("randk:0.25"), find("randk:0.25,shared=yes"), find("randk:0.25,shared=yes+qsgd:2")
    assert (apart.mean_omega(80, 32), same.mean_omega(80, 32)) == (3 / 32, 3)
    assert find("block:0.25").mean_omega(80, 32) == 3 == 32 * find("block:0.25,shared=no").mean_omega(80, 32)
    assert find("sketch:0.5").mean_omega(80, 32) == find("sketch:0.5").omega(80)
    assert find("permk").among(32).mean_omega(80, 32) == 1 and find("permk").among(1).mean_omega(80, 1) == 0
    quantised = find("qsgd:2").omega(20)
    assert mixed.mean_omega(80, 32) == pytest.approx(3 + 4 * quantised / 32) and not mixed.independent
    assert find("permk+natural").among(32).mean_omega(80, 32) == pytest.approx(1 + 1 / 8)
    assert find("randk:0.5+qsgd:2").mean_omega(40, 32) == pytest.approx(find("randk:0.5+qsgd:2").omega(40) / 32)
    assert find("randk:0.5+block:0.5").mean_omega(40, 32) == pytest.approx(1 / 32 + 2)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_broken_vectors_are_refused(text, broken, kind):
    for at in (0, 17, 36):
        x = np.ones(37, kind)
        x[at] = broken
        with pytest.raises(NumericalError, match="not finite"):
            known(text).encode(x, stream(1))


@given(some, vectors, seeds, st.integers(-9, 9).filter(bool))
def test_payloads_of_another_length_are_refused(compressor, x, seed, more):
    payload = compressor.encode(x, stream(seed))
    wrong = np.resize(payload, max(0, payload.size + more))
    for act in (lambda: compressor.decode(wrong, x, stream(seed)), lambda: compressor.add(wrong, x.copy(), stream(seed))):
        with pytest.raises(DataError, match=rf"{wrong.nbytes} bytes .* sends {payload.nbytes} bytes"):
            act()


@given(st.sampled_from([c for c, t in zip(ALL, TEXTS, strict=True) if t != "sign"]), st.integers(1, 30), kinds, seeds)
def test_nothing_stays_nothing(compressor, d, kind, seed):
    assert not sent(compressor, np.zeros(d, kind), stream(seed)).any()


@given(st.sampled_from(PLAIN), st.integers(1, 30), st.sampled_from([-900, -300, 300, 900]), seeds)
def test_size_does_not_matter(text, d, power, seed):
    compressor, key = known(text), stream(seed)
    x = np.random.default_rng(d).standard_normal(d)
    np.testing.assert_allclose(sent(compressor, np.ldexp(x, power), key), np.ldexp(sent(compressor, x, key), power), rtol=1e-9)


@given(st.integers(1, 60), st.data(), kinds)
def test_top_k_is_what_sorting_gives(d, data, kind):
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 1e-30])
    x, k = data.draw(arrays(kind, d, elements=few)), data.draw(st.integers(1, d))
    chosen = np.empty(k, np.int64)
    host.largest(x.view(f"u{x.itemsize}"), k, chosen)
    np.testing.assert_array_equal(chosen, np.sort(np.argsort(-abs(x), kind="stable")[:k]))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 37, 3000, 20000])
@pytest.mark.parametrize("shape", ["normal", "sorted", "ties", "few", "equal", "sparse"])
def test_top_k_of_long_vectors_is_what_sorting_gives(kind, k, shape):
    rng, d = np.random.default_rng(0), 200_001
    x = {
        "normal": rng.standard_normal(d),
        "sorted": np.sort(rng.standard_normal(d)),
        "ties": rng.integers(-9, 9, d),
        "few": rng.integers(0, 2, d) * 1e-300,
        "equal": np.ones(d),
        "sparse": np.where(rng.random(d) < 1e-3, 1.0, 0.0),
    }[shape]
    x, chosen = x.astype(kind), np.empty(k, np.int64)
    host.largest(x.view(f"u{x.itemsize}"), k, chosen)
    np.testing.assert_array_equal(chosen, np.sort(np.argsort(-abs(x), kind="stable")[:k]))


@given(st.integers(1, 32), st.lists(st.integers(0, 2**32 - 1), max_size=40), st.integers(0, 3))
def test_codes_are_packed_to_the_bit(b, codes, at):
    codes = np.array([code % (1 << b) for code in codes], np.uint32)
    packed = np.zeros(at + -(-b * codes.size // 8), np.uint8)
    host.pack(codes, codes.size, b, packed, at)
    string = sum(int(code) << (b * i) for i, code in enumerate(codes))
    assert packed[at:].tobytes() == string.to_bytes(packed.size - at, "little")
    back = np.zeros_like(codes)
    host.unpack(packed, at, codes.size, b, back)
    np.testing.assert_array_equal(back, codes)


@given(st.lists(st.integers(0, 2), max_size=23))
def test_trits_are_packed_by_fives(codes):
    codes = np.array(codes, np.uint8)
    packed, back = np.zeros(-(-codes.size // 5), np.uint8), np.zeros_like(codes)
    host.pack(codes, codes.size, host.TRITS, packed, 0)
    host.unpack(packed, 0, codes.size, host.TRITS, back)
    np.testing.assert_array_equal(back, codes)


@given(st.integers(1, 300), seeds, st.data())
def test_a_subset_is_a_part_of_one_permutation(n, seed, data):
    whole = np.empty(n, np.int64)
    host.subset(np.uint64(seed), 0, n, whole)
    assert sorted(whole) == list(range(n))
    first = data.draw(st.integers(0, n - 1))
    part = np.empty(data.draw(st.integers(0, n - first)), np.int64)
    host.subset(np.uint64(seed), first, n, part)
    np.testing.assert_array_equal(part, whole[first : first + part.size])


@pytest.mark.parametrize("n", [2, 3, 7, 64, 100])
def test_subsets_are_uniform_and_pairs_nearly_so(n):
    runs, counts, pairs = 20_000, np.zeros(n), 0
    for key in range(runs):
        chosen = np.empty(2, np.int64)
        host.subset(np.uint64(key * 0x9E3779B97F4A7C15 % 2**64), 0, n, chosen)
        counts[chosen] += 1
        pairs += abs(chosen[0] - chosen[1]) in (1, n - 1)
    assert (abs(counts - 2 * runs / n) < 5 * (2 * runs / n) ** 0.5 + 1e-9).all()
    expected = runs * min(1.0, 2 / (n - 1))
    assert abs(pairs - expected) < 5 * expected**0.5 + 0.2 * expected * (n < 8)


@given(st.integers(1, 6), st.integers(1, 30), seeds)
def test_permuted_shares_cover_every_coordinate_once(workers, d, seed):
    compressor, x, total = find("permk").among(workers), np.arange(1.0, d + 1), np.zeros(d)
    for worker in range(workers):
        key = stream(seed, worker, workers)
        one = sent(compressor, x, key)
        assert set(one / x) <= {0.0, float(workers)}
        compressor.add(compressor.encode(x, key), total, key, 1 / workers)
    np.testing.assert_allclose(total, x, rtol=1e-12)


@given(vectors, st.integers(1, 12), seeds)
def test_buckets_are_compressed_by_themselves(x, bucket, seed):
    for name in ("scaled_sign", "two_means"):
        whole = sent(find(f"{name}:{bucket}"), x, stream(seed))
        cuts = [(i, min(i + bucket, x.size)) for i in range(0, x.size, bucket)]
        parts = [sent(find(name), x[a:b].copy(), stream(seed)) for a, b in cuts]
        np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-6)


@given(st.integers(0, 9), st.integers(1, 5), seeds)
def test_the_hadamard_transform_is_its_own_inverse_and_orthogonal(log, columns, seed):
    a = np.random.default_rng(seed).standard_normal((1 << log, columns))
    b = a.copy()
    host.hadamard(b)
    np.testing.assert_allclose((b * b).sum(axis=0), (a * a).sum(axis=0))
    host.hadamard(b)
    np.testing.assert_allclose(b, a, atol=1e-12)
    if log:
        one, two = np.eye(1 << log), np.ones((1, 1))
        for _ in range(log):
            two = np.kron([[1, 1], [1, -1]], two)
        host.hadamard(one)
        np.testing.assert_allclose(one, two / 2 ** (log / 2), atol=1e-12)


@pytest.mark.parametrize("frame", [RandomHadamard(24, 64, 5), Orthogonal(24, 48), RandomHadamard(8, 8, 1)])
def test_frames_are_tight_and_coefficients_make_the_vector(frame):
    n = 8 if frame.big == 8 else 24
    u = frame.synthesise(np.eye(frame.big))
    np.testing.assert_allclose(u @ u.T, np.eye(n), atol=1e-12)
    x = np.random.default_rng(1).standard_normal((n, 3))
    np.testing.assert_allclose(frame.analyse(x), u.T @ x, atol=1e-12)
    for rounds in (0, 1, 20):
        np.testing.assert_allclose(u @ democratic(frame, x, 0.7, 0.5, rounds), x, atol=1e-12)


SHAPES = [(9, 8), (6,), (4, 3, 2, 2), (1,), (3, 1), (2, 2)]


def blocks():
    return tuple(Block(f"b{i}", shape) for i, shape in enumerate(SHAPES))


@given(st.integers(1, 3), seeds, st.integers(1, 4), kinds)
def test_low_rank_messages_are_linear_and_project(rank, seed, workers, kind):
    plan, rng = PowerSgd(rank).on(blocks()), np.random.default_rng(seed)
    xs = [rng.standard_normal(plan.dim).astype(kind) for _ in range(workers)]
    mean = sum(xs) / kind(workers)
    start, tol = plan.start(kind, Streams(seed)("start")), 1e-4 if kind is np.float32 else 1e-10
    left = sum(plan.left(x, start) for x in xs) / kind(workers)
    np.testing.assert_allclose(left, plan.left(mean, start), atol=tol)
    plan.orthogonalise(left)
    right = sum(plan.right(x, left) for x in xs) / kind(workers)
    np.testing.assert_allclose(right, plan.right(mean, left), atol=tol)
    found = plan.decode(left, right)
    assert left.nbytes + right.nbytes == plan.nbytes(kind) and found.dtype == kind
    for a, b, part in zip(split(found, blocks()), split(mean, blocks()), plan.parts, strict=True):
        if part.rank:
            a, b = a.reshape(part.rows, -1), b.reshape(part.rows, -1)
            assert np.linalg.matrix_rank(a, tol=1e-3) <= rank
            assert np.linalg.norm(b - a) <= np.linalg.norm(b) * (1 + tol)
            assert abs(((b - a) * a).sum()) <= 100 * tol
        else:
            np.testing.assert_array_equal(a, b)
    total = np.zeros_like(mean)
    plan.add(left, right, total, 0.5)
    np.testing.assert_allclose(total, found / 2, atol=tol)


@given(seeds, st.integers(1, 2))
def test_matrices_of_low_rank_are_sent_whole_and_zeros_recover(seed, rank):
    plan, rng = PowerSgd(rank).on([Block("m", (9, 8))]), np.random.default_rng(seed)
    x = (rng.standard_normal((9, rank)) @ rng.standard_normal((rank, 8))).ravel()
    right = plan.start(float, Streams(seed)("start"))
    for m in (x, np.zeros_like(x), x, x):
        left = plan.left(m, right)
        plan.orthogonalise(left)
        p = left.reshape(9, rank)
        np.testing.assert_allclose(p.T @ p, np.eye(rank), atol=1e-10)
        right = plan.right(m, left)
    np.testing.assert_allclose(plan.decode(left, right), x, atol=1e-8 * (1 + abs(x).max()))


@given(vectors, seeds)
def test_composition_is_the_second_on_what_the_first_keeps(x, seed):
    for one, two in (("topk:0.4", "natural"), ("randk:0.5", "qsgd:5"), ("topk:0.5", "scaled_sign")):
        first, second, key = find(one), find(two), stream(seed)
        kept, beside = first.reduce(x, key.part(0))
        inner, y = sent(second, kept, key.part(1)), np.zeros_like(x)
        first.expand(inner, beside, y, key.part(0), 1.0)
        np.testing.assert_allclose(sent(Then(first, second), x, key), y, rtol=1e-6)


BLOCKS = (Block("a", (5, 4)), Block("none", (0, 3)), Block("b", (3,)), Block("c", (2, 3, 2)))


@given(
    st.sampled_from(["topk:0.3", "chunk_topk:k=2,chunk=8+bins", "qsgd:4", "scaled_sign", "randk:0.4,shared=yes"]), seeds, kinds
)
def test_blocks_are_compressed_each_by_itself(text, seed, kind):
    inner, whole, key = find(text), find(f"blocks:{text}").on(BLOCKS), stream(seed)
    x = np.random.default_rng(seed).standard_normal(35).astype(kind)
    parts = [sent(inner, part.ravel().copy(), key.part(i)) for i, part in enumerate(np.split(x, [20, 23]))]
    np.testing.assert_array_equal(sent(whole, x, key), np.concatenate(parts))
    assert whole.nbytes(35, kind) == sum(inner.nbytes(d, kind) for d in (20, 3, 12))
    np.testing.assert_array_equal(sent(whole, np.tile(x, 2), key)[:35], np.concatenate(parts))  # two vectors of the model
    with pytest.raises(UsageError, match=r"a vector of 36 numbers .* the model's blocks make up 35: leave `per_block` out"):
        whole.encode(np.ones(36), key)
    with pytest.raises(CapabilityError, match="nobody knows of blocks: leave `per_block` out"):
        find(f"blocks:{text}").encode(x, key)


def test_constants_of_blocks_are_the_worst():
    assert find("blocks:topk:0.3").on(BLOCKS).delta(35) == min(6 / 20, 1 / 3, 4 / 12)
    assert find("blocks:randk:0.3").on(BLOCKS).omega(35) == max(20 / 6, 3 / 1, 12 / 4) - 1
    assert find("shrunk:blocks:qsgd:3") == find("blocks:shrunk:qsgd:3")


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 40), seeds)
def test_the_largest_of_every_chunk_are_kept(k, chunk, d, seed):
    if k > chunk:
        return
    x = np.random.default_rng(seed).standard_normal(d)
    y = sent(find(f"chunk_topk:k={k},chunk={chunk}"), x, stream(seed))
    for at in range(0, d, chunk):
        part = x[at : at + chunk]
        n = k if part.size == chunk else max(1, round(k * part.size / chunk))
        np.testing.assert_array_equal(np.flatnonzero(y[at : at + chunk]), np.sort(np.argsort(-abs(part))[:n]))


@given(vectors, seeds, st.integers(1, 5))
def test_bins_decode_to_the_means_of_what_fell_into_them(x, seed, bits):
    y, wide = sent(find(f"bins:{bits}"), x, stream(seed)).astype(np.float64), x.astype(np.float64)
    scale = max(abs(wide).max(), 1e-30) * (1e-6 if x.dtype == np.float32 else 1e-12)
    for value in np.unique(y):
        assert abs(wide[y == value].mean() - value) <= scale
    assert squares(y) <= squares(wide) + scale * x.size * abs(wide).max() and len(np.unique(y)) <= 1 << bits


def test_streams_differ_in_every_part_of_their_name():
    names = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]
    made = [Stream.of(Streams(seed), what, when, who, 4) for seed, what, when, who in names]
    assert len({key.own for key in made}) == 5 and made[0].shared == made[4].shared
    assert len({key.shared for key in made[:4]}) == 4
    keys = [made[0], made[0].part(0), made[0].part(1), made[0].part(0).part(0)]
    assert all(a != b for a, b in pairwise(sorted(key.own for key in keys)))
    assert all(a != b for a, b in pairwise(sorted(key.shared for key in keys)))


def test_every_compressor_is_under_these_laws():
    assert {text.partition(":")[0] for text in TEXTS} >= set(CATALOGUE) - {"powersgd"}
