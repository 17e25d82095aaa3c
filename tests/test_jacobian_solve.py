"""J.solve(b): every way of solving against NumPy on the dense matrix, and what is refused."""

import numpy as np
import pytest
import scipy.sparse

import chainrule as cr

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape)


def spd(n):
    a = normal(n, n)
    return a @ a.T + n * np.eye(n)


def softplus(z):
    return np.log1p(np.exp(z))


def springs(x):
    return np.sum(np.diff(x) ** 4) + np.sum(np.cosh(x))


A3, A4, S40 = normal(3, 3) + 3 * np.eye(3), normal(4, 4) + 4 * np.eye(4), spd(40)
V = normal(30, 5)
MASK = RNG.uniform(size=(20, 30)) < 0.5
X40 = normal(60, 40)
GENERAL = normal(40, 40) + 8 * np.eye(40)
ORDER = RNG.permutation(50)
LOW, HIGH = normal(64, 3), normal(64, 3)


def logistic(w):
    return np.sum(softplus(X40 @ w)) + np.sum(w**2)


def periodic(x):
    return x + 0.3 * np.roll(x, 1) ** 2 - 0.2 * np.roll(x, -1) + 0.1 * np.roll(x, 9)


# name: (Jacobian, what the method says)
def _cases():
    x7, x40, x50 = normal(7), normal(40), normal(50)
    u = normal(20, 5)
    h, j = cr.hessian, cr.jacobian
    return {
        "number": (j(np.sin)(0.3), "diagonal"),
        "elementwise": (j(np.exp)(x7), "diagonal"),
        "elementwise of a matrix": (j(np.exp)(normal(3, 4)), "diagonal"),
        "scaled identity": (j(lambda x: 3.0 * x)(x7), "axes apart: identity"),
        "transpose": (j(lambda x: x.T)(normal(3, 4)), "axes apart: identity"),
        "scaled transpose": (j(lambda x: np.exp(x).T)(normal(3, 4)), "diagonal"),
        "units": (j(lambda x: np.exp(x)[:, None])(normal(1, 4)), "diagonal"),
        "dense": (j(lambda x: GENERAL @ x)(x40), "dense LU of 40 x 40"),
        "linear layer": (j(lambda x: x @ A4)(normal(3, 4)), "axes apart: identity on out axis 0"),
        "kronecker": (j(lambda x: A3 @ x @ A4)(normal(3, 4)), "axes apart: dense LU of 3 x 3"),
        "kronecker of vectors": (
            j(lambda v: (A3 @ v.reshape(3, 4) @ A4).ravel())(normal(12)),
            "axes apart: dense LU of 3 x 3",
        ),
        "a batch of vectors": (
            j(lambda v: np.tanh(v.reshape(5, 3) @ A3).ravel())(normal(15)),
            "blocks: 5 dense systems of 3 x 3",
        ),
        "a vector by a matrix": (
            j(lambda x: (A3 @ x @ A4).ravel())(normal(3, 4)),
            "axes apart: dense LU of 3 x 3",
        ),
        "kronecker and transpose": (j(lambda x: A4 @ x.T @ A3)(normal(3, 4)), "axes apart"),
        "inverse": (j(np.linalg.inv)(A4), "axes apart: dense LU"),
        "three factors": (
            j(lambda x: np.einsum("ai,bj,ck,ijk->abc", A3, A4, A3, x))(normal(3, 4, 3)),
            "axes apart: dense LU",
        ),
        "matrix factorization": (
            h(lambda u: np.sum((u @ V.T) ** 2))(u),
            "axes apart: identity on out axis 0, dense Cholesky of 5 x 5",
        ),
        "masked factorization": (
            h(lambda u: np.sum(np.where(MASK, u @ V.T, 0.0) ** 2))(u),
            "blocks: 20 dense systems of 5 x 5",
        ),
        "batch of inverses": (
            j(np.linalg.inv)(normal(6, 3, 3) + 3 * np.eye(3)),
            "blocks: 6 dense",
        ),
        "positive definite": (h(lambda x: x @ S40 @ x)(x40), "dense Cholesky of 40 x 40"),
        "indefinite": (h(lambda x: x @ GENERAL @ x)(x40), "dense"),
        "logistic": (h(logistic)(x40), "dense Cholesky of 40 x 40"),
        "tridiagonal": (h(springs)(x50), "banded (1 below, 1 above the diagonal), Cholesky"),
        "bidiagonal": (
            j(lambda x: np.concatenate([x[:1] ** 2, x[1:] * np.exp(x[:-1])]))(x50),
            "banded (1 below, 0 above",
        ),
        "pentadiagonal": (
            j(lambda x: 6 * x + np.convolve(np.sin(x), np.arange(1.0, 6), mode="same"))(x50),
            "banded (2 below, 2 above the diagonal), LU",
        ),
        "periodic": (j(periodic)(normal(80)), "sparse LU"),
        "gather": (j(lambda x: x[ORDER] ** 3)(x50), "sparse LU"),
        "cumsum": (j(np.cumsum)(x40), "dense triangular (lower)"),
        "reversed cumsum": (
            j(lambda x: np.cumsum(np.sin(x)[::-1])[::-1])(normal(20) * 0.3),
            "dense triangular (upper)",
        ),
        "sparse triangular": (
            j(lambda x: 2 * x + np.concatenate([np.zeros(45), x[:35] ** 2]))(normal(80)),
            "sparse triangular (lower)",
        ),
        "diagonal plus rank": (
            h(lambda x: np.sum(np.cosh(x)) + np.sum((LOW.T @ x) ** 2))(normal(64)),
            "diagonal plus rank 3 (Woodbury)",
        ),
        "unsymmetric rank": (
            j(lambda x: np.sinh(x) + LOW @ np.tanh(HIGH.T @ x))(normal(64)),
            "diagonal plus rank 3 (Woodbury)",
        ),
        "identity plus rank": (
            j(lambda x: x - np.mean(x) * 0.5)(normal(64)),
            "plus rank 1 (Woodbury)",
        ),
        "softmax cross entropy": (
            h(lambda x: np.log(np.sum(np.exp(x))) + np.sum(x**2))(normal(64)),
            "diagonal plus rank 1 (Woodbury)",
        ),
        "tridiagonal plus rank": (
            h(lambda x: springs(x) + np.sum(x) ** 2)(normal(64)),
            "banded (1 below, 1 above the diagonal), Cholesky plus rank 1 (Woodbury)",
        ),
        "batch of diagonal plus rank": (
            h(lambda x: np.sum(np.log(np.sum(np.exp(x), axis=1))) + np.sum(x**2))(normal(5, 32)),
            "diagonal plus rank 1 (Woodbury)",
        ),
        "reshaped": (j(lambda x: np.exp(x).reshape(4, 3))(normal(3, 4)), ""),
        "group of two axes": (
            j(lambda x: np.tensordot(S40.reshape(5, 8, 40), x, 1))(x40),
            "dense Cholesky",
        ),
        "complex": (
            j(lambda z: (GENERAL + 1j * S40) @ z)(x40 + 1j * normal(40)),
            "dense LU of 40 x 40",
        ),
        "complex tridiagonal": (
            j(lambda z: 5 * z + np.convolve(z, np.array([1j, 0, 2.0]), mode="same"))(
                x50 + 1j * x50[::-1]
            ),
            "banded (1 below, 1 above the diagonal), LU",
        ),
        "hermitian": (
            j(lambda z: (S40 + 1j * (GENERAL - GENERAL.T)) @ z)(x40 + 0j),
            "dense Cholesky of 40 x 40",
        ),
    }


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
class TestMethods:
    def test_method(self, name):
        j, method = CASES[name]
        assert method in j.factorize().method
        assert method in repr(j.factorize())

    def test_against_numpy(self, name):
        j, _ = CASES[name]
        matrix = j.to_matrix()
        rng = np.random.default_rng(1)
        b = rng.normal(size=j.out_shape)
        x = j.solve(b)
        assert np.shape(x) == j.in_shape
        expected = np.linalg.solve(matrix, b.reshape(-1)).reshape(j.in_shape)
        np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(j @ x, b, rtol=1e-9, atol=1e-9)

    def test_many_right_hand_sides(self, name):
        j, _ = CASES[name]
        b = np.random.default_rng(2).normal(size=(*j.out_shape, 2, 3))
        x = j.factorize().solve(b)
        assert x.shape == (*j.in_shape, 2, 3)
        expected = np.linalg.solve(j.to_matrix(), b.reshape(-1, 6)).reshape(x.shape)
        np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-10)

    def test_transposed(self, name):
        j, _ = CASES[name]
        b = np.random.default_rng(3).normal(size=j.in_shape)
        expected = np.linalg.solve(j.to_matrix().T, b.reshape(-1)).reshape(j.out_shape)
        np.testing.assert_allclose(j.T.solve(b), expected, rtol=1e-9, atol=1e-10)

    def test_the_layout_does_not_matter(self, name):
        j, _ = CASES[name]
        b = np.random.default_rng(4).normal(size=j.out_shape)
        np.testing.assert_array_equal(j.with_layout("denominator").solve(b), j.solve(b))


@pytest.mark.parametrize("name", ["tridiagonal", "logistic", "matrix factorization", "periodic"])
def test_float32(name):
    j, _ = CASES[name]
    single = j.to_sparse().astype(np.float32)
    k = cr.Jacobian.from_matrix(single, j.out_shape, j.in_shape)
    b = normal(*j.out_shape).astype(np.float32)
    x = k.solve(b)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, j.solve(b), rtol=0.02, atol=1e-3)


class TestSingular:
    @pytest.mark.parametrize(
        ("f", "x", "reason"),
        [
            (np.floor, normal(4), "it is zero"),
            (lambda x: x**2, np.array([1.0, 0.0, 2.0]), "zero at index"),
            (lambda x: np.outer(x, x)[0] * 0 + x[0], normal(4), "rank is at most 1"),
            (lambda x: x - np.mean(x), normal(64), "singular"),
            (lambda x: x - np.mean(x), normal(5), "singular"),
            (lambda x: np.exp(x) / np.sum(np.exp(x)), normal(40), "singular"),
            (lambda x: np.ones((4, 4)) @ x, normal(4), "singular"),
            (lambda x: np.diff(x, append=x[-1:]), normal(40), "zero"),
            (lambda x: 2 * x - np.roll(x, 1) - np.roll(x, -1), normal(90), "singular"),
            (lambda x: normal(3, 2) @ x @ normal(3, 2), normal(2, 3), "not square"),
            (lambda x: x @ np.ones((3, 3)), normal(4, 3), "singular"),
        ],
    )
    def test_is_said(self, f, x, reason):
        j = cr.jacobian(f)(x)
        with pytest.raises(np.linalg.LinAlgError, match=reason) as caught:
            j.solve(np.ones(j.out_shape))
        assert "lsmr" in str(caught.value)

    def test_units_are_not_singular(self):
        scales = np.logspace(-40, 40, 40)
        j = cr.jacobian(lambda x: scales * (GENERAL @ x))(normal(40))
        x = normal(40)
        np.testing.assert_allclose(j.solve(scales * (GENERAL @ x)), x, rtol=1e-10)
        j = cr.jacobian(lambda x: scales * (S40 @ (scales * x)))(normal(40))
        np.testing.assert_allclose(j.solve(scales * (S40 @ x)), x / scales, rtol=1e-10)

    def test_a_singular_part_that_a_low_rank_one_mends(self):
        d = np.ones(40)
        d[3] = 0

        def f(x):
            return d * x**2 / 2 + np.sum(x) * np.ones(40)

        j = cr.jacobian(f)(np.ones(40))
        b = normal(40)
        np.testing.assert_allclose(j.solve(b), np.linalg.solve(j.to_matrix(), b), rtol=1e-9)

    def test_cancellation_between_parts(self):
        def f(x):
            return 1e-13 * x + LOW @ (LOW.T @ x) + 1e-3 * np.sin(x * np.arange(1.0, 65.0))

        j = cr.jacobian(f)(normal(64))
        b = normal(64)
        np.testing.assert_allclose(j @ j.solve(b), b, rtol=1e-6, atol=1e-8)


class TestRefusals:
    def test_not_square(self):
        j = cr.jacobian(lambda x: x[1:])(normal(5))
        with pytest.raises(ValueError, match=r"square.*\(4,\).*\(5,\).*lsmr"):
            j.solve(np.ones(4))

    def test_wrong_shapes(self):
        j = cr.jacobian(lambda x: A3 @ x @ A4)(normal(3, 4))
        with pytest.raises(ValueError, match=r"\(4, 3\) meets out_shape \(3, 4\) \(axis 0"):
            j.solve(np.ones((4, 3)))
        with pytest.raises(ValueError, match=r"\(12,\)"):
            j.solve(np.ones(12))
        with pytest.raises(ValueError, match="axes are missing"):
            j.solve(np.ones(3))

    def test_too_large(self):
        j = cr.jacobian(np.cumsum)(np.ones(10**6))
        with pytest.raises(cr.TooLargeError, match=r"GiB.*gmres"):
            j.solve(np.ones(10**6))
        small = cr.jacobian(lambda x: GENERAL @ x)(normal(40))
        with pytest.raises(cr.TooLargeError, match="max_bytes"):
            small.solve(np.ones(40), max_bytes=1000)

    def test_empty(self):
        j = cr.jacobian(np.sin)(np.zeros((0, 3)))
        assert j.solve(np.zeros((0, 3))).shape == (0, 3)
        assert j.factorize().method == "empty"


class TestTraced:
    """Inside a traced function, and for a traced right-hand side."""

    @pytest.mark.parametrize("name", ["diagonal", "blocks", "kronecker", "dense"])
    def test_newton_step_is_differentiable(self, name):
        jax = pytest.importorskip("jax")
        jnp = jax.numpy
        f, x = {
            "diagonal": (lambda np, x: np.sum(np.exp(x) + x**2), normal(4)),
            "blocks": (
                lambda np, x: np.sum(np.exp(np.einsum("ij,j->i", x, A3[0])) + np.sum(x**2, 1)),
                normal(4, 3),
            ),
            "kronecker": (lambda np, x: np.sum(np.exp(x[0, 0]) * (A3 @ x @ A4) ** 2), normal(3, 4)),
            "dense": (lambda np, x: np.sum(np.exp(A4 @ x)) + np.sum(x**2), normal(4)),
        }[name]

        def step(x):
            g = cr.grad(lambda x: f(np, x))
            return np.sum(np.sin(cr.hessian(lambda x: f(np, x))(x).solve(g(x))))

        def reference(x):
            g = jax.grad(lambda x: f(jnp, x))(x)
            h = jax.hessian(lambda x: f(jnp, x))(x).reshape(x.size, x.size)
            return jnp.sum(jnp.sin(jnp.linalg.solve(h, g.reshape(-1))))

        np.testing.assert_allclose(
            cr.grad(step)(x), jax.jit(jax.grad(reference))(x), rtol=1e-8, atol=1e-10
        )

    def test_a_traced_right_hand_side(self):
        j = cr.jacobian(lambda x: GENERAL @ x)(normal(40))
        g = cr.grad(lambda b: np.sum(j.solve(b)))(normal(40))
        np.testing.assert_allclose(g, np.linalg.solve(GENERAL.T, np.ones(40)), rtol=1e-10)


def test_large_systems():
    n = 100_000
    x = normal(n)
    j = cr.hessian(springs)(x)
    b = normal(n)
    f = j.factorize()
    assert "banded" in f.method
    np.testing.assert_allclose(j @ f.solve(b), b, rtol=1e-9, atol=1e-9)
    half = normal(n, 2)
    k = cr.hessian(lambda x: np.sum(x**4 + x**2) + np.sum((half.T @ x) ** 2))(x)
    assert k.factorize().method == "diagonal plus rank 2 (Woodbury)"
    np.testing.assert_allclose(k @ k.solve(b), b, rtol=1e-9, atol=1e-9)


def test_numpy_solve():
    j, _ = CASES["tridiagonal"]
    b = normal(50)
    np.testing.assert_allclose(np.linalg.solve(j, b), np.linalg.solve(j.to_dense(), b), rtol=1e-9)
    many = normal(50, 3)
    np.testing.assert_allclose(
        np.linalg.solve(j, many), np.linalg.solve(j.to_dense(), many), rtol=1e-9
    )


def test_one_factorization_for_many():
    j, _ = CASES["periodic"]
    f = j.factorize()
    b = normal(80)
    np.testing.assert_array_equal(f(b), f.solve(b))
    s = scipy.sparse.csr_array(j.to_sparse())
    np.testing.assert_allclose(s @ f(b), b, rtol=1e-10, atol=1e-10)
