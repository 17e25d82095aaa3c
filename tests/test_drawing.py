"""Computational graphs: what they show, how they are laid out, what is written."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
import chainrule.scipy.special as sp
from chainrule.drawing.layered import Box, Layout, Link, _crossings, _Place, arrange
from chainrule.drawing.svg import to_svg, width_of

SVG = "{http://www.w3.org/2000/svg}"


def layer(x: Any, w: Any, b: Any) -> Any:
    z = x @ w + b
    return np.tanh(z)


def attention(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.T / np.sqrt(q.shape[-1])
    p = sp.softmax(s, axis=-1)
    return p @ v


def rows(graph: cr.Graph) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {name: (formula, shape) for name, formula, shape in graph.nodes}


# -- what is drawn ------------------------------------------------------------------------------
def test_names_formulas_and_shapes_of_a_layer() -> None:
    assert rows(cr.graph(layer, "N D", "D M", "M")) == {
        "x": ("", ("N", "D")),
        "w": ("", ("D", "M")),
        "b": ("", ("M",)),
        "v1": ("x w", ("N", "M")),
        "z": ("v1 + 𝟏 bᵀ", ("N", "M")),
        "y": ("tanh(z)", ("N", "M")),
    }


def test_shapes_by_name_are_those_of_derive() -> None:
    graph = cr.graph(layer, x=(64, "D"), w="D 3", b=np.zeros(3))
    assert rows(graph)["y"] == ("tanh(z)", ("64", "3"))
    assert graph.nodes == cr.graph(layer, "64 D", w="D 3", b="3").nodes


def test_what_is_recognized_is_one_card() -> None:
    graph = cr.graph(attention, "N D", "M D", "M E")
    assert [(n, f) for n, f, _ in graph.nodes if f] == [
        ("v1", "q kᵀ"),
        ("s", "v1/√D"),
        ("p", "softmax(s)"),
        ("y", "p v"),
    ]
    assert rows(cr.graph(lambda x: 1 / (1 + np.exp(-x)), "n"))["y"][0] == "σ(x)"


def test_arrays_give_the_same_graph_and_branches_work() -> None:
    def f(x: Any, flag: bool = True) -> Any:
        return np.sin(x) if x.sum() > 0 and flag else np.cos(x)

    assert rows(cr.graph(f, np.ones(3)))["y"] == ("sin(x)", ("3",))
    assert rows(cr.graph(f, -np.ones(3)))["y"][0] == "cos(x)"
    assert rows(cr.graph(f, np.ones(3), False))["y"][0] == "cos(x)"
    assert rows(cr.graph(lambda x, n: x**n, 2.0, 3))["L"][0] == "x³"


def test_trees_captured_arrays_and_several_results() -> None:
    scale = np.arange(3.0)

    def f(params: dict[str, Any], x: Any) -> Any:
        h = params["w"] @ x
        return h * scale, h.sum()

    shown = rows(cr.graph(f, {"w": "3 D"}, "D"))
    assert shown["w"] == ("", ("3", "D"))
    assert shown["scale"] == ("", ("3",))
    assert shown["y1"][0] == "h ⊙ scale"
    assert shown["y2"][0] == "𝟏ᵀ h"
    assert cr.graph(f, params={"w": "3 D"}, x="D").nodes == cr.graph(f, {"w": "3 D"}, "D").nodes


def test_an_argument_returned_as_it_is() -> None:
    graph = cr.graph(lambda x: x, "N")
    assert [(n, f) for n, f, _ in graph.nodes] == [("x", ""), ("y", "x")]
    assert graph.edges == [(0, 1)]


def test_the_backward_pass() -> None:
    shown = rows(cr.graph(layer, "N D", "D M", "M", derivative="gradient"))
    assert shown["G"] == ("", ("N", "M"))
    assert shown["∂L/∂x"][1] == ("N", "D")
    assert shown["∂L/∂w"][0].startswith("xᵀ ")
    kinds = {
        v.name: v.kind
        for v in cr.graph(layer, "2", "2 2", "2", derivative="gradient").picture.vertices
    }
    assert kinds["G"] == "backward"
    assert kinds["z"] == "operation"
    assert kinds["∂L/∂b"] == "gradient"


def test_edges_carry_the_structure_of_local_jacobians() -> None:
    picture = cr.graph(attention, "N D", "M D", "M E", derivative="edges").picture
    names = [v.name for v in picture.vertices]
    labels = {(names[e.source], names[e.target]): e.label for e in picture.edges}
    J = cr.jacobian(lambda q, k: q @ k.T, argnums=(0, 1))(np.ones((5, 7)), np.ones((3, 7)))
    assert labels["q", "v1"] == J[0].structure
    assert labels["k", "v1"] == J[1].structure
    assert labels["s", "p"] == "ab,ac->ab|ac + ab->ab|ab"
    assert labels["p", "y"] == "cb->ab|ac"


# -- element by element -------------------------------------------------------------------------
def test_every_element_is_a_node() -> None:
    graph = cr.graph(layer, "1 2", "2 3", "3", level="scalar")
    shown = {name: formula for name, formula, _ in graph.nodes}
    assert len([n for n in shown if n[0] == "w"]) == 6
    assert shown["y₁₃"] == "tanh(z₁₃)"
    assert shown["z₁₃"] == "v3 + b₃"


def test_scalar_edges_carry_formulas() -> None:
    picture = cr.graph(
        lambda x, w: np.tanh(x @ w), "1 2", "2 1", level="scalar", derivative="edges"
    ).picture
    names = [v.name for v in picture.vertices]
    labels = {(names[e.source], names[e.target]): e.label for e in picture.edges}
    assert labels["x₁₁", "v1"] == "w₁₁"
    assert labels["w₂₁", "v1"] == "x₁₂"
    assert labels["v1", "y₁₁"] == "1 − y₁₁²"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.cumsum(x),
        lambda x: x[::-1] * np.arange(3.0),
        lambda x: np.stack([x, np.ones(3)]),
        lambda x: np.stack([x, 2 * x])[np.array([1, 0])].T.reshape(2, 3) ** 2,
        lambda x: np.roll(x, 1) @ x + np.convolve(x, x)[1:3],
        lambda x: np.max(x) * np.linalg.inv(np.diag(x)),
    ],
)
def test_elements_depend_on_what_the_jacobian_says(f: Callable[..., Any]) -> None:
    """Which arguments reach which results: the pattern of the dense Jacobian."""
    x = np.array([2.0, 3.0, 5.0])
    graph = cr.graph(f, "3", level="scalar")
    reach: list[set[int]] = []
    inputs = [i for i, v in enumerate(graph.picture.vertices) if v.kind == "input"]
    below: dict[int, list[int]] = {}
    for a, b in graph.edges:
        below.setdefault(b, []).append(a)
    for i in range(len(graph.nodes)):
        reach.append({i} & set(inputs) | set().union(*(reach[k] for k in below.get(i, []))))
    column = {i: ["x₁", "x₂", "x₃"].index(graph.nodes[i][0]) for i in inputs}
    dense = cr.jacobian(f)(x).to_dense().reshape(-1, 3)
    outputs = [i for i, v in enumerate(graph.picture.vertices) if v.kind == "output"]
    outputs.sort(key=lambda i: graph.nodes[i][0])  # y₁₁, y₁₂ …
    for row, i in zip(dense, outputs, strict=True):
        assert set(np.flatnonzero(row)) <= {column[k] for k in reach[i]}


# -- limits and mistakes ------------------------------------------------------------------------
def looped(x: Any) -> Any:
    return sum(x[i] for i in range(x.shape[0]))


NAMED = ("N D", "D M", "M")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cr.graph(layer, *NAMED, level="scalar"),
            "needs numbers, not the sizes N, D, M: for example N = 2, D = 3, M = 1",
        ),
        (lambda: cr.graph(layer, "20 20", "20 20", "20", level="scalar"), "at most 400"),
        (lambda: cr.graph(layer, "90 90", "90 90", "90", level="scalar"), "of 729,000 points"),
        (lambda: cr.graph(layer, *NAMED, level="vector"), "use 'tensor' or 'scalar'"),  # type: ignore[arg-type]
        (lambda: cr.graph(layer, *NAMED, derivative="all"), "use 'edges', 'gradient'"),  # type: ignore[arg-type]
        (lambda: cr.graph(layer, *NAMED).save("graph.png"), "saved as .svg or .dot"),
        (lambda: cr.graph(layer, "N D"), "missing a required argument: 'w'; give a shape"),
        (lambda: cr.graph(layer, "N D", "D M", "M!"), "neither a number nor a name"),
        (lambda: cr.graph(lambda x: None, "N"), "returned no array"),
        (lambda: cr.graph(lambda x: x if x[0] > 0 else -x, "N"), "a branch depends on values"),
        (lambda: cr.graph(looped, "N"), "give the sizes that it loops over"),
    ],
)
def test_mistakes(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# -- files and notebooks ------------------------------------------------------------------------
def test_svg_is_one_self_contained_element(tmp_path: Path) -> None:
    graph = cr.graph(lambda x: np.where(x < 1, x, 2), "n", derivative="edges")
    root = ET.fromstring(graph.svg)
    assert root.tag == SVG + "svg"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", graph.svg)
    assert "prefers-color-scheme: dark" in graph.svg
    texts = ["".join(t.itertext()) for t in root.iter(SVG + "text")]
    assert "x" in texts
    graph.save(tmp_path / "g.svg")
    assert (tmp_path / "g.svg").read_text(encoding="utf-8") == graph.svg
    assert graph._repr_svg_() == graph.svg
    assert graph._repr_mimebundle_() == {"image/svg+xml": graph.svg, "text/plain": str(graph)}


def test_dot(tmp_path: Path) -> None:
    graph = cr.graph(layer, "N D", "D M", "M")
    graph.save(tmp_path / "g.dot")
    dot = (tmp_path / "g.dot").read_text(encoding="utf-8")
    assert dot.startswith('digraph "layer" {')
    assert 'v2 [label="v1 = x w\\nN × M", shape=box];' in dot
    assert "v0 -> v2;" in dot
    assert dot.count("->") == len(graph.edges)


# -- layout -------------------------------------------------------------------------------------
def boxes_overlap(layout: Layout, boxes: list[Box]) -> bool:
    placed = list(zip(layout.centres, boxes, strict=True))
    return any(
        abs(p[0] - q[0]) < (a.across + b.across) / 2 and abs(p[1] - q[1]) < (a.along + b.along) / 2
        for (p, a), (q, b) in itertools.combinations(placed, 2)
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Box], list[Link]]:
    count = draw(st.integers(1, 14))
    boxes = [Box(draw(st.floats(20, 200)), draw(st.floats(20, 60))) for _ in range(count)]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=24)) if pairs else []
    label = Box(50, 18) if draw(st.booleans()) else None
    return boxes, [Link(i, j, label) for i, j in chosen]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nothing_overlaps_and_edges_lead_down(graph: tuple[list[Box], list[Link]]) -> None:
    boxes, links = graph
    layout = arrange(boxes, links)
    assert not boxes_overlap(layout, boxes)
    for link, route, label in zip(links, layout.routes, layout.labels, strict=True):
        along = [point[1] for point in route]
        assert along == sorted(along)
        source, target = layout.centres[link.source], layout.centres[link.target]
        assert route[0] == pytest.approx((source[0], source[1] + boxes[link.source].along / 2))
        assert route[-1] == pytest.approx((target[0], target[1] - boxes[link.target].along / 2))
        assert (label is None) == (link.label is None)
    named = [(p, Box(50, 18)) for p in layout.labels if p is not None]
    whole = Layout([*layout.centres, *(p for p, _ in named)], [], [], 0, 0)
    assert not boxes_overlap(whole, [*boxes, *(b for _, b in named)])
    assert all(
        x - b.across / 2 + 1e-6 >= 0 for (x, _), b in zip(layout.centres, boxes, strict=True)
    )


def test_a_tree_is_drawn_without_crossings() -> None:
    """Leaves given in an order that crosses everything."""
    places = [_Place(0, 10, 10, False) for _ in range(8)]
    for parent in range(4):
        places.append(_Place(1, 10, 10, False))
        for child in (parent, parent + 4):
            places[child].below.append(8 + parent)
            places[8 + parent].above.append(child)
    before = [list(range(8)), list(range(8, 12))]
    assert _crossings(places, before) > 0
    links = [Link(child, 8 + parent) for parent in range(4) for child in (parent, parent + 4)]
    layout = arrange([Box(10, 10)] * 12, links)
    order = sorted(range(8), key=lambda k: layout.centres[k][0])
    parents = [k % 4 for k in order]
    assert all(a == b for a, b in zip(parents[::2], parents[1::2], strict=True))
    for parent in range(4):
        mean = (layout.centres[parent][0] + layout.centres[parent + 4][0]) / 2
        assert layout.centres[8 + parent][0] == pytest.approx(mean, abs=1e-3)


def test_a_deep_graph_is_laid_out_in_linear_steps() -> None:
    def deep(x: Any, *ws: Any) -> Any:
        for w in ws:
            x = np.tanh(x @ w) + x
        return x.sum()

    graph = cr.graph(deep, "4 4", *["4 4"] * 60)
    assert len(graph.nodes) == 1 + 60 * 4 + 1
    ET.fromstring(to_svg(graph.picture))


def test_the_width_of_text() -> None:
    assert width_of("abc") == 3
    assert width_of("∂L/∂x̄") == 5
    assert width_of("𝟏") == 2
