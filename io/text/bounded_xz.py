"""The content of an xz file, decompressed within a bound on memory: a file says itself how much it wants, up to 4 GiB."""

import io
import lzma
from pathlib import Path
from typing import Any, Literal

MOST = 1 << 28  # bytes of memory: four times what xz -9 asks for
READ = 1 << 16


class BoundedXz(io.RawIOBase):
    """Reads the streams of one file, one after the other, zeros between them passed over. Not collective.

    Raises OSError at once where the file cannot be opened; reading raises LZMAError or EOFError for what is damaged, cut off or
    wants more memory than ``most`` bytes.
    """

    def __init__(self, path: Path, mode: Literal["rb"] = "rb", most: int = MOST) -> None:
        self._file, self._most = open(path, mode, buffering=0), most
        self._stream: lzma.LZMADecompressor | None = None
        self._rest = b""  # of the file, read and not yet decompressed

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill some of ``buffer``, bytes, and return how many; 0 at the end."""
        while len(buffer):
            stream = self._stream = self._stream or self._begun()
            if stream is None:
                return 0
            if stream.needs_input and not self._more():
                raise EOFError("it ends within a stream")
            found, self._rest = stream.decompress(self._rest, len(buffer)), b""
            if stream.eof:
                self._rest, self._stream = stream.unused_data, None
            if found:
                buffer[: len(found)] = found
                return len(found)
        return 0

    def _more(self) -> bool:
        self._rest = self._rest or self._file.read(READ) or b""
        return bool(self._rest)

    def _begun(self) -> lzma.LZMADecompressor | None:
        """The next stream, if there is one."""
        while self._more():
            self._rest = self._rest.lstrip(b"\0")
            if self._rest:
                return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._most)
        return None
