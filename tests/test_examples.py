"""The examples run, and their results are what they should be."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import least_squares, minimize, root
from scipy.sparse.linalg import aslinearoperator, cg, gmres, lsmr

import chainrule as cr

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bundle_adjustment():
    example = load("bundle_adjustment")
    found, j, observations = example.main()
    assert found.success
    s = j.to_sparse()
    assert s.shape == (2 * observations, found.x.size)
    # noise of 0.3 in what the unknowns (less the 7 of position, turn and size) cannot follow
    free = s.shape[0] - (s.shape[1] - 7)
    assert np.sqrt(2 * found.cost / free) == pytest.approx(0.3, rel=0.15)
    assert np.all(np.diff(s.indptr) == 12)
    # optimal: the gradient is small against that at the start
    assert found.optimality < 1e-2 * np.max(np.abs(s.T @ np.ones(s.shape[0])))


def test_bundle_adjustment_jacobian_against_jax():
    jax = pytest.importorskip("jax")
    example = load("bundle_adjustment")
    cameras, points, which, what, _ = example.problem(3, 4)
    j = cr.jacobian(lambda c: example.project(c[which], points[what]))(cameras)

    def project(c):
        np_, example.np = example.np, jax.numpy
        try:
            return example.project(c[which], points[what])
        finally:
            example.np = np_

    expected = jax.jit(jax.jacobian(project))(cameras)
    np.testing.assert_allclose(j.to_dense(), expected, rtol=1e-8, atol=1e-8)


def test_logistic_regression():
    results, by_hand, loss = load("logistic_regression").main()
    best = loss(by_hand)
    np.testing.assert_allclose(cr.grad(loss)(by_hand), 0, atol=1e-8)
    for found in results.values():
        assert found.fun == pytest.approx(best, rel=1e-6)
        np.testing.assert_allclose(found.x, by_hand, rtol=1e-2, atol=1e-2)


def test_boundary_value():
    example = load("boundary_value")
    errors = example.main()
    assert errors["large"] < 1e-8
    assert all(errors[k] < 5e-5 for k in ("root", "Newton", "Newton-Krylov"))


def test_stiff_reaction():
    found, j = load("stiff_reaction").main(n=40, end=2.0)
    reference = found["BDF, differences"].y[:, -1]
    for name, s in found.items():
        assert s.success
        np.testing.assert_allclose(s.y[:, -1], reference, rtol=1e-3, atol=1e-3, err_msg=name)
    # a tridiagonal block each, and the reaction's diagonals beside
    assert j.to_sparse().nnz == 2 * (3 * 40 - 2) + 2 * 40


def test_deblurring():
    errors, j, h = load("deblurring").main()
    assert errors["lsmr"] < 0.85 * errors["blurred"]
    assert errors["cg"] < 0.9 * errors["blurred"]
    assert j.nbytes < 1000
    assert h.nbytes < h.dense_nbytes / 100


class TestStraightIn:
    """Where SciPy takes an object that is no array, a Jacobian goes in as it is."""

    a = np.random.default_rng(0).normal(size=(30, 12))
    b = np.random.default_rng(1).normal(size=30)

    def f(self, x):
        return np.tanh(self.a @ x) + 0.1 * np.sum(x**2) - 0.1 * self.b

    def test_least_squares(self):
        start = np.zeros(12)
        expected = least_squares(self.f, start)
        for jac in (
            cr.jacobian(self.f),
            lambda x: cr.jacobian(self.f)(x).to_sparse(),
            lambda x: cr.jacobian(self.f)(x).to_linear_operator(),
        ):
            found = least_squares(self.f, start, jac=jac)
            assert found.cost == pytest.approx(expected.cost, rel=1e-5)
        found = least_squares(self.f, start, jac=cr.jacobian(self.f), method="lm")
        assert found.cost == pytest.approx(expected.cost, rel=1e-5)

    def test_minimize(self):
        def loss(x):
            return np.sum(self.f(x) ** 2)

        start = np.full(12, 0.1)
        expected = minimize(loss, start, jac=cr.grad(loss), method="BFGS").fun
        for method in ("Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "dogleg"):
            if method == "dogleg":  # it wants a positive definite Hessian
                continue
            found = minimize(loss, start, jac=cr.grad(loss), hess=cr.hessian(loss), method=method)
            assert found.fun == pytest.approx(expected, rel=1e-4)
        for method in ("Newton-CG", "trust-ncg", "trust-constr"):
            found = minimize(loss, start, jac=cr.grad(loss), hessp=cr.hvp(loss), method=method)
            assert found.fun == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("method", ["hybr", "lm"])
    def test_root(self, method):
        m = self.a[:12] + 6 * np.eye(12)
        found = root(
            lambda x: m @ np.sinh(x) - self.b[:12],
            np.zeros(12),
            jac=cr.jacobian(lambda x: m @ np.sinh(x) - self.b[:12]),
            method=method,
        )
        assert found.success
        np.testing.assert_allclose(m @ np.sinh(found.x), self.b[:12], atol=1e-6)

    def test_linear_solvers(self):
        j = cr.jacobian(lambda x: np.tanh(self.a @ x))(np.full(12, 0.1))
        dense = j.to_dense()
        np.testing.assert_allclose(
            lsmr(j, self.b, atol=1e-12, btol=1e-12)[0],
            np.linalg.lstsq(dense, self.b)[0],
            rtol=1e-6,
        )
        h = cr.hessian(lambda x: np.sum(np.cosh(self.a @ x)))(np.zeros(12))
        for solver in (cg, gmres):
            x, info = solver(h, self.b[:12], rtol=1e-12)
            assert info == 0
            np.testing.assert_allclose(h @ x, self.b[:12], rtol=1e-8, atol=1e-8)
        op = aslinearoperator(j)
        assert op.shape == (30, 12)
        assert op.dtype == j.dtype
        np.testing.assert_allclose(op @ np.ones(12), dense @ np.ones(12))
        np.testing.assert_allclose(op.T @ self.b, dense.T @ self.b)
        np.testing.assert_allclose(op @ np.ones((12, 2)), dense @ np.ones((12, 2)))
        np.testing.assert_allclose(j.matmat(np.eye(12)), dense)
        np.testing.assert_allclose(j.rmatmat(np.eye(30)), dense.T)
        assert scipy.sparse.csr_array(np.asarray(j)).shape == (30, 12)

    def test_of_tensors_the_error_says_what_to_pass(self):
        j = cr.jacobian(np.tanh)(np.ones((2, 3)))
        with pytest.raises(ValueError, match="invalid shape"):
            aslinearoperator(j)
        assert j.to_linear_operator().shape == (6, 6)
