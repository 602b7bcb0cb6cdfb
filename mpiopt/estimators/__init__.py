"""Linear models in scikit-learn's manner, on one process or on all ranks of a job; the only importer of scikit-learn."""
