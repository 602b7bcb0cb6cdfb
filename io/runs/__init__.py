"""What runs leave behind: run files and checkpoints."""
