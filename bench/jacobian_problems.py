"""The problems of `jacobians.py`: the functions for every peer, and their derivatives by hand.

A problem is written once, over a module `m`: NumPy, `jax.numpy` or PyTorch (which has a spelling of
its own where it must); `hand` is what a person writes in NumPy for the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MILLI = 1e-3


@dataclass(frozen=True)
class Problem:
    """One row of the table."""

    title: str
    #: the argument it is differentiated by, and the arrays that the function captures
    arrays: Callable[[], tuple[Any, tuple[Any, ...]]]
    #: f(m, argument, *captured)
    f: Callable[..., Any]
    #: by hand, of (argument, *captured): what `numbers` takes from the object
    hand: Callable[..., Any] | None = None
    #: what of the object is compared with the work by hand, and its name
    numbers: Callable[[Any], Any] = field(default=lambda j: j.to_dense())
    what: str = "dense"
    hessian: bool = False
    #: targets: over the time by hand, seconds of the object, bytes stored
    ratio: float | None = None
    seconds: float | None = None
    stored: float | None = None
    #: JAX's best way, and how many calls its time allows
    jax: str = "jacrev"
    calls: int | None = None
    #: the same numbers from a peer's dense array
    taken: Callable[[Any], Any] = field(default=lambda dense: dense)
    torch: Callable[..., Any] | None = None
    #: with a right-hand side, the object also solves
    solve: float | None = None


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _layer() -> tuple[Any, tuple[Any, ...]]:
    r = _rng()
    return r.normal(size=(100, 4096)) / 64, (r.normal(size=4096), r.normal(size=100))


def _layer_by_hand(w: Any, x: Any, b: Any) -> Any:
    h = np.tanh(w @ x + b)
    dense = np.zeros((100, 100, 4096))
    i = np.arange(100)
    dense[i, i] = (1 - h * h)[:, None] * x
    return dense


def _elementwise_by_hand(x: Any) -> Any:
    t, e = np.tanh(x), np.exp(-(x**2))
    return (1 - t * t) * e - 2 * x * t * e


def _bottleneck() -> tuple[Any, tuple[Any, ...]]:
    r = _rng()
    return r.normal(size=2000), (r.normal(size=(10, 2000)) / 40, r.normal(size=(2000, 10)) / 3)


def _bottleneck_by_hand(x: Any, a: Any, b: Any) -> Any:
    h = np.tanh(a @ x)
    y = np.tanh(b @ h)
    return ((1 - y * y)[:, None] * b * (1 - h * h)) @ a


def _logistic() -> tuple[Any, tuple[Any, ...]]:
    r = _rng()
    return r.normal(size=1000) / 30, (r.normal(size=(2000, 1000)), np.sign(r.normal(size=2000)))


def _logistic_by_hand(w: Any, x: Any, y: Any) -> Any:
    p = 1 / (1 + np.exp(-y * (x @ w)))
    return x.T @ ((p * (1 - p))[:, None] * x)


def _factors(n: int) -> Callable[[], tuple[Any, tuple[Any, ...]]]:
    def arrays() -> tuple[Any, tuple[Any, ...]]:
        r = _rng()
        mask = (r.random((n, n)) < 0.3).astype(float)
        return r.normal(size=(n, 5)), (r.normal(size=(n, 5)), r.normal(size=(n, n)), mask)

    return arrays


def _masked_by_hand(u: Any, v: Any, ratings: Any, mask: Any) -> Any:
    products = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)
    return 2 * (mask @ products).reshape(len(u), v.shape[1], v.shape[1])


def _squares(n: int) -> Problem:
    return Problem(
        f"matrix factorization Hessian, n = {n}, k = 5",
        _factors(n),
        lambda m, u, v, ratings, mask: m.sum((ratings - u @ v.T) ** 2),
        hand=lambda u, v, ratings, mask: 2 * v.T @ v,
        numbers=lambda j: j[(0, slice(None)), (0, slice(None))].to_dense(),
        what="VᵀV, the one block",
        taken=lambda dense: dense[0, :, 0, :],
        hessian=True,
        seconds=1 * MILLI,
        calls=3,
        solve=1 * MILLI,
    )


def _points() -> tuple[Any, tuple[Any, ...]]:
    return _rng().normal(size=(800, 3)), ()


def _distances(m: Any, x: Any) -> Any:
    """Over unequal pairs; each counts twice."""
    between = x[:, None] - x[None]
    squares = (between**2).sum(-1)
    apart = squares > 0
    return m.where(apart, m.sqrt(m.where(apart, squares, 1.0)), 0.0).sum()


def _distances_by_hand(x: Any) -> Any:
    n, d = x.shape
    between = x[:, None] - x[None]
    r = np.sqrt((between**2).sum(-1))
    np.fill_diagonal(r, np.inf)
    unit = between / r[..., None]
    dense = -2 * (np.eye(d) - unit[..., :, None] * unit[..., None, :]) / r[..., None, None]
    dense = dense.transpose(0, 2, 1, 3)
    i = np.arange(n)
    dense[i, :, i, :] = -dense.sum(2)
    return dense


def _sandwich() -> tuple[Any, tuple[Any, ...]]:
    r = _rng()
    return r.normal(size=(40, 40)), (r.normal(size=(40, 40)), r.normal(size=(40, 40)))


PROBLEMS = {
    "layer": Problem(
        "tanh(W x + b) by W, T = 100, N = 4096",
        _layer,
        lambda m, w, x, b: m.tanh(w @ x + b),
        hand=_layer_by_hand,
        seconds=1 * MILLI,
        stored=1e6,
        calls=3,
    ),
    "elementwise": Problem(
        "elementwise, n = 5000",
        lambda: (_rng().normal(size=5000), ()),
        lambda m, x: m.tanh(x) * m.exp(-(x**2)),
        hand=_elementwise_by_hand,
        numbers=lambda j: j.diagonal(),
        what="the diagonal",
        taken=lambda dense: dense.diagonal(),
        ratio=1.5,
        jax="jacfwd",
    ),
    "bottleneck": Problem(
        "2000 → 10 → 2000 tanh network by x",
        _bottleneck,
        lambda m, x, a, b: m.tanh(b @ m.tanh(a @ x)),
        hand=_bottleneck_by_hand,
        ratio=1.2,
        jax="jacfwd",
    ),
    "logistic": Problem(
        "logistic Hessian, m = 2000, n = 1000",
        _logistic,
        lambda m, w, x, y: m.logaddexp(0.0, -y * (x @ w)).sum(),
        hand=_logistic_by_hand,
        hessian=True,
        ratio=1.15,
        torch=lambda t, w, x, y: t.nn.functional.softplus(-y * (x @ w)).sum(),
    ),
    "factorization 200": _squares(200),
    "factorization 400": _squares(400),
    "masked factorization": Problem(
        "the same, masked (density 0.3), n = 400",
        _factors(400),
        lambda m, u, v, ratings, mask: m.sum(mask * (ratings - u @ v.T) ** 2),
        hand=_masked_by_hand,
        numbers=lambda j: j.blocks(),
        what="the blocks",
        taken=lambda dense: dense[np.arange(400), :, np.arange(400), :],
        hessian=True,
        ratio=2.0,
        calls=3,
    ),
    "quadratic form": Problem(
        "xᵀAx Hessian, n = 2000",
        lambda: (_rng().normal(size=2000), (_rng().normal(size=(2000, 2000)),)),
        lambda m, x, a: x @ a @ x,
        hand=lambda x, a: a + a.T,
        hessian=True,
        ratio=1.2,
        calls=3,
    ),
    "distances": Problem(
        "Σ‖xᵢ − xⱼ‖ Hessian, 800 points in 3-D",
        _points,
        _distances,
        hand=_distances_by_hand,
        hessian=True,
        calls=1,
    ),
    "A X B": Problem(
        "A X B by X, 40 × 40",
        _sandwich,
        lambda m, x, a, b: a @ x @ b,
        hand=lambda x, a, b: np.einsum("ac,db->abcd", a, b),
        seconds=1 * MILLI,
        jax="jacfwd",
    ),
}
