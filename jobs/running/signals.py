"""Signals and the end of a Slurm job, as words that end a run between two rounds.

A handler takes note and no more: the ranks agree after the round under way, so that one rank's signal is enough.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

CAUGHT = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
TWICE = 1.0  # seconds after which another SIGINT is a second one: a launcher passes on what the terminal sends anyway


class Signals:
    """While it is entered, signals do not kill; call it for what came in, or for "".

    end : when to stop at the latest, in seconds since the epoch. A second SIGINT raises KeyboardInterrupt.
    """

    def __init__(self, end: float | None = None) -> None:
        self._end = end
        self._word = ""
        self._first = float("inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._take) for number in CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def __call__(self) -> str:
        """Why to stop, in a few words. Not collective."""
        if not self._word and self._end is not None and time.time() >= self._end:
            return "the time of the Slurm job is nearly up"
        return self._word

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._word = self._word or signal.Signals(number).name
        if number == signal.SIGINT:
            now = time.monotonic()
            self._first = min(self._first, now)
            if now > self._first + TWICE:
                raise KeyboardInterrupt


def end_of_job(margin: float, tell: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> float | None:
    """When a run inside a Slurm job had better stop, in seconds since the epoch; None outside of one.

    By a clock that is past the end already the run would stop, and its job queue itself again, over and over: Slurm knows
    better, and sends a signal. ``tell`` is then told so.
    """
    end = environment.get("SLURM_JOB_END_TIME", "")
    if not end.isdecimal():
        return None
    if time.time() >= float(end):
        tell(
            "warning: the clock of this host is past the end of the Slurm job (SLURM_JOB_END_TIME), and is not gone by: the "
            "run ends by itself, or by Slurm's signal"
        )
        return None
    return float(end) - margin
