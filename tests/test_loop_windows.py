"""Loops over strided windows, with sizes that are halved; and what is no tensor expression."""

import numpy as np
import pytest

import chainrule as cr
import windows
from chainrule.formula.symbolic import FormulaError, solve
from forms import defined

WRITTEN = {
    "strided": ({"x": "N", "w": (3,)}, "(N − 1)/2", "for N odd", [(7,), (11,)]),
    "average_pool": ({"x": "H W"}, "H/2", "for H even, W even", [(4, 6), (8, 2)]),
    "max_pool": ({"x": "H W"}, "H/2", "for H even, W even", [(4, 6), (8, 2)]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_halved_sizes_are_found_and_said(name):
    f = getattr(windows, name)
    shapes, first, condition, sizes = WRITTEN[name]
    derivation = cr.derive(f, **shapes)
    assert derivation.value.shape[0] == first
    assert condition in str(derivation).splitlines()[0]
    fast = cr.vectorize(f, **shapes)
    rng = np.random.default_rng(0)
    for size in sizes:
        values = [rng.normal(size=size), rng.normal(size=3)][: len(shapes)]
        for result in (fast(*values), defined(fast.source, name)(*values)):
            np.testing.assert_allclose(result, f(*values), rtol=1e-12)


def test_a_stride_is_right_at_even_sizes_too():
    fast = cr.vectorize(windows.strided, x="N", w=(3,))
    for n in (3, 4, 8, 15, 20):
        x, w = np.arange(float(n)), np.array([1.0, -2, 3])
        np.testing.assert_allclose(fast(x, w), windows.strided(x, w))


AROUND = {
    "periodic": ({"u": "N M"}, "G[(n+1 mod N),m] + G[(n−1 mod N),m] + ", "% N"),
    "circulant": ({"c": "N", "x": "N"}, "Σ_i G[i] x[(i−n mod N)]", "% N"),
    "shifted": ({"x": "N"}, None, "% N"),
    "repeated": ({"x": "N"}, None, "// 2"),
    "unfolded": ({"x": "N M"}, None, "x.reshape"),
    "covariance": ({"X": "N M"}, None, "/ N"),
    "running_products": ({"x": "N M"}, None, "np.cumprod(x, axis=-1)"),
    "survival": ({"x": "N"}, None, "np.cumprod(1 - x, axis=-1)"),
}


@pytest.mark.parametrize("name", AROUND)
def test_remainders_and_quotients_of_counters(name):
    f = getattr(windows, name)
    shapes, gradient, code = AROUND[name]
    derivation = cr.derive(f, **shapes)
    if gradient is not None:
        assert derivation.gradients[next(iter(shapes))].index.startswith(gradient)
    fast = cr.vectorize(f, **shapes)
    assert code in fast.source
    rng = np.random.default_rng(0)
    for sizes in ({"N": 5, "M": 4}, {"N": 3, "M": 6}, {"N": 8, "M": 2}):
        values = [rng.normal(size=[sizes[n] for n in s.split()]) for s in shapes.values()]
        for result in (fast(*values), defined(fast.source, name)(*values)):
            np.testing.assert_allclose(result, f(*values), rtol=1e-12, atol=1e-13)


def test_simple_expressions_of_small_sizes_come_first():
    first, second = {"N": 4, "D": 3}, {"N": 10, "D": 5}
    assert str(solve(1 / 3, 1 / 9, first, second)) == "1/(N − 1)"
    assert str(solve(1.5, 4.5, first, second)) == "(N − 1)/2"
    assert str(solve(2, 5, first, second)) == "N/2"
    assert str(solve(1 / 12, 1 / 50, first, second)) == "1/(D N)"


@pytest.mark.parametrize(
    ("name", "shapes", "value", "line"),
    [
        ("recurrent", {"W": "H H", "U": "H D", "x": "T D", "h": "H"}, "h", "np.tanh(W @ h"),
        ("smoothed", {"x": "T"}, "s", "s = 0.9 * s"),
    ],
)
def test_recursions_name_what_they_carry(name, shapes, value, line):
    with pytest.raises(FormulaError) as caught:
        cr.derive(getattr(windows, name), **shapes)
    text = str(caught.value)
    assert f"it carries a value, {value}, from step to step of a loop over a named" in text
    assert "windows.py:" in text
    assert line in text
    assert "chainrule.scan" in text


def test_recursions_of_a_given_length_are_written_out():
    derivation = cr.derive(windows.smoothed, x=(3,))
    assert derivation.gradients["x"].shape == ("3",)


def test_other_patterns_that_stand_in_the_way():
    with pytest.raises(FormulaError, match=r"written at an index that is looked up"):
        cr.derive(windows.counts, w="N", bins="int N")
    with pytest.raises(cr.TraceError, match=r'(?s)a branch depends.*"if x\[i\] > 0:"'):
        cr.derive(windows.branching, x="N")
    with pytest.raises(cr.TraceError, match=r"(?s)math\.asin takes plain.*use np\.arcsin"):
        cr.grad(windows.arcs)(np.ones(2) / 2)


def test_unchecked_loops_say_for_which_sizes_they_hold():
    derivation = cr.derive(windows.average_pool, x="H W", check=False)
    assert derivation.condition
