"""Each job file is a program of its own: ``mpirun -n 2 python jobs/solve.py --rounds 5``, with mpiopt installed or not.

Python puts the job file's folder first on the path, so a job file finds this module by its bare name before it can
find the package.
"""

import sys
from pathlib import Path


def alone(path: str) -> None:
    """Run the job file ``path`` with this process's arguments, as ``mpiopt JOB`` would; does not return."""
    checkout = Path(path).resolve().parents[1]
    sys.path[:1] = [str(checkout)] if (checkout / "mpiopt").is_dir() else []
    from mpiopt.jobs.launch import main

    sys.exit(main([Path(path).stem, *sys.argv[1:]]))
