"""Indices of both groups, layouts, linearizations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

RNG = np.random.default_rng(23)


def normal(*shape):
    return RNG.normal(size=shape)


T, N, B = 3, 4, 2
W, X, V, Z = normal(T, N), normal(N, B), normal(N), normal(5)
A4 = normal(N, N)

# name: (f, x)
FUNCTIONS = {
    "scalar": (np.sin, 0.5),
    "gradient": (lambda w: np.sum(w**3), W),
    "column": (lambda t: np.tanh(t * W), 0.5),
    "elementwise": (np.exp, Z),
    "dense": (lambda x: W @ x, V),
    "by the matrix": (lambda w: w @ V, W),
    "batch": (lambda x: np.tanh(W @ x), X),
    "two factors": (lambda x: A4 @ x @ A4.T, A4),
    "transpose": (lambda x: x.T * 2, W),
    "cumsum": (np.cumsum, Z),
    "differences": (np.diff, Z),
    "roll": (lambda x: np.roll(x, 2) * x, Z),
    "gather": (lambda x: x[np.array([1, 1, 4])] ** 2, Z),
    "reshape": (lambda x: np.reshape(x * x, (6, 2)), W),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x)), Z),
    "units": (lambda x: x[:, None] ** 2, normal(1)),
    "zero": (np.floor, Z),
    "float32": (lambda x: x * np.cumsum(x), Z.astype(np.float32)),
    "complex": (lambda z: z * z[0], Z + 1j * Z[::-1]),
    "rank 3": (lambda x: np.einsum("ij,jkl->kli", W, x), normal(N, 2, 3)),
}
JACOBIANS = {name: cr.jacobian(f)(x) for name, (f, x) in FUNCTIONS.items()}
LAYOUTS = ("numerator", "denominator")


def same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    tol = 1e-5 if found.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tol, atol=tol)


def split(j, layout):
    """The shapes of the first and the last group."""
    groups = (j.out_shape, j.in_shape)
    return groups if layout == "numerator" else groups[::-1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", JACOBIANS)
class TestElements:
    def test_rows_columns_and_elements(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        first, last = split(j, layout)
        rows, columns = list(np.ndindex(first)), list(np.ndindex(last))
        for i in rows[:: max(1, len(rows) // 4)]:
            row = j[i, :]
            same(row, dense[i])
            assert np.shape(row) == last
            for k in columns[:: max(1, len(columns) // 4)]:
                same(j[i, k], dense[i + k])
                negative = tuple(a - e for a, e in zip(i, first, strict=True))
                same(j[negative, k], dense[i + k])
        for k in columns[:: max(1, len(columns) // 5)]:
            column = j[:, k]
            same(column, dense[(slice(None),) * len(first) + k])
            assert np.shape(column) == first

    def test_parts_are_jacobians(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        first, last = split(j, layout)
        if not first or not last:
            return
        for key in (slice(0, 1), slice(None, None, -1), slice(0, None, 2), slice(2, 0, -1)):
            part = j[key, :]
            assert isinstance(part, cr.Jacobian)
            assert part.layout == layout
            same(part, dense[key])
            assert split(part, layout)[1] == last
            part = j[..., key] if len(last) == 1 else j[:, (..., key)]
            same(part, dense[..., key])
        same(j[...], dense)
        same(j[:, :], dense)
        same(j[0:0, :], dense[0:0])
        part = j[0:1, 0:1]
        v = np.ones(split(part, layout)[1])
        same(part @ v, np.tensordot(part.to_dense(), v, v.ndim))

    def test_index_arrays(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        first, last = split(j, layout)
        if not first or not last:
            return
        index = np.array([0, -1, 0]) % first[0]
        same(j[index, :], dense[index])
        same(j[list(index), :], dense[index])
        mask = np.arange(first[0]) % 2 == 0
        same(j[mask, :], dense[mask])
        same(j[:, np.array([0, -1])], dense[(slice(None),) * len(first) + (np.array([0, -1]),)])
        same(j[index, np.array([0])].to_dense(), dense[index][(slice(None),) * len(first) + ([0],)])


class TestSeveralAxes:
    j = JACOBIANS["batch"]  # (T, B, N, B)
    dense = j.to_dense()

    def test_partial_indices(self):
        j, dense = self.j, self.dense
        same(j[(0, slice(None)), :], dense[0])
        same(j[0, :], dense[0])
        same(j[(0,), :], dense[0])
        same(j[(..., 1), :], dense[:, 1])
        same(j[(slice(1, 3), -1), :], dense[1:3, -1])
        same(j[(slice(1, 3), 0), (slice(None), 1)], dense[1:3, 0, :, 1])
        same(j[:, (1, ...)], dense[:, :, 1])
        same(j[0], dense[0])
        same(j[-1], dense[-1])
        same(j[1:], dense[1:])
        same(j[(0, 1), (2, 1)], dense[0, 1, 2, 1])
        assert j[0, :].out_shape == (B,)

    def test_one_index_an_axis(self):
        j, dense = self.j, self.dense
        same(j[0, 1, 2, 1], dense[0, 1, 2, 1])
        same(j[0, :, 2, :], dense[0, :, 2, :])
        same(j[0, 1, :, :], dense[0, 1])
        same(j[1:, :, :3], dense[1:, :, :3])
        same(j[0, 1, ...], dense[0, 1])
        gradient = JACOBIANS["gradient"]
        same(gradient[1, 2], gradient.to_dense()[1, 2])
        same(gradient[1:], gradient.to_dense()[1:])
        same(gradient[1:, ::2], gradient.to_dense()[1:, ::2])
        same(gradient[:, (1, 2)], gradient.to_dense()[1, 2])

    def test_index_arrays_of_one_group(self):
        j, dense = self.j, self.dense
        rows, columns = np.array([0, 2, 2, 1]), np.array([1, 0, 1, 1])
        same(j[(rows, columns), :], dense[rows, columns])
        same(j[(rows, slice(None)), :], dense[rows])
        same(j[(rows, 1), :], dense[rows, 1])
        same(j[(1, columns), :], dense[1, columns])
        same(j[:, (rows, columns)], dense[:, :, rows, columns])
        mask = RNG.uniform(size=(T, B)) < 0.5
        same(j[mask, :], dense[mask])
        three = JACOBIANS["rank 3"]
        index = np.array([1, 0])
        same(three[(index, slice(None), index), :], three.to_dense()[index, :, index])
        same(three[(0, slice(None), index), :], three.to_dense()[0, :, index])

    def test_nothing_large_is_formed(self):
        j = cr.jacobian(lambda x: np.tanh(x @ A4))(normal(10**6, N))
        part = j[(slice(10, 20), slice(None)), (slice(10, 20), slice(None))]
        assert part.shape == (10, N, 10, N)
        same(part.blocks(), j[(slice(10, 20), slice(None)), :].to_sparse().data.reshape(10, N, N))
        assert j[(5, 1), :].shape == (10**6, N)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ((3, 0), "output index 3 is out of bounds for axis 0 of size 3"),
            (((0, -3), 0), "output index -3 is out of bounds for axis 1 of size 2"),
            ((0, 4), "input index 4"),
            (((0, 0, 0), 0), "too many indices for the output group"),
            ((None, 0), "new axes"),
            ((0.5, 0), "float"),
            (("a", 0), "str"),
            ((np.zeros((2, 2), int), 0), "one-dimensional"),
            ((np.array([0, 9]), 0), "output index 9"),
            ((np.array([0.5]), 0), "dtype float64"),
            ((np.array([True, False]), 0), "boolean index"),
            (((..., ...), 0), "Ellipsis"),
            ((0, 0, 0, 0, 0), "too many"),
            (((0, 0), 0, 0), "one index"),
        ],
    )
    def test_refusals(self, key, message):
        with pytest.raises(IndexError, match=message):
            self.j[key]

    def test_names_follow_the_layout(self):
        with pytest.raises(IndexError, match="input index 7"):
            self.j.with_layout("denominator")[7, 0]

    def test_traced(self):
        def f(x):
            j = cr.jacobian(lambda x: np.tanh(W @ x) ** 2)(x)
            return np.sum(np.sin(j[(1, 0), :])) + j[1:, (0, slice(None))].norm()

        jax = pytest.importorskip("jax")

        def reference(x):
            jnp = jax.numpy
            j = jax.jacobian(lambda x: jnp.tanh(W @ x) ** 2)(x)
            return jnp.sum(jnp.sin(j[1, 0])) + jnp.linalg.norm(j[1:, :, 0].reshape(-1))

        np.testing.assert_allclose(
            cr.grad(f)(X), jax.jit(jax.grad(reference))(X), rtol=1e-9, atol=1e-12
        )


@settings(max_examples=150)
@given(st.data())
def test_random_indices(data):
    name = data.draw(st.sampled_from(["batch", "two factors", "rank 3", "reshape", "transpose"]))
    j = JACOBIANS[name]
    dense = j.to_dense()

    def index(shape):
        parts = []
        for extent in shape:
            kind = data.draw(st.sampled_from(["integer", "slice", "all"]))
            if kind == "integer":
                parts.append(data.draw(st.integers(-extent, extent - 1)))
            elif kind == "slice":
                parts.append(data.draw(st.slices(extent)))
            else:
                parts.append(slice(None))
        return tuple(parts)

    out, into = index(j.out_shape), index(j.in_shape)
    same(j[out, into], dense[out + into])


class TestLayouts:
    """∂y/∂x with axes out + in (numerator) or in + out (denominator)."""

    @pytest.mark.parametrize("name", JACOBIANS)
    def test_shapes(self, name):
        j = JACOBIANS[name]
        d = j.with_layout("denominator")
        assert j.shape == j.out_shape + j.in_shape
        assert d.shape == j.in_shape + j.out_shape
        same(d.to_matrix(), j.to_matrix().T)
        same(d.to_matrix("F"), j.to_matrix("F").T)
        same(d.with_layout("numerator"), j)

    def test_a_gradient_is_a_column_or_a_row(self):
        j = JACOBIANS["gradient"]
        d = cr.jacobian(FUNCTIONS["gradient"][0], layout="denominator")(W)
        assert j.to_matrix().shape == (1, T * N)
        assert d.to_matrix().shape == (T * N, 1)
        assert j.shape == d.shape == W.shape
        same(j, 3 * W**2)
        same(d, 3 * W**2)

    def test_linear_layer(self):
        d = cr.jacobian(lambda x: W @ x, layout="denominator")(V)
        same(d, W.T)
        same(cr.jacobian(lambda x: W @ x)(V), W)
        same(cr.jacobian(np.tanh, layout="denominator")(V), np.diag(1 - np.tanh(V) ** 2))

    def test_the_chain_rule_multiplies_left_to_right(self):
        x, w1, w2 = V, W, normal(5, T)

        def parts(layout):
            a = w1 @ x
            h = np.tanh(a)
            return (
                cr.jacobian(lambda x: w1 @ x, layout=layout)(x),
                cr.jacobian(np.tanh, layout=layout)(a),
                cr.jacobian(lambda h: w2 @ h, layout=layout)(h),
            )

        slope = np.diag(1 - np.tanh(w1 @ x) ** 2)
        first, second, third = parts("denominator")
        chain = first @ second @ third
        same(chain, w1.T @ slope @ w2.T)
        assert chain.layout == "denominator"
        first, second, third = parts("numerator")
        same(third @ second @ first, w2 @ slope @ w1)
        whole = cr.jacobian(lambda x: w2 @ np.tanh(w1 @ x), layout="denominator")(x)
        same(whole, chain)

    def test_of_tensors_of_unequal_rank(self):
        for layout in LAYOUTS:
            f = cr.jacobian(lambda x: np.tanh(W @ x), layout=layout)(X)  # (T,B) by (N,B)
            g = cr.jacobian(lambda y: np.sum(y**2, axis=1), layout=layout)(np.tanh(W @ X))
            h = cr.jacobian(lambda z: np.outer(z, z)[..., None], layout=layout)(
                np.sum(np.tanh(W @ X) ** 2, 1)
            )
            s = cr.jacobian(lambda y: np.sum(y), layout=layout)(np.ones((T, T, 1)))

            def whole(x):
                z = np.sum(np.tanh(W @ x) ** 2, axis=1)
                return np.sum(np.outer(z, z)[..., None])

            expected = cr.grad(whole)(X)
            chain = s @ h @ g @ f if layout == "numerator" else f @ g @ h @ s
            same(chain, expected)
            if layout == "numerator":
                same(np.float64(1.0) @ (s @ h) @ (g @ f), expected)

    def test_products_with_vectors(self):
        d = JACOBIANS["batch"].with_layout("denominator")
        g = normal(T, B)
        same(d @ g, g @ JACOBIANS["batch"])
        v = normal(N, B)
        same(v @ d, JACOBIANS["batch"] @ v)
        same(d.T.to_matrix(), d.to_matrix().T)


class TestLinearizations:
    @pytest.mark.parametrize(
        ("name", "order", "layout"), list(itertools.product(JACOBIANS, ("C", "F"), LAYOUTS))
    )
    def test_from_matrix_undoes_to_matrix(self, name, order, layout):
        j = JACOBIANS[name].with_layout(layout)
        matrix = j.to_matrix(order)
        k = cr.Jacobian.from_matrix(matrix, j.out_shape, j.in_shape, order, layout)
        assert (k.out_shape, k.in_shape, k.layout) == (j.out_shape, j.in_shape, layout)
        assert k.dtype == j.dtype
        same(k, j)
        np.testing.assert_array_equal(k.to_matrix(order), matrix)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_vec_by_rows_and_by_columns(self, order):
        j = JACOBIANS["batch"]
        d = normal(N, B)
        left = j.to_matrix(order) @ d.reshape(-1, order=order)
        same(left, (j @ d).reshape(-1, order=order))

    def test_kronecker_products(self):
        """vec(A X B) = (Bᵀ ⊗ A) vec X by columns, (A ⊗ Bᵀ) vec X by rows."""
        a, b = normal(3, 4), normal(2, 5)
        j = cr.jacobian(lambda x: a @ x @ b)(normal(4, 2))
        same(j.to_matrix("F"), np.kron(b.T, a))
        same(j.to_matrix("C"), np.kron(a, b.T))

    def test_a_gradient_row_rolls_back(self):
        g = cr.grad(lambda w: np.sum((w @ V) ** 2))(W)
        for order in ("C", "F"):
            row = g.reshape(1, -1, order=order)
            j = cr.Jacobian.from_matrix(row, (), (T, N), order)
            same(j, g)
            same(cr.Jacobian.from_matrix(row[0], (), (T, N), order), g)
            same(cr.Jacobian.from_matrix(row.T, (), (T, N), order, "denominator"), g)

    def test_four_axes(self):
        m = normal(T * B, N * B)
        j = cr.Jacobian.from_matrix(m, (T, B), (N, B))
        assert j.shape == (T, B, N, B)
        same(j, m.reshape(T, B, N, B))
        f = cr.Jacobian.from_matrix(m, (T, B), (N, B), "F")
        for t, b, n, c in np.ndindex(T, B, N, B):
            assert f[(t, b), (n, c)] == m[t + T * b, n + N * c]
        assert cr.Jacobian.from_matrix(m, T * B, N * B).shape == (T * B, N * B)

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"\(3, 4\).*\(4,\) to \(2,\).*\(2, 4\) \(axis 0"):
            cr.Jacobian.from_matrix(np.ones((3, 4)), (2,), (4,))
        with pytest.raises(ValueError, match=r"\(4, 2\)"):
            cr.Jacobian.from_matrix(np.ones((2, 4)), (2,), (4,), layout="denominator")
        with pytest.raises(ValueError, match="order must be"):
            cr.Jacobian.from_matrix(np.ones((2, 4)), (2,), (4,), order="A")
        with pytest.raises(ValueError, match="layout must be"):
            cr.Jacobian.from_matrix(np.ones((2, 4)), (2,), (4,), layout="mixed")
        with pytest.raises(ValueError, match="order must be"):
            JACOBIANS["batch"].to_matrix("K")
        with pytest.raises(ValueError, match="layout must be"):
            JACOBIANS["batch"].with_layout("mixed")

    def test_traced(self):
        def f(w):
            j = cr.Jacobian.from_matrix(w, (T,), (N,))
            return np.sum(np.sin(j @ V)) + np.sum(np.cos(j.to_matrix("F")))

        expected = np.outer(np.cos(W @ V), V) - np.sin(W)
        same(cr.grad(f)(W), expected)


class TestDiagonals:
    def test_trace_and_diagonal(self):
        for name in ("elementwise", "two factors", "cumsum", "roll", "softmax", "zero"):
            j = JACOBIANS[name]
            matrix = j.to_matrix()
            same(j.trace(), np.trace(matrix))
            same(j.diagonal(), np.diag(matrix).reshape(j.out_shape))
            same(j.with_layout("denominator").trace(), np.trace(matrix))

    def test_the_laplacian(self):
        """Δ exp(-‖x‖²) = (4‖x‖² - 2n) exp(-‖x‖²), without the Hessian."""
        x = normal(50) / 10
        n = x.size
        h = cr.hessian(lambda x: np.exp(-np.sum(x**2)))(x)
        r = np.sum(x**2)
        same(h.trace(), (4 * r - 2 * n) * np.exp(-r))
        large = normal(10**5) / 1000
        h = cr.hessian(lambda x: np.exp(-np.sum(x**2)))(large)
        r = np.sum(large**2)
        np.testing.assert_allclose(h.trace(), (4 * r - 2 * 10**5) * np.exp(-r), rtol=1e-10)

    def test_groups_must_be_equal(self):
        with pytest.raises(ValueError, match=r"\(3,\).*\(4,\)"):
            JACOBIANS["dense"].trace()
