"""The steps of a derivation: what they say, in order, and that every number in them is right."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive.checking import formula_functions
from chainrule.derive.stepping import Stepper
from chainrule.expr.nodes import Leaf
from chainrule.formula.evaluate import evaluate
from chainrule.formula.writing import Env
from test_formula import CORPUS, cross_entropy, logistic, network


def linear(x, w):
    return x @ w


def layer(W, x, b):
    return np.tanh(W @ x + b)


def test_the_steps_of_the_linear_layer():
    steps = cr.derive(linear, x="N D", w="D M").steps
    assert str(steps) == "\n".join(
        [
            "linear: x (N, D), w (D, M); G = ∂L/∂y (N, M)",
            "1. The function",
            "        y = x w",
            "   y[n,m] = Σ_d x[n,d] w[d,m]",
            "   x: N × D; w: D × M; y: N × M",
            "2. Local Jacobians of y",
            "   ∂vec(y)/∂vec(x) = wᵀ ⊗ I",
            "   ∂y[n,m]/∂x[i,d] = w[d,m] δ[n,i]",
            "   ∂vec(y)/∂vec(w) = I ⊗ x",
            "   ∂y[n,m]/∂w[d,i] = x[n,d] δ[m,i]",
            "   ∂y/∂x: (N × M) by (N × D), structure cb->ab|ac; "
            "∂y/∂w: (N × M) by (D × M), structure ac->ab|cb",
            "3. Chain rule: w",
            "        ∂L/∂w = ∂L/∂y · ∂y/∂w",
            "   ∂L/∂w[d,m] = Σ_(n,i) G[n,i] x[n,d] δ[m,i]",
            "   ∂L/∂w[d,m] = Σ_n G[n,m] x[n,d]",
            "        ∂L/∂w = xᵀ G",
            "   of a sum over an index of δ only the term with equal indices is left",
            "4. Chain rule: x",
            "        ∂L/∂x = ∂L/∂y · ∂y/∂x",
            "   ∂L/∂x[n,d] = Σ_(i,m) G[i,m] w[d,m] δ[n,i]",
            "   ∂L/∂x[n,d] = Σ_m G[n,m] w[d,m]",
            "        ∂L/∂x = G wᵀ",
            "5. In closed form: x",
            "   ∂L/∂x = G wᵀ",
            "   shape (N × D), that of x",
            "6. Cost: x",
            "   the dense Jacobian holds N²·D·M numbers and its product with G takes 2·N²·D·M "
            "flops; its structure holds D·M numbers, and this form takes 2·N·D·M flops",
            "7. In closed form: w",
            "   ∂L/∂w = xᵀ G",
            "   shape (D × M), that of w",
            "8. Cost: w",
            "   the dense Jacobian holds N·D·M² numbers and its product with G takes 2·N·D·M² "
            "flops; its structure holds N·D numbers, and this form takes 2·N·D·M flops",
        ]
    )


def test_the_chain_in_denominator_layout_is_written_the_other_way_round():
    steps = cr.derive(layer, W="T N", x="N", b="T", layout="denominator", wrt="x").steps
    (last,) = [s for s in steps if s.title == "Chain rule: x"]
    assert last.lines[0] == ("∂L/∂x", "∂v1/∂x · ∂L/∂v1")
    assert last.lines[-1] == ("∂L/∂x", "Wᵀ v̄1")
    (local,) = [s for s in steps if s.title == "Local Jacobian of v1"]
    assert local.lines[0] == ("∂v1/∂x", "Wᵀ")
    numerator = cr.derive(layer, W="T N", x="N", b="T", wrt="x").steps
    (last,) = [s for s in numerator if s.title == "Chain rule: x"]
    assert last.lines[0] == ("∂L/∂x", "∂L/∂v1 · ∂v1/∂x")


def test_simplifications_bear_the_names_of_their_rewrites():
    def rewrites(f, **shapes):
        steps = cr.derive(f, **shapes).steps
        return {
            s.title.removeprefix("Simplification: "): s.text for s in steps if s.kind == "rewrite"
        }

    found = rewrites(logistic, X="N D", w="D", y="N")
    assert found["1/(1 + exp(−z)) = σ(z)"] == "1/(1 + exp(−X w)) = σ(X w)"
    assert "logistic" in found
    assert "softmax" in rewrites(cross_entropy, Z="N C", Y="N C")


@pytest.mark.parametrize(("f", "shapes", "_"), CORPUS, ids=lambda v: getattr(v, "__name__", ""))
def test_every_step_has_title_text_latex_and_mathml(f, shapes, _):
    steps = cr.derive(f, **shapes, convention="row").steps
    kinds = [s.kind for s in steps]
    assert kinds[0] == "function"
    assert {"local", "chain", "result", "cost"} <= set(kinds)
    for step in steps:
        assert step.title
        assert step.text
        assert len(step.lines) == len(step.tex)
        assert step.latex.count(r"\begin") == step.latex.count(r"\end")
        for element in step.mathml:
            ET.fromstring(element)


@pytest.mark.parametrize(("f", "shapes", "_"), CORPUS, ids=lambda v: getattr(v, "__name__", ""))
def test_operations_and_chain_evaluate_to_the_gradient(f, shapes, _):
    """Every operation forward, then every chain step backward, by what is behind the text."""
    derivation = cr.derive(f, **shapes)
    stepper = Stepper(derivation.author, derivation)
    sizes = dict(zip("ABCDEKMNPT", (3, 4, 5, 6, 2, 3, 4, 5, 2, 3), strict=True))
    rng = np.random.default_rng(0)
    values = {}
    for name, shape in derivation.arguments:
        value = rng.uniform(0.2, 0.8, [sizes.get(e, 1) for e in shape])
        values[name] = (
            value + 2 * np.eye(len(value)) if len(set(shape)) == 1 and len(shape) == 2 else value
        )
    result, back = cr.vjp(f, *values.values())
    cotangent = rng.normal(size=np.shape(result)) if np.ndim(result) else np.asarray(1.0)
    known = dict(values)
    if derivation.arriving is not None:
        known[derivation.arriving[0]] = cotangent
    users = {}
    for node in stepper.active:
        if not isinstance(node, Leaf):
            q = stepper._operation(node)
            known[stepper.names[node]] = evaluate(q, Env(known, sizes, formula_functions()), {})
            for arg in stepper._pieces(node):
                users.setdefault(arg, []).append(node)
    np.testing.assert_allclose(known[stepper.names[stepper.one.output]], result, atol=1e-10)
    for node in reversed(stepper.active):
        if node in users:
            parts = [stepper._pulled(u, node, stepper._local(u, node)[0]) for u in users[node]]
            env = Env(known, sizes, formula_functions())
            known[stepper._adjoint(node)] = evaluate(stepper._sum(parts), env, {})
    for name, gradient in zip(values, back(cotangent), strict=True):
        leaf = next(n for n, s in stepper.names.items() if s == name)
        if leaf in users:
            np.testing.assert_allclose(
                known[stepper._adjoint(leaf)], gradient, atol=1e-8, err_msg=name
            )


def test_a_deep_network_in_steps_goes_from_the_output_back():
    steps = cr.derive(network, x="A", W1="B A", W2="C B", W3="D C").steps
    titles = [s.title for s in steps]
    assert "Local Jacobian of h1" in titles
    assert titles.index("Chain rule: h2") < titles.index("Chain rule: h1")
