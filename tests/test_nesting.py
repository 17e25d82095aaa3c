"""Transforms of transforms: any order, any nesting, and perturbations that do not mix."""

import numpy as np
import pytest

import chainrule as cr

X = np.array([0.3, -0.8, 1.1])
A = np.array([[1.0, 2.0, -1.0], [0.5, -0.3, 3.0]])


def nested(f, n):
    for _ in range(n):
        f = cr.grad(f)
    return f


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (np.sin, lambda x, n: np.sin(x + n * np.pi / 2)),
        (lambda x: np.exp(2 * x), lambda x, n: 2**n * np.exp(2 * x)),
        (lambda x: 1 / x, lambda x, n: (-1) ** n * np.prod(np.arange(1.0, n + 1)) / x ** (n + 1)),
        (
            np.log,
            lambda x, n: (
                np.log(x) if n == 0 else (-1) ** (n - 1) * np.prod(np.arange(1.0, n)) / x**n
            ),
        ),
        (lambda x: x**5, lambda x, n: np.prod(np.arange(6.0 - n, 6.0)) * x ** (5 - n)),
        (lambda x: x * np.exp(x), lambda x, n: (x + n) * np.exp(x)),
        (np.sqrt, lambda x, n: np.prod(0.5 - np.arange(float(n))) * x ** (0.5 - n)),
    ],
    ids=["sin", "exp", "reciprocal", "log", "power", "product", "sqrt"],
)
def test_orders_of_one_variable(f, derivative, n):
    assert nested(f, n)(0.7) == pytest.approx(derivative(0.7, n), rel=1e-11)


def test_tanh_to_the_fourth_derivative():
    t = np.tanh(0.4)
    closed = [
        t,
        1 - t**2,
        -2 * t * (1 - t**2),
        (1 - t**2) * (6 * t**2 - 2),
        (1 - t**2) * (16 * t - 24 * t**3),
    ]
    found = [float(nested(np.tanh, n)(0.4)) for n in range(5)]
    np.testing.assert_allclose(found, closed, rtol=1e-12)


ORDERS = {
    "grad of grad": lambda f: cr.grad(lambda x: cr.grad(f)(x)[0]),
    "jvp of grad": lambda f: lambda x: _columns(cr.grad(f), x)[0],
    "grad of jvp": lambda f: cr.grad(lambda x: cr.jvp(f, (x,), (np.array([1.0, 0, 0]),))[1]),
    "jvp of jvp": lambda f: (
        lambda x: np.stack(
            [
                cr.jvp(lambda x: cr.jvp(f, (x,), (np.array([1.0, 0, 0]),))[1], (x,), (e,))[1]
                for e in np.eye(3)
            ]
        )
    ),
    "vjp of vjp": lambda f: (
        lambda x: cr.vjp(lambda x: cr.vjp(f, x)[1](1.0)[0], x)[1](np.array([1.0, 0, 0]))[0]
    ),
    "jvp of vjp": lambda f: (
        lambda x: cr.jvp(lambda x: cr.vjp(f, x)[1](1.0)[0], (x,), (np.array([1.0, 0, 0]),))[1]
    ),
    "vjp of linearize": lambda f: (
        lambda x: cr.vjp(lambda x: cr.linearize(f, x)[1](np.array([1.0, 0, 0])), x)[1](1.0)[0]
    ),
    "jacobian of grad": lambda f: lambda x: np.asarray(cr.jacobian(cr.grad(f))(x))[0],
    "jacobian of jacobian": lambda f: (
        lambda x: np.asarray(cr.jacobian(lambda x: cr.jacobian(f)(x).to_dense())(x))[0]
    ),
    "hessian": lambda f: lambda x: np.asarray(cr.hessian(f)(x))[0],
    "hvp": lambda f: lambda x: cr.hvp(f)(x, np.array([1.0, 0, 0])),
}


def _columns(f, x):
    return np.stack([cr.jvp(f, (x,), (e,))[1] for e in np.eye(len(x))], axis=-1)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_gives_the_hessian(order):
    def f(x):
        return np.sum(np.sin(A @ x) ** 2) * x[0]

    z = A @ X
    # f = s(x) x_0 with s = Σ sin²(z): ∇s = Aᵀ sin 2z, ∇²s = Aᵀ diag(2 cos 2z) A
    ds = A.T @ np.sin(2 * z)
    row = X[0] * (A.T @ (2 * np.cos(2 * z) * A[:, 0])) + ds[0] * np.eye(3)[0] + ds
    np.testing.assert_allclose(ORDERS[order](f)(X), row, rtol=1e-12, atol=1e-12)


def test_the_third_derivative_as_a_jacobian_of_a_hessian():
    def f(x):
        return np.sum(np.exp(A @ x))

    third = cr.jacobian(cr.hessian(f))(X)
    expected = np.einsum("a,ai,aj,ak->ijk", np.exp(A @ X), A, A, A)
    assert third.shape == (3, 3, 3)
    np.testing.assert_allclose(np.asarray(third), expected, rtol=1e-12)


def test_the_fourth_derivative_of_a_quartic():
    def f(x):
        return (x @ x) ** 2

    def to_dense(f):
        return lambda x: f(x).to_dense()

    fourth = cr.jacobian(to_dense(cr.jacobian(to_dense(cr.hessian(f)))))(X)
    d = np.eye(3)
    pairs = (
        np.einsum("ij,kl->ijkl", d, d)
        + np.einsum("ik,jl->ijkl", d, d)
        + np.einsum("il,jk->ijkl", d, d)
    )
    np.testing.assert_allclose(np.asarray(fourth), 8 * pairs, rtol=1e-12, atol=1e-12)


class TestPerturbations:
    """Values differentiated inside, captured from outside: each level sees its own."""

    def test_the_inner_derivative_does_not_see_the_outer(self):
        outer = cr.grad(lambda x: x * cr.grad(lambda y: x + y)(1.0))
        assert outer(1.0) == 1.0

    def test_the_inner_derivative_uses_the_outer_value(self):
        assert cr.grad(lambda x: x * cr.grad(lambda y: x * y)(2.0))(5.0) == 10.0

    def test_forward_in_forward(self):
        def derivative(f, x):
            return cr.jvp(f, (x,), (1.0,))[1]

        assert derivative(lambda x: x * derivative(lambda y: x + y, 1.0), 1.0) == 1.0
        assert derivative(lambda x: x * derivative(lambda y: x * y, 2.0), 5.0) == 10.0

    def test_forward_in_reverse_and_back(self):
        def derivative(f, x):
            return cr.jvp(f, (x,), (1.0,))[1]

        assert cr.grad(lambda x: x * derivative(lambda y: x + y, 1.0))(1.0) == 1.0
        assert derivative(lambda x: x * cr.grad(lambda y: x + y)(1.0), 1.0) == 1.0

    def test_a_tangent_captured_from_outside(self):
        f = cr.grad(lambda x: cr.jvp(lambda y: y * x, (2.0,), (x,))[1])
        assert f(3.0) == pytest.approx(6.0, rel=1e-15)

    def test_a_cotangent_captured_from_outside(self):
        f = cr.grad(lambda x: cr.vjp(lambda y: x * y**2, 3.0)[1](x)[0])
        assert f(5.0) == pytest.approx(60.0, rel=1e-15)

    def test_the_same_value_inside_and_outside(self):
        f = cr.grad(lambda x: cr.grad(lambda y: x * y**2)(x))
        assert f(3.0) == pytest.approx(12.0, rel=1e-15)

    def test_three_levels(self):
        def f(x):
            return cr.grad(lambda y: cr.grad(lambda z: x * y**2 * z**3)(y) * x)(x)

        # ∂z: 3 x y² z² at z = y gives 3 x y⁴; times x; ∂y: 12 x² y³ at y = x gives 12 x⁵
        assert f(2.0) == pytest.approx(384.0, rel=1e-15)
        assert cr.grad(f)(2.0) == pytest.approx(960.0, rel=1e-15)

    def test_a_closure_over_an_array(self):
        def f(w):
            inner = cr.grad(lambda x: np.sum(np.tanh(w @ x)))(X)
            return np.sum(inner**2)

        def by_hand(w):
            return np.sum((w.T @ (1 - np.tanh(w @ X) ** 2)) ** 2)

        np.testing.assert_allclose(cr.grad(f)(A), cr.grad(by_hand)(A), rtol=1e-11, atol=1e-14)
        h = 1e-6
        e = np.zeros_like(A)
        e[1, 2] = h
        slope = (by_hand(A + e) - by_hand(A - e)) / (2 * h)
        assert cr.grad(f)(A)[1, 2] == pytest.approx(slope, rel=1e-7)

    def test_an_inner_loop_that_learns(self):
        """The derivative of two steps of gradient descent by the step size."""

        def loss(x):
            return 0.5 * np.sum(np.array([1.0, 3.0, 5.0]) * x**2)

        def after(rate):
            x = X
            for _ in range(2):
                x = x - rate * cr.grad(loss)(x)
            return loss(x)

        d = np.array([1.0, 3.0, 5.0])
        # x_2 = (1 - r d)² x, loss = Σ d (1 - r d)⁴ x²/2, slope = Σ -2 d² (1 - r d)³ x²
        expected = np.sum(-2 * d**2 * (1 - 0.1 * d) ** 3 * X**2)
        assert cr.grad(after)(0.1) == pytest.approx(expected, rel=1e-12)

    def test_a_pullback_used_inside_another_trace(self):
        _, pullback = cr.vjp(lambda x: x**2, X)
        g = cr.grad(lambda s: np.sum(pullback(s * np.ones(3))[0]))(2.0)
        assert g == pytest.approx(np.sum(2 * X), rel=1e-14)

    def test_vmap_of_grad_of_a_closure(self):
        def f(x):
            return cr.vmap(cr.grad(lambda y: x * y**3))(X).sum()

        assert f(2.0) == pytest.approx(6 * np.sum(X**2), rel=1e-14)
        assert cr.grad(f)(2.0) == pytest.approx(3 * np.sum(X**2), rel=1e-14)

    def test_vmap_inside_vmap_with_a_captured_batch(self):
        table = cr.vmap(lambda x: cr.vmap(cr.grad(lambda y: np.sin(x * y)))(X))(X)
        expected = X[:, None] * np.cos(np.outer(X, X))
        np.testing.assert_allclose(table, expected, rtol=1e-14)


class TestVmapNested:
    def test_hessian_of_a_vmap(self):
        f = cr.vmap(lambda x: np.sum(x**3))
        h = np.asarray(cr.hessian(lambda a: np.sum(f(a)))(A))
        expected = np.zeros((2, 3, 2, 3))
        for i, j in np.ndindex(2, 3):
            expected[i, j, i, j] = 6 * A[i, j]
        np.testing.assert_allclose(h, expected, rtol=1e-13, atol=1e-300)

    def test_vmap_of_a_hessian(self):
        h = np.asarray(cr.vmap(cr.hessian(lambda x: np.sum(x**3)))(A))
        np.testing.assert_allclose(h, np.stack([np.diag(6 * a) for a in A]), rtol=1e-13)

    def test_jacobian_of_a_vmap_is_block_diagonal(self):
        j = cr.jacobian(cr.vmap(np.sin))(A)
        expected = np.einsum("ik,jl,ij->ijkl", np.eye(2), np.eye(3), np.cos(A))
        np.testing.assert_allclose(np.asarray(j), expected, rtol=1e-14, atol=1e-300)

    def test_vmap_of_jvp_over_tangents(self):
        columns = cr.vmap(lambda t: cr.jvp(lambda x: np.tanh(A @ x), (X,), (t,))[1])(np.eye(3))
        expected = (1 - np.tanh(A @ X) ** 2)[:, None] * A
        np.testing.assert_allclose(columns.T, expected, rtol=1e-12, atol=1e-14)

    def test_vmap_of_a_pullback_over_cotangents(self):
        _, pullback = cr.vjp(lambda x: np.tanh(A @ x), X)
        (rows,) = cr.vmap(pullback)(np.eye(2))
        expected = (1 - np.tanh(A @ X) ** 2)[:, None] * A
        np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-14)

    def test_per_example_gradients(self):
        def loss(w, x):
            return np.sum(np.tanh(w @ x))

        batch = np.stack([X, 2 * X, -X, X * X])
        found = cr.vmap(cr.grad(loss), in_axes=(None, 0))(A, batch)
        expected = np.stack([np.outer(1 - np.tanh(A @ x) ** 2, x) for x in batch])
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)

    def test_grad_of_a_sum_over_vmap_is_the_sum_of_the_gradients(self):
        def loss(w, x):
            return np.sum(np.tanh(w @ x))

        batch = np.stack([X, 2 * X, -X, X * X])
        whole = cr.grad(lambda w: np.sum(cr.vmap(loss, in_axes=(None, 0))(w, batch)))(A)
        parts = cr.vmap(cr.grad(loss), in_axes=(None, 0))(A, batch)
        np.testing.assert_allclose(whole, parts.sum(0), rtol=1e-12, atol=1e-14)
