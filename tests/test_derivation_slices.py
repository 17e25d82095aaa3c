"""Convolutions written as sums over slices: closed forms, what sums range over, emitted code."""

import itertools

import numpy as np
import pytest

import chainrule as cr


def windows(rows, columns, stride=1, dilation=1):
    """A 2-D correlation as a sum over the kernel's elements."""

    def correlation(x, w):
        height, width = x.shape
        high, wide = height - dilation * (rows - 1), width - dilation * (columns - 1)
        return sum(
            w[a, b]
            * x[
                dilation * a : dilation * a + high : stride,
                dilation * b : dilation * b + wide : stride,
            ]
            for a, b in itertools.product(range(rows), range(columns))
        )

    return correlation


CASES = {
    "2 x 2": (windows(2, 2), {"x": "H W", "w": (2, 2)}),
    "3 x 3": (windows(3, 3), {"x": "H W", "w": (3, 3)}),
    "1 x 3": (windows(1, 3), {"x": "H W", "w": (1, 3)}),
    "3 x 1 of numbers": (windows(3, 1), {"x": (5, 6), "w": (3, 1)}),
    "stride": (windows(2, 2, stride=2), {"x": (6, 8), "w": (2, 2)}),
    "overlapping stride": (windows(3, 3, stride=2), {"x": (7, 9), "w": (3, 3)}),
    "dilation": (windows(2, 2, dilation=2), {"x": "H W", "w": (2, 2)}),
    "signal": (lambda x, w: w[0] * x[:-1] + w[1] * x[1:], {"x": "N", "w": (2,)}),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_of_known_size(case):
    function, shapes = CASES[case]
    derivation = cr.derive(function, **shapes)
    space: dict = {}
    exec(derivation.source(), space)
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(4)
    sizes = {"H": 6, "W": 5, "N": 7}
    x = rng.normal(size=tuple(sizes.get(e, e) for e in _listed(shapes["x"])))
    w = rng.normal(size=shapes["w"])
    with jax.enable_x64(True):
        value, back = jax.vjp(function, x, w)
        cotangent = rng.normal(size=value.shape)
        expected = back(jax.numpy.asarray(cotangent))
    np.testing.assert_allclose(space["forward"](x, w), value, rtol=1e-12)
    for found, wanted in zip(space["backward"](x, w, cotangent), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def _listed(shape):
    return shape.split() if isinstance(shape, str) else shape


def test_sums_range_over_what_the_arrays_show_or_say_how_far():
    """x has one row more than G: ``Σ_k G[k] x[k]`` runs as far as both have elements."""
    gradient = cr.derive(lambda x, w: w[0] * x[:-1] + w[1] * x[1:], x="N", w=(2,)).gradients["w"]
    assert "Σ_j G[j] x[j]" in gradient.index
    # nothing but x shows how far i runs, and x has one row more
    form = cr.derive(lambda x: np.sum(x[:-1] @ x.T[:, 1:]), x="N M").gradients["x"]
    assert form.index == "(Σ_(i < N − 1) x[i,m]) [n ≥ 1] + Σ_i x[i+1,m] [n < N − 1]"
    assert r"\sum_{i < N - 1} x_{i,m}" in form.latex
    assert "<mi>i</mi><mo>&lt;</mo>" in form.mathml
