"""The outer run's side of SPMD tests: one ``mpiexec`` per rank count, judged item by item from what the ranks wrote.

An item is done when every rank has finished it. It has failed if any rank failed it; if a rank failed while others
are still inside, they get GRACE seconds; if nothing is written for the item's limit, it hangs; if the launch ends
early, the ranks died in it. In the last three cases the launch is ended and the remaining items get a new one.
"""

from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.inner import Launch, Told, failure, read
from tests.rank import ECHO

GRACE = 5.0  # seconds that the other ranks have to come out of an item that one rank failed
START = 120.0  # seconds until the first line: imports on a busy machine
NOT_THERE = "the ranks did not collect this test: its id differs from process to process; give the parameters plain ids"


class Pool:
    """All selected items of one rank count."""

    def __init__(self, size: int, items: list[pytest.Item], config: pytest.Config, folder: Path) -> None:
        self.size, self.items, self.config, self.folder = size, list(items), config, folder
        self.launch: Launch | None = None
        self.launches = 0
        self.verdict = ""  # why no further launch is worth while

    def begin(self) -> None:
        """Launch the items that are left, unless a launch is under way."""
        if self.launch is None:
            self.launches += 1
            self.launch = Launch(self.size, self.items, self.config, self.folder / str(self.launches))

    @property
    def over(self) -> bool:
        """Whether its present launch has ended, at the last item or before."""
        return self.launch is None or self.launch.process.poll() is not None

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports of the next item, in the order that the pool was given; waits for them."""
        assert item is self.items[0]
        reports = self._judge(item)
        self.items.pop(0)
        return reports

    def _judge(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self.verdict:
            return failure(item, self.verdict)
        self.begin()
        limit = item.get_closest_marker("ranks").kwargs.get("limit", 120.0)
        failed_at = None
        while True:
            ended = self.launch.process.poll() is not None
            self.launch.listen()
            told, now = self.launch.of(item.nodeid), monotonic()
            if any(t.missing for t in told):
                return failure(item, NOT_THERE)
            if all(t.finished for t in told):
                return self._combine(item, told)
            if ended:
                return self._died(item, told)
            if failed_at is None and any(t.failed for t in told):
                failed_at = now
            if failed_at is not None and now - failed_at > GRACE:
                return self._stuck(item, told, f"killed: the other ranks did not come back within {GRACE:g} s")
            if now - self.launch.heard > (limit if any(t.started for t in told) else max(limit, START)):
                return self._stuck(item, told, f"hung: no rank has made progress for {limit:g} s; killed")
            sleep(0.01)

    def _combine(self, item: pytest.Item, told: list[Told]) -> list[pytest.TestReport]:
        """One report per phase: the first failing rank's if there is one, else rank 0's."""
        out = []
        for phase in zip(*(t.reports for t in told), strict=False):
            failing = [r for r, report in enumerate(phase) if report["outcome"] == "failed"]
            own = [r for r in failing if ECHO not in str(phase[r]["longrepr"])]
            chosen = (own or failing or [0])[0]
            report = read(self.config, phase[chosen])
            if failing:
                self._sign(report, chosen, failing)
            out.append(report)
        return out

    def _sign(self, report: pytest.TestReport, rank: int, failing: list[int]) -> None:
        others = [r for r in failing if r != rank]
        note = f"rank {rank} of {self.size} failed as shown" + (f"; failed too: ranks {others}" if others else "")
        report.sections.insert(0, (f"rank {rank} of {self.size}", note))
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            crash.message = f"[rank {rank}] {crash.message}"

    def _died(self, item: pytest.Item, told: list[Told]) -> list[pytest.TestReport]:
        code, output = self.launch.process.returncode, self.launch.output.read_text(errors="replace")[-6000:]
        text = f"mpiexec -n {self.size} ended with status {code} in this test\n{self._traces(told)}\n{output}"
        if not any(t.started for t in told):
            self.verdict = f"mpiexec -n {self.size} ended with status {code} before any test began"
            text = f"{self.verdict}\n{output}"
        self.end()
        return failure(item, text)

    def _stuck(self, item: pytest.Item, told: list[Told], why: str) -> list[pytest.TestReport]:
        where = [f"rank {r} stands in:\n{self.launch.stand(r)}" for r in range(self.size) if not told[r].finished]
        self.end()
        return failure(item, "\n".join([why, self._traces(told), *where]))

    def _traces(self, told: list[Told]) -> str:
        """What the failing ranks said."""
        out = []
        for rank, t in enumerate(told):
            if t.raised:
                out.append(f"rank {rank} of {self.size} raised:\n{t.raised}")
            for data in t.reports:
                if data["outcome"] == "failed":
                    out.append(f"rank {rank} of {self.size} failed:\n{read(self.config, data).longreprtext}")
        return "\n".join(out)

    def end(self) -> None:
        """Kill what is left of the present launch."""
        if self.launch is not None:
            self.launch.end()
            self.launch = None
