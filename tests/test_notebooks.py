"""What notebooks show: each object as HTML, LaTeX or SVG, by itself and through IPython."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def layer(x: Any, w: Any) -> Any:
    return np.tanh(x @ w)


def loss(w: Any, x: Any) -> Any:
    return np.sum((x @ w) ** 2)


X, W = np.ones((2, 3)), np.ones((3, 2))
DERIVATION = cr.derive(layer, x="N D", w="D M")
SCALAR = cr.derive(loss, w="D", x="N D")

SHOWN = {
    "derivation": (DERIVATION, ["∂", "N × M", "layer: x (N, D), w (D, M); G = ∂L/∂y (N, M)"]),
    "gradients": (DERIVATION.gradients, ["D × M"]),
    "jacobians": (DERIVATION.jacobians, ["N × M × N × D"]),
    "hessians": (SCALAR.hessians, ["D × D"]),
    "plan": (cr.plan(layer, X, W), ["forward", "reverse", "best"]),
    "jacobian": (cr.jacobian(layer)(X, W), ["<svg", "ab,cb-&gt;ab|ac"]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_html_is_well_formed_and_self_contained(name: str) -> None:
    shown, words = SHOWN[name]
    html = shown._repr_html_()
    ET.fromstring(f"<div>{html}</div>")  # every element closed, every text escaped
    for word in words:
        assert word in html
    assert "<script" not in html
    assert "src=" not in html


def test_formulas_are_mathml_and_latex() -> None:
    root = ET.fromstring(f"<div>{DERIVATION._repr_html_()}</div>")
    rows = list(root.iter("tr"))
    assert len(rows) == len(list(root.iter("{http://www.w3.org/1998/Math/MathML}math")))
    assert len(rows) == 2 + len(DERIVATION.gradients)  # y, Δ and the gradients
    latex = DERIVATION._repr_latex_()
    assert latex.startswith("$$\\begin{aligned}")
    assert r"\frac{\partial L}{\partial x}" in latex


def test_ipython_takes_them() -> None:
    """The formatter that notebooks use finds the same representations."""
    pytest.importorskip("IPython")
    from IPython.core.formatters import DisplayFormatter

    show = DisplayFormatter().format
    for name, (shown, _) in SHOWN.items():
        bundle, _ = show(shown)
        assert bundle["text/html"] == shown._repr_html_(), name
    assert show(DERIVATION)[0]["text/latex"] == DERIVATION._repr_latex_()
    assert show(DERIVATION.small_case(N=1, D=2, M=2))[0]["text/latex"].startswith("$$")
    graph = cr.graph(layer, "N D", "D M")
    bundle, _ = show(graph)
    assert bundle["image/svg+xml"] == graph.svg
    assert bundle["text/plain"] == str(graph)


def test_a_single_form_shows_itself():
    for form in (DERIVATION.gradients["w"], DERIVATION.jacobians["w"]):
        assert form.equation in form._repr_html_()
