"""Compressors: vectors in fewer bytes, packed to the bit, with the constants that the theory asks for."""
