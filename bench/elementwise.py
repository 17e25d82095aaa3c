"""The gradient of Σ tanh(sin x · exp(−x²)) + log1p(x²): nothing but elementwise work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed

LENGTHS = (10**4, 10**6)
DTYPES = (np.float32, np.float64)
QUANTITY = "gradient"


def function_in(np: Any) -> Callable[[Any], Any]:
    """The function, for any namespace with NumPy's names."""

    def f(x: Any) -> Any:
        square = x * x
        return np.sum(np.tanh(np.sin(x) * np.exp(-square)) + np.log1p(square))

    return f


def rows(prepare: Callable[[Any], Callable[[], Any]], peer: str | None = None) -> Iterator[Row]:
    """One row for each length and dtype."""
    for dtype in DTYPES:
        for n in LENGTHS:
            x = np.random.default_rng(0).normal(size=n).astype(dtype)
            run = prepare(x)
            case = f"n = {n:,}, {np.dtype(dtype).name}"
            row = timed(case, QUANTITY, run, [np.abs(np.asarray(run())).mean()])
            row.peer = peer or row.peer
            yield row


def chainrule() -> Iterator[Row]:
    """The plain NumPy function, compiled."""
    import chainrule as cr

    gradient = cr.grad(function_in(np))

    def prepare(x: Any) -> Callable[[], Any]:
        compiled = cr.compile(gradient)
        return lambda: compiled(x)

    yield from rows(prepare)


def by_hand() -> Iterator[Row]:
    """The derivative as one would write it in NumPy: every transcendental once."""

    def prepare(x: Any) -> Callable[[], Any]:
        def run() -> Any:
            square = x * x
            e, s = np.exp(-square), np.sin(x)
            t = np.tanh(s * e)
            return (1 - t * t) * e * (np.cos(x) - 2 * x * s) + 2 * x / (1 + square)

        return run

    yield from rows(prepare)


def floor() -> Iterator[Row]:
    """What moving the bytes alone takes: x copied into a fresh array."""
    yield from (row for row in rows(lambda x: lambda: np.array(x)) if not row.check.clear())


def jax() -> Iterator[Row]:
    """jax.grad under jit."""
    import jax

    jax.config.update("jax_enable_x64", True)
    f = jax.jit(jax.grad(function_in(jax.numpy)))

    def prepare(x: Any) -> Callable[[], Any]:
        placed = jax.device_put(x)
        return lambda: jax.block_until_ready(f(placed))

    yield from rows(prepare)


def torch() -> Iterator[Row]:
    """torch.autograd.grad, eager."""
    import torch

    f = function_in(torch)

    def prepare(x: Any) -> Callable[[], Any]:
        x = torch.from_numpy(x).requires_grad_()
        return lambda: torch.autograd.grad(f(x), x)[0]

    yield from rows(prepare)


PEERS = {
    "chainrule": chainrule,
    "numpy by hand": by_hand,
    "floor: one copy": floor,
    "jax": jax,
    "torch": torch,
}

if __name__ == "__main__":
    main(PEERS, __file__)
