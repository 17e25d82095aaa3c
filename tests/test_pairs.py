"""Loops that leave out a diagonal or keep a triangle: one masked term, in formulas and code."""

import warnings

import numpy as np
import pytest

import chainrule as cr
import pairs
from forms import defined

SPREAD = "Σ_(n,i) √(Σ_d (X[n,d] − X[i,d])²) "
WRITTEN = {
    "spread": ({"X": "N D"}, SPREAD + "[n ≠ i]", "np.arange(N)[:, None] != np.arange(N)"),
    "spread_once": ({"X": "N D"}, SPREAD + "[n < i]", "np.triu("),
    "distance_matrix": ({"X": "N D"}, SPREAD[8:] + "[n ≠ i]", "np.where("),
    "coulomb": ({"q": "N", "x": "N"}, None, "np.where(t, np.abs(x[:, None] - x), 1)"),
    "others": ({"x": "N"}, "(𝟏 𝟏ᵀ − I) x", "@ x"),
    "off": ({"A": "N N"}, "(𝟏 𝟏ᵀ − I) ⊙ A", "np.where("),
    "off_squares": ({"A": "N N"}, "𝟏ᵀ ((𝟏 𝟏ᵀ − I) ⊙ A ⊙ A) 𝟏", ".sum()"),
    "damped": ({"A": "N N"}, "diag(diag(A))/2 + (𝟏 𝟏ᵀ − I) ⊙ A", ""),
    "above": ({"A": "N N"}, "triu(A, 1)", "np.triu(A, 1)"),
    "below": ({"A": "N N"}, "tril(A, −1)", "np.tril(A, -1)"),
    "before": ({"x": "N"}, None, ""),
    "toeplitz": ({"c": "N"}, None, ""),
    "laplacian": ({"u": "N M"}, None, "np.pad("),
}
SIZES = ({"N": 5, "D": 3, "M": 4}, {"N": 3, "D": 4, "M": 6}, {"N": 7, "D": 1, "M": 5})


@pytest.mark.parametrize("name", WRITTEN)
def test_masked_loops_are_one_term(name):
    f = getattr(pairs, name)
    shapes, text, code = WRITTEN[name]
    fast = cr.vectorize(f, **shapes)
    assert text is None or fast.text == text
    assert code in fast.source
    if name != "toeplitz":
        assert "add.at" not in fast.source
    rng = np.random.default_rng(0)
    for sizes in SIZES:
        values = [rng.normal(size=[sizes[n] for n in s.split()]) for s in shapes.values()]
        with warnings.catch_warnings(action="error"):
            found = [fast(*values), defined(fast.source, name)(*values)]
        for result in found:
            np.testing.assert_allclose(result, f(*values), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["spread", "spread_once", "distance_matrix", "coulomb"])
def test_gradients_of_distances_have_no_hole_at_the_diagonal(name):
    shapes, _, _ = WRITTEN[name]
    derivation = cr.derive(getattr(pairs, name), **shapes)  # checked against the loops
    derivation.check(["numpy"])
    assert "≠" in str(derivation) or "<" in str(derivation)


def test_gradient_of_pairwise_distances_is_that_of_jax():
    jax = pytest.importorskip("jax")
    X = np.random.default_rng(2).normal(size=(5, 3))

    def spread(X):
        i, j = np.triu_indices(5, 1)
        return 2 * jax.numpy.sqrt(((X[i] - X[j]) ** 2).sum(-1)).sum()

    with jax.enable_x64(True):
        wanted = jax.grad(spread)(jax.numpy.asarray(X))
    derivation = cr.derive(pairs.spread, X="N D")
    derivation.check(["jax"])
    (found,) = defined(derivation.source(), "backward")(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_masks_have_names_in_latex_and_index_notation():
    derivation = cr.derive(pairs.off, A="N N")
    assert derivation.gradients["A"].text == "(𝟏 𝟏ᵀ − I) ⊙ G"
    assert derivation.gradients["A"].index == "G[n,i] [n ≠ i]"
    assert r"\mathbf{1} \, \mathbf{1}^\top - I" in derivation.gradients["A"].latex
    assert cr.derive(pairs.below, A="N N").gradients["A"].text == "tril(G, −1)"
    assert cr.derive(pairs.above, A="N N").gradients["A"].index == "G[n,i] [n < i]"
    assert derivation.jacobians["A"].structure == "->ab|ab;(mod(a-b,N)-1)>=0"
