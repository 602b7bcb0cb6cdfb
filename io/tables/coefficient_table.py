"""Coefficients by name as a table of Parquet."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from mpiopt.io.tables.arrow import arrow


def write_parquet(blocks: Iterable[list[tuple[str, dict[str, float]]]], file: BinaryIO, columns: Sequence[str]) -> None:
    """Write names as the column feature and what is known of each as ``columns``, a row group a block.

    Raises CapabilityError without pyarrow, OSError.
    """
    pa, parquet = arrow(), arrow("pyarrow.parquet")
    schema = pa.schema([("feature", pa.string()), *((name, pa.float64()) for name in columns)])
    with parquet.ParquetWriter(file, schema) as writer:
        for block in blocks:
            names = pa.array([name for name, _ in block], pa.string())
            values = [pa.array([told[name] for _, told in block], pa.float64()) for name in columns]
            writer.write_table(pa.table([names, *values], schema))
