"""svmlight text: parsed by all ranks, sorted into shards, written back."""
