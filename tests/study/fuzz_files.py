"""A program: read damaged files of ours and compare with what was written.

python fuzz_files.py FOLDER FIRST COUNT     prints one JSON object; the number of the present case is in FOLDER/case
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.engine.drive import Standing, solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import DataError
from mpiopt.io.dataset.dense import DenseDataset
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.images.convert import convert_dense
from mpiopt.io.images.recognise import scan
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.run_file import RunFile, read_run, read_solution
from mpiopt.io.runs.state_tree import flatten
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from tests.image_files import npz, pixels
from tests.problem_sets import Data
from tests.study.mutations import harmed


class Kind(NamedTuple):
    """Files of one kind: which may be harmed, how to read them, and whether what is read must then be what was written.

    A run that was killed left no checksum, as it left no answer: its history is read as far as HDF5 takes it.
    """

    files: list[Path]
    read: Callable[[], Any]
    exact: bool = True


def sparse(folder: Path, world: World) -> Kind:
    target = folder / "a.h5"
    write_shards(world, from_spec("default:rows=60,cols=40,per_row=4"), target, shards=2)

    def read() -> list[np.ndarray]:
        data = Dataset.open(target, world)
        matrix, y, *_ = data.read(0, data.rows)
        labels = data.labels
        return [
            matrix.indptr,
            matrix.indices,
            matrix.data,
            y,
            np.array(matrix.shape),
            data.blocks(3),
            np.array([*labels.distinct, *labels.counts, labels.mean, data.nnz, data.index.shuffle or 0]),
        ]

    return Kind([target, folder / "a.shards" / "0000.h5", folder / "a.shards" / "0001.h5"], read)


def finished(folder: Path, world: World) -> Kind:
    return _run(folder / "f.h5", True)


def killed(folder: Path, world: World) -> Kind:
    return _run(folder / "k.h5", False)


def _run(path: Path, ends: bool) -> Kind:
    file = RunFile(path, {"method": "spcg", "l2": 1e-5, "run_id": "name", "config": 'method = "spcg"\n' * 30})
    for k in range(40):
        file.add({"round": k, "objective": 1 / (k + 1), "seconds": 0.1 * k, "gap": np.exp(-k)})
    if ends:
        file.finish(np.linspace(0, 1, 500), 0.5, {"reason": "GAP", "reason_text": "Done.", "objective": 0.1})
    else:
        left = path.read_bytes()  # as a kill leaves it
    file.close()
    if not ends:
        path.write_bytes(left)

    def read() -> list[np.ndarray]:
        run = read_run(path)
        text = json.dumps({name: str(value) for name, value in sorted(run.attributes.items())})
        found = [run.history[name] for name in sorted(run.history)] + [np.array(text)]
        return found + ([np.append(*read_solution(path))] if ends else [])

    return Kind([path], read, exact=ends)


def checkpoint(folder: Path, world: World) -> Kind:
    path, team = folder / "c.h5", _team(world)

    def keep(at: Standing, reason: Any) -> None:
        Store(path, world, "name").save(at, {"l2": 1e-2}, team)

    solve(find("spcg").make(), team, np.zeros(team.dim), Stop(rounds=3), (), [keep])

    def read() -> list[np.ndarray]:
        store = Store(path, world, "")
        at = store.load(store.find(), team)
        flat = flatten(at.run)
        text = json.dumps([flat.tree, flat.parts, [list(record) for record in at.history], list(at.fresh)])
        return [*flat.arrays.values(), *(array for own in flat.own for array in own.values()), np.array(text)]

    return Kind([path], read)


def _team(world: World) -> Team:
    return Data(rows=40, features=30, seed=1).team(world, L2(1e-2))


def dense(folder: Path, world: World) -> Kind:
    target = folder / "d.h5"
    x, y = pixels(30, (6, 5))
    convert_dense(world, scan([npz(folder / "d.npz", x=x, y=y)]), target)

    def read() -> list[np.ndarray]:
        data = DenseDataset.open(target, world)
        return [*data.read(0, data.rows), np.array(data.shape), data.blocks(2)]

    return Kind([target, folder / "d.shards" / "0000.h5"], read)


KINDS = [sparse, finished, killed, checkpoint, dense]


def case(seed: int, kind: Kind, wanted: list[np.ndarray]) -> str:
    """ "accepted" or "refused" where that is right; else what is wrong with how a damaged file was read."""
    draws = random.Random(seed)
    victim = draws.choice(kind.files)
    sound = victim.read_bytes()
    victim.write_bytes(harmed(sound, draws))
    try:
        found = kind.read()
    except DataError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 500 else f"not one sentence: {error}"
    except Exception as error:
        return f"{victim.name}: {type(error).__name__}: {error}"
    finally:
        victim.write_bytes(sound)
    return "accepted" if not kind.exact or _equal(found, wanted) else f"{victim.name}: a wrong answer taken for right"


def _equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return len(found) == len(wanted) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True)
    )


def main(folder: Path, first: int, count: int) -> None:
    world, made = World(), {}
    found: dict[str, int] = {"accepted": 0, "refused": 0}
    wrong = []
    for seed in range(first, first + count):
        make = KINDS[seed % len(KINDS)]
        if make not in made:
            kind = make(folder, world)
            made[make] = kind, kind.read()
        (folder / "case").write_text(str(seed))
        told = case(seed, *made[make])
        if told in found:
            found[told] += 1
        else:
            wrong.append([seed, make.__name__, told[:500]])
    print(json.dumps({**found, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
