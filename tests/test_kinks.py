"""Where a derivative is a choice, or where the formula for it divides zero by zero.

Against a constant a tie gives 0; between traced operands it is shared equally; a branch that is
not taken adds nothing, whatever its derivative.
"""

import numpy as np
import pytest
import scipy.special

import chainrule as cr
import chainrule.scipy.special as csp
from forms import dense_jacobian, slopes

Z = np.array([-1.5, -0.0, 0.0, 2.0])


def expect(f, x, derivative):
    np.testing.assert_allclose(slopes(f, x), derivative, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (np.abs, [-1, 0, 0, 1]),
        (np.fabs, [-1, 0, 0, 1]),
        (abs, [-1, 0, 0, 1]),
        (np.sign, [0, 0, 0, 0]),
        (np.floor, [0, 0, 0, 0]),
        (np.ceil, [0, 0, 0, 0]),
        (np.rint, [0, 0, 0, 0]),
        (np.trunc, [0, 0, 0, 0]),
        (lambda z: np.heaviside(z, 0.5), [0, 0, 0, 0]),
        (lambda z: np.maximum(z, 0), [0, 0, 0, 1]),
        (lambda z: np.maximum(0.0, z), [0, 0, 0, 1]),
        (lambda z: np.maximum(z, np.zeros(4)), [0, 0, 0, 1]),
        (lambda z: np.fmax(z, 0), [0, 0, 0, 1]),
        (lambda z: np.minimum(z, 0), [1, 0, 0, 0]),
        (lambda z: np.fmin(0, z), [1, 0, 0, 0]),
        (lambda z: z * (z > 0), [0, 0, 0, 1]),
        (lambda z: np.where(z > 0, z, 0), [0, 0, 0, 1]),
        (lambda z: np.where(z >= 0, z, 0), [0, 1, 1, 1]),
        (lambda z: np.maximum(z, z), [1, 1, 1, 1]),
        (lambda z: np.maximum(z, -z), [-1, 0, 0, 1]),
        (lambda z: np.maximum(z, 0.1 * z), [0.1, 0.55, 0.55, 1]),
        (lambda z: np.clip(z, -1.5, 2.0), [0, 1, 1, 0]),
        (lambda z: np.clip(z, 0.0, None), [0, 0, 0, 1]),
        (lambda z: np.clip(z, None, 0.0), [1, 0, 0, 0]),
        (lambda z: z.clip(0.0, 2.0), [0, 0, 0, 0]),
    ],
)
def test_ties_and_corners(f, derivative):
    expect(f, Z, derivative)


def test_relu_has_no_curvature():
    hessian = cr.hessian(lambda z: np.sum(np.maximum(z, 0) ** 1))(Z)
    np.testing.assert_array_equal(np.asarray(hessian), np.zeros((4, 4)))


@pytest.mark.parametrize("f", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_a_tie_between_traced_operands_is_shared(f):
    x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 3.0])
    dx, dy = cr.vjp(f, x, y)[1](np.ones(3))
    first = float(f(2.0, 5.0) == 2.0)
    np.testing.assert_array_equal(dx, [0.5, first, 0.5])
    np.testing.assert_array_equal(dy, [0.5, 1 - first, 0.5])
    _, t = cr.jvp(f, (x, y), (np.full(3, 4.0), np.full(3, 8.0)))
    np.testing.assert_array_equal(t, [6.0, 4.0 if first else 8.0, 6.0])


def test_a_tie_with_a_constant_array_is_not_shared():
    x, c = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 5.0])
    expect(lambda x: np.maximum(x, c), x, [0, 1, 0])
    expect(lambda x: np.minimum(c, x), x, [0, 0, 1])


def test_a_tie_with_a_traced_bound_of_clip_is_shared():
    x, low = np.array([0.0, 0.5, -1.0]), np.array([0.0, 0.0, 0.0])
    dx, dlow = cr.vjp(lambda x, low: np.clip(x, low, 1.0), x, low)[1](np.ones(3))
    np.testing.assert_array_equal(dx, [0.5, 1.0, 0.0])
    np.testing.assert_array_equal(dlow, [0.5, 0.0, 1.0])


@pytest.mark.parametrize(
    ("f", "x", "gradient"),
    [
        (np.max, [1.0, 3.0, 3.0, 2.0], [0, 0.5, 0.5, 0]),
        (np.min, [1.0, 3.0, 1.0, 1.0], [1 / 3, 0, 1 / 3, 1 / 3]),
        (lambda x: x.max(), [[2.0, 2.0], [2.0, 2.0]], [[0.25, 0.25], [0.25, 0.25]]),
        (lambda x: np.max(x, axis=(0, 1)), [[2.0, 1.0], [0.0, 2.0]], [[0.5, 0], [0, 0.5]]),
        (lambda x: np.max(x, axis=1).sum(), [[2.0, 2.0], [0.0, 1.0]], [[0.5, 0.5], [0, 1]]),
        (lambda x: np.min(x, axis=0).sum(), [[2.0, 0.0], [2.0, 1.0]], [[0.5, 1], [0.5, 0]]),
        (lambda x: np.linalg.norm(x, np.inf), [2.0, -2.0, 1.0], [0.5, -0.5, 0]),
        (lambda x: np.linalg.norm(x, 1), [2.0, 0.0, -1.0], [1, 0, -1]),
    ],
)
def test_ties_of_a_reduction_are_shared(f, x, gradient):
    np.testing.assert_allclose(dense_jacobian(f, x), gradient, rtol=1e-15)


@pytest.mark.parametrize(
    "f",
    [
        np.linalg.norm,
        lambda x: np.linalg.norm(x) ** 2,
        lambda x: np.linalg.norm(x, 2),
        lambda x: np.linalg.norm(x, axis=0),
        lambda x: np.linalg.norm(x, axis=-1, keepdims=True)[0],
        lambda x: np.linalg.norm(x.reshape(1, 3)),
        lambda x: np.linalg.norm(x.reshape(1, 3), "fro"),
        lambda x: 3.0 * np.linalg.norm(np.stack([x, 2 * x])),
        lambda x: np.sum(x**2),
        lambda x: np.sum(np.abs(x) ** 2),
        lambda x: x @ x,
        lambda x: np.sum(x * np.abs(x)),
    ],
)
def test_norms_are_flat_at_zero(f):
    np.testing.assert_array_equal(dense_jacobian(f, np.zeros(3)), np.zeros(3))


def test_the_norm_of_one_zero_row_does_not_spoil_the_others():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    gradient = dense_jacobian(lambda x: np.linalg.norm(x, axis=1).sum(), x)
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-15)


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        # value, first, second, third derivative at zero
        (lambda x: x**0, (1, 0, 0, 0)),
        (lambda x: x**1, (0, 1, 0, 0)),
        (lambda x: x**2, (0, 0, 2, 0)),
        (lambda x: x**3, (0, 0, 0, 6)),
        (lambda x: x**4, (0, 0, 0, 0)),
        (lambda x: x**0.0, (1, 0, 0, 0)),
        (lambda x: x**1.0, (0, 1, 0, 0)),
        (lambda x: x**2.0, (0, 0, 2, 0)),
        (lambda x: x**3.0, (0, 0, 0, 6)),
        (lambda x: np.power(x, 2), (0, 0, 2, 0)),
        (lambda x: np.power(x, np.int64(3)), (0, 0, 0, 6)),
        (lambda x: np.square(x), (0, 0, 2, 0)),
        (lambda x: x * x, (0, 0, 2, 0)),
        (lambda x: np.sinc(x), (1, 0, -(np.pi**2) / 3, 0)),
        (lambda x: np.prod(np.stack([x, x, x])), (0, 0, 0, 6)),
    ],
)
def test_derivatives_at_zero(f, derivatives):
    found = []
    for _ in range(4):
        found.append(float(f(0.0)))
        f = cr.grad(f)
    np.testing.assert_allclose(found, derivatives, rtol=1e-9, atol=1e-12)


def test_powers_by_an_integer_array_at_zero():
    x, n = np.zeros(4), np.arange(4)
    expect(lambda x: x**n, x, [0, 1, 0, 0])
    second = np.asarray(cr.hessian(lambda x: np.sum(x**n))(x))
    np.testing.assert_array_equal(second, np.diag([0, 0, 2, 0]))


def test_a_power_with_traced_exponent_at_base_zero():
    dx, dy = cr.grad(lambda x, y: x**y, argnums=(0, 1))(0.0, 2.0)
    assert (dx, dy) == (0.0, 0.0)
    dx, dy = cr.grad(lambda x, y: np.power(x, y), argnums=(0, 1))(0.0, 1.0)
    assert (dx, dy) == (1.0, 0.0)


def test_a_power_of_a_negative_base_by_a_float_that_is_whole():
    assert cr.grad(lambda x: x**2.0)(-3.0) == pytest.approx(-6.0, rel=1e-15)
    assert cr.grad(lambda x: x**-1.0)(-2.0) == pytest.approx(-0.25, rel=1e-15)


@pytest.mark.parametrize(
    "softplus",
    [
        lambda z: np.log(1 + np.exp(z)),
        lambda z: np.log1p(np.exp(z)),
        lambda z: np.logaddexp(0.0, z),
        lambda z: np.logaddexp(z, 0),
        lambda z: np.logaddexp2(z, 0.0),
    ],
)
def test_softplus_saturates(softplus):
    with np.errstate(over="ignore"):
        slope = slopes(softplus, np.array([-1000.0, 1000.0]))
    np.testing.assert_allclose(slope, [0, 1], rtol=1e-12, atol=1e-250)


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (np.tanh, [0, 0]),
        (scipy.special.expit, [0, 0]),
        (lambda z: scipy.special.expit(z) * z, [0, 1]),
        (lambda z: np.arctan(z**3), [0, 0]),
        (scipy.special.erf, [0, 0]),
        (lambda z: np.exp(-(z**2)), [0, 0]),
    ],
)
def test_saturated_functions_are_flat(f, derivative):
    slope = slopes(f, np.array([-1000.0, 1000.0]))
    np.testing.assert_allclose(slope, derivative, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("f", "x", "derivative"),
    [
        (lambda x: np.where(x > 0, np.log(x), 0.0), [-1.0, 0.0, 2.0], [0, 0, 0.5]),
        (lambda x: np.where(x > 0, np.log(x), x), [-1.0, 0.0, 2.0], [1, 1, 0.5]),
        (lambda x: np.where(x > 0, np.sqrt(x), 0.0), [-1.0, 0.0, 4.0], [0, 0, 0.25]),
        (lambda x: np.where(x != 0, 1 / x, 0.0), [0.0, 0.0, 2.0], [0, 0, -0.25]),
        (lambda x: np.where(x == 0, 1.0, np.sin(x) / x), [0.0, 0.0, np.pi], [0, 0, -1 / np.pi]),
        (lambda x: np.where(x > 0, x**0.5, x), [0.0, -4.0, 4.0], [1, 1, 0.25]),
        (lambda x: np.where(np.abs(x) < 1, np.arcsin(x), 0), [1.0, -2.0, 0.0], [0, 0, 1]),
        (lambda x: np.where(x < 700, np.exp(x), 0.0), [1e4, 800.0, 0.0], [0, 0, 1]),
        (
            lambda x: np.where(x > 0, 2 * np.log(3 * np.sqrt(x)), 5 * x),
            [-1.0, 0.0, 2.0],
            [5, 5, 0.5],
        ),
    ],
)
def test_the_branch_not_taken_adds_nothing(f, x, derivative):
    with np.errstate(all="ignore"):
        expect(f, np.array(x), derivative)


def test_the_branch_not_taken_adds_nothing_to_a_gradient_of_a_sum():
    def f(x, w):
        return np.sum(np.where(x > 0, np.sqrt(x) * w, 0.0))

    with np.errstate(all="ignore"):
        dx, dw = cr.grad(f, argnums=(0, 1))(np.array([0.0, -1.0, 4.0]), np.array([3.0, 3.0, 3.0]))
    np.testing.assert_allclose(dx, [0, 0, 0.75], rtol=1e-15)
    np.testing.assert_allclose(dw, [0, 0, 2], rtol=1e-15)


def test_softmax_of_huge_logits():
    x = np.array([1000.0, 0.0, -1000.0, 1000.0])
    y = np.array([0.5, 0, 0, 0.5])
    expected = np.diag(y) - np.outer(y, y)
    np.testing.assert_allclose(dense_jacobian(csp.softmax, x), expected, atol=1e-15)

    def by_hand(x):
        e = np.exp(x - np.max(x))
        return e / np.sum(e)

    np.testing.assert_allclose(dense_jacobian(by_hand, x), expected, atol=1e-15)
    np.testing.assert_allclose(dense_jacobian(csp.logsumexp, x), y, atol=1e-15)
    np.testing.assert_allclose(
        dense_jacobian(csp.log_softmax, x), np.eye(4) - np.outer(np.ones(4), y), atol=1e-15
    )


def test_logsumexp_of_minus_infinity():
    x = np.array([-np.inf, 0.0, 0.0])
    np.testing.assert_allclose(cr.grad(csp.logsumexp)(x), [0, 0.5, 0.5], rtol=1e-15)


def test_entropy_at_the_edge():
    """x log x through xlogy: its value at 0 is 0, and the other elements stay finite."""
    p = np.array([0.0, 0.25, 0.75])
    xlogy = scipy.special.xlogy
    with np.errstate(divide="ignore"):
        value, gradient = cr.value_and_grad(lambda p: np.sum(xlogy(p, p)))(p)
        assert value == pytest.approx(0.25 * np.log(0.25) + 0.75 * np.log(0.75), rel=1e-15)
        np.testing.assert_allclose(gradient[1:], np.log(p[1:]) + 1, rtol=1e-14)
        assert not np.isnan(gradient[0])
    by_x, by_y = cr.vjp(xlogy, np.zeros(2), np.array([2.0, 3.0]))[1](np.ones(2))
    np.testing.assert_allclose(by_x, np.log([2.0, 3.0]), rtol=1e-15)
    np.testing.assert_array_equal(by_y, [0.0, 0.0])
    by_y = cr.grad(lambda y: xlogy(0.0, y))(0.0)
    assert by_y == 0.0


def test_eigenvalues_that_repeat():
    gradient = cr.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(np.eye(3))
    np.testing.assert_allclose(gradient, 2 * np.eye(3), atol=1e-14)


def test_a_complex_modulus_at_zero():
    assert cr.grad(lambda z: np.abs(z))(0.0 + 0.0j) == 0.0
    gradient = cr.grad(lambda z: np.linalg.norm(z))(np.zeros(2, complex))
    np.testing.assert_array_equal(gradient, np.zeros(2))


def test_kinks_in_float32():
    x = np.array([0.0, -2.0, 3.0], np.float32)
    for f, expected in [
        (lambda x: np.sum(np.maximum(x, 0)), [0, 0, 1]),
        (lambda x: np.sum(x**2), [0, -4, 6]),
        (lambda x: np.sum(np.abs(x)), [0, -1, 1]),
        (lambda x: np.linalg.norm(x * 0), [0, 0, 0]),
    ]:
        gradient = cr.grad(f)(x)
        assert gradient.dtype == np.float32
        np.testing.assert_array_equal(gradient, np.array(expected, np.float32))


@pytest.mark.parametrize(("f", "scale"), [(np.logaddexp, 1.0), (np.logaddexp2, np.log(2))])
def test_logaddexp_is_smooth_where_its_arguments_meet(f, scale):
    """The guard against ∞ − ∞ must not cut the second derivative off at ties: it is 1/4 there."""
    z = np.array([0.0, 1.0])
    h = cr.hessian(lambda z: np.sum(f(0.0, z)))(z)
    p = 1 / (1 + np.exp(-scale * z))
    np.testing.assert_allclose(h.diagonal(), scale * p * (1 - p), rtol=1e-13)
    h = cr.hessian(lambda z: f(z[0], z[1]))(np.array([2.0, 2.0]))
    np.testing.assert_allclose(h.to_dense(), scale / 4 * np.array([[1, -1], [-1, 1]]), rtol=1e-13)
    for infinite in (np.inf, -np.inf):
        with np.errstate(invalid="ignore"):
            slope = cr.grad(lambda z: f(z[0], z[1]))(np.array([infinite, infinite]))
        np.testing.assert_array_equal(slope, [0.5, 0.5])
