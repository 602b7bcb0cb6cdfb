"""A file in memory of which only the pages that somebody has written take room."""

import io
from collections.abc import Iterator

PAGE = 1 << 16


class Pages(io.RawIOBase):
    """For HDF5 to lay a file out in: its own few kilobytes are kept, the place of large arrays costs nothing.

    HDF5 gets into a state beyond repair where a disk is full; here it never sees one.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._at = self.length = 0

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte."""
        self._at = offset + (0, self._at, self.length)[whence]
        return self._at

    def tell(self) -> int:
        """The byte that comes next."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the length; what is beyond is forgotten by whoever asks for ``written``."""
        self.length = self._at if size is None else size
        return self.length

    def write(self, data) -> int:
        """Put bytes where it stands."""
        view = memoryview(data).cast("B")
        for page, inside, part in self._parts(len(view)):
            kept = self._pages.setdefault(page, bytearray(PAGE))
            kept[inside : inside + len(part)] = view[part.start : part.stop]
        self._at += len(view)
        self.length = max(self.length, self._at)
        return len(view)

    def readinto(self, out) -> int:
        """Read bytes from where it stands; what nobody has written is zero."""
        view = memoryview(out).cast("B")
        size = max(0, min(len(view), self.length - self._at))
        for page, inside, part in self._parts(size):
            view[part.start : part.stop] = self._pages.get(page, bytes(PAGE))[inside : inside + len(part)]
        self._at += size
        return size

    def written(self) -> Iterator[tuple[int, bytes]]:
        """Where somebody has written, and what is there, up to the length."""
        for page, content in sorted(self._pages.items()):
            if page * PAGE < self.length:
                yield page * PAGE, bytes(content[: self.length - page * PAGE])

    def _parts(self, size: int) -> Iterator[tuple[int, int, range]]:
        """Page, first byte in it, and which of the next ``size`` bytes go there."""
        done = 0
        while done < size:
            page, inside = divmod(self._at + done, PAGE)
            count = min(size - done, PAGE - inside)
            yield page, inside, range(done, done + count)
            done += count
