"""Sums, multiples, products, absolute values and NumPy's functions against dense arrays."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

RNG = np.random.default_rng(17)


def normal(*shape):
    return RNG.normal(size=shape)


W, V, A = normal(3, 4), normal(5), normal(4, 4)
INDEX = np.array([1, 1, 4, 0])


def softmax(x):
    return np.exp(x) / np.sum(np.exp(x))


# name: (f, x)
FUNCTIONS = {
    "scalar": (np.sin, 0.5),
    "gradient": (lambda x: np.sum(x**3), V),
    "gradient of a matrix": (lambda x: np.sum(x**3), W),
    "column": (lambda x: V * x**2, 0.7),
    "elementwise": (np.tanh, V),
    "elementwise of a matrix": (np.tanh, W),
    "zero": (np.floor, V),
    "dense": (lambda x: W @ x, normal(4)),
    "layer": (lambda x: np.tanh(x @ A), W),
    "layer by the matrix": (lambda a: W @ a, A),
    "transpose": (lambda x: x.T * 2.0, W),
    "two factors": (lambda x: W @ x @ W.T, A),
    "contracted": (lambda x: normal(6, 2) @ (normal(2, 5) @ x), V),
    "outer": (lambda x: np.outer(x, x), V),
    "softmax": (softmax, V),
    "gather": (lambda x: x[INDEX] ** 2, V),
    "slices": (lambda x: x[1:] * x[:-1] - x[::2].sum(), V),
    "cumsum": (np.cumsum, V),
    "roll": (lambda x: np.roll(x, 2) * x, V),
    "convolution": (lambda x: np.convolve(x, np.array([1.0, -2.0, 3.0])), V),
    "reshape": (lambda x: np.reshape(x * x, (2, 6)), W),
    "units": (lambda x: (x**2)[:, None], normal(1)),
    "empty": (np.sin, np.zeros((0, 3))),
    "float32": (lambda x: np.cumsum(x * x), V.astype(np.float32)),
    "complex": (lambda z: z * z + 1j * z[0], V[:4] + 1j * V[1:]),
}

JACOBIANS = {name: cr.jacobian(f)(x) for name, (f, x) in FUNCTIONS.items()}


def same(found, expected, tol=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    single = found.dtype in (np.float32, np.complex64)
    np.testing.assert_allclose(
        found, expected, rtol=1e-5 if single else tol, atol=1e-6 if single else 1e-13
    )


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("name", JACOBIANS)
class TestElementwise:
    def test_multiples(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        for number in (2, -0.5, 0, np.float64(3.0), np.array(1.5), True):
            found = number * j
            assert isinstance(found, cr.Jacobian)
            assert found.layout == layout
            same(found, number * dense)
            same(j * number, number * dense)
        same(j / 4, dense / 4)
        same(-j, -dense)
        same(+j, dense)
        assert (2.0 * j).dtype == j.dtype
        assert (1j * j).dtype.kind == "c"
        same(1j * j, 1j * dense)

    def test_arrays(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        rng = np.random.default_rng(3)
        n = len(j.out_shape if layout == "numerator" else j.in_shape)
        first, last = j.shape[:n], j.shape[n:]
        rows = rng.normal(size=(*first, *(1 for _ in last)))
        columns = rng.normal(size=last)
        whole = rng.normal(size=j.shape)
        for a in (rows, columns, whole):
            same(a * j, a * dense)
            same(j * a, dense * a)
            same(j / (2 + np.abs(a)), dense / (2 + np.abs(a)))
        if j.size > 60:
            assert (rows * j).nbytes <= 2 * (j.nbytes + rows.nbytes)

    def test_sums(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        a = np.random.default_rng(4).normal(size=j.shape)
        same(j + j, 2 * dense)
        same(j - j, 0 * dense)
        same(sum([j, 2 * j, j]), 4 * dense)
        for found, expected in (
            (j + a, dense + a),
            (a + j, a + dense),
            (j - a, dense - a),
            (a - j, a - dense),
        ):
            assert isinstance(found, cr.Jacobian)
            same(found, expected)
        s = scipy.sparse.random_array(
            j.to_matrix().shape, density=0.5, rng=np.random.default_rng(5)
        )
        for found, expected in (
            (j + s, j.to_matrix() + s),
            (s + j, s + j.to_matrix()),
            (j - s, j.to_matrix() - s),
            (s - j, s - j.to_matrix()),
        ):
            assert isinstance(found, cr.Jacobian)
            same(found.to_matrix(), np.asarray(expected))

    def test_products_of_elements(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        dense = j.to_dense()
        same(j * j, dense * dense)
        k = cr.Jacobian.from_matrix(
            np.arange(1.0, 1 + j.size).reshape(j.to_matrix().shape),
            j.out_shape,
            j.in_shape,
            layout=layout,
        )
        same(j * k, dense * k.to_dense())
        same(k * j, dense * k.to_dense())

    def test_absolute(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        found = abs(j)
        assert isinstance(found, cr.Jacobian)
        assert found.dtype == np.abs(j.to_dense()).dtype
        same(found, np.abs(j.to_dense()))
        same(np.abs(j), np.abs(j.to_dense()))
        same(j.conj(), np.conj(j.to_dense()))
        same(np.conj(j), np.conj(j.to_dense()))

    def test_transposes(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        assert j.T.shape == j.shape[len(j.shape) - len(j.T.shape) :] or j.T.layout == layout
        same(j.T.to_matrix(), j.to_matrix().T)
        same(j.T.T, j)

    def test_sparse_products(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        matrix = j.to_matrix()
        rows, columns = matrix.shape
        rng = np.random.default_rng(6)
        left = scipy.sparse.random_array((3, rows), density=0.6, rng=rng)
        right = scipy.sparse.random_array((columns, 2), density=0.6, rng=rng)
        for kind in ("csr", "coo", "csc"):
            found = left.asformat(kind) @ j
            assert isinstance(found, cr.Jacobian)
            assert found.layout == layout
            same(found.to_matrix(), left @ matrix, 1e-10)
        found = j @ right
        assert isinstance(found, cr.Jacobian)
        same(found.to_matrix(), matrix @ right, 1e-10)
        same((left @ j @ right).to_matrix(), left @ matrix @ right, 1e-10)
        same((scipy.sparse.csr_matrix(left) @ j).to_matrix(), left @ matrix, 1e-10)
        v = np.random.default_rng(7).normal(size=(left @ j).shape[1:])
        if layout == "numerator":
            same((left @ j) @ v, left @ (matrix @ v.reshape(-1)), 1e-10)

    def test_norm(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        expected = np.linalg.norm(j.to_dense().reshape(-1))
        same(j.norm(), expected, 1e-6)
        same(np.linalg.norm(j), expected, 1e-6)

    def test_from_sparse(self, name, layout):
        j = JACOBIANS[name].with_layout(layout)
        k = cr.Jacobian.from_matrix(j.to_sparse(), j.out_shape, j.in_shape, layout=layout)
        same(k, j)
        assert k.to_sparse().nnz == j.to_sparse().nnz
        back = k.to_sparse()
        np.testing.assert_array_equal(back.indices, j.to_sparse().indices)
        for order in ("C", "F"):
            s = scipy.sparse.csr_array(j.to_matrix(order))
            k = cr.Jacobian.from_matrix(s, j.out_shape, j.in_shape, order, layout)
            same(k, j)


class TestStructureIsKept:
    def test_of_multiples(self):
        j = JACOBIANS["layer by the matrix"]
        assert (2 * j).structure == j.structure
        assert (j / 3).nbytes == j.nbytes
        assert (-j).structure == j.structure
        assert (j * np.arange(12.0).reshape(3, 4, 1, 1)).structure == "ab,ac->ab|cb"
        d = JACOBIANS["elementwise"]
        assert (d * np.arange(5.0)).structure == "a->a|a"
        assert (d * np.arange(5.0)).nbytes == 40
        assert (np.arange(5.0)[:, None] * d).structure == "a->a|a"

    def test_of_sums(self):
        d = JACOBIANS["elementwise"]
        assert (d + d).structure == "a->a|a"
        assert (d + cr.Jacobian.identity(5)).structure == "a->a|a"
        h = cr.hessian(lambda u: np.sum((u @ W) ** 2))(normal(6, 3))
        damped = h + 0.1 * cr.Jacobian.identity((6, 3))
        same(damped.to_matrix(), h.to_matrix() + 0.1 * np.eye(18))
        assert damped.nbytes < damped.dense_nbytes / 10

    def test_arrays_that_both_hold_are_one(self):
        j = cr.jacobian(lambda x: np.tanh(x @ np.ones((3, 2))))(np.ones((4, 3)))
        for k in (j + j, 2 * j - j, sum([j, j, 3 * j])):
            assert (k.structure, k.nbytes) == (j.structure, j.nbytes)
        same((j + j) @ np.ones((4, 3)), 2 * (j @ np.ones((4, 3))))

    def test_of_absolute_values(self):
        assert abs(JACOBIANS["elementwise"]).structure == "a->a|a"
        assert abs(JACOBIANS["two factors"]).structure == JACOBIANS["two factors"].structure
        assert abs(JACOBIANS["layer by the matrix"]).nbytes == W.nbytes

    def test_of_sparse_products(self):
        n = 10**5
        j = cr.jacobian(lambda x: np.sin(x))(normal(n))
        s = scipy.sparse.diags_array([np.ones(n), np.ones(n - 1)], offsets=[0, 1]).tocsr()
        for product, expected in ((s @ j, s @ j.to_sparse()), (j @ s, j.to_sparse() @ s)):
            assert product.nbytes < 100 * n
            assert abs(product.to_sparse() - expected).max() < 1e-14

    def test_of_two_sparse_factors(self):
        rng = np.random.default_rng(8)
        a, b = (scipy.sparse.random_array((10**4, 10**4), density=1e-4, rng=rng) for _ in "ab")
        product = cr.Jacobian.from_matrix(a, 10**4, 10**4) @ b
        assert abs(product.to_sparse() - a @ b).max() < 1e-14


class TestRefusals:
    def test_sums(self):
        j, k = JACOBIANS["elementwise"], JACOBIANS["dense"]
        with pytest.raises(ValueError, match=r"\(5,\) to \(5,\).*\(4,\) to \(3,\)"):
            j + k
        with pytest.raises(ValueError, match=r"shape \(5,\).*identity"):
            j + np.ones(5)
        with pytest.raises(ValueError, match="identity"):
            j + 1.0
        with pytest.raises(ValueError, match="with_layout"):
            j + j.with_layout("denominator")
        with pytest.raises(ValueError, match=r"\(4, 4\).*\(5, 5\)"):
            j + scipy.sparse.eye_array(4)

    def test_multiples(self):
        j = JACOBIANS["dense"]
        with pytest.raises(ValueError, match=r"\(3,\) does not broadcast.*\(3, 4\).*axis 0"):
            j * np.ones(3)
        with pytest.raises(ValueError, match="broadcast"):
            j * np.ones((2, 3, 4))
        with pytest.raises(TypeError, match="str"):
            j * "two"
        with pytest.raises(ValueError, match="differ"):
            j * JACOBIANS["elementwise"]

    def test_sparse_products(self):
        j = JACOBIANS["layer"]
        with pytest.raises(ValueError, match=r"S @ J.*\(3, 5\).*\(3, 4\), 12 elements"):
            scipy.sparse.random_array((3, 5)) @ j
        with pytest.raises(ValueError, match=r"J @ S.*\(5, 3\)"):
            j @ scipy.sparse.random_array((5, 3))

    def test_chain(self):
        with pytest.raises(ValueError, match=r"J's last axes \(4,\) meet K's first axes \(5,\)"):
            JACOBIANS["dense"] @ JACOBIANS["elementwise"]
        with pytest.raises(ValueError, match="with_layout"):
            JACOBIANS["elementwise"] @ JACOBIANS["elementwise"].with_layout("denominator")

    def test_operands_name_the_axis(self):
        j = JACOBIANS["layer"]
        with pytest.raises(ValueError, match=r"\(3, 5\) meets axes of shape \(3, 4\) \(axis 1"):
            j @ np.ones((3, 5))
        with pytest.raises(ValueError, match="1 axes instead of 2"):
            np.ones(12) @ j


class TestNumPy:
    square = JACOBIANS["roll"]

    def test_by_structure(self):
        j, dense = self.square, self.square.to_dense()
        for name in ("trace", "diagonal", "diag", "transpose", "shape", "ndim", "size"):
            same(getattr(np, name)(j), getattr(np, name)(dense))
        same(np.linalg.norm(j), np.linalg.norm(dense))
        same(np.linalg.solve(j, V), np.linalg.solve(dense, V), 1e-9)
        same(np.dot(j, V), dense @ V)
        same(np.dot(V, j), V @ dense)
        same(np.dot(j, j), dense @ dense)
        same(np.matmul(V, j), V @ dense)
        same(np.matmul(j, V), dense @ V)
        same(np.add(j, j), 2 * dense)
        same(np.subtract(dense, j), 0 * dense)
        same(np.multiply(2.0, j), 2 * dense)
        same(np.negative(j), -dense)
        same(np.true_divide(j, 2.0), dense / 2)
        assert isinstance(np.transpose(j), cr.Jacobian)
        assert isinstance(np.multiply(2.0, j), cr.Jacobian)

    def test_others_are_dense(self):
        j, dense = self.square, self.square.to_dense()
        same(np.exp(j), np.exp(dense))
        same(np.maximum(j, 0.0), np.maximum(dense, 0))
        same(np.sum(j, axis=0), dense.sum(0))
        same(np.linalg.svd(j, compute_uv=False), np.linalg.svd(dense, compute_uv=False))
        same(np.linalg.inv(j), np.linalg.inv(dense), 1e-9)
        same(np.linalg.norm(j, 2), np.linalg.norm(dense, 2))
        same(np.diagonal(j, 1), np.diagonal(dense, 1))
        same(np.trace(j, 1), np.trace(dense, 1))
        same(np.tensordot(j, V, 1), dense @ V)
        same(np.add.reduce(j), dense.sum(0))
        same(np.where(np.isfinite(j), j, 0), dense)
        assert np.allclose(j, dense)
        assert np.array_equal(j, dense)
        same(np.true_divide(1.0, j + np.ones((5, 5)) * 9), 1 / (dense + 9))
        same(JACOBIANS["layer"].to_dense(), np.asarray(JACOBIANS["layer"]))

    def test_sizes_are_asked_first(self):
        j = cr.jacobian(np.tanh)(np.ones(10**6))
        for f in (np.exp, np.sum, np.linalg.inv, np.asarray):
            with pytest.raises(cr.TooLargeError, match="GiB"):
                f(j)
        same(np.trace(j), 10**6 * (1 - np.tanh(1) ** 2), 1e-9)
        assert np.abs(j).nbytes == j.nbytes

    def test_as_numbers(self):
        one = cr.jacobian(np.sin)(0.5)
        assert float(one) == pytest.approx(np.cos(0.5))
        assert bool(one)
        assert complex(one) == pytest.approx(np.cos(0.5))
        assert int(2 * cr.Jacobian.identity(1)) == 2
        j = JACOBIANS["dense"]
        for convert in (float, int, complex):
            with pytest.raises(TypeError, match=r"\(3, 4\)"):
                convert(j)
        with pytest.raises(ValueError, match="ambiguous"):
            bool(j)
        with pytest.raises(TypeError, match="iteration"):
            list(one)
        same(list(j), list(j.to_dense()))
        with pytest.raises(TypeError, match="row by row"):
            iter(cr.jacobian(np.tanh)(np.ones(2000)))
        assert len(j) == 3


@pytest.mark.parametrize("name", ["layer", "gather", "softmax", "cumsum", "gradient"])
def test_copies_and_pickles(name):
    j = JACOBIANS[name].with_layout("denominator")
    for k in (copy.copy(j), copy.deepcopy(j), pickle.loads(pickle.dumps(j))):
        same(k, j)
        assert (k.structure, k.layout, k.nbytes) == (j.structure, j.layout, j.nbytes)
    lazy = pickle.dumps(cr.jacobian(FUNCTIONS[name][0])(FUNCTIONS[name][1]))
    same(pickle.loads(lazy), JACOBIANS[name])


class TestTraced:
    """Operands that are traced, on either side."""

    def test_traced_operands(self):
        d = normal(4)
        j = cr.jacobian(lambda x: np.tanh(A @ x))(d)
        dense = j.to_dense()

        def f(v):
            k = cr.jacobian(lambda y: np.exp(y) * v)(v)
            parts = [
                np.sum(np.sin(v @ j)),
                np.sum(np.sin(j @ v)),
                np.sum(np.asarray(1.0) * ((v * j) @ v)),
                np.sum((v[:, None] * j) * v[0] @ v),
                (j + k).trace(),
                np.sum((k @ j).diagonal()),
                np.sum((k * v).to_dense()),
                (k * j).trace(),
                np.sum((j + np.outer(v, v)) @ v),
                k.norm(),
            ]
            return sum(parts)

        jax = pytest.importorskip("jax")
        jnp = jax.numpy

        def reference(v):
            k = jnp.diag(jnp.exp(v) * v)
            parts = [
                jnp.sum(jnp.sin(v @ dense)),
                jnp.sum(jnp.sin(dense @ v)),
                jnp.sum((v * dense) @ v),
                jnp.sum((v[:, None] * dense * v[0]) @ v),
                jnp.trace(dense + k),
                jnp.sum(jnp.diag(k @ dense)),
                jnp.sum(k * v),
                jnp.trace(k * dense),
                jnp.sum((dense + jnp.outer(v, v)) @ v),
                jnp.linalg.norm(k),
            ]
            return sum(parts)

        v = normal(4)
        same(f(v), jax.jit(reference)(v), 1e-10)
        same(cr.grad(f)(v), jax.jit(jax.grad(reference))(v), 1e-9)
        same(cr.compile(cr.grad(f))(v), jax.jit(jax.grad(reference))(v), 1e-9)

    def test_a_jacobian_under_vmap(self):
        def f(x):
            return cr.jacobian(lambda y: np.tanh(A @ y))(x)

        xs = normal(3, 4)
        j = cr.vmap(f)(xs)
        expected = np.stack([f(x).to_dense() for x in xs])
        same(j, expected)
        traces = cr.vmap(lambda x: f(x).trace())(xs)
        same(traces, [np.trace(f(x).to_dense()) for x in xs])
        diagonals = cr.vmap(lambda x: (2 * f(x) + f(x)).diagonal())(xs)
        same(diagonals, [3 * np.diag(f(x).to_dense()) for x in xs])

    def test_the_third_derivative(self):
        def f(x):
            return np.sum(np.exp(x) * x[::-1])

        x = normal(4)
        jax = pytest.importorskip("jax")
        third = cr.jacobian(cr.hessian(f))(x)
        assert third.shape == (4, 4, 4)
        expected = jax.jit(
            jax.jacobian(jax.hessian(lambda x: jax.numpy.sum(jax.numpy.exp(x) * x[::-1])))
        )(x)
        same(third, expected, 1e-10)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(JACOBIANS)),
    st.lists(st.sampled_from(["double", "plus", "times", "abs", "transpose", "scale"]), max_size=4),
)
def test_chains_of_operations(name, steps):
    j = JACOBIANS[name]
    dense = j.to_dense()
    n = len(j.out_shape)
    for step in steps:
        if step == "double":
            j, dense = 2 * j, 2 * dense
        elif step == "plus":
            j, dense = j + abs(j), dense + np.abs(dense)
        elif step == "times":
            j, dense = j * j, dense * dense
        elif step == "abs":
            j, dense = abs(j), np.abs(dense)
        elif step == "transpose":
            order = [*range(n, dense.ndim), *range(n)]
            j, dense, n = j.T, np.transpose(dense, order), dense.ndim - n
        else:
            a = np.cos(np.arange(float(np.prod(j.in_shape)))).reshape(j.in_shape)
            j, dense = j * a, dense * a
    same(j, dense, 1e-9)
    assert j.nbytes <= 4 * max(dense.nbytes, 64)
