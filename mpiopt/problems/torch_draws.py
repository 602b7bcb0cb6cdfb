"""What torch draws at random: following from seeds, so that there is nothing to checkpoint, and without a trace."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np


@contextmanager
def drawing(torch: ModuleType, seed: int) -> Iterator[None]:
    """What torch draws here follows from ``seed``; its generators then go on as if nothing had been drawn."""
    generators = [torch.default_generator]
    if torch.cuda.is_initialized():
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


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
