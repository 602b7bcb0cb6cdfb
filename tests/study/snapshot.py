"""What some hundred command lines say, write and return, kept in a file, so that two versions can be held together.

    python tests/study/snapshot.py write FILE [--tree CHECKOUT] [--only WORD]     run them all (about ten minutes)
    python tests/study/snapshot.py compare OLD NEW                                print what differs; exit code 1 if anything

Of a command line is kept: exit code, both outputs, and of every HDF5 file in its folder the attributes, columns, shapes,
types and digests of bits. What depends on the moment is left out: seconds, rates, dates, names of runs, lines of progress.

On one rank a command line runs in a fork of a process that has imported the heavy libraries; a list of them, one after
the other, in the same folder. On several it runs under mpiexec.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.study.snapshot_lines import Line, lines, prepare

ATONCE = 2  # command lines at a time
LIMIT = 300  # seconds for one
MOMENT = re.compile(r"(.*_)?seconds|created|run_id|time|rate|REFERENCE_LIST|DIMENSION_LIST")  # of columns, attributes, JSON
HEAVY = "numpy scipy.sparse scipy.special numba h5py cyclopts mpi4py psutil tomli_w"
SERVER = f"""
import os, sys
for name in {HEAVY.split()!r}:
    __import__(name)
import importlib, pkgutil
import mpiopt.jobs.launch, mpiopt.kernels
for module in pkgutil.walk_packages(mpiopt.kernels.__path__, "mpiopt.kernels."):
    for kernel in vars(importlib.import_module(module.name)).values():
        if hasattr(kernel, "py_func"):  # what numba keeps of it on disk, so that forks need not read it
            for signature, *_ in kernel._cache._cache_file._load_index():
                kernel.compile(signature)
for request in sys.stdin:
    folder, number, *argv = eval(request)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{folder}}.{{name}}{{number}}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["mpiopt", *argv]
        sys.exit(mpiopt.jobs.launch.main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
RULES = [
    (r"[0-9a-f]{32}", "ID"),
    (r"\d{4}-\d\d-\d\d[T ][\d:]+(\+[\d:]+)?", "DATE"),
    (r"\(?[\d.,]+(e[+-]?\d+)? steps/s\)?", "# steps/s"),
    (r"(?<![\w.])[\d.,]*\d(e[+-]?\d+)? ?(s|ms|us|ns|min|minutes|h|seconds|kB/s|MB/s|GB/s)\b", "# s"),
    (r"on host \S+", "on host HOST"),
    (r"(?m)^( *Traceback \(most recent call last\):)\n( +.*\n)*", r"\1\n"),  # where it went is no business of a user's
]
PROGRESS = re.compile(r"^(round|epoch) +[\d.]+ |^compiling kernels|^$|^read \d+ MB")


class Server:
    """A process that runs command lines of one rank in forks of itself."""

    def __init__(self, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-Pc", SERVER],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, folder: Path, number: int, argv: list[str]) -> int:
        """Run one, outputs beside its folder; returns the exit code."""
        self.process.stdin.write(repr([str(folder), number, *argv]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def environment(tree: Path) -> dict[str, str]:
    """That of a checkout, one thread a rank."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict(os.environ) | dict.fromkeys(threads, "1") | {"PYTHONPATH": str(tree), "COLUMNS": "80", "TERM": "dumb"}


def taken(line: Line, base: Path, scratch: Path, tree: Path, server: Server) -> dict[str, Any]:
    """Run a line's commands in a folder of their own, with a copy of the prepared files; what is to be kept of it."""
    folder = scratch / re.sub(r"[^\w.-]+", "_", line.name)
    shutil.copytree(base, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    said = []
    for number, argv in enumerate(line.commands):
        outs = [scratch / f"{folder.name}.{name}{number}" for name in ("out", "err")]
        if line.ranks == 1:
            code = server.run(folder, number, argv)
        else:
            command = ["mpiexec", "-n", str(line.ranks), sys.executable, "-m", "mpiopt.jobs", *argv]
            with outs[0].open("wb") as out, outs[1].open("wb") as err:
                code = subprocess.run(
                    command, cwd=folder, env=environment(tree), stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=LIMIT
                ).returncode
        texts = [plain(path.read_text(errors="replace"), line, folder, tree) for path in outs]
        said.append({"argv": argv, "code": code, "out": texts[0], "err": texts[1]})
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and before.get(path) != path.stat().st_mtime_ns:
            files[str(path.relative_to(folder))] = contents(path, line) if path.suffix == ".h5" else None
    shutil.rmtree(folder)
    return {"ranks": line.ranks, "said": said, "files": files}


def plain(text: str, line: Line, folder: Path, tree: Path) -> list[str]:
    """An output without what depends on the moment; without any number where the line is loose."""
    if text.startswith("{"):
        try:
            said = json.dumps(timeless(json.loads(text)), indent=0, default=str, sort_keys=True)
            return said.replace(str(folder), "DIR").splitlines()
        except json.JSONDecodeError:
            pass
    text = "\n".join(untimed(text.replace(str(folder), "DIR").replace(str(tree), "TREE").replace("\r", "").splitlines()))
    for pattern, word in RULES + ([(r"\d[\d.,]*(e[+-]?\d+)?", "#")] if line.loose else []):
        text = re.sub(pattern, word, text)
    return [re.sub(r" +", " ", row).rstrip() for row in text.splitlines() if not PROGRESS.match(row)]


def untimed(rows: list[str]) -> Iterator[str]:
    """The rows of a text, with # in those columns of its tables that are headed by a word of the moment."""
    spans: list[tuple[int, int]] = []
    for before, row in zip(["", *rows], rows, strict=False):
        if re.fullmatch(r"-+(  -+)+", row):
            spans = [span.span() for span in re.finditer("-+", row) if MOMENT.fullmatch(before[slice(*span.span())].strip())]
        spans = spans if row else []
        for lo, hi in () if row.startswith("--") else spans:
            row = f"{row[:lo]}{'#':>{hi - lo}}{row[hi:]}"
        yield row


def timeless(node: Any) -> Any:
    """JSON without what depends on the moment."""
    if isinstance(node, dict):
        return {key: timeless(value) for key, value in node.items() if not MOMENT.fullmatch(key)}
    return [timeless(item) for item in node] if isinstance(node, list) else node


def contents(path: Path, line: Line) -> Any:
    """Attributes, and of every dataset shape, type and digest; of a loose line the names alone."""
    import h5py
    import numpy as np

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        for key, value in item.attrs.items():
            if not MOMENT.fullmatch(key):
                told = "\n".join(sorted(value.splitlines())) if key == "config" else str(value)  # in whatever order
                found[f"{name}@{key}"] = None if line.loose else told
        if isinstance(item, h5py.Dataset) and not MOMENT.fullmatch(name.rpartition("/")[2]):
            raw = item[()]
            if isinstance(raw, bytes):  # the classes of a checkpoint's state, wherever they are defined
                raw = np.frombuffer(re.sub(rb'"type": "[\w.]*\.(\w+)"', rb'"type": "\1"', raw), np.uint8)
            content = repr(raw.tolist()).encode() if raw.dtype == object else np.ascontiguousarray(raw).tobytes()
            digest = blake2b(content, digest_size=8).hexdigest()
            found[name] = None if line.loose else [list(item.shape), item.dtype.str, digest]

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return found


def write(path: Path, tree: Path, only: str) -> None:
    """Run all lines and keep what came of them."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        base, env = scratch / "base", environment(tree)
        base.mkdir()

        def mpiopt(*argv: str) -> str:
            command = [sys.executable, "-m", "mpiopt.jobs", *argv]
            return subprocess.run(command, cwd=base, env=env, check=True, capture_output=True, text=True).stdout

        prepare(base, mpiopt)
        told = mpiopt("methods")
        wanted = [line for line in lines(told) if only in line.name]
        servers = [Server(env) for _ in range(ATONCE)]
        idle = list(servers)

        def one(line: Line) -> dict[str, Any]:
            server = idle.pop()
            try:
                return taken(line, base, scratch, tree, server)
            finally:
                idle.append(server)

        with ThreadPoolExecutor(ATONCE) as pool:
            found = dict(zip((line.name for line in wanted), pool.map(one, wanted), strict=True))
        for server in servers:
            server.process.stdin.close()
            server.process.wait()
    path.write_text(json.dumps(found, indent=1))
    print(f"{len(found)} command lines, {sum(len(one['said']) for one in found.values())} runs, in {path}")


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """A line for everything that is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in old or key not in new:
                yield f"{place}/{key}: only in the {'new' if key in new else 'old'} one"
            else:
                yield from differences(old[key], new[key], f"{place}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for k, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{place}[{k}]")
    elif old != new:
        yield f"{place}:\n    - {_shown(old)}\n    + {_shown(new)}"


def _shown(value: Any) -> str:
    return "\n      ".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write")
    writing.add_argument("file", type=Path)
    writing.add_argument("--tree", type=Path, default=Path(__file__).resolve().parents[2])
    writing.add_argument("--only", default="", help="lines whose name has this in it")
    comparing = verbs.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    asked = parser.parse_args()
    if asked.verb == "write":
        write(asked.file, asked.tree.resolve(), asked.only)
        return 0
    found = list(differences(json.loads(asked.old.read_text()), json.loads(asked.new.read_text())))
    print("\n".join(found) or "no difference")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
