"""Numerics without communication: Krylov spaces, small Newton problems, random streams, schedules, theory."""
