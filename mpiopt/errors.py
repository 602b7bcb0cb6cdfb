"""Every error that mpiopt raises on purpose.

    MpioptError                 one sentence: what was given, what was expected, what to do
    ├── UsageError              an argument, option or job file is wrong           (exit code 2)
    ├── LaunchError             ranks, launcher or MPI do not fit together
    ├── DataError               an input file is missing, damaged or malformed
    ├── CapabilityError         this method cannot solve this problem; another can
    ├── NumericalError          the objective or a gradient ceased to be finite
    └── UnlikeError             ranks hold unlike numbers or options where they must be alike

Ranks agree on an error before anyone raises it (`World.together`), so that every rank ends with the same sentence.
"""


class MpioptError(Exception):
    """The base of all deliberate errors; `exit_code` is what a job returns to the shell."""

    exit_code = 1


class UsageError(MpioptError):
    """An argument, an option or a job file cannot be used as given."""

    exit_code = 2


class LaunchError(MpioptError):
    """The launcher, the ranks and the MPI library do not fit together."""


class DataError(MpioptError):
    """An input file is missing, damaged or malformed."""


class CapabilityError(UsageError):
    """The method cannot solve this problem; the sentence names one that can."""


class NumericalError(MpioptError):
    """The objective or a gradient ceased to be finite."""


class UnlikeError(MpioptError):
    """Ranks differ where they must be alike: in their options, their version, or what they have computed."""
