"""Value and gradient of a recurrent network over 1,000 rounds of a scan.

8 numbers in, 32 units of tanh, one number out, the mean of squares as loss: for one sequence, and
for 16 at once. The floor is the matrix products alone, round by round where they depend on each
other and in one piece where they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed
from mlp import checks

ROUNDS, INPUTS, UNITS = 1000, 8, 32
BATCHES = (1, 16)
QUANTITY = "value and gradient"


def title(batch: int, dtype: Any) -> str:
    """`8-32-1, 1,000 rounds, batch 16, float32`."""
    return f"{INPUTS}-{UNITS}-1, {ROUNDS:,} rounds, batch {batch}, {np.dtype(dtype).name}"


def data(batch: int, dtype: Any) -> tuple[list[Any], Any, Any]:
    """Weights (in, recurrent, bias, out), rows of inputs and targets."""
    rng = np.random.default_rng(0)
    params = [
        0.3 * rng.normal(size=(INPUTS, UNITS)),
        0.15 * rng.normal(size=(UNITS, UNITS)),
        0.1 * rng.normal(size=UNITS),
        rng.normal(size=(UNITS, 1)),
    ]
    xs, ys = rng.normal(size=(ROUNDS, batch, INPUTS)), rng.normal(size=(ROUNDS, batch, 1))
    return [p.astype(dtype) for p in params], xs.astype(dtype), ys.astype(dtype)


def loss_in(np: Any, scan: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, for any namespace with NumPy's names and any such loop."""

    def loss(params: Any, xs: Any, ys: Any) -> Any:
        into, again, bias, out = params

        def step(h: Any, x: Any) -> Any:
            h = np.tanh(x @ into + h @ again + bias)
            return h, h

        _, states = scan(step, np.zeros((xs.shape[1], UNITS), xs.dtype), xs)
        return np.mean((states @ out - ys) ** 2)

    return loss


def rows(prepare: Callable[..., Callable[[], Any]]) -> Iterator[Row]:
    """One row a batch and dtype; `prepare(params, xs, ys)` gives what is to be timed."""
    for dtype in (np.float32, np.float64):
        for batch in BATCHES:
            run = prepare(*data(batch, dtype))
            yield timed(title(batch, dtype), QUANTITY, run, checks(run()))


def _chainrule(backend: str) -> Iterator[Row]:
    import chainrule as cr

    def prepare(*arguments: Any) -> Callable[[], Any]:
        compiled = cr.compile(cr.value_and_grad(loss_in(np, cr.scan)), backend=backend)
        return lambda: compiled(*arguments)

    yield from rows(prepare)


def chainrule() -> Iterator[Row]:
    """cr.scan in native code."""
    yield from _chainrule("native")


def chainrule_on_numpy() -> Iterator[Row]:
    """The same on NumPy: a loop of Python's."""
    yield from _chainrule("numpy")


def floor() -> Iterator[Row]:
    """The matrix products alone, in NumPy."""
    for dtype in (np.float32, np.float64):
        for batch in BATCHES:
            (into, again, _, _), xs, _ = data(batch, dtype)
            state, buffer = np.ones((batch, UNITS), dtype), np.empty((batch, UNITS), dtype)
            states = np.ones((ROUNDS * batch, UNITS), dtype)
            flat = xs.reshape(-1, INPUTS)

            def run(
                into: Any = into,
                again: Any = again,
                state: Any = state,
                buffer: Any = buffer,
                states: Any = states,
                flat: Any = flat,
            ) -> Any:
                turned = again.T.copy()
                for _ in range(ROUNDS):
                    np.matmul(state, again, out=buffer)
                for _ in range(ROUNDS):
                    np.matmul(state, turned, out=buffer)
                return flat @ into, flat.T @ states, states.T @ states

            yield timed(title(batch, dtype), QUANTITY, run)


def jax() -> Iterator[Row]:
    """jax.lax.scan, jax.value_and_grad under jit."""
    import jax

    jax.config.update("jax_enable_x64", True)
    f = jax.jit(jax.value_and_grad(loss_in(jax.numpy, jax.lax.scan)))

    def prepare(*arguments: Any) -> Callable[[], Any]:
        placed = jax.device_put(arguments)
        return lambda: jax.block_until_ready(f(*placed))

    yield from rows(prepare)


PEERS = {
    "chainrule": chainrule,
    "chainrule on numpy": chainrule_on_numpy,
    "floor: its products": floor,
    "jax": jax,
}

if __name__ == "__main__":
    main(PEERS, __file__)
