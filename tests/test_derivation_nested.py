"""Derivations of functions that take derivatives themselves: from closed forms of their values."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr


def loss(w, X, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))


def slope_squared(w, X, y, s):
    def ridge(w):
        r = X @ w - y
        return r @ r + s * w @ w

    g = cr.grad(ridge)(w)
    return g @ g


def test_a_gradient_is_differentiated_in_its_closed_form():
    d = cr.derive(lambda w, X, y: cr.grad(loss)(w, X, y), w="D", X="N D", y="N", wrt="w")
    assert d.value.text == "Xᵀ (p − y)"
    assert d.gradients["w"].text == "Xᵀ ((X G) ⊙ p ⊙ (1 − p))"
    assert d.jacobians["w"].text == "Xᵀ diag(p ⊙ (1 − p)) X"


def test_names_of_inner_functions_mean_what_they_meant():
    """2 (X w − y) is 2 r: the program never computes r itself, but that is its name."""
    d = cr.derive(slope_squared, w="D", X="N D", y="N", s="")
    assert {p.name: p.text for p in d.parts} == {"r": "X w − y", "g": "2 (Xᵀ r + s w)"}
    assert d.gradients["w"].text == "4 (Xᵀ X g + s g)"
    assert d.gradients["X"].text == "4 (r gᵀ + X g wᵀ)"


def test_steps_and_code_speak_of_the_same_closed_form():
    d = cr.derive(slope_squared, w="D", X="N D", y="N", s="")
    assert "r = v2 − y" in str(d.steps)
    d.check(backends=["numpy"])
    space: dict = {}
    exec(d.source(), space)
    rng = np.random.default_rng(0)
    w, X, y, s = rng.normal(size=3), rng.normal(size=(5, 3)), rng.normal(size=5), 0.7
    for found, expected in zip(
        space["backward"](w, X, y, s),
        cr.grad(slope_squared, argnums=(0, 1, 2, 3))(w, X, y, s),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda x, v: cr.hvp(lambda u: np.sum(u**3))(x, v), "6 (G ⊙ v)"),
        (lambda x, v: cr.jvp(np.sin, (x,), (v,))[1], "−G ⊙ v ⊙ sin(x)"),
        (lambda x, v: cr.vjp(np.sin, x)[1](v)[0], "−G ⊙ v ⊙ sin(x)"),
        (lambda x, v: cr.jacobian(lambda u: u * u)(x) @ v, "2 (G ⊙ v)"),
    ],
    ids=["hvp", "jvp", "vjp", "jacobian"],
)
def test_every_transform(f, text):
    assert cr.derive(f, x="D", v="D").gradients["x"].text == text


def test_a_constant_slope():
    d = cr.derive(lambda z: cr.grad(lambda u: 3 * u)(z), z="")
    assert (d.value.text, d.gradients["z"].text) == ("3", "0")


def test_captured_arrays_keep_their_values():
    A = np.arange(9.0).reshape(3, 3)
    d = cr.derive(lambda x: cr.grad(lambda u: u @ A @ u)(x), x="3")
    assert d.gradients["x"].text == "(A + Aᵀ) G"


def test_inverses():
    d = cr.derive(lambda A: cr.grad(lambda A: np.linalg.slogdet(A)[1])(A), A="N N")
    assert d.value.text == "A⁻ᵀ"
    assert d.gradients["A"].text == "−A⁻ᵀ Gᵀ A⁻ᵀ"
