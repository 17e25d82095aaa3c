"""Value and gradient of a tanh network in float32, from one example to a batch of 128.

The loss is the softmax cross-entropy (for one output half the squared distance), the mean over the
batch. Everyone gets the same parameters and data, and must find the same loss and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from harness import Row, main, timed

#: Units in each layer, and rows in the batch.
SIZES = (((784, 512, 512, 10), 128), ((64, 32, 10), 32), ((4, 8, 1), 1))
QUANTITY = "value and gradient"


def title(sizes: tuple[int, ...], batch: int) -> str:
    """`64-32-10, batch 32, float32`."""
    return f"{'-'.join(map(str, sizes))}, batch {batch}, float32"


def data(sizes: tuple[int, ...], batch: int) -> tuple[list[Any], Any, Any]:
    """Weights and biases in turn, inputs and targets."""
    rng = np.random.default_rng(0)
    params = []
    for n, m in pairwise(sizes):
        params += [rng.normal(size=(n, m)) / np.sqrt(n), 0.1 * rng.normal(size=m)]
    x = rng.normal(size=(batch, sizes[0]))
    if sizes[-1] == 1:
        y = rng.normal(size=(batch, 1))
    else:
        y = np.eye(sizes[-1])[rng.integers(sizes[-1], size=batch)]
    params = [p.astype(np.float32) for p in params]
    return params, x.astype(np.float32), y.astype(np.float32)


def loss_in(np: Any) -> Callable[..., Any]:
    """The loss, for any namespace with NumPy's names."""

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = np.tanh(x @ w + b)
        z = x @ params[-2] + params[-1]
        if z.shape[1] == 1:
            return 0.5 * np.mean((z - y) ** 2)
        top = np.max(z, axis=1, keepdims=True)
        total = np.log(np.sum(np.exp(z - top), axis=1))
        return np.mean(top[:, 0] + total - np.sum(y * z, axis=1))

    return loss


def checks(result: Any) -> list[float]:
    """The loss, and the size of every gradient."""
    value, gradients = result
    return [float(value), *(float(np.linalg.norm(np.asarray(g))) for g in gradients)]


def rows(prepare: Callable[..., Callable[[], Any]], peer: str | None = None) -> Iterator[Row]:
    """One row for each size; `prepare(params, x, y)` gives what is to be timed."""
    for sizes, batch in SIZES:
        run = prepare(*data(sizes, batch))
        row = timed(title(sizes, batch), QUANTITY, run, checks(run()))
        row.peer = peer or row.peer
        yield row


def chainrule() -> Iterator[Row]:
    """The plain NumPy loss, compiled; and traced anew at every call."""
    import chainrule as cr

    both = cr.value_and_grad(loss_in(np))

    def prepare(params: Any, x: Any, y: Any) -> Callable[[], Any]:
        compiled = cr.compile(both)
        return lambda: compiled(params, x, y)

    yield from rows(prepare)
    yield from rows(lambda *arguments: lambda: both(*arguments), "chainrule, not compiled")


def by_hand() -> Iterator[Row]:
    """The backward pass as one would write it in NumPy."""

    def prepare(params: Any, x: Any, y: Any) -> Callable[[], Any]:
        def run() -> Any:
            hidden = [x]
            for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
                hidden.append(np.tanh(hidden[-1] @ w + b))
            z = hidden[-1] @ params[-2] + params[-1]
            if z.shape[1] == 1:
                difference = z - y
                value = 0.5 * np.mean(difference**2)
                dz = difference / np.float32(len(x))
            else:
                top = z.max(axis=1, keepdims=True)
                e = np.exp(z - top)
                total = e.sum(axis=1, keepdims=True)
                value = np.mean(top[:, 0] + np.log(total[:, 0]) - np.sum(y * z, axis=1))
                dz = (e / total - y) / np.float32(len(x))
            gradients: list[Any] = []
            for k in range(len(params) - 2, -1, -2):
                h = hidden[k // 2]
                gradients[:0] = [h.T @ dz, dz.sum(axis=0)]
                if k:
                    dz = (dz @ params[k].T) * (1 - h * h)
            return value, gradients

        return run

    yield from rows(prepare)


def floor() -> Iterator[Row]:
    """The matrix products alone, in NumPy: three for every layer but the first, which needs two."""

    def prepare(params: Any, x: Any, y: Any) -> Callable[[], Any]:
        pairs = []
        for number, w in enumerate(params[::2]):
            h = np.ones((len(x), w.shape[0]), w.dtype)
            g = np.ones((len(x), w.shape[1]), w.dtype)
            pairs += [(h, w), (h.T, g)] + ([(g, w.T)] if number else [])

        def run() -> Any:
            return [np.matmul(a, b) for a, b in pairs]

        return run

    for sizes, batch in SIZES:
        run = prepare(*data(sizes, batch))
        yield timed(title(sizes, batch), QUANTITY, run)


def jax() -> Iterator[Row]:
    """jax.value_and_grad under jit."""
    import jax

    f = jax.jit(jax.value_and_grad(loss_in(jax.numpy)))

    def prepare(*arguments: Any) -> Callable[[], Any]:
        placed = jax.device_put(arguments)
        return lambda: jax.block_until_ready(f(*placed))

    yield from rows(prepare)


def _torch(wrap: Callable[[Any], Any]) -> Iterator[Row]:
    import torch

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = torch.tanh(torch.addmm(b, x, w))
        z = torch.addmm(params[-1], x, params[-2])
        if z.shape[1] == 1:
            return 0.5 * torch.mean((z - y) ** 2)
        return torch.mean(torch.logsumexp(z, 1) - torch.sum(y * z, 1))

    loss = wrap(loss)

    def prepare(params: Any, x: Any, y: Any) -> Callable[[], Any]:
        params = [torch.from_numpy(p).requires_grad_() for p in params]
        x, y = torch.from_numpy(x), torch.from_numpy(y)

        def run() -> Any:
            value = loss(params, x, y)
            return value.detach(), torch.autograd.grad(value, params)

        return run

    yield from rows(prepare)


def torch() -> Iterator[Row]:
    """torch.autograd.grad, eager."""
    yield from _torch(lambda loss: loss)


def torch_compiled() -> Iterator[Row]:
    """The same under torch.compile, which needs a C++ compiler."""
    import torch

    yield from _torch(torch.compile)


PEERS = {
    "chainrule": chainrule,
    "numpy by hand": by_hand,
    "floor: its products": floor,
    "jax": jax,
    "torch": torch,
    "torch compiled": torch_compiled,
}

if __name__ == "__main__":
    main(PEERS, __file__)
