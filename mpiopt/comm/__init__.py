"""Communication: the only importer of mpi4py."""
