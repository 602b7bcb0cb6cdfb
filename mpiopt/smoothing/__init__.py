"""Randomised smoothing: classifiers that vote over noise, and how far an input may move before the vote can change."""
