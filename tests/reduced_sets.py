"""Text with few common features and many of one row only, for data sets that bring their rows in fewer columns."""

from pathlib import Path

import numpy as np

COMMON = 20


def text_like(rows: int, seed: int, classes: int = 2) -> str:
    """svmlight; each row has some of `COMMON` features and up to six of its own, some rows none at all."""
    rng, lines, own = np.random.default_rng(seed), [], COMMON
    for row in range(rows):
        shared = rng.choice(COMMON, rng.integers(0, 6), replace=False) + 1
        alone = own + 1 + np.arange(rng.integers(0, 7))
        own += alone.size + int(rng.integers(0, 2))  # and some that nobody has
        pairs = [f"{j}:{rng.choice([-2, 0.5, 1, 3, 0.1])}" for j in [*np.sort(shared), *alone]]
        lines.append(" ".join([str(row % classes), *pairs]))
    return "\n".join([*lines, f"0 {own + COMMON}:1"]) + "\n"


def laid(world, path: Path, rows: int, seed: int, classes: int = 2) -> Path:
    """The same in a file, by rank 0. Collective."""
    if world.rank == 0:
        path.write_text(text_like(rows, seed, classes))
    world.barrier()
    return path
