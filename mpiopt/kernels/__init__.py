"""The hot loops: compressed sparse rows, and the functions on their arrays that the solvers spend their time in."""
