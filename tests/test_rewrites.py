"""Rewrites of closed forms: the same values before and after, and the form that is meant."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive.checking import formula_functions
from chainrule.expr.extents import ONE, extent, name
from chainrule.formula.algebra import Algebra
from chainrule.formula.evaluate import evaluate
from chainrule.formula.matrix import Matrices
from chainrule.formula.patterns import simplify_sum
from chainrule.formula.quantity import Add, Form, Fun, Num, Pow, Prod, Sym, Wrap
from chainrule.formula.symmetry import Symmetries
from chainrule.formula.writing import Env

N, M = name("N"), name("M")
A, K, P = Sym("A", (N, N)), Sym("K", (N, N), True), Sym("P", (M, M), True)
X, B = Sym("X", (N, M)), Sym("B", (N, M))
b, h, g, r, s = Sym("b", (N,)), Sym("h", (N,)), Sym("g", (N,)), Sym("r", (N,)), Sym("s", ())
SIZES = ({"N": 3, "M": 2}, {"N": 2, "M": 5})


def values(sizes, **more):
    rng = np.random.default_rng(sizes["N"])
    n, m = sizes["N"], sizes["M"]
    found = {"A": rng.normal(size=(n, n)) + 3 * np.eye(n), "s": rng.uniform(0.5, 1.5)}
    found |= {k: rng.normal(size=n) for k in "bhgr"} | {k: rng.normal(size=(n, m)) for k in "XB"}
    for k, size in (("K", n), ("P", m)):
        square = rng.normal(size=(size, size))
        found[k] = square @ square.T + np.eye(size)
    return found | {k: make(rng, sizes) for k, make in more.items()}


def same(before, after, **more):
    """Both have the same values at random sizes."""
    for sizes in SIZES:
        env = Env(values(sizes, **more), sizes, formula_functions())
        one, other = (np.asarray(evaluate(q, env, {})) for q in (before, after))
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def text(q, names=()):
    return Matrices(dict(names)).write(q).text


# -- sums -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("coefficients", "form"),
    [
        ((1, -3, 2), "(1 − h) ⊙ (1 − 2 h)"),
        ((3, -9, 6), "3 ((1 − h) ⊙ (1 − 2 h))"),
        ((1, 0, -4), None),  # two parts: no quadratic to be seen
        ((1, 1, 1), None),  # complex roots
        ((1, 1, -1), None),  # irrational ones
    ],
)
def test_quadratics_of_whole_reciprocals_are_factored(coefficients, form):
    c, d, e = (extent(k) for k in coefficients)
    parts = ((c, Num(ONE)), (d, h), (e, Pow(h, 2)))
    total = Add((N,), tuple(p for p in parts if p[0]))
    found = simplify_sum(Algebra(), total)
    assert (found is None) == (form is None)
    if found is not None:
        same(total, found)
        factors = {text(q) for q, _ in found.factors}
        assert factors == {"1 − h", "1 − 2 h"}
        assert found.coef == c


def test_what_is_kept_is_no_quadratic():
    algebra = Algebra()
    total = Add((N,), ((ONE, Num(ONE)), (extent(-3), h), (extent(2), Pow(h, 2))))
    algebra.keep(total, named=True)
    assert simplify_sum(algebra, total) is None


def test_a_sum_that_does_not_vary_along_an_axis_is_narrow():
    algebra = Algebra()
    rows = algebra.view(h, (0,), (0, 1), {0: N, 1: M}, (N, M))
    total = Add((N, M), ((ONE, Num(ONE)), (-ONE, rows)))
    found = algebra.add(total.parts, (N, M))
    same(total, found)
    assert isinstance(found, Prod)
    assert found.factors[0][0].shape == (N,)
    assert text(found) == "(1 − h) 𝟏ᵀ"


# -- known products ---------------------------------------------------------------------------
def test_a_sum_of_quotients_is_one_of_a_named_quotient():
    """``(Σ_i g_i r_i)/s`` is ``Σ_i g_i y_i`` where ``y = r/s`` has a name."""
    algebra = Algebra()
    y = algebra.prod(ONE, {0: N}, [(r, (0,)), (Pow(s, -1), ())], (0,), (), (N,))
    algebra.keep(y, named=True)
    inner = Prod((), ONE, (N,), ((g, (0,)), (r, (0,))), ())
    before = Prod((), ONE, (), ((inner, ()), (Pow(s, -1), ())), ())
    after = algebra.prod(ONE, {}, before.factors, (), (), ())
    same(before, after)
    assert text(after, {y: "y"}.items()) == "gᵀ y"


def test_a_solution_that_is_known_is_used():
    algebra = Algebra()
    x = Fun("solve", (A, b), (N,), (0,), whole=True)
    inverse = Fun("inv", (A,), (N, N), (0,), whole=True)
    factors = [(inverse, (0, 1)), (b, (1,))]
    before = Prod((N,), ONE, (N, N), tuple(factors), (0,))
    assert algebra.prod(ONE, {0: N, 1: N}, factors, (0,), (), (N,)) is not x
    algebra.keep(x, named=True)
    after = algebra.prod(ONE, {0: N, 1: N}, factors, (0,), (), (N,))
    assert after is x
    same(before, after)
    turned = algebra.prod(ONE, {0: N, 1: N}, [(inverse, (1, 0)), (b, (1,))], (0,), (), (N,))
    assert turned is not x  # A⁻ᵀ b is another vector


def test_one_entry_of_a_row_sums_to_one():
    labels = Sym("t", (N,))
    look = Form(extent(0), ((ONE, Wrap("look", M, (0,), labels)),))
    chosen = Prod((N, M), ONE, (N,), (), (0, look))
    before = Prod((N,), ONE, (N, M), ((chosen, (0, 1)), (h, (0,))), (0,))
    after = Algebra().prod(ONE, {0: N, 1: M}, before.factors, (0,), (), (N,))
    assert after is h
    same(before, after, t=lambda rng, sizes: rng.integers(0, sizes["M"], size=sizes["N"]))


def test_sums_run_forwards():
    d = cr.derive(lambda x, w: np.correlate(x, w, "valid"), x="N", w="K")
    assert d.gradients["x"].index.startswith("Σ_k G[n−k] w[k]")


# -- symmetry ---------------------------------------------------------------------------------
def product(*factors, out=(0, 1), shape=(N, N)):
    count = 1 + max(k for _, subs in factors for k in subs)
    extents = [N] * count
    for q, subs in factors:
        for axis, k in enumerate(subs):
            extents[k] = q.shape[axis]
    return Prod(shape, ONE, tuple(extents), factors, out)


XPX = product((X, (0, 2)), (P, (2, 3)), (X, (1, 3)))
XP = product((X, (0, 2)), (P, (2, 1)), shape=(N, M))
GRAM = product((X, (0, 2)), (X, (1, 2)))
SHIFTED = Add((N, N), ((ONE, Prod((N, N), ONE, (N,), (), (0, 0))), (ONE, GRAM)))
INVERSE = Fun("inv", (SHIFTED,), (N, N), (0,), whole=True)
SOLVED = Fun("solve", (K, GRAM), (N, N), (0,), whole=True)


@pytest.mark.parametrize(
    ("quantity", "sign"),
    [
        (A, 0),
        (K, 1),
        (GRAM, 1),
        (product((X, (0, 2)), (B, (1, 2))), 0),
        (XPX, 1),
        (product((XP, (0, 2)), (X, (1, 2))), 1),  # (X P) Xᵀ
        (SHIFTED, 1),
        (INVERSE, 1),
        (Fun("inv", (A,), (N, N), (0,), whole=True), 0),
        (SOLVED, 0),  # K⁻¹ X Xᵀ
        (Fun("exp", (GRAM,), (N, N)), 1),
        (Add((N, N), ((ONE, A), (-ONE, product((A, (1, 0)))))), -1),
        (Add((N, N), ((ONE, A), (ONE, product((A, (1, 0)))))), 1),
        (Fun("solve", (K, product((SOLVED, (1, 0)))), (N, N), (0,), whole=True), 1),
    ],
    ids=[
        "A", "K", "XXᵀ", "XBᵀ", "XPXᵀ", "(XP)Xᵀ", "I+XXᵀ", "(I+XXᵀ)⁻¹", "A⁻¹", "K⁻¹XXᵀ",
        "exp(XXᵀ)", "A−Aᵀ", "A+Aᵀ", "K⁻¹XXᵀK⁻¹",
    ],
)  # fmt: skip
def test_signs_under_transposition_are_those_of_the_values(quantity, sign):
    assert Symmetries().sign(quantity) == sign
    for sizes in SIZES:
        value = np.asarray(evaluate(quantity, Env(values(sizes), sizes, formula_functions()), {}))
        found = [k for k in (1, -1) if np.allclose(value.T, k * value, atol=1e-12)]
        assert found == ([sign] if sign else [])


# -- masks ------------------------------------------------------------------------------------
def test_a_comparison_of_labels_is_no_guard():
    """``y == 1`` holds for some labels: its opposite is not 1 everywhere."""

    def f(x, y):
        return np.sum(np.where(y == 1, np.sin(x), np.cos(x)))

    d = cr.derive(f, x="N", y="N", wrt="x")
    assert d.gradients["x"].text == "[y = 1] ⊙ cos(x) − [y ≠ 1] ⊙ sin(x)"
    space: dict = {}
    exec(d.source(), space)
    x, y = np.array([0.3, 0.5, 0.7]), np.array([1.0, 0.0, 1.0])
    np.testing.assert_allclose(space["backward"](x, y)[0], cr.grad(f)(x, y), rtol=1e-12)
