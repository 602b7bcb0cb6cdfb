"""What torch draws at random: following from seeds, so that there is nothing to checkpoint, and without a trace."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np


@contextmanager
def drawing(torch: ModuleType, seed: int) -> Iterator[None]:
    """What torch draws here, on the CPU, follows from ``seed``; its generator then goes on as if nothing had been drawn."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


@contextmanager
def following(torch: ModuleType) -> Iterator[None]:
    """What Python's and NumPy's own generators draw here follows from torch's, and they too go on as if nothing had been."""
    seed, before, numbers = int(torch.randint(2**32, ()).item()), random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numbers)
