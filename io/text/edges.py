"""Graphs from text: a line for each edge, two nodes, from 0 on; what follows # is not read."""

from pathlib import Path

from mpiopt.errors import DataError
from mpiopt.graphs.graph import Graph, read_edges

MOST = 4000  # edges: a graph is written out where a run says what it was


def graph_file(path: str | Path) -> Graph:
    """The graph of a file. Not collective. Raises DataError naming the file, and the line where one is wrong."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is no text"
        raise DataError(f"the graph {path} cannot be read: {why}") from error
    graph = read_edges(text.splitlines(), str(path))
    if len(graph.edges) > MOST:
        raise DataError(f"{path} has {len(graph.edges):,} edges: give at most {MOST:,}, or name a family of graphs")
    return graph
