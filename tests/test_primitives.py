"""Every primitive, on every kind of argument, in every form of derivative: one table, one test.

The table is `cases`. JAX in float64 is the oracle (relative 1e-8); without JAX the same table is
held against central differences and against itself (the adjoint identity).
"""

import importlib.util

import numpy as np
import pytest

import chainrule as cr
from cases import CASES
from oracle import (
    arguments,
    close,
    complex_products,
    directional,
    hessians,
    jacobians,
    reference,
    under,
    weights,
)

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is the oracle")

# Each name of the interface that the table has to contain, at the start of a case's name.
REQUIRED = """
    add subtract multiply divide power negative positive exp exp2 expm1 log log1p log2 log10 sqrt
    cbrt square reciprocal abs absolute fabs sign sin cos tan arcsin arccos arctan sinh cosh tanh
    arcsinh arccosh arctanh arctan2 hypot maximum minimum fmax fmin logaddexp logaddexp2 clip where
    heaviside floor ceil rint trunc mod remainder fmod deg2rad rad2deg sinc op-add op-sub op-mul
    op-div op-pow op-matmul op-radd op-rpow op-lt op-le op-gt op-ge op-eq op-ne
    matmul dot vdot inner outer tensordot einsum kron trace diagonal diag
    sum mean var std prod max min cumsum cumprod
    reshape ravel transpose swapaxes moveaxis expand_dims squeeze broadcast_to repeat tile flip roll
    concatenate stack hstack vstack column_stack dstack split array_split pad tril triu
    index-slice index-mask index-arrays index-newaxis index-ellipsis index-tril_indices
    index-triu_indices index-diag_indices write-set-slice write-set-int write-set-mask
    write-set-arrays write-add-slice write-add-mask write-add-arrays write-through-view
    solve inv det slogdet cholesky norm eigh eigvalsh
    expit logit erf erfc xlogy xlog1py gammaln digamma logsumexp softmax log_softmax multigammaln
    expm solve_triangular cho_solve method-T method-reshape method-astype method-copy
"""


def tangents_of(case, args, dtype=None):
    rng = case.rng("tangents")
    return tuple(
        rng.normal() if isinstance(a, float) else np.asarray(rng.normal(size=a.shape), dtype)
        for a in args
    )


def cotangent_of(case, y, dtype=None):
    return np.asarray(case.rng("cotangent").normal(size=np.shape(y)), dtype)


def contract(jacobian, tangent):
    return np.tensordot(jacobian, tangent, axes=np.ndim(tangent))


def pull(cotangent, jacobian):
    return np.tensordot(cotangent, jacobian, axes=np.ndim(cotangent))


def same_bits(args, copies):
    """The arguments have not been written into."""
    for a, b in zip(args, copies, strict=True):
        np.testing.assert_array_equal(a, b)


def every(case):
    return tuple(range(len(case.makers)))


def value(case):
    """The primal is NumPy's, in value, shape and dtype, and the arguments are untouched."""
    args = arguments(case)
    expected = reference(case, args)
    y, dy = cr.jvp(under(case, 1), args, tangents_of(case, args))
    again, _ = cr.vjp(under(case, 1), *args)
    for result in (y, again):
        close(result, expected, 1e-13, "value")
        assert np.asarray(result).dtype == np.asarray(expected).dtype
    assert np.shape(dy) == np.shape(expected)
    assert np.asarray(dy).dtype == np.asarray(expected).dtype
    same_bits(args, arguments(case))


def differences(case):
    """The jvp against central differences of the NumPy function."""
    args = arguments(case)
    tangents = tangents_of(case, args)
    _, dy = cr.jvp(under(case, 1), args, tangents)
    close(dy, directional(case, args, tangents), 1e-6, "jvp")


def adjoint(case):
    """The vjp is the adjoint of the jvp."""
    args = arguments(case)
    tangents = tangents_of(case, args)
    y, dy = cr.jvp(under(case, 1), args, tangents)
    _, pullback = cr.vjp(under(case, 1), *args)
    cotangent = cotangent_of(case, y)
    gradients = pullback(cotangent)
    assert isinstance(gradients, tuple)
    assert len(gradients) == len(args)
    terms = [np.sum(g * t) for g, t in zip(gradients, tangents, strict=True)]
    scale = np.sum(np.abs(cotangent * dy)) + sum(
        np.sum(np.abs(g * t)) for g, t in zip(gradients, tangents, strict=True)
    )
    assert abs(np.sum(cotangent * dy) - sum(terms)) <= 1e-10 * max(scale, 1.0)


def jvp(case):
    args = arguments(case)
    tangents = tangents_of(case, args)
    _, dy = cr.jvp(under(case, 1), args, tangents)
    products = [contract(j, t) for j, t in zip(jacobians(case), tangents, strict=True)]
    close(dy, sum(products), case.rtol, "jvp")


def vjp(case):
    args = arguments(case)
    y, pullback = cr.vjp(under(case, 1), *args)
    cotangent = cotangent_of(case, y)
    gradients = pullback(cotangent)
    for k, (gradient, j) in enumerate(zip(gradients, jacobians(case), strict=True)):
        close(gradient, pull(cotangent, j), case.rtol, f"vjp by argument {k}")
        assert np.asarray(gradient).dtype == np.float64


def jacobian(case):
    args = arguments(case)
    out = np.shape(reference(case, args))
    results = cr.jacobian(under(case, 1), argnums=every(case))(*args)
    for k, (result, j) in enumerate(zip(results, jacobians(case), strict=True)):
        assert result.shape == out + np.shape(args[k])
        assert (result.out_shape, result.in_shape) == (out, np.shape(args[k]))
        dense = result.to_dense()
        close(dense, j, case.rtol, f"Jacobian by argument {k}")
        assert dense.dtype == np.float64


def hessian(case):
    args = arguments(case)
    f = under(case, 1)
    weight = weights(case)
    found = cr.hessian(lambda *xs: np.sum(weight * f(*xs)), argnums=every(case))(*args)
    for i, row in enumerate(hessians(case)):
        for j, block in enumerate(row):
            close(np.asarray(found[i][j]), block, 10 * case.rtol, f"Hessian block {i}, {j}")


def float32(case):
    """float32 stays float32 (as far as NumPy keeps it), and is right to its own precision."""
    args = arguments(case, single=True)
    expected = np.asarray(reference(case, args))
    tangents = tangents_of(case, args, np.float32)
    y, dy = cr.jvp(under(case, 1), args, tangents)
    close(y, expected, 2e-6, "value")
    assert np.asarray(y).dtype == expected.dtype
    assert np.asarray(dy).dtype == expected.dtype
    cotangent = cotangent_of(case, y, expected.dtype)
    gradients = cr.vjp(under(case, 1), *args)[1](cotangent)
    js = jacobians(case, single=True)
    close(dy, sum(contract(j, t) for j, t in zip(js, tangents, strict=True)), case.f32, "jvp")
    for k, (gradient, j) in enumerate(zip(gradients, js, strict=True)):
        assert np.asarray(gradient).dtype == np.float32, f"gradient by argument {k}"
        close(gradient, pull(cotangent, j), case.f32, f"vjp by argument {k}")


def complex128(case):
    """Complex arguments, in JAX's conventions, for holomorphic functions and others."""
    rng = case.rng("imaginary")

    def turn(a):
        return np.asarray(a + 0.3j * rng.normal(size=np.shape(a)))

    args = tuple(turn(a) for a in arguments(case))
    tangents = tuple(turn(t) for t in tangents_of(case, args))
    y, dy = cr.jvp(under(case, 1), args, tangents)
    expected = reference(case, args)
    close(y, expected, 1e-13, "value")
    assert np.asarray(y).dtype == np.asarray(expected).dtype
    cotangent = cotangent_of(case, y)
    if np.iscomplexobj(y):
        cotangent = turn(cotangent)
    gradients = cr.vjp(under(case, 1), *args)[1](cotangent)
    jax_dy, jax_gradients = complex_products(case, args, tangents, cotangent)
    close(dy, jax_dy, case.rtol, "jvp")
    for k, (gradient, expected_gradient) in enumerate(zip(gradients, jax_gradients, strict=True)):
        assert np.asarray(gradient).dtype == np.complex128
        close(gradient, expected_gradient, case.rtol, f"vjp by argument {k}")


FORMS = [
    # (form, does it need JAX, the cases it is for)
    (value, False, lambda case: True),
    (differences, False, lambda case: True),
    (adjoint, False, lambda case: True),
    (jvp, True, lambda case: True),
    (vjp, True, lambda case: True),
    (jacobian, True, lambda case: True),
    (hessian, True, lambda case: case.hess),
    (float32, True, lambda case: case.f32 is not None),
    (complex128, True, lambda case: case.complex),
]
TESTS = [
    pytest.param(form, case, id=f"{form.__name__}:{case.name}", marks=[needs_jax] if needs else [])
    for case in CASES
    for form, needs, applies in FORMS
    if applies(case)
]


@pytest.mark.parametrize(("form", "case"), TESTS)
def test_primitive(form, case):
    form(case)


def test_the_table_is_complete():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    for required in REQUIRED.split():
        ends = (required + "-", required + "[")
        assert any(n == required or n.startswith(ends) for n in names), required
    assert len(TESTS) > 7 * len(CASES)
