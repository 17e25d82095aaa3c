"""A chain of elementwise nodes, 10,000 and 100,000 long: what each stage costs a node.

Stages: tracing the Python loop, deriving the gradient (of the same loop), lowering both to a
program, running it. Linear in the length, and without recursion, or it would not finish. The peer
that can follow is PyTorch, which traces, derives and runs in one. (JAX compiles such a chain for
minutes; `jax` here stops before compiling: it traces and derives 10,000 nodes.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed

LENGTHS = (10_000, 100_000)
WIDTH = 8


def chain(sin: Any, x: Any, length: int) -> Any:
    """sin of sin of … of x."""
    for _ in range(length):
        x = sin(x)
    return x


def start() -> Any:
    """The first value of the chain."""
    return np.linspace(0.5, 2.0, WIDTH)


def title(length: int) -> str:
    """The name of a case."""
    return f"chain of {length:,} nodes, {WIDTH} elements each"


def each(length: int, quantity: str, seconds: float, **more: Any) -> Row:
    """Seconds for a node."""
    return Row(title(length), quantity, seconds / length, "s/node", **more)


def chainrule() -> Iterator[Row]:
    """The stages, one after the other, on fresh graphs."""
    import chainrule as cr
    from chainrule.expr.build import ones
    from chainrule.lower.numpy_backend import NumpyProgram
    from chainrule.lower.plan import make_plan
    from chainrule.transforms.core import derived_pullback, enter, level, outputs

    cr.grad(lambda x: np.sum(chain(np.sin, x, 100)))(start())  # imports and first calls
    for length in LENGTHS:
        times = {}
        with level("bench") as (session, opened):
            inputs = enter(session, opened, start(), "x")
            clock = time.perf_counter()
            result = np.sum(chain(np.sin, inputs.tree, length))
            times["trace"] = time.perf_counter() - clock
            (value,) = outputs(result).nodes
            clock = time.perf_counter()
            gradient = derived_pullback([value], [ones((), value.dtype)], inputs.leaves)
            times["derive"] = time.perf_counter() - clock
            clock = time.perf_counter()
            program = NumpyProgram(make_plan([value, *gradient]))
            times["lower"] = time.perf_counter() - clock
        x = start()
        row = timed("", "", lambda p=program, x=x: p(x))
        times["run"] = row.value
        y, g = program(x)
        for stage, seconds in times.items():
            yield each(length, stage, seconds)
        check = [float(y), float(np.abs(g).sum())]
        yield each(length, "all of it, once", sum(times.values()), check=check)


def by_hand() -> Iterator[Row]:
    """Two loops over NumPy calls."""
    x = start()
    for length in LENGTHS:

        def run(length: int = length) -> Any:
            values = [x]
            for _ in range(length):
                values.append(np.sin(values[-1]))
            g = np.ones_like(x)
            for v in reversed(values[:-1]):
                g = g * np.cos(v)
            return np.sum(values[-1]), g

        row = timed("", "", run)
        yield each(length, "run", row.value)


def torch() -> Iterator[Row]:
    """Eager: tracing, deriving and running are one."""
    import torch

    x = torch.from_numpy(start()).requires_grad_()
    for length in LENGTHS:

        def run(length: int = length) -> Any:
            y = torch.sum(chain(torch.sin, x, length))
            return y.detach(), torch.autograd.grad(y, x)[0]

        row = timed("", "", run)
        y, g = run()
        yield each(length, "all of it, once", row.value, check=[float(y), float(g.abs().sum())])
        yield each(length, "run", row.value)


def jax() -> Iterator[Row]:
    """Only tracing and deriving, of the shorter chain; each with the other included."""
    import jax

    jax.config.update("jax_enable_x64", True)
    length = LENGTHS[0]

    def f(x: Any) -> Any:
        return jax.numpy.sum(chain(jax.numpy.sin, x, length))

    for quantity, g in (("trace", f), ("trace and derive", jax.value_and_grad(f))):
        clock = time.perf_counter()
        jax.make_jaxpr(g)(start())
        yield each(length, quantity, time.perf_counter() - clock)


PEERS = {"chainrule": chainrule, "numpy by hand": by_hand, "torch": torch, "jax": jax}

if __name__ == "__main__":
    main(PEERS, __file__)
