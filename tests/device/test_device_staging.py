"""Arrays of a GPU on their way through MPI."""

import numpy as np
import pytest

from mpiopt.comm import staging
from tests.device import standin


def test_what_is_on_the_host_stays(xp):
    x = np.arange(5.0)
    assert staging.brought(x) is x and staging.returned(x, x) is x and not staging.on_device(x)
    assert staging.on_device(xp.zeros(2))


def test_there_and_back(xp):
    for x in (np.arange(6.0), np.float32([1, 2]), np.zeros(0), np.arange(6).reshape(2, 3)):
        there = staging.brought(xp.asarray(x))
        assert isinstance(there, np.ndarray) and np.array_equal(there, x) and there.dtype == x.dtype
        there[...] = 7
        back = staging.returned(there, xp.asarray(x))
        assert isinstance(back, xp.ndarray) and np.array_equal(back.get(), there)


def test_the_card_is_waited_for(xp):
    if xp.__version__ != "stand-in":
        pytest.skip("a real stream does not tell")
    standin.synchronised.clear()
    staging.brought(xp.ones(3))
    assert standin.synchronised


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_sums_of_parts(xp, ordered, inplace):
    """Three workers here, and others elsewhere that add 100."""
    parts = [xp.asarray(np.full(4, float(k))) for k in (1, 2, 3)]
    seen = []

    def reduce(staged, into):
        seen.append(len(staged))
        total = sum(staged[1:], staged[0].copy()) + 100
        into[...] = total
        return into

    out = staging.reduced(reduce, parts, parts[0] if inplace else None, ordered=ordered, alone=False)
    assert np.array_equal(out.get(), np.full(4, 106.0)) and seen == [3 if ordered else 1]
    assert (out is parts[0]) is inplace
    assert all(
        np.array_equal(part.get(), np.full(4, float(k))) for k, part in zip((1, 2, 3), parts, strict=True) if k > inplace
    )


def test_alone_nothing_crosses(xp):
    parts = [xp.asarray(np.full(4, float(k))) for k in (1, 2)]
    out = staging.reduced(None, parts, None, ordered=False, alone=True)
    assert np.array_equal(out.get(), np.full(4, 3.0)) and np.array_equal(parts[0].get(), np.ones(4))
