"""Losses of one row, a file each: scalar functions of a margin and a label, constants, a rule for labels; a registry."""
