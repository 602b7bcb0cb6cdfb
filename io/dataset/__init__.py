"""Data sets: the index, the shards, writing and reading them; labels; generators."""
