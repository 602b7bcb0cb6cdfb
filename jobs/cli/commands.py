"""The commands and their command lines, made from the jobs' dataclasses by cyclopts."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import Annotated, Any, NamedTuple

from cyclopts import App, CycloptsError, Parameter

from mpiopt import __version__
from mpiopt.errors import UsageError
from mpiopt.jobs.cli.configuration import from_file
from mpiopt.registry.plugins import load_file


class Needs(NamedTuple):
    """What a job needs: MPI, and as many ranks as the launcher promised."""

    mpi: bool
    size: bool


COMMANDS = {
    "convert": Needs(True, True),
    "describe": Needs(False, False),
    "solve": Needs(True, True),
    "path": Needs(True, True),
    "train": Needs(True, True),
    "play": Needs(True, True),
    "predict": Needs(True, True),
    "score": Needs(True, True),
    "coef": Needs(False, False),
    "export": Needs(False, False),
    "methods": Needs(False, False),
    "report": Needs(False, False),
    "watch": Needs(False, False),
    "bench": Needs(True, True),
    "reproduce": Needs(True, True),
    "doctor": Needs(True, False),
    "slurm": Needs(False, False),
}

HELP = {"--help", "-h"}
OFF = Parameter(negative=())  # a flag that is off unless given


@dataclass(frozen=True, kw_only=True)
class Session:
    """What every command takes beside its own options; never part of a job file."""

    json: Annotated[bool, OFF] = False
    """Print one JSON object on standard output; progress goes to standard error."""
    debug: Annotated[bool, OFF] = False
    """Show the traceback of an error."""


class Call(NamedTuple):
    """A parsed command line: the job's module, name, options (a dataclass) and session."""

    run: Callable[..., dict[str, Any] | None]
    name: str
    job: Any
    session: Session

    @property
    def needs(self) -> Needs:
        """What the job needs to run."""
        return COMMANDS[self.name]


def parse(argv: Sequence[str]) -> Call | Callable[[], None]:
    """The job that ``argv`` asks for, or a function that prints the help or the version that it asks for.

    A lone hyphen is standard input, wherever a file is read.

    Raises UsageError.
    """
    argv = ["/dev/stdin" if word == "-" else word for word in argv] or ["--help"]
    if HELP & set(argv):
        _plug_in(argv)
    names = [argv[0]] if argv[0] in COMMANDS else list(COMMANDS)
    try:
        command, bound, _ = _app(names).parse_args(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        error.verbose = False
        hint = f"mpiopt {argv[0]} --help" if argv[0] in COMMANDS else "mpiopt --help"
        raise UsageError(_elsewhere(argv) or f"{error} (see {hint})") from error
    called = command(*bound.args, **bound.kwargs) if hasattr(command, "is_job") else None
    return called or (lambda: command(*bound.args, **bound.kwargs))


def _elsewhere(argv: Sequence[str]) -> str:
    """What to do in place of an option that a job does not have and others do, "" where it says nothing of that."""
    kind = getattr(import_module(f"mpiopt.jobs.{argv[0]}"), argv[0].capitalize(), None) if argv[0] in COMMANDS else None
    told: dict[str, str] = getattr(kind, "elsewhere", {})
    return next((told[option] for option in (word.partition("=")[0] for word in argv) if option in told), "")


def _plug_in(argv: Sequence[str]) -> None:
    """Load the plugins that a request for help names: the help of options lists what there is when they are imported.

    Raises UsageError.
    """
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if option == "--plugin" and (value or after):
            load_file(value or after)


def _app(names: Sequence[str]) -> App:
    """The command line of the jobs ``names``; the others are not imported, for every rank pays for what is."""
    app = App(
        name="mpiopt",
        version=__version__,
        version_flags=["--version"],
        config=(from_file,),
        help="Large optimisation problems over MPI, with few and small messages: mpiexec -n 4 mpiopt solve DATA.h5",
        default_parameter=Parameter(negative_iterable=()),
    )
    for name in names:
        app.command(_command(name), name=name)
    return app


def _command(name: str) -> Callable[..., Call]:
    module = import_module(f"mpiopt.jobs.{name}")
    kind = getattr(module, name.capitalize())

    def command(job, session=Session()):
        return Call(module.run, name, job, session)

    made: Any = command
    made.__doc__ = kind.__doc__
    made.__annotations__ = {"job": Annotated[kind, Parameter(name="*")], "session": Annotated[Session, Parameter(name="*")]}
    made.is_job = True
    if _complete(kind):
        made.__defaults__ = (kind(), Session())
    return made


def _complete(kind: type) -> bool:
    """Whether a job can be made without any option."""
    return all(field.default is not MISSING or field.default_factory is not MISSING for field in fields(kind))
