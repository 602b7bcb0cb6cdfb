"""A program: change what a data set says, seal it anew, and solve it, or be told in one sentence why not.

What is solved must be the optimum of the rows as h5py and scipy alone read them.

python fuzz_shards.py FOLDER FIRST COUNT    prints one JSON object; the number of the present case is in FOLDER/case
"""

import faulthandler
import json
import random
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
from scipy import optimize, sparse

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from tests.forged import forged, forged_shard

LAMBDA = 1e-2
ODD = [-1, 0, 1, 2, 7, 39, 40, 41, 127, 2**31 - 1, 2**31, -(2**31), 2**62, -(2**63)]
REAL = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e-300, 1e150, 1e151, 1e200, 1e308, np.nan, np.inf, -np.inf]


@np.errstate(all="ignore")
def twisted(values: np.ndarray, draws: random.Random) -> np.ndarray:
    """Other values of the same type, often ones that could be."""
    values = values.copy()
    odd = ODD if values.dtype.kind == "i" else REAL
    for _ in range(draws.choice([1, 1, 1, 2, 5])):
        n = len(values)
        a, b = (draws.randrange(n), draws.randrange(n)) if n else (0, 0)
        match draws.randrange(9) if n else 6:
            case 0 | 1:
                values[a] = np.array(draws.choice(odd)).astype(values.dtype)
            case 2:
                values[[a, b]] = values[[b, a]]
            case 3:
                values[a] += np.array(draws.choice([-1, 1])).astype(values.dtype)
            case 4:
                values[a] = values[b]
            case 5:
                values = np.delete(values, a)
            case 6:
                values = np.insert(values, a, values[b] if n else 0)
            case 7:
                values[min(a, b) : max(a, b)] = np.sort(values[min(a, b) : max(a, b)])
            case 8:
                values = np.roll(values, draws.choice([-1, 1]))
    return values


def rewritten(file: h5py.File, name: str, values: np.ndarray, draws: random.Random) -> None:
    """The dataset with other values, stored in any way that HDF5 knows."""
    about = dict(file[name].attrs)
    del file[name]
    kind = values.dtype
    if draws.random() < 0.1:
        kind = np.dtype(draws.choice(["f4", "f8", "i4", "i8", "u1", ">f8", ">i8", "f2"]))
    chunks = (draws.randint(1, len(values)),) if len(values) and draws.random() < 0.7 else None
    stored = {"fletcher32": draws.random() < 0.8, "compression": draws.choice([None, None, 4])} if chunks else {}
    with np.errstate(all="ignore"):
        file.create_dataset(name, data=values.astype(kind), chunks=chunks, **stored).attrs.update(about)


def change_shard(file: h5py.File, draws: random.Random) -> None:
    name = draws.choice(["X/indices", "X/indptr", "X/data", "y", "weight", "weight", "attribute"])
    if name == "attribute":
        file["X"].attrs["shape"] = np.array([draws.choice(ODD), draws.choice(ODD)])
    elif name == "weight" and name not in file:
        weights = np.array([draws.choice([0.0, 0.5, 1.0, 2.0]) for _ in file["y"]])
        file["weight"] = twisted(weights, draws) if draws.random() < 0.5 else weights
    else:
        rewritten(file, name, twisted(file[name][()], draws), draws)


def change_index(file: h5py.File, draws: random.Random) -> None:
    names = ["labels/values", "labels/rows", "nonzeros", *(f"shards/{name}" for name in ("rows", "nnz", "nbytes", "digest"))]
    numbers = ["rows", "cols", "nnz", "shuffle", "label_least", "label_greatest", "label_mean", "schema_version"]
    if draws.random() < 0.5:
        rewritten(file, name := draws.choice(names), twisted(file[name][()], draws), draws)
    elif draws.random() < 0.8:
        name = draws.choice(numbers)
        file.attrs[name] = draws.choice([*ODD[:-1], *REAL, "text", np.zeros(3)])
    else:
        file["nonzeros"].attrs["stride"] = draws.choice(ODD)


def alone(target: Path) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Rows, labels and weights by h5py and scipy alone."""
    with h5py.File(target, locking=False) as index:
        cols, names = int(index.attrs["cols"]), index["shards/name"].asstr()[()]
    matrices, y, weights = [], [], []
    for name in names:
        with h5py.File(target.with_suffix(".shards") / name, locking=False) as file:
            parts = file["X/data"][()], file["X/indices"][()], file["X/indptr"][()]
            matrices.append(sparse.csr_matrix(parts, shape=(len(file["y"]), cols)))
            y.append(file["y"][()])
            weights.append(file["weight"][()] if "weight" in file else np.ones(len(file["y"])))
    return sparse.vstack(matrices).tocsr().astype(np.float64), np.concatenate(y), np.concatenate(weights)


def gap(target: Path, x: np.ndarray) -> float:
    """F(x) - F* of the rows in ``target``, F* by scipy."""
    a, y, weight = alone(target)
    sign = np.where(y == np.unique(y)[-1], 1.0, -1.0)

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (a @ x)
        slope = -sign * weight / (1 + np.exp(np.clip(margin, -500, 500))) / weight.sum()
        loss = weight @ np.logaddexp(0, -margin) / weight.sum()
        return loss + LAMBDA / 2 * x @ x, a.T @ slope + LAMBDA * x

    best = optimize.minimize(
        value, np.zeros(len(x)), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000}
    )
    return value(x)[0] - best.fun


def case(seed: int, target: Path, world: World) -> str:
    """ "accepted" or "refused" where that is right; else what is wrong with how a changed data set was taken."""
    draws = random.Random(seed)
    shards, index = draws.choice([(1, 0), (1, 0), (0, 1), (2, 0), (1, 1)])
    for _ in range(shards):
        forged_shard(target, draws.randrange(2), lambda file: change_shard(file, draws))
    for _ in range(index):
        forged(target, lambda file: change_index(file, draws))
    try:
        data = Dataset.open(target, world)
        team = team_of(data, world, L2(LAMBDA))
        found = solve(find("spcg").make(), team, np.zeros(team.dim), Stop(rounds=200, gap=1e-9))
    except (DataError, UsageError) as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 500 else f"not one sentence: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    away = gap(target, found.x)
    return "accepted" if away <= 1e-7 else f"solved to {away:.1e}: {found.reason_text}"


def main(folder: Path, first: int, count: int) -> None:
    faulthandler.enable()
    world, target = World(), folder / "work" / "a.h5"
    write_shards(world, from_spec("default:rows=60,cols=40,per_row=4"), folder / "a.h5", shards=2, values=np.float64)
    found: dict[str, int] = {"accepted": 0, "refused": 0}
    wrong = []
    for seed in range(first, first + count):
        (folder / "case").write_text(str(seed))
        shutil.rmtree(target.parent, ignore_errors=True)
        shutil.copytree(folder / "a.shards", target.with_suffix(".shards"))
        shutil.copy(folder / "a.h5", target)
        told = case(seed, target, world)
        if told in found:
            found[told] += 1
        else:
            wrong.append([seed, told[:500]])
    print(json.dumps({**found, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
