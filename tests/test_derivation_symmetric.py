"""``derive(…, symmetric=…)``: forms for symmetric matrices, and derivatives along them."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive.checking import formula_functions
from chainrule.formula.evaluate import evaluate
from chainrule.formula.writing import Env


def likelihood(K, y):
    return -0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(K)[1])


def product(K, B):
    return np.tanh(K @ B)


FUNCTIONS = {
    "likelihood": (likelihood, {"K": "N N", "y": "N"}),
    "product": (product, {"K": "N N", "B": "N M"}),
    "lopsided": (lambda K: np.sum(K[0] * K[:, 1]) + K[0, 1] ** 3, {"K": "3 3"}),
    "inverse": (lambda K: np.linalg.inv(K), {"K": "N N"}),
    "quadratic": (lambda K, y: (y @ K @ y) ** 2, {"K": "N N", "y": "N"}),
}
every = pytest.mark.parametrize("name", FUNCTIONS)


def at(name):
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    sizes = {"N": 3, "M": 2}
    values = {
        k: rng.normal(size=tuple(sizes[n] if n in sizes else int(n) for n in s.split()))
        for k, s in shapes.items()
    }
    values["K"] = values["K"] @ values["K"].T + np.eye(3)
    d = cr.derive(f, shapes=shapes, symmetric="K")
    return f, values, sizes, d


def evaluated(form, values, sizes):
    """A closed form at values, by its quantity."""
    return evaluate(form.quantity, Env(values, sizes, formula_functions()), {})


@every
def test_gradients_are_those_over_symmetric_matrices(name):
    f, values, _, d = at(name)
    d.check(backends=["numpy"])
    args = list(values.values())
    y = f(*args)
    G = np.random.default_rng(1).normal(size=np.shape(y))
    space: dict = {}
    exec(d.source(), space)
    found = space["backward"](*args, *([G] if np.ndim(y) else []))
    expected = cr.grad(lambda *a: np.sum(G * f(*a)), symmetric=True)(*args)
    expected = expected if np.ndim(y) else cr.grad(f, symmetric=True)(*args)
    np.testing.assert_allclose(found[0], expected, rtol=1e-10, atol=1e-12)


@every
def test_jacobians_are_those_over_symmetric_matrices(name):
    f, values, sizes, d = at(name)
    if d.value.shape:
        found = evaluated(d.jacobians["K"], values, sizes)
        expected = cr.jacobian(f, symmetric=True)(*values.values()).to_dense()
    else:
        found = evaluated(d.hessians["K"], values, sizes)
        expected = cr.hessian(f, symmetric=True)(*values.values()).to_dense()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_forms_are_the_textbooks():
    d = cr.derive(likelihood, K="N N", y="N", symmetric="K")
    assert str(d).startswith("likelihood: K (N, N) symmetric, y (N)")
    assert d.gradients["K"].text == "(s sᵀ − K⁻¹)/2"
    assert d.gradients["y"].text == "−s"
    assert d.source().startswith('"""The function likelihood, and its backward pass, for symmetric')
    assert d.hessians["y"].text == "−K⁻¹"
    free = cr.derive(likelihood, K="N N", y="N")
    assert free.gradients["K"].text == "(c sᵀ − K⁻ᵀ)/2"


def test_structure_makes_matrices_symmetric_as_well():
    def f(X):
        return cr.grad(lambda X: np.linalg.slogdet(np.eye(len(X)) + X @ X.T)[1])(X)

    d = cr.derive(f, X="N M")
    assert dict(d.definitions)["C"] == "Z⁻¹ G Xᵀ Z⁻¹"


def test_the_steps_say_that_the_gradient_is_made_symmetric():
    steps = cr.derive(lambda K, y: y @ K @ y, K="N N", y="N", symmetric="K").steps
    (step,) = [s for s in steps if s.title == "Chain rule: K"]
    assert "K is symmetric" in step.note


def test_a_small_case_has_one_symbol_for_both_elements():
    case = cr.derive(lambda K, x: K @ x, K="N N", x="N", symmetric="K").small_case(N=2)
    assert case.agreement == {"K": "symbolically", "x": "symbolically"}
    assert "y₂ = K₁₂ x₁ + K₂₂ x₂" in str(case)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("Q", TypeError, "the arguments are K, y"),
        ("y", ValueError, r"y has the shape \(N\), which is no square matrix"),
        (True, TypeError, "such as symmetric='K'"),
    ],
)
def test_what_is_no_symmetric_matrix_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        cr.derive(likelihood, K="N N", y="N", symmetric=given)
