"""Files of images for the tests, in every form that `mpiopt convert` reads."""

import gzip
import pickle
import struct
from io import BytesIO
from pathlib import Path

import numpy as np


def pixels(rows: int, shape: tuple[int, ...], seed: int = 0, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Random x (rows, *shape) uint8 and class numbers y (rows,) uint8, of which the first are 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(rows) < classes, np.arange(rows), rng.integers(0, classes, rows)).astype(np.uint8)
    return rng.integers(0, 256, (rows, *shape), np.uint8), y


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    """An idx file."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(path: Path, **arrays: np.ndarray) -> Path:
    """A compressed npz archive."""
    np.savez_compressed(path, **arrays)
    return path


def encoded(x: np.ndarray, kind: str = "PNG") -> list[bytes]:
    """Every picture as a file of its own."""
    from PIL import Image

    files = []
    for picture in x:
        out = BytesIO()
        Image.fromarray(picture).save(out, kind)
        files.append(out.getvalue())
    return files


def pack(files: list[bytes], y: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of an archive of packed pictures: what their files begin with in common is stored once."""
    head = next(k for k, column in enumerate(zip(*files, strict=False)) if len(set(column)) > 1)
    tails = [np.frombuffer(file[head:], np.uint8) for file in files]
    offsets = np.concatenate(([0], np.cumsum([len(tail) for tail in tails])))
    return {
        "header": np.frombuffer(files[0][:head], np.uint8),
        "payload": np.concatenate(tails),
        "offsets": offsets,
        "labels": y,
    }


def cifar(x: np.ndarray, y: np.ndarray, protocol: int = 2, labels: bytes = b"labels") -> bytes:
    """A CIFAR batch of pictures x (rows, 32, 32, 3)."""
    data = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
    return pickle.dumps({b"batch_label": b"1 of 1", labels: y.tolist(), b"data": data, b"filenames": [b"a.png"]}, protocol)


def published(x: np.ndarray, y: np.ndarray) -> bytes:
    """A CIFAR batch opcode by opcode as Python 2 pickled the published ones: byte strings and numpy.core names."""
    planes = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).tobytes()
    dtype = (
        b"cnumpy\ndtype\n"
        + _short(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + _short(b"|")
        + b"NNN"
        + 2 * b"J\xff\xff\xff\xff"
        + b"K\x00tb"
    )
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _short(b"b") + b"\x87R"
    shape = b"M" + struct.pack("<H", len(x)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    state = b"(K\x01" + shape + dtype + b"\x89" + b"T" + struct.pack("<i", len(planes)) + planes + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in y) + b"e"
    return b"\x80\x02}(" + _short(b"data") + empty + state + _short(b"labels") + numbers + b"u."


def _short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def mnist(folder: Path, x: np.ndarray, y: np.ndarray) -> list[Path]:
    """A pair of gzip-compressed idx files."""
    paths = [folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"]
    for path, array in zip(paths, (x, y), strict=True):
        path.write_bytes(gzip.compress(idx(array)))
    return paths
