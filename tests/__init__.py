"""Tests; a package so that the harness's own modules have a name: tests.launcher, tests.pool, tests.rank and their kin."""
