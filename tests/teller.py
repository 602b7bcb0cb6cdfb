"""The inner run's side: a pytest plugin that runs the items it was given and writes down what happens.

It appends JSON lines to a file of its own: ``hello`` (its process id), ``missing`` (an item that it did not collect),
``start``, ``report`` (pytest's, whole) and ``finish``. The outer run does the judging, so that a process that never comes
back is judged too.
"""

import json
import os
from pathlib import Path

import pytest

JOB = "MPIOPT_TEST_JOB"  # names the inner run's job file


class Teller:
    """One process of an inner run. ``job`` is a JSON file: {"folder": ..., "size": ranks, "items": [node ids in order]}."""

    def __init__(self, job: Path, number: int = 0) -> None:
        read = json.loads(job.read_text())
        self.folder, self.items, self.rank = Path(read["folder"]), read["items"], number
        self.lines = (self.folder / f"{number}.jsonl").open("a", buffering=1)
        self.passed = self.all_passed = True
        self.item = ""

    def say(self, **what) -> None:
        """Append one line."""
        self.lines.write(json.dumps(what | {"item": self.item}) + "\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config
        config.option.basetemp = str(self.folder / f"tmp-{self.rank}")

    def without(self, missing: set[str]) -> set[str]:
        """What is not to run, given what this process did not collect."""
        return missing

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        missing = {name for name in self.items if name not in found}
        for name in missing:
            self.item = name
            self.say(missing=True)
        missing = self.without(missing)
        items[:] = [found[name] for name in self.items if name not in missing]

    def pytest_sessionstart(self) -> None:
        self.say(hello=os.getpid())

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.item, self.passed = nodeid, True
        self.say(start=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed = self.passed and not report.failed
        self.say(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_runtest_logfinish(self) -> None:
        self.say(finish=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.OK  # the outer run reports failures; launchers kill on a bad status
