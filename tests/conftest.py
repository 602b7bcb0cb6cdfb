"""The harness: SPMD tests inside one ordinary ``pytest`` run.

    @pytest.mark.ranks(1, 2, 3)                an item per rank count; all items of a count run under one mpiexec
    @pytest.mark.ranks(2, limit=120)           seconds without progress after which it is ended (120 unless given)
    @pytest.mark.study                         long: deselected unless -m or its own node id asks for it
    @pytest.mark.waits                         waits more than it computes: begins first, beside the others

Fixtures on every rank: ``world`` (fresh), ``worlds(**options)`` (makes more of them), ``comm`` (a raw communicator),
``shared_tmp`` (one fresh folder for all ranks). For programs that must fail well: ``launch(size, program)``, and, for
many command lines in one launch, ``series(size, *command_lines)``.
"""

import json
import os
import signal
import subprocess
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import launcher
from tests.pool import Pool
from tests.rank import Rank
from tests.second import WORTH_IT, Second, Taker
from tests.teller import JOB, Teller

settings.register_profile(
    "serial", max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serial")

POOLS = pytest.StashKey[dict[int, Pool]]()
SECOND = pytest.StashKey[Second]()
INNER = pytest.StashKey[Teller]()  # in an inner run


def pytest_configure(config: pytest.Config) -> None:
    if JOB in os.environ:
        job = Path(os.environ.pop(JOB))  # what tests start is no inner run
        config.stash[INNER] = inner = Rank(job) if json.loads(job.read_text())["size"] else Taker(job)
        config.pluginmanager.register(inner)
        inner.pytest_configure(config)


def size_of(item: pytest.Item) -> int:
    """The rank count of an SPMD item; 0 for an ordinary one."""
    spmd = item.get_closest_marker("ranks") is not None
    return item.callspec.params["ranks"] if spmd else 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("ranks")
    if mark is not None:
        metafunc.fixturenames.append("ranks")
        metafunc.parametrize("ranks", mark.args)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ordinary items first, of them those that wait, then one rank count after the other; studies only if asked for."""
    if INNER in config.stash:
        return
    if not config.option.markexpr and not any("::" in argument for argument in config.args):
        studies = [item for item in items if item.get_closest_marker("study")]
        config.hook.pytest_deselected(items=studies)
        items[:] = [item for item in items if not item.get_closest_marker("study")]
    items.sort(key=lambda item: (size_of(item), item.get_closest_marker("waits") is None))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """One rank takes one core: its items begin beside the ordinary ones, which a second process shares if they are many."""
    if INNER in session.config.stash or session.config.option.collectonly:
        return
    alone = [item for item in session.items if size_of(item) == 1]
    if alone and launcher.mpiexec():
        pool_of(alone[0], 1)
    ordinary = [item for item in session.items if not size_of(item)]
    if len({item.path for item in ordinary}) >= WORTH_IT and not session.config.option.usepdb:
        folder = session.config._tmp_path_factory.mktemp("second", numbered=True)
        session.config.stash[SECOND] = Second(ordinary, session.config, folder)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    reports = None if INNER in item.config.stash else reports_of(item)
    if reports is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Jobs that ran in this process ignore warnings of a scheduler, which what later tests start would inherit, and end it some
    time after they have failed.
    """
    signal.alarm(0)
    if not isinstance(item.config.stash.get(INNER, None), Rank):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


def reports_of(item: pytest.Item) -> list[pytest.TestReport] | None:
    """The reports of an item that other processes run, awaited; None for one that runs in this process."""
    size, second = size_of(item), item.config.stash.get(SECOND, None)
    if not size:
        if second:
            _follow(item.session)
        return second.reports(item) if second else None
    if not launcher.mpiexec():
        return None if size == 1 else skipped(item)
    return pool_of(item, size).reports(item)


def _follow(session: pytest.Session) -> None:
    """Beside the ordinary items of a long run two ranks begin where one has ended: cores that wait for nobody were idle."""
    pools = session.config.stash.get(POOLS, {})
    if pools.keys() == {1} and pools[1].over and any(size_of(item) == 2 for item in session.items):
        _begin(session, 2)


def pool_of(item: pytest.Item, size: int) -> Pool:
    """The pool of this rank count; all of several ranks begin once one is due: ranks wait for one another."""
    pools = item.config.stash.setdefault(POOLS, {})
    if size not in pools:
        asked = {size_of(other) for other in item.session.items} - {0, *pools}
        for other in sorted(other for other in asked if (other > 1) == (size > 1)):
            _begin(item.session, other)
    return pools[size]


def _begin(session: pytest.Session, size: int) -> None:
    items = [item for item in session.items if size_of(item) == size]
    folder = session.config._tmp_path_factory.mktemp(f"ranks-{size}-", numbered=True)
    pool = Pool(size, items, session.config, folder)
    session.config.stash[POOLS][size] = pool
    pool.begin()


def skipped(item: pytest.Item) -> list[pytest.TestReport]:
    why = (str(item.path), 0, "Skipped: no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    return [
        pytest.TestReport(item.nodeid, item.location, {}, "skipped", why, "setup"),
        pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "teardown"),
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    for pool in session.config.stash.get(POOLS, {}).values():
        pool.end()
    if SECOND in session.config.stash:
        session.config.stash[SECOND].end()


def all_passed(config: pytest.Config) -> bool:
    """Whether the present item passed on every rank; if not, its communicators are left alone."""
    return config.stash[INNER].all_passed if INNER in config.stash else True


@pytest.fixture
def comm(pytestconfig):
    """A duplicate of the communicator of all ranks."""
    from mpi4py import MPI

    made = MPI.COMM_WORLD.Dup()
    yield made
    if all_passed(pytestconfig):
        made.Free()


@pytest.fixture
def worlds(comm, pytestconfig):
    """Make a World of all ranks: ``worlds(workers=6, deterministic=True)``. Collective; freed at the end."""
    from mpiopt.comm.world import World

    made = []

    def make(**options) -> World:
        made.append(World(comm, **options))
        return made[-1]

    yield make
    if all_passed(pytestconfig):
        for world in made:
            world.free()


@pytest.fixture
def world(worlds):
    """A fresh World of all ranks, one worker each."""
    return worlds()


@pytest.fixture
def shared_tmp(request, tmp_path, pytestconfig) -> Path:
    """A fresh folder, the same on all ranks."""
    if INNER not in pytestconfig.stash:
        return tmp_path
    rank = pytestconfig.stash[INNER]
    folder = rank.folder / "shared" / str(rank.items.index(request.node.nodeid))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def launch(tmp_path):
    """Run a program on ``size`` ranks (None: without mpiexec) from an empty folder and wait for its end.

    program : Python source, or the list of arguments for Python. The test fails if it takes more than ``timeout``
    seconds; nothing of it is left running.
    """
    numbers = count()

    def run(
        size: int | None,
        program: str | list[str],
        timeout: float = 100.0,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess:
        if size is not None and not launcher.mpiexec():
            pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
        folder = tmp_path / f"launch-{next(numbers)}"
        folder.mkdir()
        return launcher.run(size, program, folder, timeout, env, cwd)

    return run


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """Run several command lines of mpiopt on the same ``size`` ranks, one after the other: see `launcher.series`."""
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    return lambda size, *argvs: launcher.series(size, list(argvs), tmp_path_factory.mktemp("series"))
