"""Derivatives stated by the user, and the checker that finds the wrong ones."""

import re

import numpy as np
import pytest

import chainrule as cr
from forms import dense_jacobian

X = np.array([0.5, -1.0, 2.0])
W = np.array([[1.0, 2.0, 5.0], [4.0, 7.0, 3.0]])


def by_jvp():
    @cr.custom
    def f(x):
        return np.sin(x)

    @f.jvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        return np.sin(x), 10 * np.cos(x) * t  # ten times the truth, so that one sees whose it is

    return f


def by_vjp():
    @cr.custom
    def f(x):
        return np.sin(x)

    f.vjp(lambda x: (np.sin(x), x), lambda x, g: (10 * np.cos(x) * g,))
    return f


class TestCustom:
    @pytest.mark.parametrize("make", [by_jvp, by_vjp])
    def test_the_rule_is_used(self, make):
        f = make()
        np.testing.assert_array_equal(f(X), np.sin(X))
        gradient = cr.grad(lambda x: np.sum(f(x)))(X)
        np.testing.assert_allclose(gradient, 10 * np.cos(X), rtol=1e-15)
        gradient = cr.grad(lambda x: np.sum(f(x**2) * x))(X)
        expected = 10 * np.cos(X**2) * 2 * X * X + np.sin(X**2)
        np.testing.assert_allclose(gradient, expected, rtol=1e-14)

    def test_a_jvp_rule_serves_every_form(self):
        f = by_jvp()
        np.testing.assert_allclose(dense_jacobian(f, X), np.diag(10 * np.cos(X)), rtol=1e-15)

    @pytest.mark.parametrize("make", [by_jvp, by_vjp])
    def test_the_rule_is_differentiated_in_turn(self, make):
        f = make()
        second = cr.grad(cr.grad(f))(0.3)
        assert second == pytest.approx(-10 * np.sin(0.3), rel=1e-14)

    @pytest.mark.parametrize("make", [by_jvp, by_vjp])
    def test_under_vmap_and_compile(self, make):
        f = make()
        found = cr.vmap(cr.grad(lambda x: np.sum(f(x))))(np.stack([X, 2 * X]))
        np.testing.assert_allclose(found, 10 * np.cos(np.stack([X, 2 * X])), rtol=1e-15)
        g = cr.compile(cr.grad(lambda x: np.sum(f(x))))
        for x in (X, 3 * X):
            np.testing.assert_allclose(g(x), 10 * np.cos(x), rtol=1e-15)

    def test_several_arguments_and_trees(self):
        @cr.custom
        def f(p, x):
            return p["w"] @ x

        @f.jvp
        def _(primals, tangents):
            (p, x), (dp, dx) = primals, tangents
            return p["w"] @ x, dp["w"] @ x + 2 * (p["w"] @ dx)

        dp, dx = cr.grad(lambda p, x: np.sum(f(p, x)), argnums=(0, 1))({"w": W}, X)
        np.testing.assert_allclose(dp["w"], np.outer(np.ones(2), X), rtol=1e-15)
        np.testing.assert_allclose(dx, 2 * W.sum(0), rtol=1e-15)

    def test_a_vjp_rule_of_several_arguments(self):
        @cr.custom
        def f(w, x):
            return w @ x

        f.vjp(lambda w, x: (w @ x, (w, x)), lambda r, g: (np.outer(g, r[1]), 3 * (r[0].T @ g)))
        dw, dx = cr.grad(lambda w, x: np.sum(f(w, x)), argnums=(0, 1))(W, X)
        np.testing.assert_allclose(dw, np.outer(np.ones(2), X), rtol=1e-15)
        np.testing.assert_allclose(dx, 3 * W.sum(0), rtol=1e-15)

    def test_a_stable_softplus(self):
        @cr.custom
        def softplus(z):
            return np.logaddexp(z, 0.0)

        @softplus.jvp
        def _(primals, tangents):
            (z,), (t,) = primals, tangents
            return softplus(z), t / (1 + np.exp(-z))

        with np.errstate(over="ignore"):
            found = cr.vmap(cr.grad(softplus))(np.array([-1000.0, 0.0, 1000.0]))
        np.testing.assert_allclose(found, [0, 0.5, 1], rtol=1e-15)

    def test_without_a_rule_it_is_the_function(self):
        f = cr.custom(lambda x: np.sum(x**2))
        assert f(X) == np.sum(X**2)
        np.testing.assert_array_equal(cr.grad(f)(X), 2 * X)

    def test_a_function_that_cannot_be_traced(self):
        """What runs outside of NumPy's protocols is possible with a rule of its own."""

        @cr.custom
        def f(x):
            return np.sum(x**2)

        @f.jvp
        def _(primals, tangents):
            (x,), (t,) = primals, tangents
            return np.sum(x**2), 2 * (x @ t)

        np.testing.assert_allclose(np.asarray(cr.hessian(f)(X)), 2 * np.eye(3), rtol=1e-15)


class TestStopGradient:
    def test_it_is_a_constant(self):
        g = cr.grad(lambda x: np.sum(x * cr.stop_gradient(x)))(X)
        np.testing.assert_array_equal(g, X)
        np.testing.assert_array_equal(
            dense_jacobian(lambda x: cr.stop_gradient(x) * 2, X), 0 * np.eye(3)
        )

    def test_on_trees_and_concrete_values(self):
        assert cr.stop_gradient(3.0) == 3.0
        np.testing.assert_array_equal(cr.stop_gradient({"a": X})["a"], X)
        g = cr.grad(lambda p: np.sum(cr.stop_gradient(p)["a"] * p["a"]))({"a": X})
        np.testing.assert_array_equal(g["a"], X)

    def test_at_every_order(self):
        f = cr.grad(lambda x: cr.stop_gradient(x) ** 2 * x)
        assert f(3.0) == 9.0
        assert cr.grad(f)(3.0) == 0.0

    def test_a_maximum_behind_it_costs_nothing(self):
        def softmax(x):
            e = np.exp(x - cr.stop_gradient(np.max(x)))
            return e / np.sum(e)

        y = np.exp(X - 2) / np.exp(X - 2).sum()
        np.testing.assert_allclose(
            dense_jacobian(softmax, X), np.diag(y) - np.outer(y, y), rtol=1e-13, atol=1e-16
        )


def linear(wrong_by=0.0, where=(1, 2)):
    """Σ x·w with one element of the rule for w off by a given amount."""

    @cr.custom
    def f(x, w):
        return np.sum(x * w)

    planted = np.zeros_like(W)
    planted[where] = wrong_by

    @f.jvp
    def _(primals, tangents):
        (x, w), (dx, dw) = primals, tangents
        return np.sum(x * w), np.sum(dx * w) + np.sum((x + planted) * dw)

    return lambda x, w: f(x, w)


def expected_and_found(message):
    """Both values that the message states."""
    number = r"[^-+\d]*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"
    match = re.search(rf"expected{number}.*found{number}", message, re.DOTALL)
    assert match, message
    return float(match[1]), float(match[2])


class TestCheck:
    @pytest.mark.parametrize(
        ("f", "args"),
        [
            (lambda x: np.sum(np.sin(x) * x), (X,)),
            (lambda x, w: np.tanh(w @ x), (X, W)),
            (lambda w: w / np.sum(np.exp(w)), (W,)),
            (lambda x: x**3, (2.0,)),
            (lambda p: p["a"] * p["b"], ({"a": X, "b": 2.0},)),
            (lambda x: np.linalg.inv(np.outer(x, x) + 3 * np.eye(3)), (X,)),
            (lambda x: np.sum(x), (np.zeros(0),)),
            (lambda x: np.float32(2) * x**2, (X.astype(np.float32),)),
        ],
    )
    @pytest.mark.parametrize("order", [1, 2])
    def test_right_derivatives_pass(self, f, args, order):
        cr.check(f, *args, order=order)
        cr.check(f, *args, order=order, modes=("jvp",))
        cr.check(f, *args, order=order, modes=("vjp",))

    @pytest.mark.parametrize("modes", [("jvp",), ("vjp",), ("jvp", "vjp")])
    def test_a_wrong_rule_is_found_and_located(self, modes):
        x = W.copy()  # the derivative by w is x, so 3 is expected at (1, 2), and 4 is found
        with pytest.raises(cr.DerivativeError) as caught:
            cr.check(linear(wrong_by=1.0), x, np.ones((2, 3)), order=1, modes=modes)
        message = str(caught.value)
        assert re.search(r"\bw\b", message), message
        assert re.search(r"1,\s*2", message), message
        # Both may be scaled by the cotangent that was tried.
        expected, found = expected_and_found(message)
        assert found / expected == pytest.approx(4 / 3, rel=1e-4)

    def test_small_errors_are_found(self):
        with pytest.raises(cr.DerivativeError):
            cr.check(linear(wrong_by=1e-3), W, np.ones((2, 3)), order=1)

    def test_the_same_rule_without_the_plant_passes(self):
        cr.check(linear(wrong_by=0.0), W, np.ones((2, 3)))

    def test_a_missing_cross_term_is_found(self):
        @cr.custom
        def f(x, y):
            return x * y

        f.vjp(lambda x, y: (x * y, y), lambda y, g: (y * g, 0 * g))
        with pytest.raises(cr.DerivativeError, match=r"\by\b"):
            cr.check(lambda x, y: f(x, y), 2.0, 3.0, order=1, modes=("vjp",))

    def test_a_wrong_second_derivative_needs_the_second_order(self):
        @cr.custom
        def f(x):
            return x**3

        @f.jvp
        def _(primals, tangents):
            (x,), (t,) = primals, tangents
            return x**3, 3 * cr.stop_gradient(x) ** 2 * t

        cr.check(f, 2.0, order=1)
        with pytest.raises(cr.DerivativeError):
            cr.check(f, 2.0, order=2)

    def test_arguments_in_trees_are_named(self):
        f = linear(wrong_by=1.0)
        with pytest.raises(cr.DerivativeError, match="weights"):
            cr.check(
                lambda p: f(p["inputs"], p["weights"]), {"inputs": W, "weights": np.ones((2, 3))}
            )

    def test_a_derivative_error_is_an_assertion(self):
        """So that a test runner shows it as a failure, not as an error."""
        assert issubclass(cr.DerivativeError, Exception)
        with pytest.raises(cr.DerivativeError):
            cr.check(by_jvp(), X, order=1)

    def test_nan_is_not_equal_to_anything(self):
        @cr.custom
        def f(x):
            return x * 2.0

        @f.jvp
        def _(primals, tangents):
            return primals[0] * 2.0, tangents[0] * np.nan

        with pytest.raises(cr.DerivativeError):
            cr.check(f, 1.5, order=1)
