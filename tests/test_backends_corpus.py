"""All backends agree on the whole corpus, to 4 units in the last place of each result's scale.

The scale of a result is its largest element times the amplification of the entry: how much more
than by h a change of the arguments by h, relative, changes the result (measured, at least 1).
No program can be nearer to another than that, since rounding the arguments alone does as much.
"""

import functools
import importlib.util

import numpy as np
import optree
import pytest

import chainrule as cr
from corpus import CORPUS, NAMED

#: Units in the last place: the default, and what entries need whose program cancels inside.
ULPS = 4
MORE = {
    "determinant": 16,  # LU with other pivots, and the inverse of a product
    "matrix_exponential": 16,  # libraries scale and square differently
    "mixture_likelihood": 8,  # logarithms of sums of exponentials, subtracted
    "gradient_of_logistic_regression": 8,  # p − y, differentiated once more
    "two_layers": 8,  # sums of either sign over both layers
}

BACKENDS = {"native": "llvmlite", "jax": "jax", "torch": "torch"}


def leaves(tree):
    return [np.asarray(leaf) for leaf in optree.tree_leaves(tree)]


def cast(value, dtype):
    value = np.asarray(value)
    return value.astype(dtype) if value.dtype.kind == "f" else value


@functools.cache
def case(name, dtype):
    """Value and pullback of an entry, its arguments, and NumPy's results."""
    entry = NAMED[name]
    values = {n: cast(v, dtype) for n, v in entry.arguments().items()}
    rest = {n: v for n, v in values.items() if n not in entry.wanted}

    def f(*args):
        return entry.function(**dict(zip(entry.wanted, args, strict=True)), **rest)

    args = [values[n] for n in entry.wanted]
    y = np.asarray(f(*args))
    G = np.random.default_rng(0).normal(size=y.shape).astype(y.dtype)

    def both(*args):
        y, back = cr.vjp(f, *args)
        return y, back(G)

    return both, args, leaves(cr.compile(both, backend="numpy")(*args))


@functools.cache
def amplifications(name):
    """By result: the largest relative change over that of the arguments, in float64; at least 1."""
    both, args, expected = case(name, "float64")
    rng, h = np.random.default_rng(1), 1e-7
    found = [1.0] * len(expected)
    for _ in range(6):
        moved = [a * (1 + h * rng.choice([-1.0, 1.0], size=a.shape)) for a in args]
        for i, (one, other) in enumerate(zip(leaves(both(*moved)), expected, strict=True)):
            change = np.abs(one - other).max(initial=0) / np.abs(other).max(initial=1e-300)
            found[i] = max(found[i], float(change / h))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [e.name for e in CORPUS])
def test_backends_agree(name, dtype, backend):
    if importlib.util.find_spec(BACKENDS[backend]) is None:
        pytest.skip(f"{BACKENDS[backend]} is not installed")
    both, args, expected = case(name, dtype)
    program = cr.compile(both, backend=backend)
    found = leaves(program(*args))
    assert program.report() == [backend]
    ulps = MORE.get(name, ULPS) * np.finfo(dtype).eps
    for one, other, amplified in zip(found, expected, amplifications(name), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        bound = ulps * amplified * np.abs(other).max(initial=1e-300)
        np.testing.assert_allclose(one, other, rtol=0, atol=bound)
