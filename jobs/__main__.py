"""The program ``mpiopt``, also as ``python -m mpiopt.jobs``."""

import sys

from mpiopt.jobs.launch import main

if __name__ == "__main__":
    sys.exit(main())
