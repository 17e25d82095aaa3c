"""Counted flops of value and gradient, over those of the function: the cheap-gradient bound.

Reverse mode never costs more than 4 times the function, and one more for every element of the
input. Counted by the plan (a multiply-add 2, a transcendental 10), so nothing here is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness import Row, main

#: The factor of the bound.
FACTOR = 4


def count(f: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Flops of f, and of f together with its gradient by all arguments."""
    from chainrule.expr.build import ones
    from chainrule.lower.run import program_for
    from chainrule.transforms.core import derived_pullback, enter, level, outputs

    with level("count") as (session, opened):
        inputs = enter(session, opened, arguments, "argument")
        (value,) = outputs(f(*inputs.tree)).nodes
        gradients = derived_pullback([value], [ones((), value.dtype)], inputs.leaves)
        return program_for([value]).plan.flops, program_for([value, *gradients]).plan.flops


def cross_entropy(z: Any, y: Any) -> Any:
    """The mean over rows of logsumexp(z) - y · z."""
    top = np.max(z, axis=1, keepdims=True)
    total = np.log(np.sum(np.exp(z - top), axis=1))
    return np.mean(top[:, 0] + total - np.sum(y * z, axis=1))


def mlp(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    """64-32-10 with tanh."""
    return cross_entropy(np.tanh(x @ w1 + b1) @ w2 + b2, y)


def softmax_regression(w: Any, b: Any, x: Any, y: Any) -> Any:
    """One layer."""
    return cross_entropy(x @ w + b, y)


def logsumexp(x: Any) -> Any:
    """Without overflow."""
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def convolution(image: Any, kernel: Any) -> Any:
    """Windows of the image against the kernel, summed as squares."""
    windows = sliding_window_view(image, kernel.shape)
    return np.sum(np.einsum("ijkl,kl->ij", windows, kernel) ** 2)


def matrix_chain(a: Any, b: Any, c: Any, v: Any) -> Any:
    """Σ a b c v, from left to right as written."""
    return np.sum(a @ b @ c @ v)


def two_tanh(a: Any, b: Any, x: Any) -> Any:
    """Σ tanh(A tanh(B x))."""
    return np.sum(np.tanh(a @ np.tanh(b @ x)))


def cases() -> Iterator[tuple[str, Callable[..., Any], list[Any]]]:
    """Name, function, arguments."""
    normal = np.random.default_rng(0).normal
    x, y = normal(size=(32, 64)), np.eye(10)[np.arange(32) % 10]
    parameters = [normal(size=s) for s in ((64, 32), (32,), (32, 10), (10,))]
    yield "MLP 64-32-10, batch 32", lambda *p: mlp(*p, x, y), parameters
    parameters = [normal(size=(64, 10)), normal(size=10)]
    yield "softmax regression 64-10", lambda *p: softmax_regression(*p, x, y), parameters
    yield "logsumexp of 1000", logsumexp, [normal(size=1000)]
    yield "convolution 32×32 by 5×5", convolution, [normal(size=(32, 32)), normal(size=(5, 5))]
    sizes = ((20, 30), (30, 40), (40, 10), (10,))
    yield "matrix chain", matrix_chain, [normal(size=s) for s in sizes]
    a, b = normal(size=(40, 30)), normal(size=(30, 20))
    yield "Σ tanh(A tanh(B x)) by x", lambda x: two_tanh(a, b, x), [normal(size=20)]


def chainrule() -> Iterator[Row]:
    """All functions: ratios with their bounds, and the counts."""
    for name, f, arguments in cases():
        alone, together = count(f, *arguments)
        bound = FACTOR + sum(np.size(a) for a in arguments) / alone
        row = Row("value and gradient to function", name, together / alone, "×", limit=bound)
        row.details = {"function": alone, "value and gradient": together}
        yield row


PEERS = {"chainrule": chainrule}

if __name__ == "__main__":
    main(PEERS, __file__)
