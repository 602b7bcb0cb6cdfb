"""The inner run: a pytest plugin on every rank that runs the items it was given and writes down what happens.

Each rank appends JSON lines to a file of its own: ``hello`` (its process id), ``missing`` (an item that it did not
collect), ``start``, ``report`` (pytest's, whole), ``raised`` (text, written before the ranks agree on a hypothesis
example) and ``finish``. The outer run does the judging, so that a rank that never comes back is judged too. Between an
item's call and its teardown the ranks agree whether all of them passed; a World of a failed item is not freed, since
messages may still be under way in it.
"""

import faulthandler
import json
import os
import re
import signal
import traceback
from functools import wraps
from pathlib import Path
from time import sleep
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import UnsatisfiedAssumption

JOB = "MPIOPT_TEST_JOB"  # names the inner run's job file
ECHO = "another rank failed on this example"

settings.register_profile(
    "rank",
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    # no shrinking: it is the failing rank that explains itself
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Rank:
    """One rank of an inner run. ``job`` is a JSON file: {"folder": ..., "items": [node ids in order]}."""

    def __init__(self, job: Path) -> None:
        from mpi4py import MPI

        read = json.loads(job.read_text())
        self.folder, self.items = Path(read["folder"]), read["items"]
        self.mpi, self.comm = MPI, MPI.COMM_WORLD.Dup()  # the harness's own: tests never see it
        self.rank = self.comm.rank
        self.lines = (self.folder / f"{self.rank}.jsonl").open("a", buffering=1)
        faulthandler.register(signal.SIGUSR1, (self.folder / f"{self.rank}.stack").open("w"), all_threads=False)
        self.passed = self.all_passed = True
        self.item = ""

    def say(self, **what) -> None:
        """Append one line."""
        self.lines.write(json.dumps(what | {"item": self.item}) + "\n")

    def agree(self, numbers: list[float]) -> np.ndarray:
        """Maxima over the ranks. Collective; sleeps while it waits, for ranks may outnumber cores."""
        out = np.empty(len(numbers))
        request = self.comm.Iallreduce(np.array(numbers, float), out, op=self.mpi.MAX)
        nap = 1e-5
        while not request.Test():
            sleep(nap)
            nap = min(2 * nap, 2e-3)
        return out

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config
        config.option.basetemp = str(self.folder / f"tmp-{self.rank}")
        settings.load_profile("rank")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        missing = {name for name in self.items if name not in found}
        for name in missing:
            self.item = name
            self.say(missing=True)
        missing = missing.union(*self.comm.allgather(missing))
        items[:] = [found[name] for name in self.items if name not in missing]

    def pytest_sessionstart(self) -> None:
        self.say(hello=os.getpid())

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.item, self.passed = nodeid, True
        self.say(start=True)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        inner = getattr(getattr(item, "obj", None), "hypothesis", None)
        if inner is not None and not hasattr(inner.inner_test, "example_by_example"):
            inner.inner_test = self.example_by_example(inner.inner_test, set(item.fixturenames))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self.all_passed = not self.agree([not self.passed])[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed = self.passed and not report.failed
        self.say(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_runtest_logfinish(self) -> None:
        self.say(finish=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.OK  # the outer run reports failures; launchers kill on a bad status

    def example_by_example(self, test, fixtures: set[str]):
        """A hypothesis example that fails on one rank fails on all, so that all draw the same next one."""

        @wraps(test)
        def together(*args, **kwargs):
            error = None
            try:
                test(*args, **kwargs)
            except UnsatisfiedAssumption:
                raise
            except Exception as caught:
                error = caught
                drawn = {name: value for name, value in kwargs.items() if name not in fixtures}
                self.say(raised="".join(traceback.format_exception(caught)) + f"\nexample: {drawn!r}")
            drawn = re.sub("0x[0-9a-f]+", "", repr([v for name, v in kwargs.items() if name not in fixtures]))
            mark = float(crc32(drawn.encode()))
            failed, high, low = self.agree([error is not None, mark, -mark])
            if error is not None:
                raise error
            assert not failed, ECHO
            assert high == -low, f"the ranks drew different examples; rank {self.rank}: {drawn}"

        together.example_by_example = True  # parametrised items share one function
        return together
