"""The programs: the command line, job files, launching and ending, progress, reports. Nothing here is imported by the library.

A job is a module of this folder with a frozen keyword dataclass of its options, named like the module (`solve` and
`Solve`), and ``run(job, world, console) -> dict``: what ``--json`` prints, with an optional ``exit_code``.
"""
