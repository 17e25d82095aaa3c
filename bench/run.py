"""Times the loss and gradient of the digits classifier: chainrule against its peers.

    make bench                                  # or: python benchmarks/run.py --batch 64 512

Every contender computes the same numbers first, and one that does not is an error. The figures are
the minimum and the median of many calls after a warm-up, in microseconds, on the CPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from rich.console import Console
from rich.table import Table

import chainrule as cr
from chainrule import nn
from chainrule.cli.examples import load_example

SECONDS = 1.0


def by_hand(model, params, x, y):
    """The backward pass as one would write it: the goal."""

    def run():
        h = np.tanh(x @ params["w1"] + params["b1"])
        z = h @ params["w2"] + params["b2"]
        top = z.max(axis=1, keepdims=True)
        e = np.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        value = np.mean(top[:, 0] + np.log(total[:, 0]) - np.sum(y * z, axis=1))
        dz = (e / total - y) / len(x)
        da = (dz @ params["w2"].T) * (1 - h * h)
        return value, {"w1": x.T @ da, "b1": da.sum(0), "w2": h.T @ dz, "b2": dz.sum(0)}

    return run


def with_chainrule(model, params, x, y, backend=None):
    """The plain NumPy loss as it stands."""
    f = cr.compile(cr.value_and_grad(model.loss), backend=backend)
    return lambda: f(params, x, y)


def with_native(model, params, x, y):
    """The same on the native backend."""
    return with_chainrule(model, params, x, y, backend="native")


def with_jax(model, params, x, y):
    """The loss written again for jax.numpy, under jit, in float64."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def loss(params, x, y):
        z = jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.sum(y * z, axis=1))

    f = jax.jit(jax.value_and_grad(loss))
    arguments = jax.device_put((params, x, y))
    return lambda: jax.block_until_ready(f(*arguments))


def with_torch(model, params, x, y):
    """The loss written again for torch, eager."""
    import torch

    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    x, y = torch.tensor(x), torch.tensor(y)

    def run():
        z = torch.tanh(x @ tensors["w1"] + tensors["b1"]) @ tensors["w2"] + tensors["b2"]
        value = torch.mean(torch.logsumexp(z, 1) - torch.sum(y * z, 1))
        gradient = torch.autograd.grad(value, list(tensors.values()))
        return value.detach(), dict(zip(tensors, gradient, strict=True))

    return run


#: name, the package it needs, how to build it
CONTENDERS = (
    ("NumPy by hand", "numpy", by_hand),
    ("chainrule", "numpy", with_chainrule),
    ("chainrule, native", "llvmlite", with_native),
    ("JAX, jit", "jax", with_jax),
    ("PyTorch, eager", "torch", with_torch),
)


def measure(run: Callable[[], object]) -> list[float]:
    """Microseconds of every call within the time given, after a warm-up."""
    for _ in range(5):
        run()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def agree(result, expected) -> None:
    """Raise unless value and gradients are those expected, to float64 rounding."""
    np.testing.assert_allclose(float(result[0]), float(expected[0]), rtol=1e-10)
    for name, g in expected[1].items():
        np.testing.assert_allclose(np.asarray(result[1][name]), g, rtol=1e-8, atol=1e-12)


def bench(batch: int, console: Console) -> None:
    """One table for one batch size."""
    model = load_example("digits")
    rng = np.random.default_rng(0)
    params = nn.dense(model.SIZES, rng)
    x = rng.normal(size=(batch, model.SIZES[0]))
    y = np.eye(model.SIZES[-1])[rng.integers(model.SIZES[-1], size=batch)]
    expected = by_hand(model, params, x, y)()

    table = Table("", "minimum µs", "median µs", "to by hand", title=f"batch of {batch}")
    reference = None
    for name, package, build in CONTENDERS:
        if find_spec(package) is None:
            table.add_row(name, f"{package} is not installed")
            continue
        run = build(model, params, x, y)
        agree(run(), expected)
        times = measure(run)
        median = statistics.median(times)
        reference = reference or median
        ratio = f"{median / reference:.2f} ×"
        table.add_row(name, f"{min(times):.0f}", f"{median:.0f}", ratio)
    console.print(table)


def main() -> None:
    """Read the batch sizes and print a table each."""
    parser = argparse.ArgumentParser(description="Time the gradient of the digits classifier.")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 512])
    for batch in parser.parse_args().batch:
        bench(batch, Console())


if __name__ == "__main__":
    main()
