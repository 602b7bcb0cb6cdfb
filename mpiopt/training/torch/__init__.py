"""Modules of torch as models of one flat vector."""
