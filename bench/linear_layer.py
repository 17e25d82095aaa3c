"""The linear layer y = x @ w, 64 × 4096 × 4096 in float32: its pullback and its Jacobians.

The pullback is two matrix products, dL/dx = G wᵀ and dL/dw = xᵀ G; by hand they stand in the same
process. The extra memory is what is allocated beyond the two results (NumPy reports its buffers to
tracemalloc). The Jacobians are 256 GiB and 16 TiB, dense.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed

ROWS, INPUTS, OUTPUTS = 64, 4096, 4096
CASE = f"y = x @ w, {ROWS}×{INPUTS}×{OUTPUTS} float32"


def arrays() -> tuple[Any, Any, Any]:
    """x, w and the gradient that arrives from above."""
    rng = np.random.default_rng(0)
    shapes = ((ROWS, INPUTS), (INPUTS, OUTPUTS), (ROWS, OUTPUTS))
    x, w, g = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return x, w / np.float32(64), g


def checks(gradients: Any) -> list[float]:
    """Numbers by which results are compared."""
    return [float(np.abs(np.asarray(g)).mean()) for g in gradients]


def extra_bytes(run: Callable[[], Any]) -> float:
    """The most memory that a call held beyond its results."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        results = run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before - sum(r.nbytes for r in results)


def chainrule() -> Iterator[Row]:
    """The compiled pullback, the pullback as it comes, and by hand."""
    import chainrule as cr

    x, w, g = arrays()

    def layer(x: Any, w: Any) -> Any:
        return x @ w

    compiled = cr.compile(lambda x, w, g: cr.vjp(layer, x, w)[1](g))
    pullback = cr.vjp(layer, x, w)[1]
    contenders = {
        "chainrule": lambda: compiled(x, w, g),
        "chainrule, not compiled": lambda: pullback(g),
        "numpy by hand": lambda: (g @ w.T, x.T @ g),
    }
    for name, run in contenders.items():
        row = timed(CASE, "pullback", run, checks(run()))
        row.peer = name
        yield row
    for name, run in contenders.items():
        yield Row(CASE, "memory beyond the results", extra_bytes(run), "B", peer=name)
    for name, position in (("∂y/∂x", 0), ("∂y/∂w", 1)):
        jacobian = cr.jacobian(layer, argnums=position)(x, w)
        yield Row(CASE, f"{name} stored", jacobian.nbytes, "B")
        yield Row(CASE, f"{name} dense", jacobian.dense_nbytes, "B")


def jax() -> Iterator[Row]:
    """jax.vjp under jit."""
    import jax

    x, w, g = (jax.device_put(a) for a in arrays())
    f = jax.jit(lambda x, w, g: jax.vjp(lambda x, w: x @ w, x, w)[1](g))

    def run() -> Any:
        return jax.block_until_ready(f(x, w, g))

    yield timed(CASE, "pullback", run, checks(run()))


def torch() -> Iterator[Row]:
    """torch.autograd.grad of x @ w, eager: the forward product is done once, before."""
    import torch

    x, w, g = (torch.from_numpy(a) for a in arrays())
    x.requires_grad_()
    w.requires_grad_()
    y = x @ w

    def run() -> Any:
        return torch.autograd.grad(y, (x, w), g, retain_graph=True)

    yield timed(CASE, "pullback", run, checks(run()))


PEERS = {"chainrule": chainrule, "jax": jax, "torch": torch}

if __name__ == "__main__":
    main(PEERS, __file__)
