"""A picture in Graphviz' DOT language."""

from __future__ import annotations

from .picture import Kind, Picture

__all__ = ["to_dot"]

_STYLE: dict[Kind, str] = {
    "input": 'shape=box, style="rounded,filled", fillcolor="#e6f0fd", color="#4a86d1"',
    "data": 'shape=box, style="rounded,filled", fillcolor="#f1f2f4", color="#9aa3ae"',
    "operation": "shape=box",
    "output": 'shape=box, style=filled, fillcolor="#e4f6ea", color="#3f9d63"',
    "backward": 'shape=box, style=filled, fillcolor="#fff5e8", color="#d59a4a"',
    "gradient": 'shape=box, style=filled, fillcolor="#fdeaf0", color="#cf5b86"',
}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def to_dot(picture: Picture) -> str:
    """The picture as a ``digraph``; ``dot -Tsvg`` draws it."""
    lines = [
        f"digraph {_quoted(picture.title)} {{",
        f"  rankdir={'TB' if picture.direction == 'down' else 'LR'};",
        '  node [fontname="monospace", fontsize=11]; edge [fontname="monospace", fontsize=10];',
    ]
    for number, vertex in enumerate(picture.vertices):
        text = vertex.line + (f"\n{vertex.shape_text}" if vertex.shape else "")
        lines.append(f"  v{number} [label={_quoted(text)}, {_STYLE[vertex.kind]}];")
    for edge in picture.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  v{edge.source} -> v{edge.target}{label};")
    return "\n".join([*lines, "}", ""])
