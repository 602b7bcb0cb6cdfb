# What every job needs before mpiopt starts: the one place to edit. The batch scripts read it from the folder of
# submission, as env.sh or slurm/env.sh. As it stands, a job takes ./.venv where there is one, and otherwise the mpiopt
# that was on PATH when sbatch was called.

# The site's modules: the MPI must be the one that mpi4py was built with.
# module purge
# module load python/3.11 openmpi/5

# Python's environment, on a file system that all nodes see.
venv=.venv
# shellcheck disable=SC1091
if [[ -f $venv/bin/activate ]]; then . "$venv/bin/activate"; fi

# How srun starts MPI, where the site's default does not suit the MPI: pmix for Open MPI, pmi2 for MPICH and its wheel.
# A wrong one shows as "the launcher promised 4 ranks, but MPI sees 1"; srun --mpi=list names what there is.
# export SLURM_MPI_TYPE=pmi2

# Where compiled kernels are kept, if neither the package's folder nor the home can be written by the jobs.
# export NUMBA_CACHE_DIR="$HOME/.cache/numba"
