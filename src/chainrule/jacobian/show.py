"""Pictures of a Jacobian: where it may be nonzero, by term, and the factors that it stores.

SVG within HTML needs no other library; PNG, PDF and figures come from matplotlib.  Nothing is
formed: a term's pixels follow from its subscripts (:mod:`.pixels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..expr.nodes import Node
from .memory import readable
from .pixels import Array, Layer, layers, spans
from .structure import factor_letters
from .values import continues

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .object import Jacobian

__all__ = ["html", "show"]

# readable on white and on black, told apart by most eyes (Okabe and Ito)
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_TERMS, _FACTORS = 8, 6
_SVG_PIXELS, _PNG_PIXELS, _FACTOR_PIXELS = 64, 400, 96


def _color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]


def _caption(jacobian: Jacobian) -> str:
    return (
        f"{jacobian.dtype}, {jacobian.layout} layout, stored {readable(jacobian.nbytes)}, "
        f"dense {readable(jacobian.dense_nbytes)}"
    )


def _names(jacobian: Jacobian) -> tuple[str, str]:
    return ("output", "input") if jacobian.layout == "numerator" else ("input", "output")


def _factors(found: Sequence[Layer]) -> dict[Node, list[str]]:
    """The distinct factors, with the letters of their axes in the first term that has them."""
    result: dict[Node, list[str]] = {}
    for layer in found:
        for node, subs in layer.term.factors:
            result.setdefault(node, factor_letters(subs, node.shape, layer.names))
    return result


def _axes_text(shape: Sequence[int], letters: Sequence[str]) -> str:
    sizes = " × ".join(str(e) for e in shape if e != 1) or "1"
    return f"{''.join(letters) or 'number'}: {sizes}"


# -- HTML ---------------------------------------------------------------------------------------
def html(jacobian: Jacobian, pixels: int | None = None) -> str:
    """A picture and a caption for notebooks: inline SVG."""
    try:
        found = layers(jacobian, _SVG_PIXELS if pixels is None else pixels)
    except TypeError:  # tables that are not known yet
        return f"<code>{escape(repr(jacobian))}</code>"
    rows, columns = (max(prod(group), 1) for group in spans(jacobian))
    width, height = _extent(columns, rows)
    first, last = spans(jacobian)
    names = _names(jacobian)
    left, top = 46, 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 6}" '
        f'height="{top + height + 6}" font-family="sans-serif" font-size="11" '
        'fill="currentColor" role="img">',
        f"<title>{escape(jacobian.structure)}</title>",
        f'<text x="{left + width / 2:.0f}" y="14" text-anchor="middle">'
        f"{names[1]} {escape(str(list(last)))}</text>",
        f'<text transform="translate(34 {top + height / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{names[0]} {escape(str(list(first)))}</text>',
        f'<g transform="translate({left} {top})">',
    ]
    for index, layer in enumerate(found):
        parts.append(_rectangles(layer.pixels, width, height, _color(index)))
    parts.append(
        f'<rect width="{width}" height="{height}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.5"/></g></svg>'
    )
    legend = [
        f'<div><span style="color:{_color(i)}">&#9632;</span> '
        f"<code>{escape(layer.text)}</code></div>"
        for i, layer in enumerate(found[:_TERMS])
    ]
    if len(found) > _TERMS:
        legend.append(f"<div>… {len(found) - _TERMS} more terms</div>")
    if not found:
        legend.append("<div><code>0</code></div>")
    factors = [
        f"<code>{escape(_axes_text(node.shape, letters))}</code> ({readable(node.nbytes)})"
        for node, letters in _factors(found).items()
    ]
    more = f" … {len(factors) - _FACTORS} more" if len(factors) > _FACTORS else ""
    text = ", ".join(factors[:_FACTORS]) + more if factors else "none"
    return (
        '<div style="display:flex;gap:1em;align-items:center">'
        f"<div>{''.join(parts)}</div><div>"
        f"<div><b>Jacobian</b> {escape(str(list(jacobian.out_shape)))} by "
        f"{escape(str(list(jacobian.in_shape)))}</div>"
        f"{''.join(legend)}<div>factors: {text}</div>"
        f"<div><small>{escape(_caption(jacobian))}</small></div></div></div>"
    )


def _extent(columns: int, rows: int, size: int = 224) -> tuple[int, int]:
    """Width and height of the picture: the ratio of the matrix, within 1 to 6."""
    ratio = min(max(columns / rows, 1 / 6), 6)
    if ratio >= 1:
        return size, max(round(size / ratio), 8)
    return max(round(size * ratio), 8), size


def _rectangles(pixels: Array, width: float, height: float, color: str) -> str:
    """One path: a rectangle for every run of pixels; equal rows in a row are one."""
    rows, columns = pixels.shape
    dx, dy = width / columns, height / rows
    path = []
    start = 0
    while start < rows:
        end = start + 1
        while end < rows and np.array_equal(pixels[start], pixels[end]):
            end += 1
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels[start].view(np.int8), [0]])))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            path.append(
                f"M{a * dx:.4g} {start * dy:.4g}h{(b - a) * dx:.4g}v{(end - start) * dy:.4g}"
                f"h{-(b - a) * dx:.4g}z"
            )
        start = end
    return f'<path d="{"".join(path)}" fill="{color}" fill-opacity="0.85"/>'


# -- figures ------------------------------------------------------------------------------------
def show(jacobian: Jacobian, path: Any = None, pixels: int | None = None) -> Figure | None:
    """See :meth:`chainrule.Jacobian.show`."""
    if path is not None and Path(path).suffix.lower() in (".html", ".htm"):
        page = (
            '<!doctype html><meta charset="utf-8"><title>Jacobian</title>'
            f'<body style="font-family:sans-serif">{html(jacobian, pixels)}</body>\n'
        )
        Path(path).write_text(page, encoding="utf-8")
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "J.show() draws with matplotlib: pip install 'chainrule[plot]'; J.show(path='j.html') "
            "and notebooks need nothing"
        ) from None
    found = layers(jacobian, _PNG_PIXELS if pixels is None else pixels)
    factors = list(_factors(found).items())
    shown = factors[:_FACTORS]
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, 4, width_ratios=[3.2, 3.2, 1.6, 1.6])
    _draw_pixels(figure.add_subplot(grid[:, :2]), jacobian, found)
    for index, (node, letters) in enumerate(shown):
        panel = figure.add_subplot(grid[index // 2, 2 + index % 2])
        _draw_factor(panel, jacobian, node, letters)
    note = f" ({len(factors) - len(shown)} more factors)" if len(factors) > len(shown) else ""
    stored = "no factors" if not factors else f"factors at the right{note}"
    structure = jacobian.structure
    figure.suptitle(
        f"{structure if len(structure) <= 90 else structure[:87] + '…'}\n"
        f"{_caption(jacobian)}; {stored}",
        fontsize=10,
    )
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_pixels(panel: Any, jacobian: Jacobian, found: Sequence[Layer]) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    first, last = spans(jacobian)
    rows, columns = max(prod(first), 1), max(prod(last), 1)
    shape = found[0].pixels.shape if found else (1, 1)
    image = np.ones((*shape, 3))
    for index, layer in enumerate(found):
        image[layer.pixels] = to_rgb(_color(index))
    aspect = "equal" if 1 / 6 <= columns / rows <= 6 else "auto"
    panel.imshow(image, extent=(0, columns, rows, 0), aspect=aspect, interpolation="nearest")
    names = _names(jacobian)
    _label_axis(panel, "y", names[0], first)
    _label_axis(panel, "x", names[1], last)
    panel.xaxis.set_label_position("top")
    panel.xaxis.tick_top()
    handles = [Patch(color=_color(i), label=layer.text) for i, layer in enumerate(found[:_TERMS])]
    if len(found) > _TERMS:
        handles.append(Patch(color="white", label=f"… {len(found) - _TERMS} more terms"))
    if handles:
        panel.figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(handles), 3),
            frameon=False,
            prop={"family": "monospace", "size": 8},
        )


def _label_axis(panel: Any, which: str, name: str, shape: Sequence[int]) -> None:
    """Ticks at index tuples, faint lines where the first axis of the group goes on."""
    size = max(prod(shape), 1)
    axis = panel.yaxis if which == "y" else panel.xaxis
    inner = prod(shape[1:]) if shape else 1
    ends = [k * inner for k in range(1, shape[0])] if len(shape) > 1 else []
    if 0 < len(ends) <= 32:
        draw = panel.axhline if which == "y" else panel.axvline
        for position in ends:
            draw(position, color="#000000", linewidth=0.4, alpha=0.35)
    step = max(1, -(-(shape[0] if shape else 1) // 5))
    flat = [k * inner for k in range(0, shape[0] if shape else 1, step)]
    if len(shape) > 1 and len(flat) == 1:
        step = max(1, -(-size // 5))
        flat = list(range(0, size, step))
    flat = [f for f in flat if f < size]
    texts = [", ".join(map(str, np.unravel_index(f, shape))) if shape else "" for f in flat]
    axis.set_ticks([f + 0.5 for f in flat], labels=texts, fontsize=8)
    axis.set_label_text(f"{name} {list(shape)}")


def _draw_factor(panel: Any, jacobian: Jacobian, node: Node, letters: Sequence[str]) -> None:
    _, bindings = jacobian._bound()
    value = bindings[node]
    panel.set_title(_axes_text(node.shape, letters), fontsize=8, family="monospace")
    panel.set_xticks([])
    panel.set_yticks([])
    if continues(value) or not np.size(value):
        text = "traced" if continues(value) else "empty"
        panel.text(0.5, 0.5, text, ha="center", va="center", fontsize=8)
        return
    array = np.asarray(value)
    lead = prod(array.shape[:-1]) if array.ndim > 1 else 1
    flat = array.reshape(lead, -1) if array.ndim else array.reshape(1, 1)
    steps = [max(1, -(-e // _FACTOR_PIXELS)) for e in flat.shape]
    flat = flat[:: steps[0], :: steps[1]]
    flat = np.abs(flat) if flat.dtype.kind == "c" else flat.astype(float)
    limit = float(np.max(np.abs(flat[np.isfinite(flat)]), initial=0.0)) or 1.0
    panel.imshow(
        flat, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    if letters:
        panel.set_xlabel(letters[-1], fontsize=8, family="monospace")
        if len(letters) > 1:
            panel.set_ylabel("".join(letters[:-1]), fontsize=8, family="monospace")
