"""``mpiopt bench convert --data table``: numbers and categories to shards, from CSV and from Arrow memory, on one core."""

import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console, size, table

if TYPE_CHECKING:
    from mpiopt.comm.world import World

NUMBERS, TEXTS = 13, 6  # columns


def converting_tables(spec: str, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Convert a made-up table of ``table:rows=N`` rows as CSV, and as an Arrow file. One rank; the median of CPU seconds."""
    from mpiopt.io.tables.plan import TableOptions
    from mpiopt.io.text.convert import convert
    from mpiopt.io.text.options import TextOptions
    from mpiopt.io.text.readers import READERS

    if world.size > 1:
        raise UsageError(f"bench convert measures one core: run it on 1 rank, not {world.size}")
    rows = _rows(spec)
    rates: dict[str, float] = {}
    shown = []
    with tempfile.TemporaryDirectory() as name:
        console(f"writing a table of {rows:,} rows")
        sizes = _written(Path(name), rows)
        for kind, nbytes in sizes.items():
            console(f"timing {kind}")
            options = TextOptions(overwrite=True, reader=READERS.find(kind), table=TableOptions(label="label"))
            seconds = []
            for _ in range(runs + 1):  # the first one compiles
                begun = process_time()
                convert(world, [Path(name) / f"table.{kind}"], Path(name) / "out.h5", options)
                seconds.append(process_time() - begun)
            took = float(np.median(seconds[1:]))
            rates[kind] = nbytes / took
            shown.append([kind, size(nbytes), f"{took:.2f}", f"{size(nbytes / took)}/s"])
    console.show(table([f"{NUMBERS} numbers, {TEXTS} categories", "size", "seconds", "speed"], shown, "lrrr"))
    return {"rows": rows, "bytes": sizes, "bytes_per_second": rates}


def _rows(spec: str) -> int:
    found = spec.removeprefix("table").removeprefix(":rows=") or "200000"
    if not found.isdigit() or int(found) < 1:
        raise UsageError(f"--data {spec}: give table, or table:rows=N")
    return int(found)


def _written(folder: Path, rows: int) -> dict[str, int]:
    """The bytes of the table as CSV, and of its columns in memory."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather

    rng = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {"label": rng.integers(0, 2, rows)}
    columns |= {f"n{k}": rng.normal(size=rows).round(5) for k in range(NUMBERS)}
    columns |= {f"c{k}": np.char.mod("%08x", rng.zipf(1.5, rows) % 5000) for k in range(TEXTS)}
    made = pa.table(columns)
    pyarrow.csv.write_csv(made, folder / "table.csv")
    pyarrow.feather.write_feather(made, str(folder / "table.arrow"), compression="uncompressed", chunksize=1 << 16)
    return {"csv": (folder / "table.csv").stat().st_size, "arrow": made.nbytes}
