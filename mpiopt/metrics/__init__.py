"""How good predictions are, exact over all ranks: every rank brings its own rows, or none."""
