"""A second process for the ordinary tests of a long run: it takes files from the end, this process from the front.

Who comes first to a file claims it, so that neither waits for the other before they meet. What the second process was
asked is judged here, item by item; should it end early, the test it was in has failed, and the others of its files run here.
"""

from pathlib import Path
from time import sleep

import pytest

from tests.inner import Launch, failure, read
from tests.teller import Teller

WORTH_IT = 12  # files from which a second start costs less than it saves


class Claims:
    """Which files this process may run; the other one asks in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, bool] = {}

    def mine(self, nodeid: str) -> bool:
        """Whether the item's file is this process's, to which it falls if it still was nobody's."""
        file = nodeid.partition("::")[0]
        if file not in self.known:
            try:
                (self.folder / file.replace("/", "-")).touch(exist_ok=False)
                self.known[file] = True
            except FileExistsError:
                self.known[file] = False
        return self.known[file]


class Second:
    """The second process as the first one sees it."""

    def __init__(self, items: list[pytest.Item], config: pytest.Config, folder: Path) -> None:
        files: dict[Path, list[pytest.Item]] = {}
        for item in items:
            files.setdefault(item.path, []).append(item)
        backwards = [item for file in reversed(files.values()) for item in file]
        self.launch = Launch(0, backwards, config, folder / "launch")
        self.claims = Claims(folder)

    def reports(self, item: pytest.Item) -> list[pytest.TestReport] | None:
        """The reports of an item that the other process has claimed, awaited; None for one that is to run here."""
        if self.claims.mine(item.nodeid):
            return None
        while True:
            ended = self.launch.process.poll() is not None
            self.launch.listen()
            [told] = self.launch.of(item.nodeid)
            if told.finished:
                return [read(self.launch.config, data) for data in told.reports]
            if ended:
                return self._died(item) if told.started else None
            sleep(0.01)

    def _died(self, item: pytest.Item) -> list[pytest.TestReport]:
        output = self.launch.output.read_text(errors="replace")[-6000:]
        return failure(item, f"the second process ended with status {self.launch.process.returncode} in this test\n{output}")

    def end(self) -> None:
        """Kill what is left of it."""
        self.launch.end()


class Taker(Teller):
    """The second process itself: it runs what it can claim."""

    def __init__(self, job: Path) -> None:
        super().__init__(job)
        self.claims = Claims(self.folder.parent)

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        super().pytest_configure(config)
        # names no longer than the first process's, for they are printed in lines of 80 columns
        config.option.basetemp = str(self.folder.parents[1] / "b")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        return None if self.claims.mine(item.nodeid) else True
