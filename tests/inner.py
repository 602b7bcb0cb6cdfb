"""One inner run as the outer run sees it: started, listened to, asked where its processes stand, ended."""

import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from tests import launcher
from tests.teller import JOB

PASSED = ["--hypothesis-profile", "--hypothesis-seed"]  # options that one process obeys; ranks must draw alike
MACHINERY = ["/_pytest/", "/pytest/", "/pluggy/", "/hypothesis/", "/mpi4py/", "/tests/rank.py", "/tests/teller.py", "<frozen "]


@dataclass
class Told:
    """What one process wrote about one item."""

    missing: bool = False
    started: bool = False
    finished: bool = False
    raised: str = ""
    reports: list[dict] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.raised) or any(report["outcome"] == "failed" for report in self.reports)


class Launch:
    """One inner run of ``size`` ranks over ``items``; 0: one process without mpiexec."""

    def __init__(self, size: int, items: list[pytest.Item], config: pytest.Config, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.config = folder, config
        self.processes = range(max(size, 1))
        self.told: list[dict[str, Told]] = [{} for _ in self.processes]
        self.read_to = [0 for _ in self.processes]
        self.pids: dict[int, int] = {}
        self.heard = monotonic()
        self.output = folder / "output"
        names = [item.nodeid for item in items]
        (folder / "job").write_text(json.dumps({"folder": str(folder), "size": size, "items": names}))
        files = list(dict.fromkeys(str(item.path) for item in items))
        argv = [
            sys.executable,
            *(["-m", "mpi4py"] if size else []),  # ends all ranks when one fails
            "-m",
            "pytest",
            "-c",
            str(config.inipath),
            "--rootdir",
            str(config.rootpath),
            "-p",
            "no:cacheprovider",
            "-q",
            "--color",
            "no",
            "--tb",
            config.option.tbstyle,
            *(f"{name}={value}" for name in PASSED if not size and (value := config.getoption(name, None)) is not None),
            *files,
        ]
        self.process = launcher.start(
            launcher.command(size, argv),
            cwd=config.rootpath,
            out=self.output,
            env=launcher.environment({JOB: str(folder / "job")}),
        )

    def listen(self) -> bool:
        """Take in the new whole lines of every rank; whether there were any."""
        fresh = False
        for rank in self.processes:
            path = self.folder / f"{rank}.jsonl"
            if not path.exists():
                continue
            with path.open("rb") as lines:
                lines.seek(self.read_to[rank])
                text = lines.read()
            text = text[: text.rfind(b"\n") + 1]
            self.read_to[rank] += len(text)
            for line in text.splitlines():
                self._take(rank, json.loads(line))
                fresh = True
        if fresh:
            self.heard = monotonic()
        return fresh

    def _take(self, rank: int, line: dict) -> None:
        told = self.told[rank].setdefault(line["item"], Told())
        match line:
            case {"hello": pid}:
                self.pids[rank] = pid
            case {"missing": _}:
                told.missing = True
            case {"start": _}:
                told.started = True
            case {"report": report}:
                told.reports.append(report)
            case {"raised": text}:
                told.raised = told.raised or text
            case {"finish": _}:
                told.finished = True

    def of(self, nodeid: str) -> list[Told]:
        """What every rank wrote about one item."""
        return [self.told[rank].get(nodeid, Told()) for rank in self.processes]

    def stand(self, rank: int) -> str:
        """Where a rank stands, innermost call first: its Python stack without the frames of pytest and hypothesis."""
        path = self.folder / f"{rank}.stack"
        try:
            psutil.Process(self.pids[rank]).send_signal(signal.SIGUSR1)
        except (psutil.NoSuchProcess, KeyError):
            return "gone"
        for _ in range(50):
            if path.read_text():
                break
            sleep(0.02)
        frames = [line for line in path.read_text().splitlines() if line.startswith("  File")]
        ours = [line for line in frames if not any(part in line for part in MACHINERY)]
        return "\n".join(ours) or "waiting for the others"

    def end(self) -> None:
        """Kill what is left of it."""
        ranks = []
        for pid in self.pids.values():
            try:
                ranks.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                pass
        launcher.end(self.process, ranks)


def read(config: pytest.Config, data: dict) -> pytest.TestReport:
    """A report as pytest knows it, of what an inner run wrote."""
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    if report.skipped and isinstance(report.longrepr, list):
        report.longrepr = tuple(report.longrepr)  # JSON knows no tuples
    return report


def failure(item: pytest.Item, text: str) -> list[pytest.TestReport]:
    """The reports of an item that failed without a word of its own."""

    def phase(when, outcome, longrepr):
        return pytest.TestReport(item.nodeid, item.location, dict.fromkeys(item.keywords, 1), outcome, longrepr, when)

    return [phase("setup", "passed", None), phase("call", "failed", text), phase("teardown", "passed", None)]
