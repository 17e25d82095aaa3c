"""The field's standard problems (`bench/problems`) in float64: mixture, k-means, log-sum-exp.

Everyone differentiates the same source, compiled where the peer can compile.  JAX and PyTorch also
have their turn with programs written well for them (a gather by `argmin`, their own `logsumexp`);
the better one of a peer's two is its time.
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


def better(*peers: Iterator[Row]) -> Iterator[Row]:
    """Of several ways to write the same problem the fastest, row by row."""
    for rows_ in zip(*peers, strict=True):
        yield min(rows_, key=lambda row: row.value)


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
    """The same functions under jit, and those written for it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def plain(kind: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        if kind == "gmm":
            f = jax.grad(gmm.log_density(jnp, arguments[1].shape[1]), argnums=(0, 1, 2, 3))
        elif kind == "kmeans":
            f = newton(kmeans.cost(jnp))
        else:
            f = jax.value_and_grad(logsumexp.log_sum_exp(jnp))
        return compiled(f, arguments)

    def advised(kind: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        if kind == "gmm":
            f = jax.grad(mixture(arguments[1].shape[1]), argnums=(0, 1, 2, 3))
        elif kind == "kmeans":
            f = newton(cost)
        else:
            f = jax.value_and_grad(jax.nn.logsumexp)
        return compiled(f, arguments)

    def compiled(f: Any, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        step = jax.jit(f)
        placed = jax.device_put(arguments)
        return lambda: jax.block_until_ready(step(*placed))

    def newton(of: Any) -> Callable[..., Any]:
        slope = jax.grad(of)

        def f(centroids: Any, points: Any) -> Any:
            ones = jnp.ones_like(centroids)
            gradient, diagonal = jax.jvp(lambda c: slope(c, points), (centroids,), (ones,))
            return gradient / diagonal

        return f

    def cost(centroids: Any, points: Any) -> Any:
        """The nearest by a product, without a derivative; distances to it by a gather."""
        fixed = jax.lax.stop_gradient(centroids)
        squares = jnp.sum(fixed**2, axis=1) - 2 * points @ fixed.T
        nearest = jnp.argmin(squares, axis=1)
        return jnp.sum((points - centroids[nearest]) ** 2)

    def mixture(d: int) -> Callable[..., Any]:
        places = jnp.asarray(gmm.table(d))

        def f(alpha: Any, mu: Any, q: Any, l: Any, x: Any) -> Any:
            table = jnp.concatenate([jnp.exp(q), l, jnp.zeros_like(q[:, :1])], axis=1)
            factor = table[:, places]
            y = jnp.einsum("kij,nj->nki", factor, x) - jnp.einsum("kij,kj->ki", factor, mu)
            beta = alpha + q.sum(1) - 0.5 * jnp.sum(y**2, axis=-1)
            lse = jax.nn.logsumexp
            fit = jnp.sum(lse(beta, axis=-1)) - len(x) * lse(alpha)
            return fit - 0.5 * jnp.sum(factor**2)

        return f

    yield from better(rows(plain), rows(advised))


def torch() -> Iterator[Row]:
    """torch.func, eager, with the functions written for it; k-means also with a gather."""
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

    def gathered(centroids: Any, points: Any) -> Any:
        fixed = centroids.detach()
        nearest = ((fixed**2).sum(1) - 2 * points @ fixed.T).argmin(1)
        return ((points - centroids[nearest]) ** 2).sum()

    def prepare(kind: str, arguments: tuple[Any, ...], of: Any = cost) -> Callable[[], Any]:
        tensors = [torch.from_numpy(a) for a in arguments]
        if kind == "gmm":
            f = grad(mixture(arguments[1].shape[1]), argnums=(0, 1, 2, 3))
        elif kind == "kmeans":

            def f(centroids: Any, points: Any) -> Any:
                ones = torch.ones_like(centroids)
                slope = grad(of)
                gradient, diagonal = jvp(lambda c: slope(c, points), (centroids,), (ones,))
                return gradient / diagonal
        else:
            both = grad_and_value(lambda x: torch.logsumexp(x, 0))

            def f(x: Any) -> Any:
                gradient, value = both(x)
                return value, gradient

        return lambda: f(*tensors)

    yield from better(rows(prepare), rows(lambda kind, a: prepare(kind, a, gathered)))


PEERS = {"chainrule": chainrule, "numpy by hand": by_hand, "jax": jax, "torch": torch}

if __name__ == "__main__":
    main(PEERS, __file__)
