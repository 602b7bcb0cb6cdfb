"""A comparison as one HTML file that needs nothing else: table, pictures, configurations."""

from html import escape
from string import Template

from mpiopt.io.record import RunData
from mpiopt.jobs.compare import Comparison
from mpiopt.jobs.console import size
from mpiopt.jobs.plots import svg
from mpiopt.jobs.tabulate import facts, note, problem

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8886; --card: #fff; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
figure { margin: 1rem 0; background: var(--card); border-radius: 6px; padding: .5rem; }
figure svg { width: 100%; height: auto; min-width: 60rem; }
details { margin: .4rem 0; } pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--line); border-radius: 6px; }
</style>
<h1>$title</h1>
<p>$note</p>
<div class="wide">$table</div>
<h2>Gap against rounds, bytes and seconds</h2>
<figure class="wide">$picture</figure>
<h2>Configurations</h2>
$configurations
</html>
""")


def page(comparison: Comparison) -> str:
    """The page's text."""
    return PAGE.substitute(
        title=escape(problem(comparison)), note=escape(note(comparison)), table=_table(comparison),
        picture=svg(comparison), configurations="\n".join(map(_configuration, comparison.labels, comparison.runs)),
    )  # fmt: skip


def _table(comparison: Comparison) -> str:
    found = facts(comparison)
    head = ["run", "ranks", *(f"to {target}" for target in found["targets"]), "rounds", "vector rounds",
            "bytes", "seconds", "objective", "gap", "ended"]  # fmt: skip
    lines = [_line("th", head)]
    for row in found["runs"]:
        reached = ["\N{EN DASH}" if k is None else str(k) for k in row["rounds_to"].values()]
        lines.append(_line("td", [row["label"], str(row["ranks"]), *reached, str(row["rounds"]),
                                  str(row["vector_rounds"]), size(row["bytes"]), f"{row['seconds']:.3g}",
                                  f"{row['objective']:.12g}", f"{row['gap']:.1e}", row["reason"]]))  # fmt: skip
    return f"<table>{''.join(lines)}</table>"


def _line(tag: str, cells: list[str]) -> str:
    out = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{out}</tr>"


def _configuration(label: str, run: RunData) -> str:
    about = {name: value for name, value in run.attributes.items() if name not in ("config", "schema", "schema_version")}
    lines = "\n".join(f"# {name}: {value}" for name, value in about.items())
    body = escape(f"{run.attributes.get('config', '')}\n{lines}")
    return f"<details><summary>{escape(label)} ({escape(str(run.path))})</summary><pre>{body}</pre></details>"
