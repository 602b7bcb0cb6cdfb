"""The whole job from Python: text to a data set, a solve that is recorded, and the record read again.

mpiexec -n 4 python -m mpi4py whole_job.py ROWS.svm FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from mpiopt import L2, Stop, World, find, open_data, read_run, solve, team_of
from mpiopt.io.runs.run_file import RunFile
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions


def main(text: str, folder: Path) -> None:
    """Convert, solve, record, read. Collective."""
    world = World()
    convert(world, [text], folder / "rows.h5", TextOptions(normalize="l2"))
    team = team_of(open_data(folder / "rows.h5", world), world, L2(1e-3))
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=50, gap=1e-8))
    if world.rank == 0:
        with RunFile(folder / "run.h5", {"method": "spcg", "world_size": world.size}) as file:
            for record in found.history:
                file.add(record._asdict())
            file.finish(found.x, 0.0, {"reason": found.reason.name, "reason_text": found.reason_text})
        run = read_run(folder / "run.h5")
        print(f"{run.attributes['reason']} after {int(run.history['round'][-1])} rounds, |x| = {np.linalg.norm(found.x):.6f}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
