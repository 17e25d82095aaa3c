"""The field's standard problems (`bench/problems`) in float64: mixture, k-means, log-sum-exp.

Everyone differentiates the same source, compiled where the peer can compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed
from problems import gmm, kmeans, logsumexp

MIXTURES = ((1000, 25, 10), (1000, 25, 64))
CLUSTERS = ((10_000, 100, 16),)
LENGTHS = (10_000, 1_280_000)

#: One problem: what it is called, the quantity, the arguments, and numbers of a result.
Problem = tuple[str, str, tuple[Any, ...]]
Prepare = Callable[[str, tuple[Any, ...]], Callable[[], Any]]


def problems() -> Iterator[tuple[str, str, str, tuple[Any, ...]]]:
    """Kind, title, quantity, arguments."""
    for n, k, d in MIXTURES:
        title = f"Gaussian mixture, n = {n}, k = {k}, d = {d}"
        yield "gmm", title, "gradient", gmm.inputs(n, k, d)
    for n, k, d in CLUSTERS:
        title = f"k-means, n = {n}, k = {k}, d = {d}"
        yield "kmeans", title, "gradient / Hessian diagonal", kmeans.inputs(n, k, d)
    for n in LENGTHS:
        yield "lse", f"log-sum-exp, n = {n:,}", "value and gradient", (logsumexp.inputs(n),)


def checks(result: Any) -> list[float]:
    """The size of every array."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [float(np.linalg.norm(np.asarray(p).ravel())) for p in parts]


def rows(prepare: Prepare, peer: str | None = None) -> Iterator[Row]:
    """One row for each problem that the peer does."""
    for kind, title, quantity, arguments in problems():
        run = prepare(kind, arguments)
        row = timed(title, quantity, run, checks(run()))
        row.peer = peer or row.peer
        yield row


def chainrule() -> Iterator[Row]:
    """Plain NumPy, compiled."""
    import chainrule as cr

    def prepare(kind: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        if kind == "gmm":
            f = gmm.log_density(np, arguments[1].shape[1])
            step = cr.compile(cr.grad(f, argnums=(0, 1, 2, 3)), backend="native")
        elif kind == "kmeans":
            f = kmeans.cost(np)

            def direction(centroids: Any, points: Any) -> Any:
                gradient = cr.grad(f)(centroids, points)
                diagonal = cr.hvp(f)(centroids, points, np.ones(centroids.shape))
                return gradient / diagonal

            step = cr.compile(direction, backend="native")
        else:
            step = cr.compile(cr.value_and_grad(logsumexp.log_sum_exp(np)), backend="native")
        return lambda: step(*arguments)

    yield from rows(prepare)


def by_hand() -> Iterator[Row]:
    """k-means and log-sum-exp as one would write them in NumPy (the mixture in `jax` alone)."""
    for kind, title, quantity, arguments in problems():
        if kind == "kmeans":
            run = nearest_by_hand(*arguments)
        elif kind == "lse":
            run = softmax_by_hand(*arguments)
        else:
            continue
        yield timed(title, quantity, run, checks(run()))


def nearest_by_hand(centroids: Any, points: Any) -> Callable[[], Any]:
    """Distances by a matrix product; the nearest by argmin."""

    def run() -> Any:
        squares = np.sum(centroids**2, axis=1) - 2 * (points @ centroids.T)
        nearest = np.argmin(squares, axis=1)
        counts = np.bincount(nearest, minlength=len(centroids))[:, None]
        sums = np.empty_like(centroids)
        for axis in range(centroids.shape[1]):
            sums[:, axis] = np.bincount(nearest, points[:, axis], len(centroids))
        return (counts * centroids - sums) / counts

    return run


def softmax_by_hand(x: Any) -> Callable[[], Any]:
    """Three passes over x."""

    def run() -> Any:
        top = x.max()
        e = np.exp(x - top)
        total = e.sum()
        e /= total
        return top + np.log(total), e

    return run


def jax() -> Iterator[Row]:
    """The same functions under jit."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def prepare(kind: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        if kind == "gmm":
            f = jax.grad(gmm.log_density(jnp, arguments[1].shape[1]), argnums=(0, 1, 2, 3))
        elif kind == "kmeans":
            slope = jax.grad(kmeans.cost(jnp))

            def f(centroids: Any, points: Any) -> Any:
                ones = jnp.ones_like(centroids)
                gradient, diagonal = jax.jvp(lambda c: slope(c, points), (centroids,), (ones,))
                return gradient / diagonal
        else:
            f = jax.value_and_grad(logsumexp.log_sum_exp(jnp))
        compiled = jax.jit(f)
        placed = jax.device_put(arguments)
        return lambda: jax.block_until_ready(compiled(*placed))

    yield from rows(prepare)


def torch() -> Iterator[Row]:
    """torch.func, eager, with the functions written for it."""
    import torch
    from torch.func import grad, grad_and_value, jvp

    def mixture(d: int) -> Callable[..., Any]:
        places = torch.from_numpy(gmm.table(d))

        def f(alpha: Any, mu: Any, q: Any, l: Any, x: Any) -> Any:
            table = torch.cat([torch.exp(q), l, torch.zeros_like(q[:, :1])], dim=1)
            factor = table[:, places]
            y = torch.einsum("kij,nj->nki", factor, x) - torch.einsum("kij,kj->ki", factor, mu)
            beta = alpha + q.sum(1) - 0.5 * (y**2).sum(-1)
            fit = torch.logsumexp(beta, -1).sum() - len(x) * torch.logsumexp(alpha, -1)
            return fit - 0.5 * (factor**2).sum()

        return f

    def cost(centroids: Any, points: Any) -> Any:
        return ((points[:, None] - centroids[None]) ** 2).sum(-1).min(1).values.sum()

    def prepare(kind: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        tensors = [torch.from_numpy(a) for a in arguments]
        if kind == "gmm":
            f = grad(mixture(arguments[1].shape[1]), argnums=(0, 1, 2, 3))
        elif kind == "kmeans":

            def f(centroids: Any, points: Any) -> Any:
                ones = torch.ones_like(centroids)
                slope = grad(cost)
                gradient, diagonal = jvp(lambda c: slope(c, points), (centroids,), (ones,))
                return gradient / diagonal
        else:
            both = grad_and_value(lambda x: torch.logsumexp(x, 0))

            def f(x: Any) -> Any:
                gradient, value = both(x)
                return value, gradient

        return lambda: f(*tensors)

    yield from rows(prepare)


PEERS = {"chainrule": chainrule, "numpy by hand": by_hand, "jax": jax, "torch": torch}

if __name__ == "__main__":
    main(PEERS, __file__)
