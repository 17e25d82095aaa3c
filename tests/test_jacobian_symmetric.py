"""Derivatives over the symmetric matrices: closed forms, and JAX's projected."""

import numpy as np
import pytest

import chainrule as cr

RNG = np.random.default_rng(31)
N = 4


def normal(*shape):
    return RNG.normal(size=shape)


A, B, V, U = normal(N, N), normal(N, N), normal(N), normal(N)
S = normal(N, N)
S = S @ S.T + N * np.eye(N)


def sym(m):
    return (m + np.swapaxes(m, -1, -2)) / 2


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-10, atol=1e-12)


INVERSE = np.linalg.inv(S)

# name: (f, gradient over symmetric matrices)
GRADIENTS = {
    "trace of A X": (lambda x: np.trace(A @ x), sym(A)),
    "log det": (lambda x: np.linalg.slogdet(x)[1], INVERSE),
    "det": (np.linalg.det, np.linalg.det(S) * INVERSE),
    "quadratic form": (lambda x: V @ x @ V, np.outer(V, V)),
    "bilinear form": (lambda x: V @ x @ U, sym(np.outer(V, U))),
    "trace of X A X B": (lambda x: np.trace(x @ A @ x @ B), sym((A @ S @ B + B @ S @ A).T)),
    "trace of the inverse": (
        lambda x: np.trace(A @ np.linalg.inv(x)),
        -sym((INVERSE @ A @ INVERSE).T),
    ),
    "Gaussian": (
        lambda x: np.linalg.slogdet(x)[1] + V @ np.linalg.solve(x, V),
        INVERSE - np.outer(INVERSE @ V, INVERSE @ V),
    ),
    "an element": (lambda x: x[0, 1], sym(np.eye(N)[:1].T @ np.eye(N)[1:2])),
    "diagonal": (lambda x: np.sum(np.diagonal(x) ** 2), np.diag(2 * np.diagonal(S))),
    "antisymmetric part": (lambda x: np.trace((A - A.T) @ x), np.zeros((N, N))),
}


@pytest.mark.parametrize("name", GRADIENTS)
class TestGradients:
    def test_grad(self, name):
        f, expected = GRADIENTS[name]
        close(cr.grad(f, symmetric=True)(S), expected)
        value, gradient = cr.value_and_grad(f, symmetric=True)(S)
        close(value, f(S))
        close(gradient, expected)

    @pytest.mark.parametrize("layout", ["numerator", "denominator"])
    @pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
    def test_jacobian(self, name, layout, mode):
        f, expected = GRADIENTS[name]
        j = cr.jacobian(f, symmetric=True, layout=layout, mode=mode)(S)
        close(j, expected)
        row = j.to_matrix()
        assert row.shape == ((1, N * N) if layout == "numerator" else (N * N, 1))
        close(row.reshape(-1), expected.reshape(-1))

    def test_hessian(self, name):
        """D²f[V, W] for the symmetric parts of V and W, by differences of the gradient."""
        f, _ = GRADIENTS[name]
        h = cr.hessian(f, symmetric=True)(S)
        d = normal(N, N)
        g = cr.grad(f, symmetric=True)
        step = 1e-5
        expected = (g(S + step * sym(d)) - g(S - step * sym(d))) / (2 * step)
        np.testing.assert_allclose(h @ d, expected, rtol=1e-6, atol=1e-6 * np.abs(h.norm() + 1))
        close(h @ (d - d.T), np.zeros((N, N)))
        close((d - d.T) @ h, np.zeros((N, N)))


def test_closed_hessian_of_log_det():
    """D²(log det X)[V, W] = -tr(X⁻¹ V X⁻¹ W)."""
    h = cr.hessian(lambda x: np.linalg.slogdet(x)[1], symmetric=True)(S)
    v, w = sym(normal(N, N)), sym(normal(N, N))
    close(np.sum(w * (h @ v)), -np.trace(INVERSE @ v @ INVERSE @ w))
    close(h @ v, -INVERSE @ v @ INVERSE)


def test_jacobian_against_jax_projected():
    jax = pytest.importorskip("jax")

    def f(np, x):
        return np.tanh(A @ x @ B) + x @ x

    j = cr.jacobian(lambda x: f(np, x), symmetric=True)(S)
    dense = np.asarray(jax.jit(jax.jacobian(lambda x: f(jax.numpy, x)))(S))
    close(j, sym(dense))
    v = normal(N, N)
    close(j @ v, np.einsum("ijkl,kl->ij", dense, sym(v)))
    for order in ("C", "F"):
        k = cr.Jacobian.from_matrix(j.to_matrix(order), (N, N), (N, N), order)
        close(k, sym(dense))


def test_hessian_against_jax_projected():
    jax = pytest.importorskip("jax")

    def f(np, x):
        return np.sum(np.exp(A @ x / 9) * x) + np.linalg.det(x)

    h = cr.hessian(lambda x: f(np, x), symmetric=True)(S)
    dense = np.asarray(jax.jit(jax.hessian(lambda x: f(jax.numpy, x)))(S))
    close(h, sym(np.moveaxis(sym(np.moveaxis(dense, (0, 1), (2, 3))), (2, 3), (0, 1))))


def test_per_argument():
    def f(x, y, z):
        return np.trace(A @ x @ y) + V @ z @ x @ V

    expected = (
        (S @ A).T + np.outer(S.T @ V, V),
        (A @ S).T,
        np.outer(V, S @ V),
    )
    flags = (True, False, True)
    for derivative in (cr.grad, cr.jacobian):
        found = derivative(f, argnums=(0, 1, 2), symmetric=flags)(S, S, S)
        for g, e, flag in zip(found, expected, flags, strict=True):
            close(g, sym(e) if flag else e)
    blocks = cr.hessian(f, argnums=(0, 1), symmetric=(True, False))(S, S, S)
    d = normal(N, N)
    close(blocks[1][0] @ d, (A @ sym(d)).T)
    close(blocks[0][1] @ d, sym((d @ A).T))


def test_stacks_and_trees():
    stack = np.stack([S, 2 * S])
    g = cr.grad(lambda x: np.sum(A * x[0]) + np.sum(B * x[1]), symmetric=True)(stack)
    close(g, np.stack([sym(A), sym(B)]))
    tree = cr.grad(lambda p: np.sum(A * p["k"]) + np.sum(B * p["l"]), symmetric=True)(
        {"k": S, "l": S}
    )
    close(tree["k"], sym(A))
    close(tree["l"], sym(B))
    single = cr.grad(lambda x: np.sum(np.float32(2) * x * A.astype("f")), symmetric=True)(
        S.astype(np.float32)
    )
    assert single.dtype == np.float32
    compiled = cr.compile(cr.grad(lambda x: np.trace(A @ x), symmetric=True))
    close(compiled(S), sym(A))
    close(compiled(S), sym(A))


def test_the_structure_of_a_symmetric_product():
    j = cr.jacobian(lambda x: A @ x @ B, symmetric=True)(S)
    assert j.structure.count("->") == 2
    assert j.nbytes <= A.nbytes + B.nbytes
    d = cr.jacobian(lambda x: np.trace(x), symmetric=True)(S)
    assert d.structure == "->|aa"


def test_refusals():
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        cr.jacobian(np.sum, symmetric=True)(np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        cr.grad(np.sum, symmetric=True)(np.ones(3))
    with pytest.raises(ValueError, match="1 entries for 2"):
        cr.jacobian(np.matmul, argnums=(0, 1), symmetric=(True,))(S, S)
