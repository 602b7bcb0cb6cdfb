"""``mpiopt methods``: the catalogue, or one method with its parameters."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import inspect
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpiopt.jobs.console import WIDTH, Console, table

if TYPE_CHECKING:
    from mpiopt.methods import Entry


@dataclass(frozen=True, kw_only=True)
class Methods:
    """List the methods, or show one: its parameters, what it needs, its paper."""

    name: str | None = field(default=None, kw_only=False)
    """Show this method only."""


def run(job: Methods, world: None, console: Console) -> dict[str, Any]:
    """Print the catalogue or one entry of it. Raises UsageError for an unknown name."""
    from mpiopt.methods import catalogue, find

    if job.name is not None:
        entry = find(job.name)
        console.show(_page(entry))
        return {entry.name: _facts(entry)}
    entries = catalogue()
    width = WIDTH - max(map(len, entries)) - 6
    rows = [[name, "" if entry.smooth_only else "L1", textwrap.shorten(entry.summary, width, placeholder=" ...")]
            for name, entry in entries.items()]  # fmt: skip
    console.show(table(["method", "", "what it does"], rows))
    console.show("\nL1: solves problems with an L1 penalty too. Parameters, needs, paper: mpiopt methods NAME")
    return {name: _facts(entry) for name, entry in entries.items()}


def _facts(entry: "Entry") -> dict[str, Any]:
    defaults = {name: _default(p) for name, p in entry.parameters.items()}
    return {"summary": entry.summary, "needs": entry.needs, "paper": entry.paper, "smooth_only": entry.smooth_only,
            "parameters": defaults}  # fmt: skip


def _page(entry: "Entry") -> str:
    penalties = "smooth ones only (--l2)" if entry.smooth_only else "smooth and not (--l2, --l1)"
    facts = (("", f"{entry.name}: {entry.summary}"), ("Needs: ", entry.needs), ("Penalties: ", penalties),
             ("Paper: ", entry.paper))  # fmt: skip
    text = "\n".join(textwrap.fill(head + body, WIDTH, subsequent_indent="    ") for head, body in facts)
    rows = [[name, _default(p), _kind(p)] for name, p in entry.parameters.items()]
    if not rows:
        return f"{text}\n\nIt has no parameters."
    name, value, _ = next((row for row in rows if row[1] not in ("", "None")), [rows[0][0], "VALUE", ""])
    use = f"mpiopt solve --method {entry.name} --set {name}={value}"
    return f"{text}\n\n{table(['parameter', 'default', 'type'], rows)}\n\n{use}"


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else str(parameter.default)


def _kind(parameter: inspect.Parameter) -> str:
    return inspect.formatannotation(parameter.annotation) if parameter.annotation is not parameter.empty else ""
