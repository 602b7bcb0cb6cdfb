"""What the parameters of a training are called: in a run file ``solution/layout``, JSON in UTF-8.

    {"blocks": [["0.weight", [5, 6]], ...], "keys": {"0.weight": "0.weight", ...}}

blocks : names and shapes of the parts of x, in order. keys : of a module of torch, for each entry of its ``state_dict`` the
block or the buffer that it is; tied parameters are one block with several keys.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.disk.foreign_hdf5 import column, group
from mpiopt.io.runs.opened_run import opened_run
from mpiopt.problems.model import Block

PLACE = "layout"


class Naming(NamedTuple):
    """blocks : the parts of x. keys : as above, {} for what is no module of torch. vocabulary : of a model of text, as JSON."""

    blocks: tuple[Block, ...] = ()
    keys: Mapping[str, str] = {}
    vocabulary: str | None = None

    def write(self, place: h5py.Group) -> None:
        """Put it into a group, where there is any. Raises OSError."""
        if self.blocks:
            told = {"blocks": self.blocks, "keys": dict(self.keys), "vocabulary": self.vocabulary}
            text = json.dumps(told)
            place[PLACE] = np.frombuffer(text.encode(), np.uint8)

    @staticmethod
    def parsed(text: bytes, size: int) -> "Naming":
        """Of so many parameters. Raises ValueError."""
        told = json.loads(text)
        blocks = tuple(Block(str(name), tuple(map(int, shape))) for name, shape in told["blocks"])
        if sum(prod(block.shape) for block in blocks) != size or min((*b.shape, 0) for b in blocks) < (0,):
            raise ValueError("its layout is not that of its solution")
        return Naming(blocks, {str(key): str(name) for key, name in told["keys"].items()}, told.get("vocabulary"))


UNNAMED: Naming = Naming()


def read_naming(path: str | Path) -> Naming:
    """What the parameters of a run are called. Not collective. Raises DataError; UsageError for a run that does not say."""
    with opened_run(path) as file:
        if PLACE not in set(group(file, "solution")):
            raise UsageError(f"{path} does not say what its parameters are called: give a run of mpiopt train that has ended")
        size = column(file, "solution/x", ("f4", "f8"), (None,)).size
        return Naming.parsed(column(file, f"solution/{PLACE}", ("u1",), (None,))[()].tobytes(), size)
