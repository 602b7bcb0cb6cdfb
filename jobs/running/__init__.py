"""A solve or a training under way: teams, records, checkpoints, signals, forecasts, GPUs."""
