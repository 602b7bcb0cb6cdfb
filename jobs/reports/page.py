"""Runs side by side as one HTML file that needs nothing else: tables, pictures, configurations."""

from collections.abc import Sequence
from html import escape
from string import Template

from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.reports.plots import MARK, svg
from mpiopt.jobs.reports.sheet import DASH, Column, Grid, Sheet

EN_DASH = "\N{EN DASH}"

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="$mark">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8886; --card: #fff; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
.left { text-align: left; }
figure { margin: 1rem 0; background: var(--card); border-radius: 6px; padding: .5rem; }
figure svg { width: 100%; height: auto; min-width: 60rem; }
details { margin: .4rem 0; } pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--line); border-radius: 6px; }
</style>
<h1>$title</h1>
<p>$note</p>
$tables
<h2>$heading</h2>
<figure class="wide">$picture</figure>
<h2>Configurations</h2>
$configurations
</html>
""")


def page(sheet: Sheet) -> str:
    """The page's text."""
    own = [Grid((Column("setup", sheet.details, right=False),))] if any(sheet.details) else []
    tables = "\n".join(f'{_caption(grid)}<div class="wide">{_table(grid, sheet.labels)}</div>' for grid in [*own, *sheet.wide])
    return PAGE.substitute(
        mark=MARK,
        title=escape(sheet.title),
        note=escape(sheet.note),
        tables=tables,
        heading=escape(sheet.heading),
        picture=svg(sheet),
        configurations="\n".join(map(_configuration, sheet.labels, sheet.runs)),
    )


def _caption(grid: Grid) -> str:
    return f"<p>{escape(grid.caption)}</p>" if grid.caption else ""


def _table(grid: Grid, labels: Sequence[str]) -> str:
    sides = ["left", *("" if column.right else "left" for column in grid.columns)]
    lines = [
        ("th", ("run", *(column.head for column in grid.columns))),
        *(("td", (label, *cells)) for label, cells in zip(labels, grid.cells, strict=True)),
    ]
    return f"<table>{''.join(_line(tag, cells, sides) for tag, cells in lines)}</table>"


def _line(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    out = "".join(
        f"<{tag}{f' class={side}' * bool(side)}>{escape(EN_DASH if cell == DASH else cell)}</{tag}>"
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{out}</tr>"


def _configuration(label: str, run: RunData) -> str:
    about = {name: value for name, value in run.attributes.items() if name not in ("config", "schema", "schema_version")}
    lines = "\n".join(f"# {name}: {value}" for name, value in about.items())
    body = escape(f"{run.attributes.get('config', '')}\n{lines}")
    return f"<details><summary>{escape(label)} ({escape(str(run.path))})</summary><pre>{body}</pre></details>"
