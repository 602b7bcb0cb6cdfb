"""A line now and then while text is read."""

from collections.abc import Callable
from time import monotonic

_EVERY = 2.0  # seconds between two lines


class ReadingProgress:
    """Says now and then how much text has been read."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress, self._bytes, self._due = progress, 0, monotonic() + _EVERY

    def __call__(self, size: int) -> bool:
        """``size`` more bytes are done; always True."""
        self._bytes += size
        if monotonic() >= self._due:
            self._due = monotonic() + _EVERY
            self._progress(f"read {self._bytes / 1e6:.0f} MB of text on the first rank")
        return True
