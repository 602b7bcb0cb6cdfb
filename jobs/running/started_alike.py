"""Whether all ranks were started alike: the same command and options, the same versions and plugins.

Data need no question: the index of a set is rank 0's, and says what every shard must hold.
"""

import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import blake2b
from typing import Any

from mpiopt.comm.agreements import unlike
from mpiopt.errors import UnlikeError
from mpiopt.jobs.cli.flags import flag
from mpiopt.registry.plugins import loaded

TellAll = Callable[[Any], list[Any]]  # what a rank says -> what all ranks say, on every rank; collective


def started(name: str, job: Any) -> dict[str, str]:
    """What must be the same on all ranks of a job, as text by what it is called: options, versions, plugins."""
    import numpy

    from mpiopt import __version__

    options = {flag(field.name): _text(getattr(job, field.name)) for field in fields(job)}
    versions = {
        "the version of mpiopt": __version__,
        "the version of Python": platform.python_version(),
        "the version of NumPy": numpy.__version__,
        "the byte order": sys.byteorder,
    }
    return {"the command": name, **versions, **loaded(), **options}


def _text(value: Any) -> str:
    """As on a command line, where there are several values."""
    return shlex.join(map(_text, value)) if isinstance(value, tuple) else str(value)


def demand_alike(facts: Mapping[str, Any], tell_all: TellAll, remedy: str) -> None:
    """Raise UnlikeError, naming what differs, on which rank and what to do, unless all ranks have the same facts. Collective.

    A digest is compared; only where it differs do the facts themselves travel.
    """
    digest = blake2b(repr(sorted(facts.items(), key=str)).encode(errors="replace"), digest_size=16).digest()
    if len(set(tell_all(digest))) == 1:
        return
    told = tell_all({name: str(value) for name, value in facts.items()})
    name, rank, usual = unlike(told) or ("something", 0, 0)
    here, there = (one.get(name, "unknown") for one in (told[rank], told[usual]))
    raise UnlikeError(f"{name} is {here} on rank {rank} and {there} on rank {usual}: {remedy}")
