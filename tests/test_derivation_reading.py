"""Printed formulas read back: the checker's reader, and MathML."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule.formula.mathml import mathml
from chainrule.formula.reading import CannotRead, read, value_of_text
from chainrule.formula.writing import Env
from test_formula import CORPUS

MATH = "{http://www.w3.org/1998/Math/MathML}"


@pytest.mark.parametrize(("f", "shapes", "_"), CORPUS, ids=lambda v: getattr(v, "__name__", ""))
def test_every_form_is_read_and_written_as_mathml(f, shapes, _):
    derivation = cr.derive(f, **shapes)
    forms = [*derivation.parts, *derivation.gradients.values(), *derivation.jacobians.values()]
    for form in forms:
        read(form.text)
        read(form.index)
        root = ET.fromstring(form.mathml)
        assert root.tag == MATH + "math"
        assert not root.findall(f".//{MATH}mtext")
        both = ET.fromstring(form.equation)
        assert [e.text for e in both.iter(MATH + "mo")].count("=") >= 1
        for tag, count in (("mfrac", 2), ("msub", 2), ("msup", 2), ("munder", 2)):
            assert all(len(e) == count for e in both.iter(MATH + tag))


def env(**values):
    return Env(values, {"N": 3}, {"expit": lambda z: 1 / (1 + np.exp(-z))})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("−x[n]", lambda x, w: -x),
        ("2 x[n] / (1 + x[n]²) − 1", lambda x, w: 2 * x / (1 + x**2) - 1),
        ("Σ_m w[n,m] x[m]/2", lambda x, w: w @ x / 2),
        ("(Σ_m w[n,m]) (Σ_m x[m])", lambda x, w: w.sum(1) * x.sum()),
        ("Σ_(i,m) w[i,m] δ[i,n]", lambda x, w: w.sum(1)),
        ("x[N − 1−n] [n ≥ 1]", lambda x, w: x[::-1] * np.array([0, 1, 1])),
        ("1/√(N) + 10⁻² x[n]", None),
        ("σ(x[n])", lambda x, w: 1 / (1 + np.exp(-x))),
        ("(w⁻¹)[n,0]", lambda x, w: np.linalg.inv(w)[:, 0]),
        ("x[(n+1 mod 3)]", lambda x, w: np.roll(x, -1)),
        ("|x[n]|^(3/2)", lambda x, w: np.abs(x) ** 1.5),
        ("3·10⁻² x[n]", lambda x, w: 0.03 * x),
    ],
)
def test_values_of_printed_text(text, value):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=3), rng.normal(size=(3, 3))
    if value is None:
        read(text)
        return
    found = value_of_text(text, ("n",), (3,), env(x=x, w=w))
    np.testing.assert_allclose(found, value(x, w), atol=1e-14)


@pytest.mark.parametrize("text", ["x[n", "x ? y", "Σ_k 2", "f(x) +", "unknown[n]"])
def test_text_that_is_not_read_says_so(text):
    with pytest.raises(CannotRead):
        value_of_text(text, ("n",), (3,), env(x=np.ones(3)))


def test_printed_characters_are_checked():
    derivation = cr.derive(lambda x, w: x @ w, x="N D", w="D M")
    notation = derivation.gradients["w"].index_notation
    object.__setattr__(notation, "texts", ("Σ_n G[n,m] x[n,m]", ""))
    with pytest.raises(cr.DerivativeError, match=r"Σ_n G\[n,m\] x\[n,m\]"):
        derivation.check()


def test_mathml_of_a_linear_layer():
    derivation = cr.derive(lambda x, w: x @ w, x="N D", w="D M")
    assert derivation.gradients["x"].mathml == (
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mrow><mi>G</mi>'
        "<mo>&#x2062;</mo><msup><mi>w</mi><mo>⊤</mo></msup></mrow></math>"
    )
    assert "<mfrac>" in derivation.gradients["x"].equation


def test_mathml_of_what_is_not_read_is_text():
    assert "<mtext>a ? b &lt; c</mtext>" in mathml("a ? b < c")


def test_greek_names_and_indices_in_mathml():
    text = mathml("sigma w1 b_out")
    assert "<mi>σ</mi>" in text
    assert "<msub><mi>w</mi><mrow><mn>1</mn></mrow></msub>" in text
    assert "<mtext>out</mtext>" in text


@pytest.mark.parametrize(
    ("f", "shape", "text"),
    [
        (lambda x: x**2.5 + x**-1.5, "N", "G[n] (5 x[n]^(3/2) / 2 − 3/(2 x[n]^(5/2)))"),
        (lambda x: np.std(x), "N M", "R[n,m]/(M N √(Σ_(i,j) R[i,j]²/(M N)))"),
        (
            lambda x: scipy.special.gammaln(x) + scipy.special.digamma(x),
            "N",
            "G[n] (ψ₁(x[n]) + ψ(x[n]))",
        ),
    ],
    ids=["powers", "std", "polygamma"],
)
def test_what_stands_below_a_line_and_orders_are_printed(f, shape, text):
    found = cr.derive(f, x=shape).gradients["x"].index
    assert found == text
