"""Compressors by name, their refusals, and the cases that laws do not reach."""

import numpy as np
import pytest

from mpiopt.compress.catalogue import CATALOGUE, find
from mpiopt.compress.compressor import Stream
from mpiopt.compress.halves import Bf16, Fp16
from mpiopt.compress.kashin import Kashin
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.compress.natural import Natural, NaturalDithering
from mpiopt.compress.quantise import Qsgd, TernGrad
from mpiopt.compress.sampled import PermK, RandK, RandomBlock
from mpiopt.compress.signs import ScaledSign, Sign, TwoMeans
from mpiopt.compress.sketch import CountSketch
from mpiopt.compress.sparse import Identity, TopK
from mpiopt.compress.then import Shrunk, Then
from mpiopt.errors import DataError, NumericalError, UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.problems.model import Block

KEY = Stream.of(Streams(0), "test")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("identity", Identity()),
        (" fp16 ", Fp16()),
        ("bf16", Bf16()),
        ("topk", TopK()),
        ("topk:0.01", TopK(fraction=0.01)),
        ("topk:100", TopK(k=100)),
        ("topk:1.0", TopK(fraction=1.0)),
        ("topk:k=100", TopK(k=100)),
        ("topk:fraction=1", TopK(fraction=1.0)),
        ("randk:0.1, shared=yes", RandK(fraction=0.1, shared=True)),
        ("randk:k=5,scaled=no", RandK(k=5, scaled=False)),
        ("block:0.1", RandomBlock(fraction=0.1)),
        ("permk:4", PermK(workers=4)),
        ("sign", Sign()),
        ("scaled_sign:512", ScaledSign(bucket=512)),
        ("two_means", TwoMeans()),
        ("qsgd:bits=4", Qsgd(bits=4)),
        ("qsgd:4,norm=inf", Qsgd(bits=4, norm="inf")),
        ("qsgd:levels=5,bucket=64", Qsgd(levels=5, bucket=64)),
        ("terngrad", TernGrad()),
        ("natural", Natural()),
        ("natural_dithering:3", NaturalDithering(levels=3)),
        ("sketch:0.05,rows=3", CountSketch(fraction=0.05, rows=3)),
        ("kashin:bits=2,frame=orthogonal,bucket=128", Kashin(bits=2, frame="orthogonal", bucket=128)),
        ("powersgd:rank=2", PowerSgd(rank=2)),
        ("topk:0.01+natural", Then(TopK(fraction=0.01), Natural())),
        ("then:topk:0.01+qsgd:4", Then(TopK(fraction=0.01), Qsgd(bits=4))),
        ("topk:9+topk:5+sign", Then(TopK(k=9), Then(TopK(k=5), Sign()))),
        ("shrunk:qsgd:4", Shrunk(Qsgd(bits=4))),
        ("shrunk:randk:0.1+natural", Shrunk(Then(RandK(fraction=0.1), Natural()))),
    ],
)
def test_a_text_says_which_compressor_is_meant(text, made):
    assert find(text) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("topkk:0.01", "there is no compressor 'topkk': choose one of identity, fp16, bf16, topk, .*; shrunk:ONE"),
        ("", "there is no compressor ''"),
        ("topk:0", "k is 0: give at least 1"),
        ("topk:0.0", "the fraction kept is 0.0: give one above 0, up to 1"),
        ("topk:1.5", "the fraction kept is 1.5"),
        ("topk:nan", "the fraction kept is nan"),
        ("topk:0.1,k=5", "k is 5: give a fraction or k, not both"),
        ("topk:k=ten", "k of topk is 'ten': give a whole number"),
        ("topk:many", "fraction of topk is 'many': give a number"),
        ("topk:0.1,0.2", "topk takes fraction, k; got '0.2': leave that out"),
        ("topk:size=3", "topk takes fraction, k; got 'size=3'"),
        ("sign:3", "sign takes no parameters; got '3'"),
        ("randk:shared=maybe", "shared of randk is 'maybe': give yes or no"),
        ("qsgd:bits=1", "bits is 1: give a number from 2 to 16, sign included"),
        ("qsgd:bits=17", "bits is 17"),
        ("qsgd:bits=4,levels=3", "levels is 3: give bits or levels, not both"),
        ("qsgd:levels=0", "levels is 0"),
        ("qsgd:norm=1", "the norm is '1': give 2 or inf"),
        ("scaled_sign:-3", "the length of a bucket is -3"),
        ("natural:bucket=5", "the bucket of natural is 5: give none"),
        ("natural_dithering:0", "levels is 0"),
        ("kashin:0", "bits is 0: give a number from 1 to 16"),
        ("kashin:frame=fourier", "the frame is 'fourier': give hadamard or orthogonal"),
        ("kashin:redundancy=1", "the redundancy is 1.0"),
        ("kashin:eta=1", "eta is 1.0"),
        ("kashin:support=0", "support is 0.0"),
        ("sketch:rows=0", "rows is 0"),
        ("sketch:0.1,columns=5", "columns is 5: give a fraction or columns, not both"),
        ("sketch:columns=0", "columns is 0: give a number from 1"),
        ("sketch:2.0", "the fraction sent is 2.0"),
        ("sketch:rows=4,estimate=median", "rows is 4: give an odd number for a median"),
        ("sketch:estimate=mode", "the estimate is 'mode'"),
        ("permk:-1", "the number of workers is -1"),
        ("powersgd:0", "the rank is 0: give at least 1"),
        ("qsgd:4+topk:0.1", "Qsgd cannot stand before another compressor"),
        ("then:topk:0.1", "names one stage: join two with \\+"),
        ("topk:0.1+powersgd:1", "combines powersgd with another"),
        ("shrunk:topk:0.1", "the compressor to be shrunk is TopK.*: give an unbiased one"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(text, says):
    with pytest.raises(UsageError, match=says):
        find(text)


@pytest.mark.parametrize(
    ("text", "d", "says"),
    [
        ("topk:100", 50, "k is 100: give at most the 50 coordinates that there are"),
        ("randk:k=51", 50, "k is 51"),
        ("block:k=51", 50, "k is 51"),
        ("sketch:keep=51", 50, "keep is 51"),
        ("permk", 50, "the number of workers of permk is 0: give it, as in permk:workers=4"),
        ("kashin:frame=orthogonal,bucket=0", 5000, "the bucket of an orthogonal frame is 5000: give one of 4096 coefficients"),
    ],
)
def test_what_does_not_fit_the_vector_is_refused(text, d, says):
    compressor = find(text)
    for act in (lambda: compressor.nbytes(d), lambda: compressor.encode(np.ones(d), KEY)):
        with pytest.raises(UsageError, match=says):
            act()


@pytest.mark.parametrize("x", [np.ones((2, 3)), np.ones(4, int), np.ones(8)[::2], np.ones(0), np.ones(3, np.float16)])
@pytest.mark.parametrize("text", ["identity", "topk", "qsgd", "natural", "scaled_sign", "kashin", "fp16"])
def test_only_flat_vectors_are_compressed(text, x):
    with pytest.raises(UsageError, match=r"was given to a compressor: give a flat contiguous vector"):
        find(text).encode(x, KEY)


def test_the_number_of_workers_is_told_once():
    assert find("permk").among(3) == find("permk:3").among(3) == PermK(3)
    assert find("topk:0.5+permk").among(2) == Then(TopK(fraction=0.5), PermK(2))
    assert find("shrunk:permk").among(2) == Shrunk(PermK(2))
    assert find("qsgd").among(7) == find("qsgd")
    with pytest.raises(UsageError, match="the number of workers of permk is 4: give 3, or leave it out"):
        find("permk:4").among(3)
    with pytest.raises(UsageError, match="the number of workers of permk is 4: give 3"):
        find("permk:4").encode(np.ones(8), Stream(1, 2, 0, 3))


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_the_catalogue_knows_its_compressors(entry):
    assert entry.summary and entry.paper
    assert entry.make() == entry.build()
    assert entry.first in (*entry.parameters, "")


@pytest.mark.parametrize(
    ("text", "d", "wanted"),
    [
        ("identity", 1000, 4000),
        ("fp16", 1000, 2004),
        ("topk:10", 1024, 40 + 13),  # 10 x 10 bits
        ("topk:10", 1025, 40 + 14),  # 10 x 11 bits
        ("topk:1", 1, 4 + 1),
        ("randk:k=10", 1000, 40),
        ("sign", 1001, 126),
        ("scaled_sign", 1001, 130),
        ("scaled_sign:100", 1001, 44 + 126),
        ("two_means", 1001, 134),
        ("qsgd:4", 1001, 4 + 501),
        ("qsgd:levels=4", 8, 4 + 4),  # 0 .. 4 and a sign: 4 bits
        ("qsgd:levels=3", 8, 4 + 3),
        ("terngrad", 1001, 4 + 201),
        ("natural", 1000, 1125),
        ("natural_dithering:8", 1000, 4 + 625),  # 0 .. 8 and a sign: 5 bits
        ("kashin:bits=1,bucket=0", 256, 4 + 64),  # 512 coefficients
        ("kashin:bits=2,bucket=128", 300, 12 + 2 * 64 + 32),  # 256, 256 and, for 44 coordinates, 128
        ("sketch:columns=20,rows=3", 1000, 240),
        ("permk:3", 1000, 4 * 334),
        ("topk:10+natural", 1024, 12 + 13),
    ],
)
def test_bytes_by_hand(text, d, wanted):
    key = Stream.of(Streams(0), "test", workers=3 if "permk" in text else 1)
    assert find(text).nbytes(d) == wanted == find(text).encode(np.ones(d, np.float32), key).nbytes


def test_one_percent_is_fifty_times_shorter_than_float32():
    d = 1_199_882
    assert 4 * d / find("topk:0.01").nbytes(d) > 60
    assert 4 * d / find("scaled_sign").nbytes(d) > 31.9


def test_values_beyond_the_range_of_a_code_are_refused():
    with pytest.raises(NumericalError, match=r"magnitude 1e\+40, and natural compression ends at 2\^127"):
        find("natural").encode(np.array([1e40]), KEY)
    with pytest.raises(NumericalError, match=r"is 4\.81e\+38, which float32 cannot hold"):
        find("qsgd").encode(np.full(2, 3.4e38, np.float32), KEY)
    top = np.array([2.0**127, -(2.0**-126)])
    np.testing.assert_array_equal(find("natural").decode(find("natural").encode(top, KEY), top, KEY), top)


def test_halves_keep_small_numbers_and_large_ones():
    for scale in (1e-30, 1.0, 1e30):
        x = np.array([1.0, 0.1, -1e-3, 0.0], np.float32) * np.float32(scale)
        for text, relative in (("fp16", 2.0**-11), ("bf16", 2.0**-8)):
            y = find(text).decode(find(text).encode(x, KEY), x, KEY)
            assert (abs(y - x) <= abs(x) * relative).all()


def test_a_shrunk_compressor_needs_a_constant():
    with pytest.raises(UsageError, match="has no constant omega to be shrunk by"):
        find("shrunk:sketch:estimate=median").encode(np.ones(20), KEY)


def test_random_sets_are_shared_or_not():
    x, sets = np.arange(1.0, 101), {}
    for text in ("randk:0.1,shared=yes", "randk:0.1", "block:0.1"):
        keys = [Stream.of(Streams(0), "test", 0, worker, 4) for worker in range(4)]
        found = [find(text).decode(find(text).encode(x, key), x, key) for key in keys]
        sets[text] = len({tuple(np.flatnonzero(y)) for y in found})
    assert sets == {"randk:0.1,shared=yes": 1, "randk:0.1": 4, "block:0.1": 1}


def test_a_block_runs_around_the_end():
    starts = set()
    for seed in range(200):
        key = Stream.of(Streams(seed), "test")
        kept = np.flatnonzero(find("block:k=3").decode(find("block:k=3").encode(np.ones(7), key), np.ones(7), key))
        assert len(kept) == 3 and ((np.diff(kept) == 1).sum() == 2 or {0, 6} <= set(kept))
        starts.add(tuple(kept))
    assert len(starts) == 7


def test_a_sketch_finds_the_largest_and_drops_the_rest():
    x = np.random.default_rng(0).standard_normal(2000) * 0.01
    x[[5, 70, 1999]] = [10.0, -8.0, 6.0]
    sketch = find("sketch:rows=5,columns=400,estimate=median,keep=3")
    y = sketch.decode(sketch.encode(x, KEY), x, KEY)
    assert list(np.flatnonzero(y)) == [5, 70, 1999]
    np.testing.assert_allclose(y[[5, 70, 1999]], x[[5, 70, 1999]], atol=0.3)


def test_powersgd_refuses_models_and_vectors_that_do_not_fit():
    with pytest.raises(
        UsageError, match=r"powersgd of rank 3 finds no matrix to compress among the blocks a \(5,\), b \(4, 4\)"
    ):
        PowerSgd(3).on([Block("a", (5,)), Block("b", (4, 4))])
    plan = PowerSgd(1).on([Block("a", (5,)), Block("b", (4, 4))])
    assert (plan.dim, plan.left_size, plan.right_size, plan.nbytes()) == (21, 9, 4, 52)
    with pytest.raises(DataError, match="20 numbers came where powersgd expects 21: do all ranks hold the same model"):
        plan.left(np.ones(20), np.ones(4))
    with pytest.raises(NumericalError, match="not finite"):
        plan.left(np.full(21, np.nan), np.ones(4))
