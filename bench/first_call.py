"""No waiting: the first call of a function (trace, derive, compile, run), caches cleared before.

The network 784-512-512-10 of `mlp.py`, and a Python loop of 10,000 operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed
from mlp import checks, data, loss_in

SIZES, BATCH = (784, 512, 512, 10), 128
ROUNDS = 10_000
NETWORK = f"{'-'.join(map(str, SIZES))}, batch {BATCH}, float32"
LOOP = f"a Python loop of {ROUNDS:,} operations"
QUANTITY = "first value and gradient"


def looped(np: Any) -> Callable[[Any], Any]:
    """ROUNDS operations, one after the other."""

    def f(x: Any) -> Any:
        for k in range(ROUNDS // 2):
            x = np.sin(x * (1.0 + 0.5 / (k + 1)))
        return np.sum(x)

    return f


def rows(
    first: Callable[[Callable[..., Any], tuple[Any, ...]], Any],
    namespace: Any,
    loop: bool = True,
    convert: Callable[[Any], Any] = lambda a: a,
) -> Iterator[Row]:
    """One row for each function; ``first(f, arguments)`` clears the caches and calls."""
    params, x, y = data(SIZES, BATCH)
    arguments = ([convert(p) for p in params], convert(x), convert(y))

    def network() -> Any:
        return first(loss_in(namespace), arguments)

    yield timed(NETWORK, QUANTITY, network, checks(network()), warmup=1)
    if loop:
        start = (convert(np.linspace(0.1, 1.0, 8)),)

        def chain() -> Any:
            return first(looped(namespace), start)

        value, slope = chain()
        sizes = [float(value), float(np.linalg.norm(np.asarray(slope)))]
        yield timed(LOOP, QUANTITY, chain, sizes, warmup=0)


def chainrule() -> Iterator[Row]:
    """Compiled from nothing."""
    import chainrule as cr

    def first(f: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        cr.clear_caches()
        return cr.compile(cr.value_and_grad(f))(*arguments)

    yield from rows(first, np)


def jax() -> Iterator[Row]:
    """Under jit (the network alone: the loop takes jit minutes)."""
    import jax

    def first(f: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        jax.clear_caches()
        return jax.block_until_ready(jax.jit(jax.value_and_grad(f))(*arguments))

    yield from rows(first, jax.numpy, loop=False)


def torch() -> Iterator[Row]:
    """Eager: nothing to compile."""
    import torch
    from torch.func import grad_and_value

    def first(f: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        gradient, value = grad_and_value(f)(*arguments)
        return value, gradient

    class Names:
        """NumPy's names for what the loss uses."""

        tanh, sin, exp, log = torch.tanh, torch.sin, torch.exp, torch.log

        @staticmethod
        def max(x: Any, axis: int, keepdims: bool) -> Any:
            return x.amax(axis, keepdims)

        @staticmethod
        def sum(x: Any, axis: int | None = None) -> Any:
            return x.sum() if axis is None else x.sum(axis)

        mean = torch.mean

    yield from rows(first, Names, convert=torch.from_numpy)


PEERS = {"chainrule": chainrule, "jax": jax, "torch": torch}

if __name__ == "__main__":
    main(PEERS, __file__)
