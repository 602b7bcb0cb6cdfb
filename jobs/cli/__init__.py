"""The command line: options and job files, and what a job says."""
