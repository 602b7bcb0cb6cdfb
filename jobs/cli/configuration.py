"""Job files: a job's options as TOML. The command line's parser reads them, so that both always mean the same."""

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from cyclopts import Token

from mpiopt.errors import UsageError
from mpiopt.registry.plugins import load_file

LONGEST = 1 << 20  # characters of a job file
# never taken from a run file: where to write, and code to run
OWN = ("out", "overwrite", "checkpoint", "every_rounds", "every_seconds", "resume", "log", "plugin")


def to_toml(job: Any) -> str:
    """The options of a job as the text of a job file; those that are None or empty are left out, and the job file's name."""
    from tomli_w import dumps

    return dumps(
        {
            key(field.name): _plain(value)
            for field in fields(job)
            if (value := getattr(job, field.name)) not in (None, ()) and field.name != "config"
        }
    )


def key(field: str) -> str:
    """An option's name in a job file: the field's, without the underscore that keeps it off Python's keywords."""
    return field.rstrip("_")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        pairs = all(isinstance(item, tuple) for item in value)
        return dict(value) if pairs else [_plain(item) for item in value]
    return value


def from_file(_app: Any, _commands: Any, arguments: Any) -> None:
    """Give the options that the command line left out the values of the file named by --config, then those of the preset.

    A configuration source of cyclopts. Tables (``[set]``) are merged with the command line's pairs. Plugins are loaded here,
    before anything is looked up by a name that they may bring.
    Raises UsageError.
    """
    named = {argument.name: argument for argument in arguments}
    _plug_in(named)
    if "--config" in named and named["--config"].tokens:
        _take(named, named["--config"].tokens[0].value)
    if "--preset" in named and named["--preset"].tokens:
        _take(named, _preset(named["--preset"].tokens[0].value))
    _plug_in(named)


def _plug_in(named: dict[str, Any]) -> None:
    """Load the files that --plugin names so far. Raises UsageError."""
    for token in named["--plugin"].tokens if "--plugin" in named else ():
        load_file(token.value)


def _preset(name: str) -> str:
    """The file of a preset. Raises UsageError with the names that there are."""
    folder = Path(__file__).parents[1] / "presets"
    if not (folder / f"{name}.toml").is_file():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
        raise UsageError(f"there is no preset {name!r}: choose one of {names}, or say what to train with --data and --model")
    return str(folder / f"{name}.toml")


def _take(named: dict[str, Any], path: str) -> None:
    """Fill what is not given from a file. Raises UsageError."""
    known = {
        name for name, argument in named.items() if name.startswith("--") and name not in ("--config", "--json", "--debug")
    }
    table, chosen = _load(path), [token.value for token in named["--method"].tokens] if "--method" in named else []
    if Path(path).suffix == ".h5":
        _demand_named(named, table, path)
    if chosen and chosen != [table.get("method")]:
        from mpiopt.jobs.cli.method_options import strangers

        for entry in ("set", *strangers(chosen[0])):  # the parameters of another method, and what does not reach this one
            table.pop(entry, None)
    for entry, value in table.items():
        option = "--" + entry.replace("_", "-")
        if option not in known:
            keys = ", ".join(sorted(name[2:].replace("-", "_") for name in known))
            raise UsageError(f"{path}: unknown key {entry!r}; the keys are {keys}")
        _fill(named[option], entry, value, path)


def _demand_named(named: dict[str, Any], table: dict[str, Any], path: str) -> None:
    """See that code of one's own is not taken from a run file. Raises UsageError."""
    from mpiopt.jobs.running.own_code import code_in

    is_code = code_in(table)
    for name in filter(is_code, table):
        if not named[f"--{name}"].tokens:
            raise UsageError(
                f"{path} was trained with --{name} {table[name]}, which is code, and code is never taken from a run file: give "
                f"--{name} on the command line or in a job file of your own"
            )


def _load(path: str) -> dict[str, Any]:
    """The table of a job file, or the one that a run file keeps, less what is one's own to say: anybody may have made it."""
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe, which one rank of many would empty
            raise UsageError(f"the job file {path} cannot be read: it is not a regular file")
        if Path(path).suffix == ".h5":
            from mpiopt.io.runs.run_file import read_run

            table = parsed(read_run(path).attributes.get("config", ""), path)
            return {name: value for name, value in table.items() if name.replace("-", "_") not in OWN}
        with Path(path).open("rb") as file:
            return parsed(file.read(LONGEST + 1).decode(), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"the job file {path} cannot be read: {reason}") from error


def parsed(text: str, path: str | Path) -> dict[str, Any]:
    """The table in the text of a job file, of at most LONGEST characters. Raises UsageError, which names ``path``."""
    if len(text) > LONGEST:
        raise UsageError(f"{path} is no job file: it has more than {LONGEST:,} characters")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{path} is no job file: its values are nested too deep") from None
    except ValueError as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error


def _fill(argument: Any, entry: str, value: Any, path: str) -> None:
    tokens = list(_tokens(argument, entry, value, path))
    given = list(argument.tokens)
    if isinstance(value, dict):
        argument.tokens = tokens + given
    elif not given:
        argument.tokens = tokens


def _tokens(argument: Any, entry: str, value: Any, path: str) -> Iterator[Token]:
    """A TOML value as what the command line would have handed over."""
    table = "=" in (argument.parameter.metavar or "")
    plural = argument.token_count()[1]
    if table is not isinstance(value, dict) or (isinstance(value, list) and not plural):
        wanted = "a table" if table else "one value"
        raise UsageError(f"{path}: {entry} needs {wanted}, not {value!r}")
    kinds = set(get_args(argument.hint) or [argument.hint]) - {type(None)}
    if not table and isinstance(value, bool) is not (kinds == {bool}):
        raise UsageError(f"{path}: {entry} {'needs true or false' if bool in kinds else 'is no switch'}, not {value!r}")
    if isinstance(value, str) and kinds <= {int, float}:
        raise UsageError(f"{path}: {entry} needs a number, not the text {value!r}")
    if isinstance(value, bool):
        yield Token(keyword=entry, implicit_value=value, source=path)
        return
    items = [f"{k}={_toml(v)}" for k, v in value.items()] if table else value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        yield Token(keyword=entry, value=str(item), source=path, index=index)


def _toml(value: Any) -> str:
    from tomli_w import dumps

    return dumps({"value": value}).partition("=")[2].strip()
