"""World's verbs on 1, 2 and 3 ranks against the same computation done by every test process for itself."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mpiopt.comm import wire
from mpiopt.errors import CapabilityError, DataError, LaunchError, MpioptError, NumericalError, UsageError
from mpiopt.words import counted

SIZES = pytest.mark.ranks(1, 2, 3)
FEW = settings(max_examples=12)
SEEDS = st.integers(0, 2**32 - 1)


def vectors(workers: int, dim: int, seed: int = 0, dtype=float) -> np.ndarray:
    """(workers, dim) numbers of very different sizes, so that the order of a sum shows in its last bits."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((workers, dim)) * 10.0 ** rng.integers(-8, 8, (workers, dim))).astype(dtype)


def whole(workers: int, dim: int, seed: int = 0) -> np.ndarray:
    """(workers, dim) integers: their sums are exact in any order."""
    return np.random.default_rng(seed).integers(-1000, 1000, (workers, dim)).astype(float)


def in_worker_order(x: np.ndarray) -> np.ndarray:
    """The definition of a deterministic sum."""
    out = np.zeros(x.shape[1:], x.dtype)
    for row in x:
        out = out + row
    return out


# ---------------------------------------------------------------------------------------------- who is where
@SIZES
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_every_worker_has_one_host(worlds, ranks, extra):
    world = worlds(workers=ranks + extra)
    hosted = world.tell_all(list(world.hosted))
    assert [w for mine in hosted for w in mine] == list(range(world.workers))
    assert all(hosted)
    assert [world.host_of(w) for w in range(world.workers)] == [r for r, mine in enumerate(hosted) for _ in mine]


@SIZES
def test_one_worker_per_rank_unless_told(world):
    assert (world.workers, list(world.hosted)) == (world.size, [world.rank])


@pytest.mark.ranks(2, 3)
def test_fewer_workers_than_ranks_are_refused(worlds, ranks):
    share = rf"^{ranks} ranks cannot share {counted(ranks - 1, 'worker')}: .* give at least {ranks} workers "
    with pytest.raises(UsageError, match=share):
        worlds(workers=ranks - 1)


@SIZES
def test_another_rank_count_than_promised_is_refused(worlds, ranks):
    assert worlds(expected=ranks).size == ranks
    with pytest.raises(LaunchError, match=f"promised {ranks + 1} ranks, but MPI sees {ranks}"):
        worlds(expected=ranks + 1)


@SIZES
def test_two_worlds_do_not_hear_each_other(worlds):
    one, other = worlds(), worlds()
    right, left = (one.rank + 1) % one.size, (one.rank - 1) % one.size
    x = np.array([float(one.rank)])
    requests = [one._comm.Isend(x, right), other._comm.Isend(x + 100, right)]
    heard = np.empty(1), np.empty(1)
    other._comm.Recv(heard[1], left)
    one._comm.Recv(heard[0], left)
    one._mpi.Request.Waitall(requests)
    assert (heard[0][0], heard[1][0]) == (left, left + 100)


# ---------------------------------------------------------------------------------------------- sums
@SIZES
@FEW
@given(extra=st.integers(0, 5), dim=st.integers(0, 9), seed=SEEDS, deterministic=st.booleans())
def test_a_sum_is_over_all_workers(worlds, ranks, extra, dim, seed, deterministic):
    world = worlds(workers=ranks + extra, deterministic=deterministic)
    x = whole(world.workers, dim, seed)
    parts = [x[w] for w in world.hosted]
    before = [part.copy() for part in parts]
    assert_array_equal(world.sum(parts), x.sum(axis=0))
    assert_array_equal(world.total(parts), x.sum(axis=0))
    assert_array_equal(parts, before)


@SIZES
@FEW
@given(dim=st.integers(0, 9), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_a_deterministic_sum_is_the_fold_in_worker_order(worlds, dim, seed, dtype):
    world = worlds(workers=6, deterministic=True)
    x = vectors(6, dim, seed, dtype)
    out = world.sum([x[w] for w in world.hosted])
    assert out.dtype == dtype
    assert out.tobytes() == in_worker_order(x).tobytes()


@SIZES
@pytest.mark.parametrize("deterministic", [False, True])
def test_every_rank_has_the_same_bits(worlds, deterministic):
    world = worlds(workers=7, deterministic=deterministic)
    x = vectors(7, 1001)
    out = world.sum([x[w] for w in world.hosted])
    assert len(set(world.tell_all(out.tobytes()))) == 1


@SIZES
@pytest.mark.parametrize("deterministic", [False, True])
def test_shapes_and_layouts(worlds, ranks, deterministic):
    world = worlds(workers=ranks + 1, deterministic=deterministic)
    x = whole(world.workers, 12)
    matrices = [x[w].reshape(3, 4) for w in world.hosted]
    strided = [np.repeat(x[w], 2)[::2] for w in world.hosted]
    transposed = [np.asfortranarray(m) for m in matrices]
    assert_array_equal(world.sum(matrices), x.sum(axis=0).reshape(3, 4))
    assert_array_equal(world.sum(transposed), x.sum(axis=0).reshape(3, 4))
    assert_array_equal(world.sum(strided), x.sum(axis=0))
    assert_array_equal(world.sum([x[w, :1].reshape(()) for w in world.hosted]), x[:, 0].sum())


@SIZES
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_sum_can_be_put_somewhere(worlds, ranks, deterministic):
    world = worlds(workers=ranks + 2, deterministic=deterministic)
    x = whole(world.workers, 5)
    parts, out = [x[w].copy() for w in world.hosted], np.full(5, np.nan)
    assert world.sum(parts, out=out) is out
    assert_array_equal(out, x.sum(axis=0))
    assert world.sum(parts, out=parts[0]) is parts[0]
    assert_array_equal(parts[0], x.sum(axis=0))
    parts, out = [x[w] for w in world.hosted], np.full((5, 2), np.nan)
    assert_array_equal(world.sum(parts, out=out[:, 1]), x.sum(axis=0))
    assert_array_equal(out[:, 1], x.sum(axis=0))


@SIZES
def test_nan_and_infinity_reach_every_rank(world):
    x = np.array([np.nan if world.rank == world.size - 1 else 1.0, np.inf, 1.0])
    out = world.sum([x])
    assert np.isnan(out[0]) and out[1] == np.inf and out[2] == world.size


# ---------------------------------------------------------------------------------------------- moving arrays
@SIZES
@FEW
@given(seed=SEEDS, trailing=st.sampled_from([(), (2,), (0,)]), dtype=st.sampled_from([np.float64, np.int32, np.uint8]))
def test_gather_takes_any_lengths(world, seed, trailing, dtype):
    rng = np.random.default_rng(seed)
    parts = [rng.integers(0, 100, (n, *trailing)).astype(dtype) for n in rng.integers(0, 4, world.size)]
    for heard in (world.gather(parts[world.rank]), *(list(world.each(parts[world.rank], most=most)) for most in (0, 5, 20))):
        assert len(heard) == world.size
        for got, part in zip(heard, parts, strict=True):
            assert got.dtype == part.dtype and got.shape == part.shape
            assert_array_equal(got, part)


@SIZES
def test_few_blocks_are_held_at_a_time_and_bytes_count_once(world):
    before = world.tally.bytes, world.tally.messages
    blocks = world.each(np.zeros(10, np.uint8), most=25)
    assert next(blocks).size == 10 and world.tally.messages - before[1] == 1
    assert len(list(blocks)) == world.size - 1
    assert (world.tally.bytes - before[0], world.tally.messages - before[1]) == (10, 1 + (world.size > 2))


@given(sizes=st.lists(st.integers(0, 9), min_size=1), most=st.integers(0, 20))
def test_runs_of_ranks_are_as_long_as_they_may_be(sizes, most):
    found = wire.runs(np.array(sizes), most)
    assert [rank for run in found for rank in run] == list(range(len(sizes))) and all(found)
    totals = [sum(sizes[rank] for rank in run) for run in found]
    assert all(total <= most or len(run) == 1 for run, total in zip(found, totals, strict=True))
    assert all(total + sizes[after.start] > most for total, after in zip(totals, found[1:], strict=False))


@SIZES
@FEW
@given(seed=SEEDS, dtype=st.sampled_from([np.float64, np.int32, np.uint8]))
def test_alltoall_takes_any_lengths(world, seed, dtype):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, (world.size, world.size))
    parts = [[np.arange(n, dtype=dtype) + 10 * a + b for b, n in enumerate(row)] for a, row in enumerate(lengths)]
    heard = world.alltoall(parts[world.rank])
    assert len(heard) == world.size
    for source, got in enumerate(heard):
        assert got.dtype == dtype
        assert_array_equal(got, parts[source][world.rank])


@SIZES
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u1"])
def test_bcast_fills_from_any_root(world, dtype):
    for root in range(world.size):
        x = np.full((2, 3), world.rank, dtype)
        assert world.bcast(x, root) is x
        assert_array_equal(x, np.full((2, 3), root, dtype))


@SIZES
def test_bcast_fills_a_strided_array(world):
    x = np.full((3, 4), float(world.rank))
    for view in (x.T, x[:, ::2], x[1]):
        assert world.bcast(view, world.size - 1) is view
        assert (view == world.size - 1).all()
    assert (x[0, 1], x[2, 2]) == (world.size - 1, world.size - 1)


@SIZES
def test_bcast_of_nothing_and_of_one_number(world):
    assert world.bcast(np.empty(0)).size == 0
    assert world.bcast(np.array(float(world.rank)), world.size - 1) == world.size - 1


@SIZES
def test_small_objects_travel_at_set_up(world):
    assert world.tell({"root": world.rank}, world.size - 1) == {"root": world.size - 1}
    assert world.tell_all((world.rank, "x")) == [(r, "x") for r in range(world.size)]


@SIZES
def test_swap_on_a_ring(world):
    left, right = (world.rank - 1) % world.size, (world.rank + 1) % world.size
    x = np.array([[world.rank, 7.0]])
    neighbours = sorted({left, right} - {world.rank})
    heard = world.swap([x] * len(neighbours), neighbours)
    assert [y.tolist() for y in heard] == [[[n, 7.0]] for n in neighbours]
    assert_array_equal(x, [[world.rank, 7.0]])


@SIZES
def test_swap_sends_each_neighbour_its_own_rows(world):
    r, others = world.rank, [n for n in range(world.size) if n != world.rank]
    parts = [np.full((r + 2 * n, 3), 10.0 * r + n) for n in others]
    heard = world.swap(parts, others, [n + 2 * r for n in others])
    assert [y.tolist() for y in heard] == [[[10.0 * n + r] * 3] * (n + 2 * r) for n in others]


@SIZES
def test_swap_with_oneself_and_with_nobody(world):
    assert world.swap([], []) == []
    assert_array_equal(world.swap([np.full(2, world.rank)], [world.rank])[0], np.full(2, world.rank))


@SIZES
def test_swap_uses_what_it_was_given_even_if_strided(world):
    x = np.arange(6.0)[::2] + world.rank
    others = [r for r in range(world.size) if r != world.rank]
    for n, y in zip(others, world.swap([x] * len(others), others), strict=True):
        assert_array_equal(y, np.arange(6.0)[::2] + n)


@SIZES
@pytest.mark.parametrize("piece", [1, 8, 24, 50])
def test_messages_in_pieces_are_the_same_messages(worlds, ranks, monkeypatch, piece):
    monkeypatch.setattr(wire, "PIECE", piece)
    for deterministic in (False, True):
        world = worlds(workers=ranks + 1, deterministic=deterministic)
        x = whole(world.workers, 11)
        assert_array_equal(world.sum([x[w] for w in world.hosted]), x.sum(axis=0))
    r, others = world.rank, [n for n in range(ranks) if n != world.rank]
    gathered = world.gather(np.full((r + 2, 3), float(r)))
    assert [g.shape for g in gathered] == [(n + 2, 3) for n in range(ranks)]
    assert all((g == n).all() for n, g in enumerate(gathered))
    heard = world.alltoall([np.arange(10.0 * r + n) for n in range(ranks)])
    assert [len(part) for part in heard] == [10 * n + r for n in range(ranks)]
    assert all((part == np.arange(len(part))).all() for part in heard)
    assert (world.bcast(np.full((4, 5), float(r)), ranks - 1) == ranks - 1).all()
    assert [y.tolist() for y in world.swap([np.full(9, r)] * len(others), others)] == [[n] * 9 for n in others]


@SIZES
def test_gather_leaves_the_callers_array_alone(world, monkeypatch):
    for piece in (1 << 30, 8):
        monkeypatch.setattr(wire, "PIECE", piece)
        x = np.full(3, float(world.rank))
        for part in world.gather(x):
            part += 1
        assert_array_equal(x, np.full(3, float(world.rank)))


# ---------------------------------------------------------------------------------------------- agreements
@SIZES
@FEW
@given(dim=st.integers(0, 6), seed=SEEDS)
def test_extremes(world, dim, seed):
    x = vectors(world.size, dim, seed)
    low, high = world.extremes(x[world.rank])
    assert_array_equal(low, x.min(axis=0))
    assert_array_equal(high, x.max(axis=0))


@SIZES
def test_extremes_of_a_number_and_of_infinities(world):
    low, high = world.extremes(world.rank)
    assert (low.shape, float(low), float(high)) == ((), 0.0, world.size - 1.0)
    low, high = world.extremes(np.array([np.inf, -np.inf]))
    assert_array_equal(low, [np.inf, -np.inf])
    assert_array_equal(high, [np.inf, -np.inf])


@SIZES
def test_nan_on_any_one_rank_is_agreed_on_by_all(world):
    # MPI_MAX of NaN and a number depends on the order of the operands, and so on the rank
    for bad in range(world.size):
        x = np.array([np.nan if world.rank == bad else 1.0, 2.0])
        low, high = world.extremes(x)
        assert_array_equal(low, [-np.inf, 2.0])
        assert_array_equal(high, [np.inf, 2.0])


@SIZES
@FEW
@example(values=[np.nan] * 5)
@example(values=[np.nan, np.inf, np.nan, np.inf, 1.0])
@given(values=st.lists(st.sampled_from([1.0, 2.0, -1.0, np.inf, -np.inf, np.nan]), min_size=5, max_size=5))
def test_the_best_is_the_lowest_worker_with_the_smallest_value(worlds, values):
    world = worlds(workers=5)
    clean = np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    assert world.best([values[w] for w in world.hosted]) == int(np.argmin(clean))


@SIZES
def test_tallied_adds_bytes_and_takes_the_slowest(world):
    world.gather(np.zeros(world.rank, np.uint8))
    word = "" if world.rank < world.size - 2 else f"rank {world.rank}"
    sent, slowest, said = world.tallied(float(world.rank), word)
    assert sent == sum(range(world.size)) and slowest == world.size - 1
    assert said == f"rank {max(0, world.size - 2)}"


# ---------------------------------------------------------------------------------------------- groups
@SIZES
def test_split_groups_ranks_of_one_colour(world):
    part = world.split(world.rank % 2)
    mates = [r for r in range(world.size) if r % 2 == world.rank % 2]
    assert (part.size, mates[part.rank], part.workers) == (len(mates), world.rank, len(mates))
    assert part.sum([np.array([float(world.rank)])])[0] == sum(mates)
    assert part.tally.bytes > 0 and world.tally.bytes == 0
    part.free()


@SIZES
def test_by_node_holds_the_ranks_of_this_host(world):
    part = world.by_node()
    hosts = world.tell_all(world.host)
    assert part.size == hosts.count(world.host)
    assert set(part.tell_all(world.host)) == {world.host}
    part.free()


@SIZES
def test_nobody_passes_a_barrier_before_all_have_come(world, shared_tmp):
    (shared_tmp / str(world.rank)).touch()
    world.barrier()
    assert len(list(shared_tmp.iterdir())) == world.size


# ---------------------------------------------------------------------------------------------- errors
@SIZES
@pytest.mark.parametrize("kind", [UsageError, LaunchError, DataError, CapabilityError, NumericalError])
def test_our_error_on_one_rank_is_raised_on_all(world, kind):
    for failing in range(world.size):
        with pytest.raises(kind) as caught, world.together("reading"):
            if world.rank == failing:
                raise kind(f"row {failing} is bad")
        assert type(caught.value) is kind and str(caught.value) == f"row {failing} is bad"
        assert (caught.value.__cause__ is not None) == (world.rank == failing)


@SIZES
def test_a_foreign_error_becomes_a_sentence_that_names_the_rank(world):
    failing = world.size - 1
    with pytest.raises(MpioptError) as caught, world.together("parsing x.svm"):
        if world.rank == failing:
            raise ValueError("no number")
    said = world.tell_all(str(caught.value))
    assert set(said) == {said[0]} and type(caught.value) is MpioptError
    assert said[0].startswith(f"rank {failing} on host ")
    assert said[0].endswith("failed while parsing x.svm: ValueError: no number")


@SIZES
def test_the_lowest_failing_rank_speaks(world):
    with pytest.raises(DataError, match=r"^from 0$"), world.together("reading"):
        raise DataError(f"from {world.rank}")


@SIZES
def test_nothing_happens_together_where_nobody_fails(world):
    with world.together("reading"):
        seen = world.rank
    assert seen == world.rank
    assert world.sum([np.ones(1)])[0] == world.size


# ---------------------------------------------------------------------------------------------- tally
@SIZES
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_sum_of_vectors_is_one_message_of_its_own_length(worlds, ranks, deterministic):
    world = worlds(workers=2 * ranks, deterministic=deterministic)
    parts = [np.ones(10)] * 2
    world.sum(parts, "gradient")
    assert (world.tally.messages, world.tally.vector_rounds) == (1, 1)
    assert world.tally.bytes == 80 * (2 if deterministic else 1)  # workers of one rank are folded before they are sent
    assert set(world.tally.by_name) == {("gradient", what) for what in ("messages", "bytes", "seconds")}
    assert world.tally.waited == world.tally.by_name["gradient", "seconds"] > 0


@SIZES
def test_only_vectors_count_as_vector_rounds(world):
    world.total([np.ones(3)])
    world.best([1.0])
    world.extremes([1.0, 2.0])
    world.gather(np.ones(world.rank + 1))
    assert (world.tally.messages, world.tally.vector_rounds) == (4, 0)
    assert world.tally.bytes == 24 + 12 + 32 + 8 * (world.rank + 1)
    world.swap([np.ones(4)], [world.rank])
    world.bcast(np.ones(4))
    assert (world.tally.messages, world.tally.vector_rounds) == (6, 3 - 1)


@SIZES
def test_a_broadcast_is_paid_by_its_root(world):
    world.bcast(np.ones(4), world.size - 1)
    assert world.tally.bytes == (32 if world.rank == world.size - 1 else 0)


@SIZES
def test_what_is_sent_while_paused_is_not_counted(world):
    with world.tally.paused():
        world.sum([np.ones(3)])
        with world.tally.paused():
            world.gather(np.ones(3))
        world.sum([np.ones(3)])
    assert (world.tally.bytes, world.tally.messages, world.tally.waited) == (0, 0, 0.0)
    world.sum([np.ones(3)])
    assert (world.tally.bytes, world.tally.messages) == (24, 1)


@SIZES
def test_set_up_and_agreeing_on_errors_are_not_counted(world):
    world.tell("x")
    world.tell_all("x")
    world.barrier()
    with world.together("reading"):
        pass
    assert world.tally.messages == 0
