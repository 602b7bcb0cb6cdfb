"""Large optimisation problems over MPI, with few and small messages."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# In a checkout, io/ and jobs/ stand beside this folder rather than inside it.
if not (_Path(__file__).parent / "io").is_dir():
    __path__.append(str(_Path(__file__).parents[1]))
