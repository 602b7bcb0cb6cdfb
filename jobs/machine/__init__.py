"""What a job runs on: launcher, node, memory, network."""
