"""Programs to start from, each to be run by itself: mpiexec -n 4 python -m mpi4py jobs/examples/NAME.py"""
