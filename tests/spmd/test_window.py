"""One-sided windows and groups of ranks: what is added is never lost, nobody waits for anybody, all is given back."""

from time import sleep

import numpy as np
import pytest

from mpiopt.errors import UsageError

SIZES = pytest.mark.ranks(1, 2, 3)
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])


def own(world, length: int, dtype) -> np.ndarray:
    """Whole numbers that differ from rank to rank: their sums are exact."""
    return np.random.default_rng(world.rank).integers(-9, 10, length).astype(dtype)


def everybody(world, x: np.ndarray) -> np.ndarray:
    """The sum of all ranks' arrays."""
    return np.sum(world.tell_all(x), axis=0, dtype=x.dtype)


# ---------------------------------------------------------------------------------------------- windows
@SIZES
@TYPES
@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_what_is_put_is_read_everywhere(world, length, dtype):
    window = world.window("w", length, np.dtype(dtype))
    np.testing.assert_array_equal(window.get(), np.zeros(length, dtype))
    world.barrier()
    x = np.arange(length).astype(dtype) - 3
    window.put(x)
    world.barrier()
    found, into = window.get(), np.empty(length, dtype)
    assert found.dtype == dtype and window.get(into) is into
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(into, x)


@SIZES
@TYPES
@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_concurrent_additions_lose_nothing(world, length, dtype):
    window, x, times = world.window("w", length, np.dtype(dtype)), own(world, length, dtype), 50
    for _ in range(times):
        window.add(x)
    world.barrier()
    np.testing.assert_array_equal(window.get(), times * everybody(world, x))


@SIZES
@TYPES
def test_every_number_that_is_drawn_is_drawn_once(world, ranks, dtype):
    length, times = 4, 100
    window = world.window("w", length, np.dtype(dtype))
    drawn = [window.fetch_and_add(1, length - 1) for _ in range(times)]
    assert drawn == sorted(drawn) and isinstance(drawn[0], int if dtype is np.int64 else float)
    assert sorted(number for many in world.tell_all(drawn) for number in many) == list(range(times * ranks))
    np.testing.assert_array_equal(window.get(), [0, 0, 0, times * ranks])


@SIZES
def test_fractions_are_fetched_whole(world):
    window = world.window("w", 1, np.dtype(float))
    window.fetch_and_add(0.25)
    world.barrier()
    assert window.fetch_and_add(0) == 0.25 * world.size


@SIZES
def test_additions_to_many_numbers_while_others_read(world):
    """A reader may see a part of an addition, but each number only ever grows."""
    window, before = world.window("w", 501, np.dtype(np.float32)), np.zeros(501, np.float32)
    for _ in range(40):
        window.add(np.ones(501, np.float32))
        now = window.get()
        assert (now >= before + 1).all()
        before = now
    world.barrier()
    np.testing.assert_array_equal(window.get(), np.full(501, 40 * world.size))


@pytest.mark.ranks(2, 3)
@TYPES
def test_a_rank_that_is_busy_elsewhere_keeps_nobody_waiting(world, shared_tmp, dtype):
    """Rank 0, which holds the first slice, is outside MPI until all the others have done what they wanted."""
    window, times = world.window("w", 1000, np.dtype(dtype)), 20
    world.barrier()
    if world.rank == 0:
        while len(list(shared_tmp.iterdir())) < world.size - 1:
            sleep(1e-3)
    else:
        for _ in range(times):
            window.add(np.ones(1000, dtype))
            window.get()
            window.fetch_and_add(0)
        (shared_tmp / str(world.rank)).touch()
    world.barrier()
    np.testing.assert_array_equal(window.get(), np.full(1000, times * (world.size - 1)))


@SIZES
def test_a_window_is_made_once_and_anew_for_another_shape(world):
    first = world.window("w", 3, np.dtype(float))
    first.add(np.ones(3))
    world.barrier()
    assert world.window("w", 3, np.dtype(float)) is first and world.window("v", 3, np.dtype(float)) is not first
    for length, dtype in ((5, np.float64), (5, np.int64)):
        again = world.window("w", length, np.dtype(dtype))
        assert again is not first
        np.testing.assert_array_equal(again.get(), np.zeros(length, dtype))


@SIZES
def test_windows_are_tallied_and_counters_are_no_vectors(world):
    floats, counts = world.window("x", 10, np.dtype(np.float32)), world.window("n", 10, np.dtype(np.int64))
    before = world.tally.bytes, world.tally.messages, world.tally.vector_rounds
    floats.add(np.ones(10, np.float32))
    floats.get()
    counts.get()
    counts.fetch_and_add(1, 9)
    spent = np.subtract((world.tally.bytes, world.tally.messages, world.tally.vector_rounds), before)
    assert spent.tolist() == [40 + 40 + 80 + 8, 4, 2]


@pytest.mark.ranks(2)
def test_windows_and_groups_are_given_back_with_their_world(world, worlds, comm, monkeypatch):
    from mpiopt.comm.world import World

    inner, freed = World(comm), []
    windows = [inner.window("a", 3, np.dtype(float)), inner.group(2).window("b", 1, np.dtype(float))]
    for window in windows:
        monkeypatch.setattr(window, "free", lambda window=window, free=window.free: (freed.append(window), free()))
    inner.free()
    assert freed == windows
    fresh = worlds().window("a", 3, np.dtype(float))  # a new one works, and knows nothing of the old
    np.testing.assert_array_equal(fresh.get(), np.zeros(3))


# ---------------------------------------------------------------------------------------------- groups
@SIZES
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_groups_are_of_neighbours_and_keep_their_workers(worlds, ranks, extra):
    world = worlds(workers=ranks + extra)
    for groups in range(1, ranks + 1):
        part = world.group(groups)
        told = world.tell_all((part.tell_all(world.rank), [list(w) for w in part.tell_all(world.hosted)]))
        blocks = [members for members, _ in told]
        assert sorted({tuple(block) for block in blocks}) == sorted({tuple(block) for block in blocks}, key=min)
        assert [r for block in dict.fromkeys(map(tuple, blocks)) for r in block] == list(range(ranks))
        assert len(set(map(tuple, blocks))) == groups
        assert part.workers == sum(map(len, told[world.rank][1])) and len(part.hosted) == len(world.hosted)
        ours = [w for hosted in told[world.rank][1] for w in hosted]
        assert [ours[w] for w in part.hosted] == list(world.hosted)
        total = part.total([np.array([float(w)]) for w in world.hosted])
        assert total[0] == sum(ours)


@SIZES
def test_all_ranks_of_a_node_are_a_group(world, ranks):
    part = world.group(None)
    assert (part.size, part.rank) == (ranks, world.rank)  # the tests run on one machine
    assert world.group(None) is part and world.group(1) is not part


@SIZES
def test_what_a_group_sends_counts_for_the_whole(world):
    part = world.group(1)
    before = world.tally.bytes
    part.sum([np.ones(8)])
    assert world.tally.bytes - before == 64


@SIZES
@pytest.mark.parametrize("wrong", [0, -1, 4])
def test_impossible_numbers_of_groups_are_refused(world, ranks, wrong):
    with pytest.raises(UsageError, match=f"{wrong} groups of {ranks} ranks? cannot be made: give a number from 1 to {ranks}"):
        world.group(wrong)


@pytest.mark.ranks(2, 3)
def test_a_group_keeps_the_order_of_sums(worlds):
    world = worlds(workers=7, deterministic=True)
    part = world.group(1)
    parts = [np.array([10.0 ** (w % 5), 1e-3 * w]) / 3 for w in world.hosted]
    np.testing.assert_array_equal(part.sum(parts), world.sum(parts))
