"""``mpiopt methods``: the catalogue, or one method with its parameters."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import TYPE_CHECKING, Any

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import WIDTH, Console, room, table
from mpiopt.jobs.cli.options import Loss, Plugins

if TYPE_CHECKING:
    from mpiopt.io.text.readers import Reader
    from mpiopt.losses.family import Family
    from mpiopt.methods import Entry
    from mpiopt.registry.entry import Registered, Spelt


GIVEN = ("rule", "lr", "workers", "total_steps", "clients", "meeting")  # what mpiopt train fills from its other options


@dataclass(frozen=True, kw_only=True)
class Methods:
    """List the methods, or show one: its parameters, what it needs, its paper.

    The name compressors lists what --compress takes, losses what --loss takes, readers what convert reads, graphs what --graph
    takes, sampling, splits and noises what --sampling, --split and --noise take, sketches what --set sketch=... of mast takes,
    middles what --set aggregate=... of robust_sgd takes, games what play takes; each of the first three can be shown too.
    """

    name: str | None = field(default=None, kw_only=False)
    """Show this method, compressor or loss only."""
    data: str | None = field(default=None, kw_only=False)
    """After sampling: rows (DATA.h5 or a generator) whose constants for every law are printed, found by one process."""
    loss: Loss = "logistic"
    """The loss of these rows."""
    l2: float = 1e-3
    """Lambda of l2/2 |x|^2, which theory needs above 0."""
    accuracy: float | None = None
    """The mean squared distance from the optimum that is asked for. [default: 1e-3 of what it is at 0]"""
    plugin: Plugins = ()


def run(job: Methods, world: None, console: Console) -> dict[str, Any]:
    """Print the catalogue or one entry of it. Raises UsageError for an unknown name."""
    from mpiopt.compress.catalogue import CATALOGUE
    from mpiopt.compress.masks import MASKS
    from mpiopt.graphs.topology import FAMILIES
    from mpiopt.io.text.readers import READERS
    from mpiopt.losses.registry import catalogue as losses
    from mpiopt.methods import catalogue, find, playing, training
    from mpiopt.numerics.robust import MIDDLES
    from mpiopt.problems.games import GAMES
    from mpiopt.sampling.plans import SAMPLINGS
    from mpiopt.sampling.splits import SPLITS
    from mpiopt.smoothing.laws import NOISES

    solving, learning, moving, compressors = catalogue(), training(), playing(), CATALOGUE.all()
    if job.name == "compressors":
        return _compressors(compressors, console)
    name = job.name
    if name is not None and name in compressors:
        compressor = compressors[name]
        console.show(_compressor(compressor))
        return {compressor.name: _compressor_facts(compressor)}
    if job.name == "losses":
        return _losses(losses(), console)
    if name is not None and name in losses():
        loss = losses()[name]
        console.show(_loss(loss))
        return {loss.name: _loss_facts(loss)}
    if job.name == "readers":
        return _readers(READERS.all(), console)
    if name is not None and name in READERS.all():
        return _readers({name: READERS[name]}, console)
    spelt: dict[str, tuple[str, Mapping[str, Spelt]]] = {
        "graphs": ("--graph", FAMILIES),
        "sampling": ("--sampling", SAMPLINGS),
        "splits": ("--split", SPLITS),
        "noises": ("--noise", NOISES),
        "sketches": ("--set sketch", MASKS),
        "middles": ("--set aggregate", MIDDLES),
        "games": ("mpiopt play", GAMES),
    }
    if job.data is not None:
        if name != "sampling":
            raise UsageError(f"{job.data} is only looked at for its constants: give mpiopt methods sampling {job.data}")
        from mpiopt.jobs.reports.sampling import constants_of

        return constants_of(job.data, job.loss, job.l2, job.accuracy, console)
    if name is not None and name in spelt:
        return _spelt(*spelt[name], console)
    if name is not None:
        entry = find(name, solving | learning | moving)
        console.show(_page(entry, "train" if name in learning else "play" if name in moving else "solve"))
        return {entry.name: _facts(entry)}
    width = room(max(map(len, solving | learning | moving)) + 6)
    console.show(_list("mpiopt solve", solving, width))
    console.show(f"\n{_list('mpiopt train', learning, width)}")
    console.show(f"\n{_list('mpiopt play', moving, width)}")
    console.show(
        "\nL1: solves problems with an L1 penalty too. Parameters, needs, paper:\n"
        "mpiopt methods NAME; what --compress takes: mpiopt methods compressors;\n"
        "what --loss takes: mpiopt methods losses; what --graph takes: mpiopt methods\n"
        "graphs; samplings: mpiopt methods sampling; games: mpiopt methods games; and\n"
        "splits, noises, sketches, middles"
    )
    return {name: _facts(entry) for name, entry in (solving | learning | moving).items()}


def _list(title: str, entries: "dict[str, Entry]", width: int) -> str:
    rows = [[name, "" if entry.smooth_only else "L1", _short(entry, width)] for name, entry in entries.items()]
    return table([title, "", "what it does"], rows)


def _short(entry: "Reader | Registered[Any]", width: int) -> str:
    return textwrap.shorten(entry.summary, width, placeholder=" ...")


def _compressors(known: "dict[str, Spelt]", console: Console) -> dict[str, Any]:
    """What --compress takes."""
    wide = room(max(map(len, known)) + 2)
    rows = [[name, _short(entry, wide)] for name, entry in known.items()]
    rows.append(["vote", "The majority of all workers' signs, a byte a coordinate"])
    console.show(table(["--compress", "what it sends"], rows))
    examples = (
        "topk:0.01",
        "topk:k=100",
        "randk:0.1,shared=yes",
        "qsgd:bits=4,bucket=512",
        "topk:0.01+natural",
        "shrunk:qsgd:bits=2",
        "powersgd:rank=2",
        "vote",
    )
    console.show("\n" + textwrap.fill(f"for example {', '.join(examples)}; parameters and paper: mpiopt methods NAME", WIDTH))
    return {name: _compressor_facts(entry) for name, entry in known.items()}


def _readers(known: "Mapping[str, Reader]", console: Console) -> dict[str, Any]:
    """What --reader takes."""
    _show(
        ["--reader", "what it reads", "files"],
        known,
        {name: " ".join(entry.suffixes) for name, entry in known.items()},
        console,
    )
    return {name: _about(entry, suffixes=list(entry.suffixes)) for name, entry in known.items()}


def _spelt(head: str, known: "Mapping[str, Spelt]", console: Console) -> dict[str, Any]:
    """What an option takes that spells a thing and its parameters."""
    parameters = {name: ", ".join(entry.parameters) for name, entry in known.items()}
    _show([head, "what it is", "parameters"], known, parameters, console)
    return {name: _about(entry, parameters=list(entry.parameters)) for name, entry in known.items()}


def _losses(known: "Mapping[str, Spelt[type[Family]]]", console: Console) -> dict[str, Any]:
    """What --loss takes."""
    labels = {name: entry.build.labels.text for name, entry in known.items()}
    _show(["--loss", "what it is", "labels"], known, labels, console)
    console.show("\n" + textwrap.fill("for example huber:delta=2; parameters, constants and paper: mpiopt methods NAME", WIDTH))
    return {name: _loss_facts(entry) for name, entry in known.items()}


def _show(heads: list[str], known: "Mapping[str, Reader | Spelt[Any]]", beside: dict[str, str], console: Console) -> None:
    """Name, what it is, and one thing more of each."""
    wide = max(20, WIDTH - max(map(len, known)) - max(map(len, beside.values())) - 4)
    console.show(table(heads, [[name, _short(entry, wide), beside[name]] for name, entry in known.items()]))


def _about(entry: "Reader | Registered[Any]", **more: Any) -> dict[str, Any]:
    return {"summary": entry.summary, "paper": entry.paper, **more}


def _defaults(entry: "Registered[Any]") -> dict[str, str]:
    return {name: str(parameter.default) for name, parameter in entry.parameters.items()}


def _loss_facts(entry: "Spelt[type[Family]]") -> dict[str, Any]:
    kind = entry.build
    return _about(
        entry,
        labels=kind.labels.text,
        curvature_bound=None if isinf(kind.curvature_bound) else kind.curvature_bound,
        concordance=kind.concordance,
        dual=entry.make().descends,
        gpu=kind.cuda is not None,
        parameters=_defaults(entry),
    )


def _loss(entry: "Spelt[type[Family]]") -> str:
    """All that there is to know of one."""
    about = _loss_facts(entry)
    bound = "has no bound" if about["curvature_bound"] is None else f"is at most {about['curvature_bound']:g}"
    tight = "apply" if about["concordance"] is not None else "do not apply"
    facts = (
        f"{entry.name}: {entry.summary}",
        f"Labels: {about['labels']}",
        f"Paper: {entry.paper}",
        f"The second derivative {bound}; tight bounds of the gap {tight}; dual coordinate descent: "
        f"{'yes' if about['dual'] else 'no'}; on a GPU: {'yes' if about['gpu'] else 'no'}",
    )
    text = "\n".join(textwrap.fill(fact, WIDTH, subsequent_indent="    ") for fact in facts)
    given = ",".join(f"{name}={value}" for name, value in about["parameters"].items())
    return f"{text}\n\nmpiopt solve --loss {entry.name}" + (f":{given}" if given else "")


def _compressor_facts(entry: "Spelt") -> dict[str, Any]:
    return _about(entry, parameters=_defaults(entry))


def _compressor(entry: "Spelt") -> str:
    """All that there is to know of one."""
    text = "\n".join(
        textwrap.fill(part, WIDTH, subsequent_indent="    ")
        for part in (f"{entry.name}: {entry.summary}.", f"Paper: {entry.paper}")
    )
    rows = [[name, str(field.default), inspect.formatannotation(field.annotation)] for name, field in entry.parameters.items()]
    use = f"mpiopt train --compress {entry.name}"
    if not rows:
        return f"{text}\n\nIt has no parameters.\n\n{use}"
    return f"{text}\n\n{table(['parameter', 'default', 'type'], rows)}\n\n{use}:{rows[0][0]}=VALUE"


def _facts(entry: "Entry") -> dict[str, Any]:
    defaults = {name: _default(p) for name, p in entry.parameters.items()}
    return {
        "summary": entry.summary,
        "needs": entry.needs,
        "paper": entry.paper,
        "smooth_only": entry.smooth_only,
        "parameters": defaults,
    }


def _page(entry: "Entry", command: str) -> str:
    penalties = "smooth ones only (--l2)" if entry.smooth_only else "smooth and not (--l2, --l1)"
    facts = (
        ("", f"{entry.name}: {entry.summary}"),
        ("Needs: ", entry.needs),
        *([("Penalties: ", penalties)] if command == "solve" else []),
        ("Paper: ", entry.paper),
    )
    text = "\n".join(textwrap.fill(head + body, WIDTH, subsequent_indent="    ") for head, body in facts)
    rows = [[name, _default(p), _kind(p)] for name, p in entry.parameters.items() if name not in GIVEN]
    if not rows:
        return f"{text}\n\nIt has no parameters of its own."
    name, value, _ = next((row for row in rows if row[1] not in ("", "None")), [rows[0][0], "VALUE", ""])
    use = f"mpiopt {command} --method {entry.name} --set {name}={value}"
    return f"{text}\n\n{table(['parameter', 'default', 'type'], rows)}\n\n{use}"


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else str(parameter.default)


def _kind(parameter: inspect.Parameter) -> str:
    return inspect.formatannotation(parameter.annotation) if parameter.annotation is not parameter.empty else ""
