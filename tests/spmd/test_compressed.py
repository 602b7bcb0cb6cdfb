"""Agreements on compressed messages over several ranks: alike everywhere, with the bytes that they say, and bad input."""

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Stream
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.engine.drive import solve
from mpiopt.engine.phase import Joint
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import DataError, NumericalError, UsageError
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.feedback import ErrorFeedback
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.timing import Grouped
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.io.runs.state_tree import flatten
from mpiopt.methods import find as find_method
from mpiopt.methods.averaging import local_sgd, sgd
from mpiopt.methods.linked import linked
from mpiopt.numerics.streams import Streams
from mpiopt.problems.model import Block
from mpiopt.problems.penalties import L2
from mpiopt.sampling.clients import Clients
from mpiopt.training.drive import Goal, train
from mpiopt.transforms import rules
from tests.exchange_sets import COMPRESSORS, DIM, EVERYTHING, FEW, SEED, SUMMING, Speaker, agreements, exchanges, said, team_of
from tests.problem_sets import Data
from tests.training_sets import Shared

SIZES = pytest.mark.ranks(1, 2, 3)
WORKERS, ROUNDS = 5, 4


@pytest.fixture
def alone():
    """Worlds of this rank by itself."""
    from mpi4py import MPI

    made = []

    def make(**options):
        made.append(World(MPI.COMM_SELF, **options))
        return made[-1]

    yield make
    for world in made:
        world.free()


def heard(exchange, team, kind) -> np.ndarray:
    """What was agreed in every round, scalars at the end; NaN where nothing was. Collective."""
    nothing = np.full(DIM + 2, np.nan, kind)
    return np.array(
        [
            nothing if agreed is None else np.append(agreed.vector, agreed.scalars)
            for _, agreed, _, _ in agreements(exchange, team, ROUNDS, kind)
        ]
    )


@SIZES
@pytest.mark.parametrize("kind", [np.float64, np.float32], ids=["double", "single"])
def test_all_ranks_agree_alike_and_as_one_rank_would(worlds, alone, kind):
    agree(worlds, alone, kind, kind is np.float32, FEW)


@pytest.mark.study
@pytest.mark.ranks(1, 2, 3, limit=300)
@pytest.mark.parametrize("kind", [np.float64, np.float32], ids=["double", "single"])
@pytest.mark.parametrize("deterministic", [True, False], ids=["ordered", "any-order"])
def test_everything_around_everything_agrees_alike(worlds, alone, kind, deterministic):
    agree(worlds, alone, kind, deterministic, EVERYTHING)


def agree(worlds, alone, kind, deterministic, pairs) -> None:
    options = {"workers": WORKERS, "deterministic": deterministic}
    world = worlds(**options)
    team, other = team_of(world), team_of(alone(**options))
    for name, text, exchange in exchanges(pairs):
        found, expected = heard(exchange, team, kind), heard(exchange, other, kind)
        assert len({one.tobytes() for one in world.tell_all(found)}) == 1, (name, text)
        vectors, theirs = found[:, :DIM], expected[:, :DIM]
        assert np.isfinite(found[-1]).all()
        gathered = text not in ("vote", "powersgd") and not find(text).linear and name not in SUMMING
        if deterministic or gathered or text == "vote":
            np.testing.assert_array_equal(vectors, theirs, f"{name} {text}")
        tolerance = 1e-12 if kind is np.float64 else 1e-4
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=f"{name} {text}")


@pytest.mark.ranks(2, 3)
def test_groups_agree_by_themselves(worlds, alone, ranks):
    """A group of neighbours agrees as those workers alone would, under the keys that they have among all."""
    world = worlds(workers=WORKERS)
    team = team_of(world)
    for text in COMPRESSORS:
        found = heard(Grouped(ErrorFeedback(Compressed(find(text))), ranks), team, np.float64)
        c, mine = find(text).among(len(team.sites)).on(Speaker().blocks), [site.worker for site in team.sites]
        shares = np.array([1.0 + w for w in mine]) / sum(1.0 + w for w in mine)
        memory = np.zeros((len(mine), DIM))
        for k, row in enumerate(found):
            total = np.zeros(DIM)
            for i, worker in enumerate(mine):
                key = stream(k, worker, len(mine))._replace(worker=i)
                wanted = said(worker, k).vector + memory[i]
                sent = c.decode(c.encode(wanted, key), wanted, key)
                memory[i], total = wanted - sent, total + shares[i] * sent
            np.testing.assert_allclose(row[:DIM], total, rtol=0, atol=1e-12, err_msg=text)
    keys = world.tell_all([stream(0, site.worker, 1).own for site in team.sites])
    assert len({key for some in keys for key in some}) == WORKERS


def stream(k: int, worker: int, workers: int):
    return Stream.of(Streams(SEED), "compress", k, worker, workers)


# ---------------------------------------------------------------------------------------------- bytes
def spent(world, exchange, team, kind) -> tuple[int, int]:
    """Bytes and messages of this rank in one agreement. Collective."""
    state = exchange.init(np.zeros(DIM, kind), team)
    before = world.tally.bytes, world.tally.messages
    exchange([said(site.worker, 3, kind) for site in team.sites], state, Joint(team, 3))
    return world.tally.bytes - before[0], world.tally.messages - before[1]


@SIZES
@pytest.mark.parametrize("kind", [np.float64, np.float32], ids=["double", "single"])
def test_a_rank_sends_its_payloads_and_scalars_and_nothing_else(worlds, kind):
    """Two scalars and the flag that all is well, in the vectors' type where payloads are summed, else in doubles."""
    item = np.dtype(kind).itemsize
    for deterministic in (False, True):
        world = worlds(workers=WORKERS, deterministic=deterministic)
        team, hosted = team_of(world), len(world.hosted)
        folded = hosted if deterministic else 1  # parts that a rank hands to a sum
        for text in COMPRESSORS:
            c = find(text).among(WORKERS).on(Speaker().blocks)
            one = c.nbytes(DIM, kind)
            expected = folded * (one + 3 * item) if c.linear else hosted * (one + 3 * 8)
            assert spent(world, Compressed(find(text)), team, kind) == (expected, 1), text
            assert spent(world, ErrorFeedback(Compressed(find(text))), team, kind) == (expected, 1), text
        assert spent(world, Vote(), team, kind) == (folded * (DIM + 3 * 8), 2)
        plan = PowerSgd(1).on(Speaker().blocks)
        assert spent(world, LowRank(PowerSgd(1)), team, kind) == (folded * (plan.nbytes(kind) + 3 * item), 2)
        assert spent(world, Compressed(find("identity")), team, kind)[0] == spent(world, Mean(), team, kind)[0] + folded * item


@SIZES
def test_those_that_take_no_part_send_nothing(worlds):
    clients = Clients(2, dead=(1,))
    world = worlds(workers=WORKERS)
    team = team_of(world)
    for text in ("topk:0.2", "randk:0.3,shared=yes", "qsgd:4", "sign"):
        c = find(text).on(Speaker().blocks)
        exchange = Compressed(c)
        state = exchange.init(np.zeros(DIM), team)
        for k in range(6):
            present = clients(WORKERS, team.sites[0].streams, k)
            messages = [said(site.worker, k) for site in team.sites]
            messages = [
                m if present[site.worker] else m._replace(scalars=np.full(2, np.nan))
                for m, site in zip(messages, team.sites, strict=True)
            ]
            before = world.tally.bytes
            agreed, residual, _ = exchange(messages, state, Joint(team, k, clients))
            if not c.linear:
                assert world.tally.bytes - before == sum(present[site.worker] for site in team.sites) * (
                    c.nbytes(DIM, float) + 24
                )
            weights = present * np.arange(1.0, WORKERS + 1)
            assert agreed.scalars[-1] == pytest.approx(weights.sum() / 15)
            sent = np.zeros(DIM)
            for worker in np.flatnonzero(present).tolist():
                key, m = stream(k, worker, WORKERS), said(worker, k).vector
                sent += weights[worker] / weights.sum() * c.decode(c.encode(m, key), m, key)
            np.testing.assert_allclose(agreed.vector, sent, rtol=0, atol=1e-12)
            scalars = sum(weights[w] / weights.sum() * said(w, k).scalars for w in np.flatnonzero(present))
            np.testing.assert_allclose(agreed.scalars[:2], scalars, rtol=0, atol=1e-12)
            for m, rest, site in zip(messages, residual, team.sites, strict=True):
                if not present[site.worker]:
                    np.testing.assert_array_equal(rest, m.vector)


# ---------------------------------------------------------------------------------------------- going on
LINKED = {
    "ef": ("sgd", "topk:0.4", "ef"),
    "ef21": ("sgd", "scaled_sign", "ef21"),
    "diana": ("sgd", "qsgd:4", "diana"),
    "both ways": ("sgd", "topk:0.4", "ef", "topk:0.6"),
    "summed": ("sgd", "randk:0.4,shared=yes", "plain"),
    "vote": ("sgd", "vote", "plain"),
    "local": ("local_sgd", "topk:0.4+natural", "ef"),
}
AGAIN = {
    **{name: (lambda how=how: linked(find_training(how[0]), *how)) for name, how in LINKED.items()},
    "clients": lambda: linked(local_sgd(rules.adam(0.05), 3, Clients(3)), "local_sgd", "topk:0.4", "ef"),
    "low rank": lambda: linked(sgd(rules.momentum(0.05)), "sgd", "powersgd:rank=1", "ef"),
}


def find_training(name: str):
    return sgd(rules.momentum(0.05)) if name == "sgd" else local_sgd(rules.nag(0.05), 3)


class Matrices(Shared):
    """A regression whose weights stand in a matrix (4, 3)."""

    def __init__(self):
        super().__init__(workers=4, rows=43, features=12)

    def linear(self, worker: int):
        plain = super().linear(worker)

        class InBlocks(type(plain)):
            blocks = (Block("m", (4, 3)),)

        return InBlocks(plain.matrix, plain.y, plain.family)


@SIZES
@pytest.mark.parametrize("name", AGAIN)
def test_memories_are_kept_bit_for_bit(worlds, shared_tmp, name):
    """A training that stops and goes on is one that never stopped: its points, and all that it remembers."""
    data, world = Matrices() if name == "low rank" else Shared(workers=4, rows=43), worlds(workers=4)
    team, method = data.team(world), AGAIN[name]()
    straight = train(method, team, data.start, Goal(rounds=7))
    begun = worlds(workers=4)
    store, half = Store(shared_tmp / "c.h5", begun, "run"), data.team(begun)
    train(method, half, data.start, Goal(rounds=3), keep=[lambda at, _: store.save(at, {}, half)])
    again, fresh = Store(store.path, world, ""), data.team(worlds(workers=4))
    later = train(AGAIN[name](), fresh, again.load(again.find(), fresh), Goal(rounds=7))
    np.testing.assert_array_equal(later.x, straight.x)
    ours = [flatten(found.run) for found in (later, straight)]
    assert ours[0].tree == ours[1].tree and ours[0].parts == ours[1].parts
    for a, b in zip([ours[0].arrays, *ours[0].own], [ours[1].arrays, *ours[1].own], strict=True):
        assert list(a) == list(b)
        for place in a:
            np.testing.assert_array_equal(a[place], b[place], place)
    assert later.final.bytes_sent == straight.final.bytes_sent
    moved = method.answer(later.run, fresh).x
    assert abs(moved - data.start).max() > 1e-3


@pytest.mark.ranks(3)
@pytest.mark.parametrize("name", AGAIN)
def test_any_number_of_ranks_goes_on_with_the_memories(comm, shared_tmp, name):
    fixed = {"workers": 4, "deterministic": True}
    data = Matrices() if name == "low rank" else Shared(workers=4, rows=43)
    two, one, all_ = (
        World(comm.Split(int(comm.rank == 2)), **fixed),
        World(comm.Split(comm.rank), **fixed),
        World(comm, **fixed),
    )
    if comm.rank < 2:
        team, store = data.team(two), Store(shared_tmp / "c.h5", two, "run")
        train(AGAIN[name](), team, data.start, Goal(rounds=3), keep=[lambda at, _: store.save(at, {}, team)])
    comm.Barrier()
    found = []
    for world in (all_, one):
        team, store = data.team(world), Store(shared_tmp / "c.h5", world, "")
        found.append(train(AGAIN[name](), team, store.load(store.find(), team), Goal(rounds=7)).x)
        found.append(train(AGAIN[name](), team, data.start, Goal(rounds=7)).x)
    for x in found[1:]:
        np.testing.assert_array_equal(x, found[0])


TRAIN = [
    "-m",
    "mpiopt.jobs",
    "train",
    "--data",
    "blobs:rows=400",
    "--model",
    "mlp:8",
    "--method",
    "sgd",
    "--compress",
    "topk:0.1",
    "--error-feedback",
    "--back",
    "topk:0.3",
    "--batch",
    "10",
    "--epochs",
    "2",
    "--workers",
    "3",
]


def test_a_compressed_job_goes_on_as_if_it_had_never_stopped(launch, tmp_path):
    kept = ["--checkpoint", "c.h5", "--every-rounds", "1"]
    for name, more in (("a", []), ("b", [*kept, "--rounds", "9"]), ("b", [*kept, "--overwrite"])):
        done = launch(2, [*TRAIN, *more, "--out", f"{name}.h5"], timeout=120, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    (x, _), (y, _) = (read_solution(tmp_path / f"{name}.h5") for name in "ab")
    np.testing.assert_array_equal(x, y)
    runs = [read_run(tmp_path / f"{name}.h5").history for name in "ab"]
    assert runs[0]["bytes_sent"][-1] == runs[1]["bytes_sent"][-1]
    each = find("topk:0.1").nbytes(x.size, np.float32) + 16  # the running loss and the flag
    np.testing.assert_array_equal(np.diff(runs[0]["bytes_sent"]), 3 * each * np.diff(runs[0]["round"]))


# ---------------------------------------------------------------------------------------------- solving
@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("name", ["diana", "rand_diana", "marina", "vr_gdci", "ef21"])
def test_convex_problems_are_solved_to_a_certified_gap(worlds, name):
    """In bytes, those of the steps' constants included, that all ranks know alike."""
    given = {"compress": "topk:0.3" if name == "ef21" else "randk:0.3"}
    world = worlds(workers=4)
    team = Data(rows=120, features=15, seed=2).team(world, L2(0.05))
    found = solve(find_method(name).make(**given), team, np.zeros(15), Stop(rounds=2500, gap=1e-7))
    assert found.reason is Reason.GAP and found.certificate.tight_gap <= 1e-7
    exact = solve(find_method("spcg").make(), team, np.zeros(15), Stop(rounds=99, gap=1e-12))
    assert found.certificate.objective - exact.certificate.objective <= found.certificate.tight_gap + 1e-12
    np.testing.assert_allclose(found.x, exact.x, rtol=0, atol=3e-3)
    assert len(set(world.tell_all((found.x.tobytes(), found.final.bytes_sent)))) == 1


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("name", ["dcgd", "gdci", "ef"])
def test_the_others_come_near(worlds, name):
    given = {"compress": "topk:0.3" if name == "ef" else "randk:0.3"}
    team = Data(rows=120, features=15, seed=2).team(worlds(workers=4), L2(0.05))
    found = solve(find_method(name).make(**given), team, np.zeros(15), Stop(rounds=250))
    first, best = found.history[0].objective, min(record.objective for record in found.history)
    exact = solve(find_method("spcg").make(), team, np.zeros(15), Stop(rounds=99, gap=1e-12)).certificate.objective
    assert found.reason is Reason.ROUNDS and best - exact < 0.03 * (first - exact)


# ---------------------------------------------------------------------------------------------- bad input
@SIZES
@pytest.mark.parametrize("broken", [np.nan, np.inf], ids=["nan", "inf"])
def test_a_vector_that_is_not_finite_ends_all_ranks_with_one_sentence(worlds, broken):
    world = worlds(workers=WORKERS)
    team = team_of(world)
    for name, text, exchange in exchanges():
        if name in ("two-way", "grouped", "ef-rate"):
            continue
        state = exchange.init(np.zeros(DIM), team)
        for k in range(2):
            if k == 1 and (name == "first-whole" or text == "vote"):
                break
            messages = [said(site.worker, k) for site in team.sites]
            if k == 1 and world.rank == world.size - 1:
                messages[-1].vector[7] = broken
            if k == 0 or (name == "marina" and heads(team, 1)):
                _, _, state = exchange(messages, state, Joint(team, k))
                continue
            with pytest.raises(NumericalError) as caught:
                exchange(messages, state, Joint(team, k))
            sentences = world.tell_all(str(caught.value))
            assert len(set(sentences)) == 1 and "not finite" in sentences[0], (name, text)


def heads(team, k: int) -> bool:
    """Whether the coin of a refresh says to send everything as it is."""
    return team.sites[0].streams("refresh", k).random() < 0.4


@SIZES
def test_votes_and_first_messages_are_looked_at_too(worlds):
    world = worlds(workers=WORKERS)
    team = team_of(world)
    messages = [said(site.worker, 0) for site in team.sites]
    if world.rank == world.size - 1:
        messages[-1].vector[7] = np.nan
    with pytest.raises(NumericalError, match="not finite"):
        Vote()(messages, (), Joint(team, 0))


@SIZES
def test_scalars_that_are_no_numbers_are_no_fault_of_the_vectors(worlds):
    """A running loss is NaN before the first step."""
    world = worlds(workers=WORKERS)
    team = team_of(world)
    for exchange in (Compressed(find("topk:0.2")), Compressed(find("randk:0.3,shared=yes")), Vote(), LowRank(PowerSgd(1))):
        messages = [said(site.worker, 0)._replace(scalars=np.array([np.nan, 1.0])) for site in team.sites]
        agreed, _, _ = exchange(messages, exchange.init(np.zeros(DIM), team), Joint(team, 0))
        assert np.isnan(agreed.scalars[0]) and agreed.scalars[1] == pytest.approx(1.0) and np.isfinite(agreed.vector).all()


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize(
    "texts", [("topk:0.2", "topk:0.4"), ("qsgd:4", "qsgd:4,bucket=7"), ("randk:0.3", "randk:0.3,shared=yes")]
)
def test_ranks_that_compress_differently_are_told_before_the_first_round(worlds, texts):
    world = worlds(workers=WORKERS)
    team = team_of(world)
    mine = Compressed(find(texts[world.rank == world.size - 1]))
    with pytest.raises(DataError) as caught:
        mine.init(np.zeros(DIM), team)
    sentences = world.tell_all(str(caught.value))
    last = world.size - 1
    assert set(sentences) == {f"rank {last} compresses otherwise than rank 0: give all ranks the same compressor and model"}


@pytest.mark.ranks(2, 3)
def test_a_payload_of_a_wrong_length_is_told_on_every_rank(worlds):
    world = worlds(workers=WORKERS)
    team = team_of(world)
    state = Compressed(find("topk:1")).init(np.zeros(DIM), team)
    late = Compressed(find("topk:2" if world.rank == world.size - 1 else "topk:1"))
    with pytest.raises(DataError) as caught:
        late([said(site.worker, 0) for site in team.sites], state, Joint(team, 0))
    sentences, last = world.tell_all(str(caught.value)), world.size - 1
    assert set(sentences) == {f"rank {last} sent 42 bytes for a worker where rank 0 sent 33: do all ranks compress alike?"}


@SIZES
def test_a_vector_too_short_for_the_compressor_is_refused_on_every_rank(worlds):
    team = team_of(worlds(workers=WORKERS))
    with pytest.raises(UsageError, match="k is 36: give at most the 35 coordinates"):
        Compressed(find("topk:k=36")).init(np.zeros(DIM), team)
    with pytest.raises(UsageError, match="workers of permk is 4"):
        Compressed(find("permk:4")).init(np.zeros(DIM), team)
