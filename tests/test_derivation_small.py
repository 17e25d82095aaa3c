"""Small cases in explicit matrices: as on paper, and in agreement with the general formula."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.formula.elements import Atom, Numbers, Scalar
from chainrule.formula.quantity import Sym
from chainrule.formula.writing import Env
from test_formula import CORPUS


def linear(x, w):
    return x @ w


def test_the_linear_layer_on_paper():
    case = cr.derive(linear, x="N D", w="D M").small_case(N=1, D=2, M=3)
    assert case.text == "\n".join(
        [
            "linear at N = 1, D = 2, M = 3",
            "  x = ( x₁   x₂ )",
            "  w = ⎛ w₁₁   w₁₂   w₁₃ ⎞",
            "      ⎝ w₂₁   w₂₂   w₂₃ ⎠",
            "  G = ( G₁   G₂   G₃ )",
            "The function, element by element",
            "  y₁ = x₁ w₁₁ + x₂ w₂₁",
            "  y₂ = x₁ w₁₂ + x₂ w₂₂",
            "  y₃ = x₁ w₁₃ + x₂ w₂₃",
            "The Jacobian by x, row by row",
            "  ∂y₁/∂x = ( w₁₁   w₂₁ )",
            "  ∂y₂/∂x = ( w₁₂   w₂₂ )",
            "  ∂y₃/∂x = ( w₁₃   w₂₃ )",
            "  each row of the Jacobian has the shape of x",
            "The chain rule for each element of x: Σ over the elements of y of G · ∂y/∂x",
            "  ∂L/∂x₁ = G₁ w₁₁ + G₂ w₁₂ + G₃ w₁₃",
            "  ∂L/∂x₂ = G₁ w₂₁ + G₂ w₂₂ + G₃ w₂₃",
            "The general formula for x",
            "  ∂L/∂x = G wᵀ",
            "  ∂L/∂x = ( G₁ w₁₁ + G₂ w₁₂ + G₃ w₁₃   G₁ w₂₁ + G₂ w₂₂ + G₃ w₂₃ )",
            "  the elements agree with those above symbolically",
            "The Jacobian by w, row by row",
            "  ∂y₁/∂w = ⎛ x₁   0   0 ⎞",
            "           ⎝ x₂   0   0 ⎠",
            "  ∂y₂/∂w = ⎛ 0   x₁   0 ⎞",
            "           ⎝ 0   x₂   0 ⎠",
            "  ∂y₃/∂w = ⎛ 0   0   x₁ ⎞",
            "           ⎝ 0   0   x₂ ⎠",
            "  each row of the Jacobian has the shape of w",
            "The chain rule for each element of w: Σ over the elements of y of G · ∂y/∂w",
            "  ∂L/∂w₁₁ = G₁ x₁",
            "  ∂L/∂w₁₂ = G₂ x₁",
            "  ∂L/∂w₁₃ = G₃ x₁",
            "  ∂L/∂w₂₁ = G₁ x₂",
            "  ∂L/∂w₂₂ = G₂ x₂",
            "  ∂L/∂w₂₃ = G₃ x₂",
            "The general formula for w",
            "  ∂L/∂w = xᵀ G",
            "  ∂L/∂w = ⎛ G₁ x₁   G₂ x₁   G₃ x₁ ⎞",
            "          ⎝ G₁ x₂   G₂ x₂   G₃ x₂ ⎠",
            "  the elements agree with those above symbolically",
        ]
    )
    assert case.agreement == {"x": "symbolically", "w": "symbolically"}
    assert str(case) == case.text
    assert r"\begin{pmatrix}w_{11} & w_{12} & w_{13} \\ w_{21}" in case.latex
    assert r"\frac{\partial L}{\partial x_{1}} &= G_{1} \, w_{11}" in case.latex


def test_the_fully_connected_layer_with_two_outputs_three_inputs_and_two_examples():
    def layer(W, X, b):
        return W @ X + b[:, None]

    case = cr.derive(layer, W="T N", X="N B", b="T").small_case(T=2, N=3, B=2)
    rows = case.text.splitlines()
    assert "  y₁₁ = W₁₁ X₁₁ + W₁₂ X₂₁ + W₁₃ X₃₁ + b₁" in rows
    assert "  ∂L/∂b₁ = G₁₁ + G₁₂" in rows
    assert set(case.agreement.values()) == {"symbolically"}


def test_defaults_are_the_sizes_of_the_course():
    assert cr.derive(linear, x="N D", w="D M").small_case().sizes == {"N": 1, "D": 2, "M": 3}
    f = cr.derive(lambda W, X: W @ X, W="T N", X="N B")
    assert f.small_case().sizes == {"T": 2, "N": 3, "B": 2}
    assert f.small_case(B=1).sizes == {"T": 2, "N": 3, "B": 1}


@pytest.mark.parametrize(("f", "shapes", "_"), CORPUS, ids=lambda v: getattr(v, "__name__", ""))
def test_every_small_case_agrees(f, shapes, _):
    derivation = cr.derive(f, **shapes)
    names = {e for s in shapes.values() for e in s.split()}
    case = derivation.small_case(**dict.fromkeys(names, 2))
    assert set(case.agreement) == set(derivation.gradients)
    assert case.latex.count(r"\begin") == case.latex.count(r"\end")


@pytest.mark.parametrize("options", [{"layout": "denominator"}, {"convention": "row"}])
def test_layouts_and_conventions(options):
    def layer(W, x):
        return np.tanh(W @ x)

    case = cr.derive(layer, W="T N", x="N", **options).small_case()
    rows = case.text.splitlines()
    if "layout" in options:
        assert "  ∂y₁/∂x = ⎛ W₁₁ c₁ ⎞" in rows
    else:
        assert "  x = ( x₁   x₂   x₃ )" in rows


def test_scalar_functions_have_no_arriving_gradient():
    case = cr.derive(lambda A, x: x @ A @ x, A="N N", x="N").small_case(N=2)
    rows = case.text.splitlines()
    assert "  L = x₁² A₁₁ + x₁ A₁₂ x₂ + x₂ A₂₁ x₁ + x₂² A₂₂" in rows or any(
        r.startswith("  L = ") for r in rows
    )
    assert not any("G" in r for r in rows)


def test_wrong_sizes_say_so():
    derivation = cr.derive(linear, x="N D", w="D M")
    with pytest.raises(TypeError, match="no extent 'K'; the names are N, D, M"):
        derivation.small_case(K=2)
    with pytest.raises(ValueError, match="N=0: give a size of at least 1"):
        derivation.small_case(N=0)
    with pytest.raises(ValueError, match="at most 400: give smaller sizes"):
        derivation.small_case(N=9, D=9, M=9)


def test_a_wrong_formula_is_found():
    derivation = cr.derive(linear, x="N D", w="D M")
    right, other = (
        derivation.gradients["x"],
        cr.derive(lambda x, w: 2 * (x @ w), x="N D", w="D M").gradients["x"],
    )
    object.__setattr__(right, "quantity", other.quantity)
    with pytest.raises(cr.DerivativeError, match="element by element the gradient by x differs"):
        derivation.small_case(N=2, D=2, M=2)


# -- scalars ----------------------------------------------------------------------------------
atoms = [Atom(n, n, Sym(n, ())) for n in "abc"]


@st.composite
def scalars(draw):
    total = Scalar()
    for _ in range(draw(st.integers(0, 3))):
        part = Scalar.number(Fraction(draw(st.integers(-3, 3))))
        for atom in draw(st.lists(st.sampled_from(atoms), max_size=3)):
            part = part * Scalar.of(atom)
        total = total + part
    return total


def at(**values):
    return Numbers(Env({k: np.asarray(v) for k, v in values.items()}, {}, {"tanh": np.tanh}))


@settings(max_examples=50, deadline=None)
@given(scalars(), scalars())
def test_sums_products_and_slopes_of_scalars(p, q):
    env = at(a=1.3, b=-0.7, c=2.1)
    assert np.isclose((p + q).value(env), p.value(env) + q.value(env))
    assert np.isclose((p * q).value(env), p.value(env) * q.value(env))
    assert p + q == q + p
    assert p * q == q * p
    slope = (p * q).by(atoms[0])
    rule = p.by(atoms[0]) * q + p * q.by(atoms[0])
    assert slope == rule
