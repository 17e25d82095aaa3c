"""A picture as SVG: cards for arrays, curves for what depends on what.

Colours stand as attributes, for the light scheme, and again as styles that follow the reader's
scheme; cards carry their own background, so the text is legible on any page.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable
from html import escape
from typing import TypeAlias

from .layered import Box, Layout, Link, arrange
from .picture import Kind, Picture, Vertex

__all__ = ["to_svg"]

_Turn: TypeAlias = "Callable[[tuple[float, float]], tuple[float, float]]"

_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_SIZE = 13.0
_SMALL = 11.0
_ADVANCE = 0.61  # of a monospaced character, in units of the font's size
_PAD = 11.0
_HEIGHT = {1: 30.0, 2: 46.0}
_LONGEST = 44  # characters of a formula on a card; the whole of it is the tooltip
_MARGIN = 10.0

#: (fill, border, text) in the light scheme and in the dark one.
_COLOURS: dict[Kind, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    "input": (("#e6f0fd", "#4a86d1", "#123a6b"), ("#16304f", "#5b9be6", "#d5e7ff")),
    "data": (("#f1f2f4", "#9aa3ae", "#3b444f"), ("#2a2f36", "#79838f", "#d3d9e0")),
    "operation": (("#ffffff", "#a9b3c0", "#1d2733"), ("#1f252d", "#5d6875", "#e8edf2")),
    "output": (("#e4f6ea", "#3f9d63", "#12492a"), ("#17392a", "#56b981", "#d3f5e1")),
    "backward": (("#fff5e8", "#d59a4a", "#5a3a0d"), ("#3a2c17", "#c9924b", "#fbe7c9")),
    "gradient": (("#fdeaf0", "#cf5b86", "#66173a"), ("#431d30", "#e07aa2", "#ffdbe8")),
}
_EDGE = ("#7d8895", "#8b96a3")


def width_of(text: str) -> int:
    """Columns that a text takes: combining marks none, wide characters two."""
    return sum(
        0
        if unicodedata.combining(c)
        else 2
        if unicodedata.east_asian_width(c) in "WF" or ord(c) > 0xFFFF
        else 1
        for c in text
    )


def _shortened(text: str) -> str:
    if width_of(text) <= _LONGEST:
        return text
    kept = text
    while width_of(kept) >= _LONGEST:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _box(vertex: Vertex) -> tuple[float, float]:
    """Width and height of a card."""
    columns = width_of(_shortened(vertex.line)) * _SIZE
    columns = max(columns, width_of(vertex.shape_text) * _SMALL)
    return max(columns * _ADVANCE + 2 * _PAD, 34.0), _HEIGHT[2 if vertex.shape else 1]


def to_svg(picture: Picture) -> str:
    """The whole picture, as one ``<svg>`` element that needs nothing else."""
    down = picture.direction == "down"
    sizes = [_box(v) for v in picture.vertices]
    boxes = [Box(w, h) if down else Box(h, w) for w, h in sizes]
    links = []
    for edge in picture.edges:
        wide, high = width_of(edge.label) * _SMALL * _ADVANCE + 8, 18.0
        label = (Box(wide, high) if down else Box(high, wide)) if edge.label else None
        links.append(Link(edge.source, edge.target, label))
    layout = arrange(boxes, links, *((22.0, 36.0) if down else (12.0, 56.0)))

    def at(point: tuple[float, float]) -> tuple[float, float]:
        across, along = point[0] + _MARGIN, point[1] + _MARGIN
        return (across, along) if down else (along, across)

    width, height = at((layout.across + _MARGIN, layout.along + _MARGIN))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cr-graph" width="{_n(width)}" '
        f'height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'font-family="{_FONT}" style="max-width:100%;height:auto">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_style()}</style>",
    ]
    parts += _edges(picture, layout, at, down)
    for vertex, centre, size in zip(picture.vertices, layout.centres, sizes, strict=True):
        parts.append(_card(vertex, at(centre), size))
    parts.append("</svg>")
    return "\n".join(parts)


def _pair(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _style() -> str:
    """The dark scheme, by the reader's setting or that of the notebook."""
    rules = [(f".cr-edge{{stroke:{_EDGE[1]}}}", f".cr-tip{{fill:{_EDGE[1]}}}")]
    rules += [
        (
            f".cr-{kind} rect{{fill:{dark[0]};stroke:{dark[1]}}}",
            f".cr-{kind} text{{fill:{dark[2]}}}",
        )
        for kind, (_, dark) in _COLOURS.items()
    ]
    flat = [rule for pair in rules for rule in pair]
    flat.append(".cr-label{fill:#b4bfcb}")
    scheme = "".join(f".cr-graph {rule}" for rule in flat)
    notebook = "".join(f'[data-jp-theme-light="false"] .cr-graph {rule}' for rule in flat)
    return f"@media (prefers-color-scheme: dark){{{scheme}}}{notebook}"


def _edges(picture: Picture, layout: Layout, at: _Turn, down: bool) -> list[str]:
    parts = []
    for route, middle in zip(layout.routes, layout.labels, strict=True):
        *_, end = route
        points = [*route[:-1], (end[0], end[1] - 7.0)]
        path = f"M{_pair(at(points[0]))}"
        for before, point in itertools.pairwise(points):
            if middle is not None and before[1] < middle[1] < point[1] and point is not points[-1]:
                path += f"M{_pair(at(point))}"  # the label stands in this gap
            elif before[0] == point[0]:
                path += f"L{_pair(at(point))}"
            else:
                halfway = (before[1] + point[1]) / 2
                bends = (at((before[0], halfway)), at((point[0], halfway)), at(point))
                path += "C" + " ".join(map(_pair, bends))
        parts.append(
            f'<path class="cr-edge" d="{path}" fill="none" stroke="{_EDGE[0]}" stroke-width="1.4"/>'
        )
        corners = (at((end[0] + s * 3.6, end[1] - (7.5 if s else 0.5))) for s in (0, -1, 1))
        parts.append(
            f'<polygon class="cr-tip" points="{" ".join(map(_pair, corners))}" fill="{_EDGE[0]}"/>'
        )
    for edge, middle in zip(picture.edges, layout.labels, strict=True):
        if middle is not None:
            x, y = at(middle)
            parts.append(
                f'<text class="cr-label" x="{_n(x)}" y="{_n(y + 3.8)}" text-anchor="middle" '
                f'font-size="{_n(_SMALL)}" fill="#5a6675">{escape(edge.label)}</text>'
            )
    return parts


def _card(vertex: Vertex, centre: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (w, h) = centre, size
    fill, border, ink = _COLOURS[vertex.kind][0]
    radius = h / 2 if vertex.kind in ("input", "data") else 7.0
    shape = vertex.shape_text
    top = y - 3.5 if shape else y + 4.5
    line = _shortened(vertex.line)
    name, formula = line[: len(vertex.name)], line[len(vertex.name) :]
    lines = [
        f'<text x="{_n(x)}" y="{_n(top)}" text-anchor="middle" font-size="{_n(_SIZE)}" '
        f'fill="{ink}"><tspan font-weight="600">{escape(name)}</tspan>{escape(formula)}</text>'
    ]
    if shape:
        lines.append(
            f'<text x="{_n(x)}" y="{_n(y + 13.5)}" text-anchor="middle" font-size="{_n(_SMALL)}" '
            f'fill="{ink}" opacity="0.72">{escape(shape)}</text>'
        )
    about = vertex.line + (f"   ({shape})" if shape else "")
    return (
        f'<g class="cr-{vertex.kind}"><title>{escape(about)}</title>'
        f'<rect x="{_n(x - w / 2)}" y="{_n(y - h / 2)}" width="{_n(w)}" height="{_n(h)}" '
        f'rx="{_n(radius)}" fill="{fill}" stroke="{border}" stroke-width="1.3"/>'
        f"{''.join(lines)}</g>"
    )
