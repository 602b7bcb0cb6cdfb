"""Fits along falling penalties, with folds of rows held out, and the choice among them."""
