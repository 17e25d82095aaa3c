"""Whole models against JAX: gradients, Hessians, batches of both, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr

jax = pytest.importorskip("jax")
jnp = jax.numpy
RNG = np.random.default_rng(7)


def attention(np, q, k, v):
    s = q @ np.swapaxes(k, -1, -2) / np.sqrt(1.0 * q.shape[-1])
    p = np.exp(s - np.max(s, -1, keepdims=True))
    p = p / np.sum(p, -1, keepdims=True)
    return np.sum((p @ v) ** 2)


def gaussian(np, A, b):
    L = np.linalg.cholesky(A)
    return np.linalg.slogdet(A)[1] + b @ np.linalg.solve(A, b) + np.sum(L**3)


def recurrent(np, W, U, xs):
    h = np.zeros(4)
    for t in range(xs.shape[0]):
        h = np.tanh(W @ h + U @ xs[t])
    return np.sum(h**2)


def kernel(np, X):
    D = np.sum((X[:, None] - X[None]) ** 2, -1)
    return np.linalg.slogdet(np.exp(-D) + 0.1 * np.eye(X.shape[0]))[1]


def layer_norm(np, X, g):
    centred = X - np.mean(X, 1, keepdims=True)
    return np.sum(np.sin(g * centred / np.sqrt(np.var(X, 1, keepdims=True) + 1e-5)))


def spd(n):
    A = RNG.normal(size=(n, n))
    return A @ A.T + n * np.eye(n)


MODELS = {
    "attention": (attention, [RNG.normal(size=(2, 3, 4)) for _ in range(3)]),
    "gaussian": (gaussian, [spd(4), RNG.normal(size=4)]),
    "recurrent": (
        recurrent,
        [RNG.normal(size=(4, 4)), RNG.normal(size=(4, 3)), RNG.normal(size=(12, 3))],
    ),
    "kernel": (kernel, [RNG.normal(size=(5, 2))]),
    "layer norm": (layer_norm, [RNG.normal(size=(3, 5)), RNG.normal(size=5)]),
}
CASES = [(name, i) for name, (_, args) in MODELS.items() for i in range(len(args))]


@pytest.mark.parametrize(("name", "argnum"), CASES)
def test_gradient_and_hessian(name, argnum):
    model, args = MODELS[name]
    ours = lambda *a: model(np, *a)  # noqa: E731
    theirs = lambda *a: model(jnp, *a)  # noqa: E731
    np.testing.assert_allclose(
        cr.grad(ours, argnum)(*args), jax.grad(theirs, argnum)(*args), rtol=1e-8, atol=1e-10
    )
    expected = np.asarray(jax.hessian(theirs, argnum)(*args))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        cr.hessian(ours, argnum)(*args), expected, rtol=1e-7, atol=1e-9 * scale
    )


@pytest.mark.parametrize(("name", "argnum"), CASES)
def test_a_batch_of_gradients(name, argnum):
    model, args = MODELS[name]
    stacked = [np.stack([a, 1.5 * a]) for a in args]
    batched = cr.vmap(cr.grad(lambda *a: model(np, *a), argnum))(*stacked)
    for k in range(2):
        one = cr.grad(lambda *a: model(np, *a), argnum)(*[s[k] for s in stacked])
        np.testing.assert_allclose(batched[k], one, rtol=1e-9, atol=1e-10)


def test_a_convolution_by_windows():
    x, w = RNG.normal(size=(2, 3, 6, 6)), RNG.normal(size=(4, 3, 3, 3))

    def ours(x, w):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
        return np.sum(np.tanh(np.einsum("bchwij,dcij->bdhw", windows, w)))

    def theirs(x, w):
        return jnp.sum(jnp.tanh(jax.lax.conv(x, w, (1, 1), "VALID")))

    for i in (0, 1):
        np.testing.assert_allclose(cr.grad(ours, i)(x, w), jax.grad(theirs, i)(x, w), rtol=1e-9)
    np.testing.assert_allclose(
        cr.hessian(ours, 1)(x, w), jax.hessian(theirs, 1)(x, w), rtol=1e-7, atol=1e-10
    )


def test_a_long_recurrence_stays_small():
    """Terms of a Jacobian are packed once they outgrow the dense value."""
    W, U = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 3))
    sizes = []
    for steps in (5, 20):
        xs = RNG.normal(size=(steps, 3))
        H = cr.hessian(lambda W, xs=xs: recurrent(np, W, U, xs))(W)
        sizes.append(H.nbytes)
    assert sizes[0] == sizes[1] <= 4**4 * 8
