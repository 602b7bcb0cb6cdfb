"""Outer steps: what the agreed message does to the points."""
