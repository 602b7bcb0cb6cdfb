"""The inner run on a rank: a pytest plugin that runs the items it was given together with the other ranks.

Besides what a Teller writes, a rank says ``raised`` (text, written before the ranks agree on a hypothesis example). Between
an item's call and its teardown the ranks agree whether all of them passed; a World of a failed item is not freed, since
messages may still be under way in it.
"""

import faulthandler
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

from tests.teller import Teller

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


class Rank(Teller):
    """One rank of an inner run."""

    def __init__(self, job: Path) -> None:
        from mpi4py import MPI

        self.mpi, self.comm = MPI, MPI.COMM_WORLD.Dup()  # the harness's own: tests never see it
        super().__init__(job, self.comm.rank)
        faulthandler.register(signal.SIGUSR1, (self.folder / f"{self.rank}.stack").open("w"), all_threads=False)

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
        super().pytest_configure(config)
        settings.load_profile("rank")

    def without(self, missing: set[str]) -> set[str]:
        return missing.union(*self.comm.allgather(missing))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        inner = getattr(getattr(item, "obj", None), "hypothesis", None)
        if inner is not None and not hasattr(inner.inner_test, "example_by_example"):
            inner.inner_test = self.example_by_example(inner.inner_test, set(item.fixturenames))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self.all_passed = not self.agree([not self.passed])[0]

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
