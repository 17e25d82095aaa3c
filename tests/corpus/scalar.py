"""One variable: the rules of a first course."""

from __future__ import annotations

import numpy as np

from ._entry import entry, positive

CHAIN = "Spivak, Calculus, ch. 10 (Differentiation): (f∘g)′ = f′(g) g′; (f/g)′ = (f′ g − f g′)/g²"


@entry("scalar", x="")(CHAIN)
def sine_of_square(x):
    return np.sin(x**2)


@entry("scalar", x="")(CHAIN)
def chain_rule(x):
    return np.exp(-np.cos(3 * x))


@entry("scalar", f="", g="")(CHAIN, domains={"g": positive})
def quotient(f, g):
    return f / g


@entry("scalar", x="")(CHAIN)
def quotient_rule(x):
    return np.sin(x) / (1 + x**2)


@entry("scalar", x="")(CHAIN, domains={"x": positive})
def product_rule(x):
    return x**3 * np.log(x)
