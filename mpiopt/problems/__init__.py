"""Objectives: a smooth loss over the workers' rows and one penalty."""
