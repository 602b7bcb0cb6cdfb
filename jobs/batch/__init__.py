"""Scripts for Slurm."""
