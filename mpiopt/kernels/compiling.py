"""numba's njit, with a cache on disk that may fail: a kernel that cannot be kept is compiled anew by every process.

numba lets errors of its cache end the program: a full disk, a quota, a home that cannot be written, a file cut short. And
ranks begin together and want the same kernels: one of a node compiles one, while the others wait and then read it, or where
many are wanted, compile the next (`side_by_side`).

What is short to write may be long to compile: ``z[:] = q`` of two arrays takes a second, most of it for the words that say that
their lengths differ, `numpy.diff` more, `numpy.max`, sums of arrays and views a tenth. Kernels have loops, which run as fast.
Every function that a kernel calls costs a tenth of a second, and half as much where Python cannot call it (``part``).
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.sigutils import normalize_signature

from mpiopt.kernels import turns

Kernel = Callable[..., Any]

SELDOM = 50_000  # new objects from which garbage is looked for while much is compiled; the usual 700 takes a tenth of the time

_unkept: list[str] = []  # why kernels of this process were not kept
_turns: list[str] = []  # those that this process has, the last one within the others
_waits = True  # for kernels that another process is compiling


class Busy(Exception):
    """Another process is compiling a kernel that this one is not to wait for."""


class SparedCache(FunctionCache):
    """What is kept is used where it is sound, and nothing is asked of the disk that it cannot give.

    A process has its turn at a kernel from the moment that it misses something until it has kept it.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None where this process has to make it."""
        found = self._kept(sig, target_context)
        if found is None and self._take():
            found = self._kept(sig, target_context)  # another process may have made it meanwhile
            if found is not None:
                self._give_back()
        return found

    def _take(self) -> bool:
        """Raises `Busy`, but never in the midst of another kernel, which would be lost."""
        had = turns.take(self._turn) if _waits or _turns else turns.at_once(self._turn)
        if had is False and not (_waits or _turns):
            raise Busy
        if had:
            _turns.append(self._turn)
        return bool(had)

    def _give_back(self) -> None:
        if self._turn in _turns:
            _turns.remove(self._turn)
            turns.give_back(self._turn)

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
            self._give_back()

    @property
    def _turn(self) -> str:
        return f"{self.cache_path}/{self._impl.filename_base}"


def njit(*, cache: bool = False, part: bool = False, **options: Any) -> Callable[[Kernel], Any]:
    """As numba's, with options alone. Types are not known of what it makes: numba's wrappers have none.

    part : of other kernels, which alone can call it.
    """

    def compiled(function: Kernel) -> Any:
        made = numba.njit(no_cfunc_wrapper=True, no_cpython_wrapper=part, **options)(function)
        if part:
            _shut(made)
        if cache:
            try:
                made._cache = SparedCache(function)
            except RuntimeError:  # no folder can be written, or the function is in no file
                _unkept.append(f"no folder for {function.__code__.co_filename} can be written")
        return made

    return compiled


def _shut(made: Any) -> None:
    """There is no code by which Python could call it: say so where it tries."""

    def refused(*arguments: Any, **named: Any) -> None:
        raise TypeError(f"{made.__name__} is part of kernels, which alone can call it")

    made._insert, made._compile_for_args = (lambda *told: None), refused


def side_by_side(calls: Sequence[Callable[[], object]]) -> None:
    """Make all calls, each of which compiles a few kernels: in this order, but later what other processes are at.

    Ranks that begin together so share what there is to do. A call may be begun more than once.
    """
    left = list(calls)
    with _rarely_collected():
        while left:
            later = [call for call in left if not _done(call)]
            if len(later) == len(left):  # others are at all that is left
                later.pop(0)()
            left = later


def _done(call: Callable[[], object]) -> bool:
    global _waits
    _waits = False
    try:
        call()
    except Busy:
        return False
    finally:
        _waits = True
    return True


@contextmanager
def _rarely_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def unkept() -> str:
    """Why kernels that this process compiled could not be kept, "" where all were."""
    return next(iter(_unkept), "")
