"""Complex numbers, in JAX's conventions: dy = A t + B conj(t), vjp = Aᵀ g + conj(Bᵀ g)."""

import numpy as np
import pytest

import chainrule as cr
from oracle import close

Z = np.array([0.3 + 0.8j, -1.1 + 0.2j, 0.7 - 0.6j])
M = np.array([[1.0 + 0.5j, 0.2 - 1.0j, 0.3], [0.4j, -1.0, 2.0 + 1.0j]])
R = np.array([0.5, -1.0, 2.0])

HOLOMORPHIC = {
    "power": lambda np, z: np.sum(z**3),
    "exp": lambda np, z: np.sum(np.exp(z) * z),
    "quotient": lambda np, z: np.sum(np.sin(z) / z),
    "log": lambda np, z: np.sum(np.log(z) * np.sqrt(z)),
    "tanh": lambda np, z: np.sum(np.tanh(M @ z)),
    "matmul": lambda np, z: z @ M.T @ M @ z,
    "einsum": lambda np, z: np.einsum("i,ji,i->", z, M, z),
    "solve": lambda np, z: np.sum(np.linalg.solve(np.outer(z, z) + 3 * np.eye(3), z)),
    "prod": lambda np, z: np.prod(z) + np.cumsum(z)[1],
    "index": lambda np, z: z[0] * z[::-1][0] + (z[1:] ** 2)[0],
}
REAL_VALUED = {
    "modulus": lambda np, z: np.sum(np.abs(z)),
    "modulus-squared": lambda np, z: np.sum(np.abs(z) ** 2),
    "conjugate": lambda np, z: np.real(np.sum(z * np.conj(z))),
    "real": lambda np, z: np.sum(np.real(z**2)),
    "imag": lambda np, z: np.sum(np.imag(np.exp(z))),
    "vdot": lambda np, z: np.real(np.vdot(z, M.T @ M @ z)),
    "norm": lambda np, z: np.linalg.norm(z),
    "angle": lambda np, z: np.sum(np.angle(z)),
    "attributes": lambda np, z: np.sum(z.real**2 * z.imag),
    "variance": lambda np, z: np.var(z),
}
FUNCTIONS = {**HOLOMORPHIC, **REAL_VALUED, "mixed": lambda np, z: np.sum(z**2 * np.conj(z))}


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic_gradients_against_jax(name):
    jax = pytest.importorskip("jax")
    f = HOLOMORPHIC[name]
    expected = jax.grad(lambda z: f(jax.numpy, z), holomorphic=True)(Z)
    found = cr.grad(lambda z: f(np, z), holomorphic=True)(Z)
    assert found.dtype == np.complex128
    close(found, expected, 1e-10)


@pytest.mark.parametrize("name", REAL_VALUED)
def test_gradients_of_real_functions_against_jax(name):
    jax = pytest.importorskip("jax")
    f = REAL_VALUED[name]
    expected = jax.grad(lambda z: f(jax.numpy, z))(Z)
    found = cr.grad(lambda z: f(np, z))(Z)
    assert found.dtype == np.complex128
    close(found, expected, 1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products_against_jax(name):
    jax = pytest.importorskip("jax")
    f = FUNCTIONS[name]
    t = np.array([1.0 - 0.5j, 0.3 + 0.2j, -0.7j])
    y, dy = cr.jvp(lambda z: f(np, z), (Z,), (t,))
    jax_y, jax_dy = jax.jvp(lambda z: f(jax.numpy, z), (Z,), (t,))
    close(y, jax_y, 1e-12)
    close(dy, jax_dy, 1e-10)
    g = np.asarray(0.4 - 1.3j if np.iscomplexobj(y) else 0.4)
    close(
        cr.vjp(lambda z: f(np, z), Z)[1](g)[0],
        jax.vjp(lambda z: f(jax.numpy, z), Z)[1](jax.numpy.asarray(g))[0],
        1e-10,
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jvp_against_differences(name):
    f = FUNCTIONS[name]
    t = np.array([1.0 - 0.5j, 0.3 + 0.2j, -0.7j])
    _, dy = cr.jvp(lambda z: f(np, z), (Z,), (t,))
    h = 1e-3
    weights = {1: 45.0, 2: -9.0, 3: 1.0}
    slope = sum(w * (f(np, Z + k * h * t) - f(np, Z - k * h * t)) for k, w in weights.items()) / (
        60 * h
    )
    close(dy, slope, 1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_real_adjoint_identity(name):
    """Re(g · dy) = Re(vjp(g) · t) is what the convention amounts to."""
    f = FUNCTIONS[name]
    t = np.array([1.0 - 0.5j, 0.3 + 0.2j, -0.7j])
    y, dy = cr.jvp(lambda z: f(np, z), (Z,), (t,))
    g = 0.4 - 1.3j if np.iscomplexobj(y) else 0.4
    (back,) = cr.vjp(lambda z: f(np, z), Z)[1](np.asarray(g))
    assert np.real(g * dy) == pytest.approx(np.real(np.sum(back * t)), rel=1e-11, abs=1e-12)


def test_closed_forms():
    close(cr.grad(lambda z: z**2, holomorphic=True)(2.0 + 1.0j), 4.0 + 2.0j, 1e-15)
    # JAX's convention: the gradient of |z|² is 2 conj(z)
    close(cr.grad(lambda z: np.abs(z) ** 2)(2.0 + 1.0j), 4.0 - 2.0j, 1e-15)
    close(cr.grad(lambda z: np.real(z))(2.0 + 1.0j), 1.0 + 0.0j, 1e-15)
    close(cr.grad(lambda z: np.imag(z))(2.0 + 1.0j), -1.0j, 1e-15)


def test_real_arguments_through_complex_intermediates():
    """The gradient by a real argument is real."""
    gradient = cr.grad(lambda x: np.real(np.sum(np.exp(1j * x) * (1 + 2j))))(R)
    assert gradient.dtype == np.float64
    close(gradient, -np.sin(R) - 2 * np.cos(R), 1e-14)
    gradient = cr.grad(lambda x: np.sum(np.abs(M @ x) ** 2))(R)
    assert gradient.dtype == np.float64
    close(gradient, 2 * np.real(M.conj().T @ (M @ R)), 1e-14)


def test_complex_step_agrees():
    """A third road: the imaginary part of f(x + ih) over h, for a function without conjugates."""

    def f(x):
        return np.sum(np.exp(x) * np.sin(x) / (1 + x**2))

    h = 1e-200
    steps = np.array([np.imag(f(R + 1j * h * e)) / h for e in np.eye(3)])
    close(cr.grad(f)(R), steps, 1e-14)


def test_second_derivatives():
    second = cr.grad(cr.grad(lambda z: z**4, holomorphic=True), holomorphic=True)(1.0 + 2.0j)
    close(second, 12 * (1.0 + 2.0j) ** 2, 1e-14)
    h = np.asarray(cr.hessian(lambda x: np.sum(np.abs(M @ x) ** 2))(R))
    close(h, 2 * np.real(M.conj().T @ M), 1e-14)


def test_jacobian_of_a_holomorphic_function():
    j = cr.jacobian(lambda z: np.tanh(M @ z))(Z)
    close(np.asarray(j), (1 - np.tanh(M @ Z) ** 2)[:, None] * M, 1e-13)
    assert np.asarray(j).dtype == np.complex128


@pytest.mark.parametrize("f", [np.conj, np.abs, lambda z: z * np.conj(z), lambda z: np.real(z)])
def test_jacobian_of_another_function_is_refused(f):
    with pytest.raises((TypeError, ValueError), match="holomorphic"):
        cr.jacobian(f)(Z).to_dense()


def test_complex64_stays():
    z = Z.astype(np.complex64)
    gradient = cr.grad(lambda z: np.sum(np.abs(z) ** 2))(z)
    assert gradient.dtype == np.complex64
    close(gradient, 2 * Z.conj(), 1e-6)


def test_a_complex_result_needs_the_word_holomorphic():
    with pytest.raises(TypeError, match="holomorphic"):
        cr.grad(lambda z: np.sum(z**2))(Z)


def test_holomorphic_needs_a_complex_argument():
    with pytest.raises(TypeError, match=r"(?i)complex"):
        cr.grad(lambda x: np.sum(x**2), holomorphic=True)(R)
