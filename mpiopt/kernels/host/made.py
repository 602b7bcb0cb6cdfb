"""Kernels made from a template and the scalar functions of a user: compiled by numba, kept on disk beside those functions.

A template is a plain function with free names, such as ``value``; `specialised` binds them and compiles. numba keeps the
machine code in the folder of the file that the scalar functions are in, and makes it anew when that file changes; the
name of a kernel has a digest of all code that it is made of, so that kernels of several templates and classes never mix.
"""

import hashlib
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any

from mpiopt.kernels.compiling import njit

# contract lets a * b + c be one instruction; nothing is reordered
LOOPS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def specialised(template: Callable, given: Mapping[str, Callable], title: str) -> Callable:
    """``template``, compiled with its free names bound to the functions ``given``, all from one file; called ``title``."""
    parts = [function.__code__ for function in given.values()]
    how = f"{LOOPS} {template.__module__}".encode()  # machine code names the module that it is from: it may have moved
    text = b"".join(map(_text, (template.__code__, *parts))) + b"".join(map(_called, (template, *given.values())))
    digest = hashlib.sha256(how + text).hexdigest()[:16]
    name = f"{title}.{template.__name__}.{digest}"
    code = template.__code__.replace(co_filename=parts[0].co_filename, co_name=name, co_qualname=name)
    scalars = {key: njit(part=True, **LOOPS)(scalar) for key, scalar in given.items()}
    bound = FunctionType(code, {**template.__globals__, **scalars}, name)
    return njit(cache=True, **LOOPS)(bound)


def _called(function: Callable) -> bytes:
    """What kernels compute that a function calls, which are not the same on every machine, and those that they call."""
    names = function.__code__.co_names
    found = [getattr(function.__globals__.get(name), "py_func", None) for name in names]
    return b"".join(_text(each.__code__) + _called(each) for each in found if each)


def _text(code: CodeType) -> bytes:
    """What a function computes, as bytes that are the same in every process."""
    inner = [_text(one) if isinstance(one, CodeType) else repr(one).encode() for one in code.co_consts]
    return b"|".join([code.co_code, *inner, *(name.encode() for name in (*code.co_names, *code.co_varnames))])
