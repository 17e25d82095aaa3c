"""The public functions one by one: signatures, trees, auxiliary results, vmap."""

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import chainrule as cr

X = np.array([0.5, -1.0, 2.0])
A = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])

Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any


def equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


class TestGrad:
    def test_scalar(self):
        g = cr.grad(lambda x: x**3)(2.0)
        assert np.ndim(g) == 0
        assert g == pytest.approx(12.0, rel=1e-15)

    def test_array(self):
        equal(cr.grad(lambda x: np.sum(np.sin(x)))(X), np.cos(X))

    def test_argnums(self):
        def f(x, y, z):
            return np.sum(x * y) + z**2

        y = np.array([3.0, 4.0, 5.0])
        equal(cr.grad(f)(X, y, 2.0), y)
        equal(cr.grad(f, 1)(X, y, 2.0), X)
        equal(cr.grad(f, argnums=-1)(X, y, 2.0), 4.0)
        dz, dx = cr.grad(f, argnums=(2, 0))(X, y, 2.0)
        equal(dz, 4.0)
        equal(dx, y)
        one = cr.grad(f, argnums=(1,))(X, y, 2.0)
        assert isinstance(one, tuple)
        equal(one[0], X)

    @pytest.mark.parametrize("argnums", [(0, 0), (1, -2)])
    @pytest.mark.parametrize("transform", [cr.grad, cr.jacobian, cr.value_and_grad])
    def test_an_argument_named_twice(self, transform, argnums):
        with pytest.raises(ValueError, match="twice"):
            transform(lambda x, y, z: np.sum(x * y), argnums=argnums)(X, X, X)

    def test_other_arguments_may_be_anything(self):
        def f(x, n, name, *, scale=1.0):
            assert name == "cube"
            return scale * np.sum(x**n)

        equal(cr.grad(f)(X, 3, "cube", scale=2.0), 6 * X**2)

    def test_integers_where_not_differentiated(self):
        equal(cr.grad(lambda x, i: np.sum(x[i] ** 2))(X, np.array([0, 0, 2])), [2.0, 0.0, 4.0])

    def test_aux(self):
        g, aux = cr.grad(lambda x: (np.sum(x**2), {"double": 2 * x, "n": 7}), has_aux=True)(X)
        equal(g, 2 * X)
        equal(aux["double"], 2 * X)
        assert aux["n"] == 7
        assert isinstance(aux["double"], np.ndarray)

    def test_value_and_grad(self):
        value, g = cr.value_and_grad(lambda x: np.sum(x**2))(X)
        equal(value, 5.25)
        equal(g, 2 * X)
        (value, aux), g = cr.value_and_grad(lambda x: (np.sum(x**2), x[0]), has_aux=True)(X)
        equal(value, 5.25)
        equal(aux, 0.5)
        equal(g, 2 * X)

    def test_value_and_grad_argnums(self):
        value, (dx, dy) = cr.value_and_grad(lambda x, y: x * y, argnums=(0, 1))(3.0, 4.0)
        equal([value, dx, dy], [12.0, 4.0, 3.0])

    def test_an_argument_that_is_not_used(self):
        dx, dy = cr.grad(lambda x, y: np.sum(x), argnums=(0, 1))(X, A)
        equal(dx, np.ones(3))
        np.testing.assert_array_equal(dy, np.zeros((2, 3)))

    def test_a_constant_function(self):
        np.testing.assert_array_equal(cr.grad(lambda x: 3.0)(X), np.zeros(3))

    def test_the_identity(self):
        equal(cr.grad(lambda x: x)(4.0), 1.0)

    def test_results_are_fresh_arrays(self):
        g = cr.grad(lambda x: np.sum(x))(X)
        g += 1
        equal(cr.grad(lambda x: np.sum(x))(X), np.ones(3))
        c = np.ones(3)
        g = cr.grad(lambda x: x @ c)(X)
        g *= 2
        equal(c, np.ones(3))

    def test_a_result_that_is_not_a_scalar_is_refused(self):
        with pytest.raises((TypeError, ValueError), match=r"scalar|jacobian"):
            cr.grad(lambda x: x * 2)(X)

    def test_shape_one_is_not_a_scalar(self):
        with pytest.raises((TypeError, ValueError), match=r"scalar|jacobian"):
            cr.grad(lambda x: x[:1])(X)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_dtype(self, dtype):
        g = cr.grad(lambda x: np.sum(np.exp(2 * x) / 3.0))(X.astype(dtype))
        assert g.dtype == dtype

    def test_mixed_dtypes_keep_their_own(self):
        dx, dy = cr.grad(lambda x, y: np.sum(x * y), argnums=(0, 1))(X, X.astype(np.float32))
        assert (dx.dtype, dy.dtype) == (np.float64, np.float32)

    def test_arrays_that_are_not_contiguous(self):
        base = np.arange(24.0).reshape(4, 6)
        equal(cr.grad(lambda x: np.sum(x**2))(base[::2, ::-3]), 2 * base[::2, ::-3])
        equal(cr.grad(lambda x: np.sum(x**2))(base.T), 2 * base.T)


class TestTrees:
    def test_dict(self):
        g = cr.grad(lambda p: np.sum(p["w"] @ p["x"]) + p["b"])({"w": A, "x": X, "b": 1.0})
        assert set(g) == {"w", "x", "b"}
        equal(g["w"], np.outer(np.ones(2), X))
        equal(g["x"], A.sum(0))
        equal(g["b"], 1.0)

    def test_list_and_tuple(self):
        g = cr.grad(lambda p: np.sum(p[0] * p[1][0]) + p[1][1] ** 2)([X, (3 * X, 2.0)])
        assert isinstance(g, list)
        assert isinstance(g[1], tuple)
        equal(g[0], 3 * X)
        equal(g[1][0], X)
        equal(g[1][1], 4.0)

    def test_namedtuple(self):
        g = cr.grad(lambda p: np.sum(p.left * p.right))(Pair(X, 2 * X))
        assert type(g) is Pair
        equal(g.left, 2 * X)
        equal(g.right, X)

    def test_dataclass(self):
        g = cr.grad(lambda p: np.sum(np.tanh(p.w @ X + p.b)))(Layer(A, np.zeros(2)))
        assert type(g) is Layer
        slope = 1 - np.tanh(A @ X) ** 2
        equal(g.b, slope)
        equal(g.w, np.outer(slope, X))

    def test_nested(self):
        def f(p):
            h = X
            for layer in p["layers"]:
                h = np.tanh(layer.w @ h + layer.b)
            return np.sum(h)

        p = {"layers": [Layer(A, np.zeros(2)), Layer(np.ones((1, 2)), np.zeros(1))]}
        g = cr.grad(f)(p)
        h = np.tanh(A @ X)
        outer = 1 - np.tanh(h.sum()) ** 2
        equal(g["layers"][1].b, [outer])
        equal(g["layers"][1].w, outer * h[None])
        equal(g["layers"][0].b, outer * (1 - h**2))

    def test_none_is_an_empty_tree(self):
        g = cr.grad(lambda p: np.sum(p["w"] ** 2))({"w": X, "b": None})
        assert g["b"] is None
        equal(g["w"], 2 * X)

    def test_results_of_jvp(self):
        y, dy = cr.jvp(lambda x: {"a": 2 * x, "b": [x**2, 1.0]}, (X,), (np.ones(3),))
        equal(y["a"], 2 * X)
        equal(dy["a"], 2 * np.ones(3))
        equal(dy["b"][0], 2 * X)
        equal(dy["b"][1], 0.0)

    def test_arguments_of_jvp(self):
        y, dy = cr.jvp(lambda p: p["a"] * p["b"], ({"a": 2.0, "b": 3.0},), ({"a": 1.0, "b": 10.0},))
        equal([y, dy], [6.0, 23.0])

    def test_results_of_vjp(self):
        y, pullback = cr.vjp(lambda x: Pair(2 * x, np.sum(x**2)), X)
        assert type(y) is Pair
        (g,) = pullback(Pair(np.ones(3), 10.0))
        equal(g, 2 + 20 * X)

    def test_jacobian_by_a_tree_of_a_tree(self):
        j = cr.jacobian(lambda p: {"y": p["w"] @ p["x"], "s": np.sum(p["x"])})({"w": A, "x": X})
        equal(np.asarray(j["y"]["x"]), A)
        equal(np.asarray(j["s"]["x"]), np.ones(3))
        equal(np.asarray(j["s"]["w"]), np.zeros((2, 3)))
        assert j["y"]["w"].shape == (2, 2, 3)

    def test_hessian_by_a_tree(self):
        h = cr.hessian(lambda p: np.sum(p["a"] ** 2) * p["b"])({"a": X, "b": 3.0})
        equal(np.asarray(h["a"]["a"]), 6 * np.eye(3))
        equal(np.asarray(h["a"]["b"]), 2 * X)
        equal(np.asarray(h["b"]["a"]), 2 * X)
        equal(np.asarray(h["b"]["b"]), 0.0)

    def test_hvp_by_a_tree(self):
        hv = cr.hvp(lambda p: np.sum(p["a"] ** 2) * p["b"])(
            {"a": X, "b": 3.0}, {"a": np.ones(3), "b": 1.0}
        )
        equal(hv["a"], 6 * np.ones(3) + 2 * X)
        equal(hv["b"], np.sum(2 * X))

    def test_trees_that_do_not_fit_are_refused(self):
        with pytest.raises((TypeError, ValueError)):
            cr.jvp(lambda p: p["a"], ({"a": X},), ({"b": X},))
        with pytest.raises((TypeError, ValueError)):
            cr.vjp(lambda x: (x, x), X)[1](np.ones(3))


class TestProducts:
    def test_jvp(self):
        y, dy = cr.jvp(lambda x, y: x * y, (X, 3 * X), (np.ones(3), X))
        equal(y, 3 * X**2)
        equal(dy, 3 * X + X * X)

    def test_jvp_aux(self):
        y, dy, aux = cr.jvp(lambda x: (x**2, x + 1), (X,), (np.ones(3),), has_aux=True)
        equal(y, X**2)
        equal(dy, 2 * X)
        equal(aux, X + 1)

    def test_vjp(self):
        y, pullback = cr.vjp(np.matmul, A, X)
        equal(y, A @ X)
        g = np.array([2.0, -1.0])
        dA, dX = pullback(g)
        equal(dA, np.outer(g, X))
        equal(dX, A.T @ g)

    def test_vjp_aux(self):
        y, pullback, aux = cr.vjp(lambda x: (x**2, {"twice": 2 * x}), X, has_aux=True)
        equal(y, X**2)
        equal(aux["twice"], 2 * X)
        equal(pullback(np.ones(3))[0], 2 * X)

    def test_a_pullback_may_be_called_again(self):
        _, pullback = cr.vjp(np.sin, X)
        first = pullback(np.ones(3))[0]
        equal(pullback(2 * np.ones(3))[0], 2 * first)
        equal(pullback(np.ones(3))[0], first)

    def test_shapes_that_do_not_fit_are_refused(self):
        with pytest.raises((TypeError, ValueError)):
            cr.jvp(np.sin, (X,), (np.ones(4),))
        with pytest.raises((TypeError, ValueError)):
            cr.vjp(np.sin, X)[1](np.ones(4))

    def test_linearize(self):
        y, linear = cr.linearize(lambda x: A @ np.sin(x), X)
        equal(y, A @ np.sin(X))
        matrix = A * np.cos(X)
        v, u = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0])
        equal(linear(v), matrix @ v)
        equal(linear @ v, matrix @ v)
        equal(linear.T @ u, matrix.T @ u)
        equal(linear(2 * v), 2 * (matrix @ v))

    def test_linearize_of_two(self):
        y, linear = cr.linearize(lambda x, y: x * y, 3.0, 4.0)
        equal([y, linear(1.0, 0.0), linear(0.0, 1.0)], [12.0, 4.0, 3.0])

    def test_hvp(self):
        def f(x):
            return np.sum(x**4)

        v = np.array([1.0, 2.0, 3.0])
        equal(cr.hvp(f)(X, v), 12 * X**2 * v)

    def test_hvp_is_the_product_with_the_hessian(self):
        def f(x):
            return np.sum(np.exp(A @ x) * np.sin(A @ x))

        v = np.array([1.0, 2.0, 3.0])
        np.testing.assert_allclose(
            cr.hvp(f)(X, v), np.asarray(cr.hessian(f)(X)) @ v, rtol=1e-12, atol=1e-12
        )

    def test_hessian(self):
        h = cr.hessian(lambda x: np.sum(x**3) + x[0] * x[1])(X)
        expected = np.diag(6 * X)
        expected[0, 1] = expected[1, 0] = 1
        assert h.shape == (3, 3)
        equal(np.asarray(h), expected)

    def test_hessian_of_a_matrix_argument(self):
        h = cr.hessian(lambda a: np.sum(a @ a.T))(A)
        assert h.shape == (2, 3, 2, 3)
        expected = 2 * np.einsum("jl,ik->ijkl", np.eye(3), np.ones((2, 2)))
        equal(np.asarray(h), expected)

    def test_value_and_jacobian(self):
        y, j = cr.value_and_jacobian(lambda x: A @ x**2)(X)
        equal(y, A @ X**2)
        equal(np.asarray(j), A * 2 * X)

    def test_jacobian_aux(self):
        j, aux = cr.jacobian(lambda x: (A @ x, x[0]), has_aux=True)(X)
        equal(np.asarray(j), A)
        equal(aux, 0.5)

    @pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
    def test_jacobian_modes(self, mode):
        j = cr.jacobian(lambda x: np.tanh(A @ x), mode=mode)(X)
        equal(np.asarray(j), (1 - np.tanh(A @ X) ** 2)[:, None] * A)

    def test_an_unknown_mode_is_refused(self):
        with pytest.raises(ValueError, match="forward"):
            cr.jacobian(np.sin, mode="sideways")(X)


class TestVmap:
    def test_leading_axis(self):
        equal(cr.vmap(lambda x: np.sum(x**2))(A), np.sum(A**2, axis=1))

    def test_of_grad(self):
        equal(cr.vmap(cr.grad(lambda x: np.sum(x**3)))(A), 3 * A**2)

    def test_in_axes(self):
        equal(cr.vmap(np.sum, in_axes=1)(A), A.sum(0))
        equal(cr.vmap(np.sum, in_axes=-1)(A), A.sum(0))
        equal(cr.vmap(np.dot, in_axes=(0, None))(A, X), A @ X)
        equal(cr.vmap(np.dot, in_axes=(None, 1))(X, A.T), A @ X)
        equal(cr.vmap(lambda x, y: x * y, in_axes=(0, 1))(A, A.T), A**2)

    def test_out_axes(self):
        equal(cr.vmap(lambda x: 2 * x, out_axes=1)(A), 2 * A.T)
        equal(cr.vmap(lambda x: np.outer(x, x), out_axes=-1)(A), np.einsum("bi,bj->ijb", A, A))
        a, b = cr.vmap(lambda x: (x, x[0]), out_axes=(1, 0))(A)
        equal(a, A.T)
        equal(b, A[:, 0])

    def test_an_output_without_the_batch_may_have_no_axis(self):
        a, b = cr.vmap(lambda x: (x * 2, np.sum(X) + 0 * X), out_axes=(0, None))(A)
        equal(a, 2 * A)
        equal(b, np.full(3, 1.5))

    def test_a_constant_output_is_repeated(self):
        equal(cr.vmap(lambda x: 3.0)(A), [3.0, 3.0])

    def test_trees(self):
        f = cr.vmap(lambda p, x: p["w"] @ x + p["b"], in_axes=({"w": None, "b": 0}, None))
        equal(
            f({"w": A, "b": np.arange(8.0).reshape(4, 2)}, X), A @ X + np.arange(8.0).reshape(4, 2)
        )
        out = cr.vmap(lambda x: {"twice": 2 * x, "sum": np.sum(x)})(A)
        equal(out["twice"], 2 * A)
        equal(out["sum"], A.sum(1))

    def test_one_axis_for_a_whole_tree(self):
        f = cr.vmap(lambda p, x: p["a"] * x + p["b"], in_axes=(None, 0))
        equal(f({"a": 2.0, "b": 1.0}, A), 2 * A + 1)

    def test_nested(self):
        f = cr.vmap(cr.vmap(np.dot, in_axes=(None, 0)), in_axes=(0, None))
        equal(f(A, 2 * A), A @ (2 * A).T)

    @pytest.mark.parametrize(
        "f",
        [
            lambda x: x @ A.T,
            lambda x: np.cumsum(x)[::-1],
            lambda x: np.roll(x, 1) * x,
            lambda x: np.concatenate([x, x[:1]]),
            lambda x: x.reshape(3, 1) + x,
            lambda x: np.linalg.solve(np.eye(3) * 3 + np.outer(x, x), x),
            lambda x: np.where(x > 0, x, x**2),
            lambda x: np.max(x) * x[np.array([0, 0, 1])],
            lambda x: np.pad(x, 1).sum(),
            lambda x: np.einsum("i,j->ji", x, x),
            lambda x: np.prod(x, keepdims=True),
            lambda x: np.tril(np.outer(x, x)),
            lambda x: x[1],
            lambda x: np.var(x),
            lambda x: np.linalg.eigvalsh(np.outer(x, x) + np.diag(np.arange(3.0))),
        ],
    )
    def test_equals_a_loop(self, f):
        batch = np.concatenate([A, 2 * A[::-1] + 0.1])
        np.testing.assert_allclose(
            cr.vmap(f)(batch), np.stack([f(x) for x in batch]), rtol=1e-12, atol=1e-12
        )
        jacobians = np.stack([np.asarray(cr.jacobian(f)(x)) for x in batch])
        mapped = cr.vmap(lambda x, v: cr.jvp(f, (x,), (v,))[1])(batch, np.ones_like(batch))
        np.testing.assert_allclose(mapped, jacobians.sum(-1), rtol=1e-10, atol=1e-12)

    def test_writes(self):
        def f(x, v):
            y = x.copy()
            y[1] = v
            y[2:] += x[:1]
            return y

        v = np.array([7.0, 8.0])
        equal(cr.vmap(f)(A, v), np.stack([f(a, b) for a, b in zip(A, v, strict=True)]))

    def test_jacobian_has_the_batch_among_its_outputs(self):
        j = cr.vmap(cr.jacobian(lambda x: np.tanh(A @ x)))(np.stack([X, 2 * X, 3 * X, X]))
        assert j.out_shape == (4, 2)
        assert j.in_shape == (3,)
        equal(np.asarray(j)[1], (1 - np.tanh(A @ (2 * X)) ** 2)[:, None] * A)

    def test_sizes_that_differ_are_refused(self):
        with pytest.raises(ValueError, match=r"2.*4|4.*2"):
            cr.vmap(lambda x, y: x * y)(np.ones(2), np.ones(4))

    def test_nothing_to_map_is_refused(self):
        with pytest.raises(ValueError, match=r"in_axes|None"):
            cr.vmap(lambda x: x, in_axes=None)(A)

    def test_an_empty_batch(self):
        assert cr.vmap(lambda x: x * 2)(np.zeros((0, 3))).shape == (0, 3)
