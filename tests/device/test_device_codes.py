"""Compressors of vectors on the GPU: their payloads are those of the CPU, byte for byte, and so is what they decode to."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.errors import DataError, NumericalError
from mpiopt.kernels import host
from mpiopt.kernels.device import codes as device_codes
from mpiopt.kernels.host import codes as host_codes
from mpiopt.numerics.streams import Streams
from tests.device import standin

few = settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**63)
kinds = st.sampled_from(["f8", "f4"])

ABOARD = [
    "identity",
    "topk:0.2",
    "topk:1.0",
    "randk:0.3",
    "randk:0.3,shared=yes",
    "randk:0.3,scaled=no",
    "block:0.4",
    "block:0.4,shared=no",
    "permk:3",
    "sign",
    "scaled_sign",
    "scaled_sign:50",
    "two_means",
    "two_means:70",
    "qsgd",
    "qsgd:2",
    "qsgd:9",
    "qsgd:levels=5,bucket=60",
    "qsgd:bits=3,norm=inf",
    "terngrad",
    "terngrad:90",
    "natural",
    "natural_dithering",
    "natural_dithering:3,norm=inf",
    "natural_dithering:levels=300,bucket=80",
    "topk:0.4+natural",
    "randk:0.5+qsgd:8",
    "topk:0.5+topk:0.5+fp16",
    "randk:0.5,shared=yes+sketch:columns=30,rows=2",
    "shrunk:qsgd:3",
    "shrunk:randk:0.2+natural",
]
THROUGH_THE_CPU = [
    "fp16",
    "bf16",
    "kashin:2,bucket=100",
    "kashin:1,frame=orthogonal,bucket=24",
    "sketch:0.5",
    "sketch:columns=40,rows=3,estimate=median",
    "sketch:0.9,rows=3,keep=9",
    "sketch:0.5+qsgd",
]


def stream(seed, worker=0, workers=3):
    return Stream.of(Streams(seed), "test", 1, worker, workers)


def vector(seed, n, kind):
    """Whole numbers: sums of them and of their squares are exact in whatever order they are added."""
    return np.random.default_rng(seed).integers(-60, 60, n).astype(kind)


def test_which_have_kernels_on_the_card():
    assert all(find(text).gpu for text in ABOARD) and not any(find(text).gpu for text in THROUGH_THE_CPU)


@pytest.mark.parametrize("text", ABOARD + THROUGH_THE_CPU)
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_payloads_and_what_they_mean_are_the_cpus(xp, text, kind):
    compressor, key = find(text), stream(7, worker=1)
    x = vector(3, 1501, kind)
    there, payload = xp.asarray(x), compressor.encode(x, key)
    found = compressor.encode(there, key)
    assert isinstance(found, np.ndarray) and found.dtype == payload.dtype and np.array_equal(found, payload)
    y, back = compressor.decode(payload, x, key), compressor.decode(found, there, key)
    assert isinstance(back, xp.ndarray) and back.dtype == x.dtype and np.array_equal(back.get(), y)
    total, total_there = np.cos(x), xp.asarray(np.cos(x))
    compressor.add(payload, total, key, 0.3)
    compressor.add(found, total_there, key, 0.3)
    tolerance = 0 if compressor.gpu and "+" not in text else 1e-6 if kind == "f4" else 1e-15
    np.testing.assert_allclose(total_there.get(), total, rtol=tolerance, atol=tolerance * abs(y).max())
    assert np.array_equal(there.get(), x)


@few
@given(
    seeds,
    st.integers(1, 3000),
    kinds,
    st.sampled_from(
        [
            "qsgd:norm=inf",
            "qsgd:bits=11,norm=inf,bucket=37",
            "terngrad:13",
            "natural",
            "natural_dithering:norm=inf",
            "topk:0.1",
            "randk:0.2",
            "permk:3",
            "sign",
        ]
    ),
)
def test_payloads_without_sums_are_the_cpus_for_any_numbers(xp, seed, n, kind, text):
    rng, compressor, key = np.random.default_rng(seed), find(text), stream(seed)
    x = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 20, n)).astype(kind)
    payload = compressor.encode(x, key)
    assert np.array_equal(compressor.encode(xp.asarray(x), key), payload)
    out = xp.zeros(n, kind)
    compressor.add(payload, out, key, -1.7)
    wanted = np.zeros(n, kind)
    compressor.add(payload, wanted, key, -1.7)
    assert np.array_equal(out.get(), wanted)


@few
@given(seeds, st.integers(1, 9000), st.integers(1, 9000), kinds)
def test_scales_of_buckets(xp, seed, n, bucket, kind):
    x = np.random.default_rng(seed).normal(size=n).astype(kind)
    there, bucket = xp.asarray(x), min(bucket, n)
    assert np.array_equal(device_codes.peaks(there, bucket), host_codes.peaks(x, bucket))
    for power in (host.MEAN, host.EUCLIDEAN):
        np.testing.assert_allclose(device_codes.measure(there, bucket, power), host_codes.measure(x, bucket, power), rtol=1e-13)
    np.testing.assert_allclose(device_codes.two_means(there, bucket), host_codes.two_means(x, bucket), rtol=1e-13)


@few
@given(seeds, st.integers(1, 2**40), st.integers(1, 400))
def test_subsets_are_the_cpus(xp, seed, n, count):
    count = min(count, n)
    for first in (0, n - count):
        ours, theirs = (home.subset(seed, first, count, n) for home in (device_codes, host_codes))
        assert np.array_equal(ours.get(), theirs)


def test_long_vectors_take_several_blocks_and_stretches(xp):
    x = np.random.default_rng(0).integers(-60, 60, 20_000).astype(np.float64)
    for text in ("scaled_sign", "qsgd:bits=5", "two_means:9000", "topk:0.05+natural"):
        assert np.array_equal(find(text).encode(xp.asarray(x), stream(1)), find(text).encode(x, stream(1)))


@pytest.mark.parametrize("text", ["scaled_sign", "two_means", "qsgd:4", "natural_dithering", "terngrad"])
@pytest.mark.parametrize("power", [-900, 900])
def test_size_does_not_matter(xp, text, power):
    x = np.ldexp(vector(5, 300, "f8"), power)
    assert np.array_equal(find(text).encode(xp.asarray(x), stream(1)), find(text).encode(x, stream(1)))


@pytest.mark.parametrize(
    "text", [text for text in ABOARD if ":" not in text] + ["topk:0.2", "permk:3", "shrunk:qsgd:3", "bf16"]
)
@pytest.mark.parametrize("broken", [np.nan, -np.inf])
def test_broken_vectors_are_refused(xp, text, broken):
    x = np.ones(300)
    x[277] = broken
    with pytest.raises(NumericalError, match="not finite"):
        find(text).encode(xp.asarray(x), stream(1))


@pytest.mark.parametrize("text", ["topk:0.1", "bf16"])
def test_payloads_of_another_length_are_refused(xp, text):
    x = xp.ones(50)
    payload = find(text).encode(x, stream(1))
    with pytest.raises(DataError, match="do all ranks compress alike"):
        find(text).decode(payload[:-1], x, stream(1))


@pytest.mark.parametrize("text", [text for text in ABOARD if text not in ("identity", "topk:1.0") and "sketch" not in text])
def test_only_what_is_sent_crosses(xp, monkeypatch, text):
    if xp.__version__ != "stand-in":
        pytest.skip("a real card does not tell")
    compressor, n, crossed = find(text), 6000, []
    x = xp.asarray(np.random.default_rng(0).normal(size=n))
    payload = compressor.encode(x, stream(1))
    get, placed = standin.ndarray.get, standin.ndarray.set
    monkeypatch.setattr(standin.ndarray, "get", lambda self, *a, **k: [crossed.append(self.nbytes), get(self, *a, **k)][1])
    monkeypatch.setattr(standin.ndarray, "set", lambda self, *a, **k: [crossed.append(self.nbytes), placed(self, *a, **k)][1])
    compressor.decode(compressor.encode(x, stream(1)), x, stream(1))
    largest = 8 * 2048 + 1  # the counts of a selection
    assert max(crossed) <= max(payload.nbytes, largest) < x.nbytes
