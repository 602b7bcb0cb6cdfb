"""numba's njit, with a cache on disk that may fail: a kernel that cannot be kept is compiled anew by every process.

numba lets errors of its cache end the program: a full disk, a quota, a home that cannot be written, a file cut short. And
ranks begin together and want the same kernels: one of a node compiles one, while the others wait and then read it.

What is short to write may be long to compile: ``z[:] = q`` of two arrays takes a second, most of it for the words that say that
their lengths differ, `numpy.diff` more, `numpy.max`, sums of arrays and views a tenth. Kernels have loops, which run as fast.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.sigutils import normalize_signature

from mpiopt.kernels import turns

Kernel = Callable[..., Any]

_unkept: list[str] = []  # why kernels of this process were not kept


class SparedCache(FunctionCache):
    """What is kept is used where it is sound, and nothing is asked of the disk that it cannot give.

    A process has its turn at a kernel from the moment that it misses something until it has kept it.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None where this process has to make it."""
        found = self._kept(sig, target_context)
        if found is None and turns.take(self._turn):
            found = self._kept(sig, target_context)  # another process may have made it meanwhile
            if found is not None:
                turns.give_back(self._turn)
        return found

    def _kept(self, sig: Any, target_context: Any) -> Any:
        with suppress(Exception):  # whatever a damaged file makes of pickle
            found = super().load_overload(sig, target_context)
            # processes that began with an empty folder may have given two signatures one file
            if found is not None and found.signature.args == normalize_signature(sig)[0]:
                return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, where that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # also of an index that cannot be read
            _unkept.append(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")
        finally:
            turns.give_back(self._turn)

    @property
    def _turn(self) -> str:
        return f"{self.cache_path}/{self._impl.filename_base}"


def njit(*, cache: bool = False, **options: Any) -> Callable[[Kernel], Any]:
    """As numba's, with options alone. Types are not known of what it makes: numba's wrappers have none."""

    def compiled(function: Kernel) -> Any:
        made = numba.njit(**options)(function)
        if cache:
            try:
                made._cache = SparedCache(function)
            except RuntimeError:  # no folder can be written, or the function is in no file
                _unkept.append(f"no folder for {function.__code__.co_filename} can be written")
        return made

    return compiled


def unkept() -> str:
    """Why kernels that this process compiled could not be kept, "" where all were."""
    return next(iter(_unkept), "")
