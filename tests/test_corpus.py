"""The corpus: values against JAX in float64."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from corpus import CORPUS, rebound

jax = pytest.importorskip("jax")


def oracle(entry):
    """The entry's function for JAX."""
    modules = {
        "np": jax.numpy,
        "special": jax.scipy.special,
        "linalg": jax.scipy.linalg,
        "cr": jax,
    }
    return rebound(entry.jax or entry.function, **modules)


@pytest.mark.parametrize("entry", CORPUS, ids=lambda e: e.name)
def test_gradients_against_jax(entry):
    values = entry.arguments()
    rest = {n: v for n, v in values.items() if n not in entry.wanted}
    args = [values[n] for n in entry.wanted]

    def ours(*args):
        return entry.function(**dict(zip(entry.wanted, args, strict=True)), **rest)

    def theirs(*args):
        return oracle(entry)(**dict(zip(entry.wanted, args, strict=True)), **rest)

    def products(args, G):
        y, back = jax.vjp(theirs, *args)
        return y, back(G)

    y, back = cr.vjp(ours, *args)
    G = np.random.default_rng(0).normal(size=np.shape(y))
    expected, gradients = jax.jit(products)(args, G)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    for found, wanted in zip(back(G), gradients, strict=True):
        scale = max(float(np.max(np.abs(wanted))), 1e-2)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * scale)
