"""The generalized Jacobian: its structure, what it stores, its products, its two recursions."""

import itertools

import numpy as np
import pytest

import chainrule as cr

RNG = np.random.default_rng(7)
N, D, M, B, T = 2, 3, 4, 5, 6

GIB, MIB = 2**30, 2**20


def normal(*shape):
    return RNG.normal(size=shape)


def unit(*shape):
    """The identity map on arrays of a shape, as an array of twice its rank."""
    n = int(np.prod(shape))
    return np.eye(n).reshape(shape + shape)


# The structure table of the design, with the dense Jacobian of each row written by hand.
def _table():
    x, w = normal(N, D), normal(D, M)
    weights, v, b = normal(T, N), normal(N), normal(T)
    batch = normal(N, B)
    z = normal(5)
    h = np.tanh(z)

    def batched(w, x, b):
        return w @ x + b[:, None]

    size = 8
    return {
        # name: (f, argnum, args, structure, stored bytes, dense)
        "y = x @ w by x": (
            lambda x, w: x @ w,
            0,
            (x, w),
            "cb->ab|ac",
            size * D * M,
            np.einsum("ac,db->abcd", np.eye(N), w),
        ),
        "y = x @ w by w": (
            lambda x, w: x @ w,
            1,
            (x, w),
            "ac->ab|cb",
            size * N * D,
            np.einsum("ac,bd->abcd", x, np.eye(M)),
        ),
        "y = W @ x by W": (
            lambda w, x: w @ x,
            0,
            (weights, v),
            "b->a|ab",
            size * N,
            np.einsum("ab,c->abc", np.eye(T), v),
        ),
        "y = W @ x + b by W": (
            lambda w, x, b: w @ x + b,
            0,
            (weights, v, b),
            "b->a|ab",
            size * N,
            np.einsum("ab,c->abc", np.eye(T), v),
        ),
        "y = W @ x + b by b": (
            lambda w, x, b: w @ x + b,
            2,
            (weights, v, b),
            "->a|a",
            0,
            np.eye(T),
        ),
        "Y = W @ X + b by b": (
            batched,
            2,
            (weights, batch, b),
            "->ab|a",
            0,
            np.einsum("ac,b->abc", np.eye(T), np.ones(B)),
        ),
        "Y = W @ X + b by W": (
            batched,
            0,
            (weights, batch, b),
            "cb->ab|ac",
            size * N * B,
            np.einsum("ac,db->abcd", np.eye(T), batch),
        ),
        "Y = W @ X + b by X": (
            batched,
            1,
            (weights, batch, b),
            "ac->ab|cb",
            size * T * N,
            np.einsum("ac,bd->abcd", weights, np.eye(B)),
        ),
        "y = W @ x by x": (lambda w, x: w @ x, 1, (weights, v), "ab->a|b", size * T * N, weights),
        "h = tanh(z)": (np.tanh, 0, (z,), "a->a|a", size * 5, np.diag(1 - h**2)),
        "identity": (lambda z: z, 0, (z,), "->a|a", 0, np.eye(5)),
        "twice": (lambda z: 2.0 * z, 0, (z,), "->a|a", 0, 2 * np.eye(5)),
        "transpose": (
            lambda x: x.T,
            0,
            (x,),
            "->ab|ba",
            0,
            np.einsum("ad,bc->abcd", np.eye(D), np.eye(N)),
        ),
        "sum": (np.sum, 0, (x,), "->|ab", 0, np.ones((N, D))),
        "broadcast": (
            lambda z: np.broadcast_to(z, (2, 5)),
            0,
            (z,),
            "->ab|b",
            0,
            np.stack([np.eye(5)] * 2),
        ),
        "slice": (lambda z: z[1:], 0, (z,), "->a|(a+1)", 0, np.eye(5)[1:]),
        "scaled slice": (
            lambda z, s: s * z[1:],
            0,
            (z, normal(4)),
            "a->a|(a+1)",
            size * 4,
            None,
        ),
        "cumsum": (np.cumsum, 0, (z,), "->a|b;(a-b)>=0", 0, np.tril(np.ones((5, 5)))),
        "nothing": (lambda z, x: np.sum(x), 0, (z, x), "0", 0, np.zeros(5)),
        "floor": (np.floor, 0, (z,), "0", 0, np.zeros((5, 5))),
        "dot by x": (lambda x, y: x @ y, 0, (z, normal(5)), "a->|a", size * 5, None),
        "elementwise by x": (
            lambda x, y: x * y,
            0,
            (x, normal(N, D)),
            "ab->ab|ab",
            size * N * D,
            None,
        ),
        "row scale": (lambda x, y: x * y, 0, (x, normal(D)), "b->ab|ab", size * D, None),
        "row scale by the row": (
            lambda x, y: x * y,
            1,
            (x, normal(D)),
            "ab->ab|b",
            size * N * D,
            x,
        ),
    }


TABLE = _table()


@pytest.mark.parametrize("name", TABLE)
class TestStructure:
    def test_string(self, name):
        f, argnum, args, structure, _, _ = TABLE[name]
        assert cr.jacobian(f, argnums=argnum)(*args).structure == structure

    def test_bytes(self, name):
        f, argnum, args, _, stored, _ = TABLE[name]
        j = cr.jacobian(f, argnums=argnum)(*args)
        y = np.asarray(f(*args))
        assert j.nbytes == stored
        assert j.dense_nbytes == y.size * args[argnum].size * 8

    def test_dense(self, name):
        f, argnum, args, _, _, dense = TABLE[name]
        j = cr.jacobian(f, argnums=argnum)(*args)
        y = np.asarray(f(*args))
        shape = y.shape + args[argnum].shape
        assert j.shape == shape
        assert (j.out_shape, j.in_shape) == (y.shape, args[argnum].shape)
        found = j.to_dense()
        assert found.shape == shape
        if dense is None:
            columns = [
                cr.jvp(lambda x: f(*args[:argnum], x, *args[argnum + 1 :]), (args[argnum],), (e,))[
                    1
                ]
                for e in unit(*args[argnum].shape).reshape(-1, *args[argnum].shape)
            ]
            dense = np.stack(columns, axis=-1).reshape(shape)
        elif name == "row scale by the row":
            dense = np.einsum("ab,bc->abc", dense, np.eye(D))
        np.testing.assert_allclose(found, dense, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(np.asarray(j), found)

    @pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
    def test_modes_agree(self, name, mode):
        f, argnum, args, structure, stored, _ = TABLE[name]
        j = cr.jacobian(f, argnums=argnum, mode=mode)(*args)
        auto = cr.jacobian(f, argnums=argnum)(*args)
        np.testing.assert_allclose(np.asarray(j), np.asarray(auto), rtol=1e-13, atol=1e-15)
        assert j.structure == structure
        assert j.nbytes == stored

    def test_products(self, name):
        f, argnum, args, _, _, _ = TABLE[name]
        j = cr.jacobian(f, argnums=argnum)(*args)
        dense = np.asarray(j)
        rng = np.random.default_rng(1)
        v, u = rng.normal(size=j.in_shape), rng.normal(size=j.out_shape)
        forward, back = j @ v, u @ j
        np.testing.assert_allclose(forward, np.tensordot(dense, v, v.ndim), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(back, np.tensordot(u, dense, u.ndim), rtol=1e-12, atol=1e-12)
        assert np.shape(forward) == j.out_shape
        assert np.shape(back) == j.in_shape

    def test_matrix(self, name):
        f, argnum, args, _, _, _ = TABLE[name]
        j = cr.jacobian(f, argnums=argnum)(*args)
        dense = np.asarray(j)
        rows, columns = int(np.prod(j.out_shape)), int(np.prod(j.in_shape))
        matrix = j.to_matrix()
        assert matrix.shape == (rows, columns)
        np.testing.assert_array_equal(matrix, dense.reshape(rows, columns))
        rng = np.random.default_rng(2)
        v = rng.normal(size=j.in_shape)
        column_major = j.to_matrix(order="F")
        assert column_major.shape == (rows, columns)
        np.testing.assert_allclose(
            column_major @ v.ravel(order="F"),
            np.ravel(j @ v, order="F"),
            rtol=1e-12,
            atol=1e-12,
        )


class TestFormsOfOneStructure:
    """The same function written otherwise has the same structure."""

    @pytest.mark.parametrize(
        "f",
        [
            lambda x, w: x @ w,
            np.matmul,
            np.dot,
            lambda x, w: np.einsum("nd,dm->nm", x, w),
            lambda x, w: np.tensordot(x, w, axes=1),
            lambda x, w: np.inner(x, w.T),
            lambda x, w: (w.T @ x.T).T,
            lambda x, w: x @ w + np.ones(M),
        ],
    )
    def test_of_a_linear_layer(self, f):
        x, w = normal(N, D), normal(D, M)
        by_x, by_w = cr.jacobian(f, argnums=(0, 1))(x, w)
        assert by_x.structure == "cb->ab|ac"
        assert by_w.structure == "ac->ab|cb"
        assert (by_x.nbytes, by_w.nbytes) == (w.nbytes, x.nbytes)

    @pytest.mark.parametrize(
        "f",
        [
            lambda z: np.sin(np.exp(z)) * z + z**2,
            lambda z: np.tanh(z) * 2 + z,
            lambda z: np.where(z > 0, z, np.exp(z) - 1),
            lambda z: np.maximum(z, 0),
            lambda z: np.sqrt(1 + z * z),
            lambda z: z / (1 + np.abs(z)),
        ],
    )
    def test_elementwise_programs_are_diagonal(self, f):
        z = normal(5)
        j = cr.jacobian(f)(z)
        assert j.structure == "a->a|a"
        assert j.nbytes <= 40
        big = cr.jacobian(f)(normal(100_000))
        assert big.nbytes <= 800_000
        assert big.dense_nbytes == 80_000_000_000

    def test_a_hessian_of_a_separable_function_is_diagonal(self):
        h = cr.hessian(lambda z: np.sum(np.sin(z) * z))(normal(50_000))
        assert h.structure == "a->a|a"
        assert h.nbytes == 400_000
        assert h.shape == (50_000, 50_000)

    def test_a_constant_hessian_stores_nothing(self):
        h = cr.hessian(lambda z: np.sum(z**2))(normal(7))
        assert h.structure == "->a|a"
        assert h.nbytes == 0
        np.testing.assert_array_equal(np.asarray(h), 2 * np.eye(7))


@pytest.fixture(scope="module")
def large_layer():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4096)).astype(np.float32)
    w = rng.normal(size=(4096, 4096)).astype(np.float32)
    return x, w, cr.jacobian(np.matmul, argnums=(0, 1))(x, w)


class TestLargeLinearLayer:
    """N = 64, D = M = 4096 in float32, where the dense Jacobians are out of reach."""

    def test_sizes(self, large_layer):
        _, _, (by_x, by_w) = large_layer
        assert by_x.shape == (64, 4096, 64, 4096)
        assert by_w.shape == (64, 4096, 4096, 4096)
        assert by_x.dense_nbytes == 256 * GIB
        assert by_w.dense_nbytes == 16 * 1024 * GIB
        assert by_x.nbytes == 64 * MIB
        assert by_w.nbytes == 1 * MIB
        assert (by_x.structure, by_w.structure) == ("cb->ab|ac", "ac->ab|cb")

    def test_dense_is_refused(self, large_layer):
        _, _, (by_x, by_w) = large_layer
        for j, size in ((by_x, "256 GiB"), (by_w, r"16 TiB|16,?384 GiB")):
            for attempt in (j.to_dense, lambda: np.asarray(j), j.to_matrix):
                with pytest.raises(cr.TooLargeError, match=size) as caught:
                    attempt()
                assert isinstance(caught.value, MemoryError)
                assert "@" in str(caught.value), "what to use instead"

    def test_a_limit_of_ones_own(self):
        j = cr.jacobian(np.tanh)(normal(100))
        with pytest.raises(cr.TooLargeError):
            j.to_dense(max_bytes=1000)
        assert j.to_dense(max_bytes=80_000).shape == (100, 100)

    def test_products(self, large_layer):
        x, w, (by_x, by_w) = large_layer
        rng = np.random.default_rng(1)
        g = rng.normal(size=(64, 4096)).astype(np.float32)
        np.testing.assert_allclose(g @ by_x, g @ w.T, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(g @ by_w, x.T @ g, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(by_x @ g, g @ w, rtol=1e-5, atol=1e-3)
        assert (g @ by_x).dtype == np.float32


class TestFullyConnectedLayer:
    """Columns are examples: W (T,N), X (N,B), Y = W X + b[:, None]."""

    w, b, x, batch = normal(T, N), normal(T), normal(N), normal(N, B)

    def layer(self, w, x, b):
        return w @ x + b[:, None]

    def test_backward_pass(self):
        _, pullback = cr.vjp(self.layer, self.w, self.batch, self.b)
        g = normal(T, B)
        dw, dx, db = pullback(g)
        np.testing.assert_allclose(dw, g @ self.batch.T, rtol=1e-13)
        np.testing.assert_allclose(dx, self.w.T @ g, rtol=1e-13)
        np.testing.assert_allclose(db, g.sum(axis=1), rtol=1e-13)

    def test_backward_pass_of_one_example(self):
        _, pullback = cr.vjp(lambda w, x, b: w @ x + b, self.w, self.x, self.b)
        g = normal(T)
        dw, dx, db = pullback(g)
        np.testing.assert_allclose(dw, np.outer(g, self.x), rtol=1e-15)
        np.testing.assert_allclose(dx, self.w.T @ g, rtol=1e-13)
        np.testing.assert_array_equal(db, g)

    def test_linearized_shapes(self):
        one = cr.jacobian(lambda w, x, b: w @ x + b, argnums=(0, 1, 2))(self.w, self.x, self.b)
        many = cr.jacobian(self.layer, argnums=(0, 1, 2))(self.w, self.batch, self.b)
        assert one[0].to_matrix().shape == (T, T * N)
        assert one[2].to_matrix().shape == (T, T)
        assert many[0].to_matrix().shape == (T * B, T * N)
        assert many[1].to_matrix().shape == (T * B, N * B)
        assert many[2].to_matrix().shape == (T * B, T)

    def test_rows_of_the_batched_weight_jacobian_hold_their_own_input(self):
        j = np.asarray(cr.jacobian(self.layer)(self.w, self.batch, self.b))
        for t, b in itertools.product(range(T), range(B)):
            expected = np.zeros((T, N))
            expected[t] = self.batch[:, b]
            np.testing.assert_array_equal(j[t, b], expected)

    def test_bias_rows_repeat_over_the_batch(self):
        j = np.asarray(cr.jacobian(self.layer, argnums=2)(self.w, self.batch, self.b))
        for b in range(B):
            np.testing.assert_array_equal(j[:, b], np.eye(T))

    def test_the_mean_over_the_batch_is_the_sum_over_its_size(self):
        def loss(reduce):
            return lambda w: reduce(np.sum(np.tanh(self.layer(w, self.batch, self.b)), axis=0))

        whole, mean = cr.grad(loss(np.sum))(self.w), cr.grad(loss(np.mean))(self.w)
        np.testing.assert_allclose(mean, whole / B, rtol=1e-13)
        by_sum, by_mean = (
            cr.jacobian(lambda x, r=r: r(self.w @ x, axis=1))(self.batch) for r in (np.sum, np.mean)
        )
        np.testing.assert_allclose(np.asarray(by_mean), np.asarray(by_sum) / B, rtol=1e-13)


class TestProducts:
    f = staticmethod(lambda x: np.tanh(x @ np.arange(12.0).reshape(3, 4) / 10))

    def test_wrong_shapes_name_both_groups(self):
        j = cr.jacobian(self.f)(normal(2, 3))
        with pytest.raises(ValueError, match=r"\(2, 3\)") as caught:
            j @ np.ones((2, 4))
        assert "(2, 4)" in str(caught.value)
        with pytest.raises(ValueError, match=r"\(2, 4\)"):
            np.ones((2, 3)) @ j
        with pytest.raises(ValueError, match=r"\(2, 3\)"):
            j @ np.ones(6)

    def test_python_numbers_and_scalars(self):
        j = cr.jacobian(np.sin)(0.5)
        assert j.shape == ()
        assert np.asarray(j) == pytest.approx(np.cos(0.5), rel=1e-15)
        assert j @ 2.0 == pytest.approx(2 * np.cos(0.5), rel=1e-15)
        assert 2.0 @ j == pytest.approx(2 * np.cos(0.5), rel=1e-15)
        assert np.float64(2.0) @ j == pytest.approx(2 * np.cos(0.5), rel=1e-15)

    def test_a_row_has_the_shape_of_the_input_and_a_column_that_of_the_output(self):
        x = normal(2, 3)
        j = cr.jacobian(self.f)(x)
        dense = np.asarray(j)
        for i in np.ndindex(2, 4):
            row = np.zeros((2, 4))
            row[i] = 1
            np.testing.assert_allclose(row @ j, dense[i], rtol=1e-13, atol=1e-15)
        for k in np.ndindex(2, 3):
            column = np.zeros((2, 3))
            column[k] = 1
            np.testing.assert_allclose(j @ column, dense[(..., *k)], rtol=1e-13, atol=1e-15)

    def test_jvp_along_a_basis_vector_is_a_coordinate_of_the_gradient(self):
        def f(x):
            return np.sum(np.exp(np.sin(x)) * x[::-1])

        x = normal(4, 3)
        gradient = cr.grad(f)(x)
        for i in np.ndindex(4, 3):
            e = np.zeros((4, 3))
            e[i] = 1
            assert cr.jvp(f, (x,), (e,))[1] == pytest.approx(gradient[i], rel=1e-12, abs=1e-14)

    def test_float32(self):
        x = normal(2, 3).astype(np.float32)
        j = cr.jacobian(lambda x: np.tanh(2.0 * x))(x)
        assert j.to_dense().dtype == np.float32
        assert (j @ x).dtype == np.float32
        assert j.nbytes == 6 * 4
        assert j.dense_nbytes == 36 * 4

    def test_empty(self):
        j = cr.jacobian(np.sin)(np.zeros((0, 2)))
        assert np.asarray(j).shape == (0, 2, 0, 2)
        assert j.nbytes == 0
        assert (j @ np.zeros((0, 2))).shape == (0, 2)

    def test_the_buffers_of_a_factor_met_twice_count_once(self):
        a = normal(3, 3)
        j = cr.jacobian(lambda x: a @ x @ a)(normal(3, 3))
        assert j.nbytes <= 2 * a.nbytes
        np.testing.assert_allclose(
            np.asarray(j), np.einsum("ac,db->abcd", a, a), rtol=1e-13, atol=1e-15
        )


def _image(x):
    """Blur, edges and a contrast curve of a height × width × 3 image."""
    blurred = (x[1:-1] + x[:-2] + x[2:]) / 3
    edges = blurred[:, 1:] - blurred[:, :-1]
    grey = edges @ np.array([0.299, 0.587, 0.114])
    return np.tanh(2 * edges) * grey[..., None]


LIMITS = {
    "rank 0 to 0": (np.sin, ()),
    "rank 0 to 2": (lambda x: np.outer(np.arange(3.0), np.ones(2)) * np.exp(x), ()),
    "rank 1 to 0": (lambda x: np.sum(np.exp(x) * x[0]), (4,)),
    "rank 1 to 1": (lambda x: np.tanh(np.arange(12.0).reshape(3, 4) @ x / 10), (4,)),
    "rank 1 to 2": (lambda x: np.outer(x, np.sin(x)), (3,)),
    "rank 2 to 0": (lambda x: np.linalg.det(np.eye(3) * 3 + x), (3, 3)),
    "rank 2 to 1": (lambda x: np.linalg.solve(np.eye(3) * 4 + x, np.ones(3)), (3, 3)),
    "rank 2 to 2": (lambda x: np.tanh(x) @ x.T, (2, 3)),
    "rank 3 to 3": (_image, (5, 4, 3)),
    "rank 3 to 0": (lambda x: np.mean(_image(x) ** 2), (5, 4, 3)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_jacobian_is_the_best_linear_approximation(name):
    """‖f(x + tΔ) − f(x) − t·JΔ‖ / t goes to 0 with t, and for no other linear map does it."""
    f, shape = LIMITS[name]
    rng = np.random.default_rng(3)
    x, delta = rng.normal(size=shape) / 2, rng.normal(size=shape)
    j = cr.jacobian(f)(x)
    y, image = f(x), j @ delta
    remainder = [np.linalg.norm(f(x + t * delta) - y - t * image) / t for t in (1e-2, 1e-3, 1e-4)]
    assert remainder[1] < 0.15 * remainder[0]
    assert remainder[2] < 0.15 * remainder[1]
    wrong = np.linalg.norm(f(x + 1e-4 * delta) - y - 1e-4 * (1.01 * image)) / 1e-4
    assert wrong > 5 * remainder[2]


WIDTHS = (3, 5, 2, 4, 3)


@pytest.fixture
def point():
    """The input and the parameters of the layers below."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=WIDTHS[0])
    thetas = [rng.normal(size=m * n + m) / 2 for n, m in itertools.pairwise(WIDTHS)]
    return x, thetas


class TestLayers:
    """x_{k+1} = L_k(x_k, θ_k) with L(x, θ) = tanh(W x + b), θ = (W, b) in one vector."""

    depth = len(WIDTHS) - 1

    @staticmethod
    def layer(x, theta):
        n = x.shape[0]
        m = theta.shape[0] // (n + 1)
        return np.tanh(theta[: m * n].reshape(m, n) @ x + theta[m * n :])

    @staticmethod
    def local(x, theta):
        """Both local Jacobians of a layer, by hand."""
        n = x.shape[0]
        m = theta.shape[0] // (n + 1)
        w = theta[: m * n].reshape(m, n)
        slope = 1 - np.tanh(w @ x + theta[m * n :]) ** 2
        by_w = np.einsum("ab,a,c->abc", np.eye(m), slope, x).reshape(m, m * n)
        return slope[:, None] * w, np.concatenate([by_w, np.diag(slope)], axis=1)

    def through(self, k):
        """The composition of the first k layers, as a function of x and k parameters."""

        def f(x, *thetas):
            for theta in thetas:
                x = self.layer(x, theta)
            return x

        return f

    def states(self, x, thetas):
        states = [x]
        for theta in thetas:
            states.append(self.layer(states[-1], theta))
        return states

    def blocks(self, k, mode, point):
        x, thetas = point
        f = self.through(k)
        found = cr.jacobian(f, argnums=tuple(range(k + 1)), mode=mode)(x, *thetas[:k])
        return [np.asarray(j) for j in found]

    def test_the_local_jacobians(self, point):
        x, thetas = point
        for state, theta in zip(self.states(x, thetas), thetas, strict=False):
            for mode in ("forward", "reverse", "auto"):
                found = cr.jacobian(self.layer, argnums=(0, 1), mode=mode)(state, theta)
                for j, expected in zip(found, self.local(state, theta), strict=True):
                    np.testing.assert_allclose(np.asarray(j), expected, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
    def test_forward_accumulation(self, mode, point):
        """J_k = [∂L_k/∂x · J_{k-1} | ∂L_k/∂θ_k], with J_1 = J_{x,θ¹} L_1."""
        x, thetas = point
        states = self.states(x, thetas)
        accumulated = np.concatenate(self.local(x, thetas[0]), axis=1)
        compared = 0
        for k in range(1, self.depth + 1):
            if k > 1:
                by_x, by_theta = self.local(states[k - 1], thetas[k - 1])
                accumulated = np.concatenate([by_x @ accumulated, by_theta], axis=1)
            found = np.concatenate(self.blocks(k, mode, point), axis=1)
            np.testing.assert_allclose(found, accumulated, rtol=1e-11, atol=1e-14)
            compared += 1
        assert compared == self.depth

    @pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
    def test_forward_accumulation_without_the_input(self, mode, point):
        """G_k = [∂L_k/∂x · G_{k-1} | ∂L_k/∂θ_k], with G_1 = J_{θ¹} L_1: no columns for x."""
        x, thetas = point
        states = self.states(x, thetas)
        accumulated = self.local(x, thetas[0])[1]
        for k in range(1, self.depth + 1):
            if k > 1:
                by_x, by_theta = self.local(states[k - 1], thetas[k - 1])
                accumulated = np.concatenate([by_x @ accumulated, by_theta], axis=1)
            f = self.through(k)
            found = cr.jacobian(f, argnums=tuple(range(1, k + 1)), mode=mode)(x, *thetas[:k])
            dense = np.concatenate([np.asarray(j) for j in found], axis=1)
            np.testing.assert_allclose(dense, accumulated, rtol=1e-11, atol=1e-14)

    @pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
    def test_reverse_accumulation(self, mode, point):
        """D = I; for k = l … 1 keep D · J_{θᵏ}L_k, then D ← D · J_{xᵏ}L_k."""
        x, thetas = point
        states = self.states(x, thetas)
        found = self.blocks(self.depth, mode, point)
        d = np.eye(WIDTHS[-1])
        kept = 0
        for k in range(self.depth, 0, -1):
            by_x, by_theta = self.local(states[k - 1], thetas[k - 1])
            np.testing.assert_allclose(found[k], d @ by_theta, rtol=1e-11, atol=1e-14)
            d = d @ by_x
            tail = cr.jacobian(self.tail(k, thetas), mode=mode)(states[k - 1])
            np.testing.assert_allclose(np.asarray(tail), d, rtol=1e-11, atol=1e-14)
            kept += 1
        assert kept == self.depth
        np.testing.assert_allclose(found[0], d, rtol=1e-11, atol=1e-14)

    def tail(self, k, thetas):
        """Layers k … l as a function of the state before layer k."""

        def f(x):
            for theta in thetas[k - 1 :]:
                x = self.layer(x, theta)
            return x

        return f

    def test_the_gradient_of_a_loss_is_the_same_in_every_mode(self, point):
        x, thetas = point

        def loss(x, *thetas):
            return np.sum(self.through(self.depth)(x, *thetas) ** 2)

        every = tuple(range(self.depth + 1))
        gradients = cr.grad(loss, argnums=every)(x, *thetas)
        y = self.states(x, thetas)[-1]
        for mode in ("forward", "reverse", "auto"):
            for k, gradient in enumerate(gradients):
                block = self.blocks(self.depth, mode, point)[k]
                np.testing.assert_allclose(gradient, 2 * y @ block, rtol=1e-11, atol=1e-14)
