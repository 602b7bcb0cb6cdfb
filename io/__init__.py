"""Files: sharded HDF5 data sets, svmlight text, generators, runs and checkpoints. The only importer of h5py."""
