"""Loop counters as numbers: vectors of counts in formulas and in code."""

import numpy as np
import pytest

import chainrule as cr
import counting
from chainrule.derive.counters import Counted, CountedRange
from forms import defined

WRITTEN = {
    "weighted": ({"x": "N"}, "(0, …, N − 1)ᵀ x", "x @ np.arange(N, dtype=x.dtype)"),
    "from_one": ({"x": "N"}, "(1, …, N)ᵀ x", "x @ (np.arange(N, dtype=x.dtype) + 1)"),
    "harmonic": ({"x": "N"}, "xᵀ (1/(1, …, N))", "(x / (np.arange(N, dtype=x.dtype) + 1)).sum()"),
    "squares": ({"x": "N"}, None, "np.arange(N, dtype=x.dtype) ** 2 * x"),
    "doubling": ({"x": "N"}, None, "2 ** np.arange(N, dtype=x.dtype)"),
    "polynomial": ({"a": "K", "x": ""}, None, "x ** np.arange(K, dtype=a.dtype)"),
    "targets": ({"x": "N"}, None, "np.arange(N, dtype=x.dtype) / N"),
    "waves": ({"x": "N"}, None, "np.sin("),
    "decaying": ({"x": "N"}, None, "np.abs("),
    "cosines": ({"x": "N"}, "cos(π (0, …, N − 1) ((0, …, N − 1) + 1/2)ᵀ / N) x", "np.cos("),
    "moments": ({"x": "N"}, None, ""),
    "positions": ({"X": "N D"}, None, "10 ** "),
    "grid": ({"x": "N"}, None, "np.maximum("),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_counters_are_vectors_of_counts(name):
    f = getattr(counting, name)
    shapes, text, code = WRITTEN[name]
    fast = cr.vectorize(f, **shapes)
    assert text is None or fast.text == text
    assert code in fast.source
    rng = np.random.default_rng(0)
    for n in (2, 5, 8):
        values = [
            rng.normal(size=[n + i for i, _ in enumerate(s.split())]) for s in shapes.values()
        ]
        for result in (fast(*values), defined(fast.source, name)(*values)):
            np.testing.assert_allclose(result, f(*values), rtol=1e-11, atol=1e-12)


def test_gradients_of_counted_loops():
    for name in ("weighted", "squares", "targets", "cosines", "decaying"):
        cr.derive(getattr(counting, name), x="N").check(["numpy"])
    derivation = cr.derive(counting.weighted, x="N")
    assert derivation.gradients["x"].text == "(0, …, N − 1)"
    assert derivation.gradients["x"].index == "n"
    assert derivation.gradients["x"].latex == r"\left(0, \ldots, N - 1\right)"
    squared = cr.derive(counting.targets, x="N")
    assert squared.hessians["x", "x"].text == "2 I"
    assert cr.derive(counting.squares, x="N").jacobians["x"].structure == "a->a|a"
    rows = cr.derive(counting.squares, x="N", convention="row")
    assert rows.gradients["x"].text == "G ⊙ (0, …, N − 1)²"
    assert "2 x₃" in str(cr.derive(counting.weighted, x="N").small_case(N=3))


def test_counts_in_other_libraries():
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    cr.derive(counting.squares, x="N").check(["jax", "torch"])


def test_counted_numbers_are_numbers():
    i, j = CountedRange(3, 9)[0], Counted(4)
    assert (i, j) == (3, 4)
    assert list(CountedRange(2, 8, 2)) == [2, 4, 6]
    assert CountedRange(5)[1:3] == range(1, 3)
    assert 3 in CountedRange(5)
    assert len(CountedRange(2, 5)) == 3
    assert [10, 11, 12, 13][i] == 13
    assert (i + j, i - j, i * j, j // i, j % i, i**2, -i, 2**i) == (7, -1, 12, 1, 1, 9, -3, 8)
    assert divmod(j, i) == (1, 1)
    assert i / 2 == 1.5
    assert 0.5 * i == 1.5
    assert np.float64(2) * i == 6
    np.testing.assert_array_equal(np.ones(2) * i, [3, 3])
    assert np.zeros((i, 2)).shape == (3, 2)
    assert f"{i:02d} {i}" == "03 3"
    assert {3: "three"}[i] == "three"
    assert min(i, 7) == 3
    assert [0] * i == [0, 0, 0]
    assert bool(Counted(0)) is False
    assert i < j <= 4
