"""A run file in pandas and xarray, which mpiopt does not need: pip install pandas xarray h5netcdf.

python read_a_run.py RUN.h5
"""

import sys

from mpiopt import read_run


def main(path: str) -> None:
    """Print how the gap fell over rounds and bytes, and what the file holds."""
    import pandas
    import xarray

    run = read_run(path)
    history = pandas.DataFrame(dict(run.history)).set_index("round")
    print(f"{run.attributes['method']}: {run.attributes['reason_text']}")
    print(history[["gap", "bytes_sent"]].tail(3))
    tree = xarray.open_datatree(path, engine="h5netcdf", phony_dims="sort")
    print(tree["history"].to_dataset()["objective"].min().item(), tree["solution"].to_dataset()["x"].size)


if __name__ == "__main__":
    main(sys.argv[1])
