"""Emitted code of functions that no library has: what the module defines for itself, run."""

import numpy as np
import pytest
import scipy.linalg

import chainrule as cr
import chainrule.scipy.linalg

MASK = np.array([True, False, True, True])


def written_twice(x):
    y = x.copy()
    y[[0, 1, 1, -1]] = x[[1, 2, 3, 0]] ** 2
    return y


def written_rows(x, v):
    y = 2 * x
    y[np.array([0, 2, 2]), np.array([1, 0, 0])] = v
    return y


def squares(A):
    return cr.scipy.linalg.expm(A) @ A


PROGRAMS = {
    "running products": (lambda x: np.cumprod(x), {"x": (5,)}, "segment_products"),
    "running products of rows": (
        lambda x: np.cumprod(x, axis=1) ** 2,
        {"x": (2, 4)},
        "segment_products",
    ),
    "exponential": (lambda A: cr.scipy.linalg.expm(A), {"A": (3, 3)}, "expm_jacobian"),
    "exponential in a product": (squares, {"A": (3, 3)}, "expm_jacobian"),
    "selected": (lambda x: x[MASK] ** 2, {"x": (4,)}, "nonzero"),
    "written twice": (written_twice, {"x": (5,)}, "last_writer"),
    "written at pairs": (written_rows, {"x": (3, 2), "v": (3,)}, "last_writer"),
    "between ranks": (lambda x: np.quantile(x, 0.3), {"x": (7,)}, ""),
}


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
@pytest.mark.parametrize("case", PROGRAMS)
def test_functions_that_libraries_lack(case, backend):
    function, shapes, operation = PROGRAMS[case]
    library = pytest.importorskip(backend)
    derivation = cr.derive(function, **shapes)
    source = derivation.source(backend, parts=("forward", "backward", "jacobian"))
    assert operation in source
    rng = np.random.default_rng(1)
    values = [rng.normal(size=shape) for shape in shapes.values()]
    space: dict = {}
    exec(source, space)
    value, back = cr.vjp(function, *values)
    cotangent = rng.normal(size=np.shape(value))
    convert = library.asarray if backend == "numpy" else None
    if backend == "torch":
        convert = library.as_tensor
    context = library.enable_x64(True) if backend == "jax" else None
    if context is not None:
        context.__enter__()
        convert = library.numpy.asarray
    try:
        given = [convert(v) for v in values]
        arriving = [convert(cotangent)] if cotangent.shape else []
        found = [np.asarray(g) for g in space["backward"](*given, *arriving)]
        np.testing.assert_allclose(np.asarray(space["forward"](*given)), value, rtol=1e-12)
        jacobians = [np.asarray(j) for j in space["jacobian"](*given)]
    finally:
        if context is not None:
            context.__exit__(None, None, None)
    scale = cotangent if cotangent.shape else 1.0
    for got, wanted in zip(found, back(scale), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    wanted = cr.jacobian(function, argnums=tuple(range(len(values))))(*values)
    for got, dense in zip(jacobians, wanted, strict=True):
        np.testing.assert_allclose(got, dense.to_dense(), rtol=1e-9, atol=1e-12)


def test_products_with_zeros_need_no_division():
    space: dict = {}
    exec(cr.derive(lambda x: np.cumprod(x), x="N").source(parts=("backward", "jacobian")), space)
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        wanted = jax.jacobian(jax.numpy.cumprod)(x)
    np.testing.assert_allclose(space["jacobian"](x)[0], wanted)
    G = np.arange(1.0, 6.0)
    np.testing.assert_allclose(space["backward"](x, G)[0], G @ wanted)


def test_the_derivative_of_the_exponential_against_its_frechet_derivative():
    space: dict = {}
    exec(cr.derive(lambda A: cr.scipy.linalg.expm(A), A="n n").source(parts="jacobian"), space)
    rng = np.random.default_rng(0)
    A, E = rng.normal(size=(2, 4, 4))
    found = np.einsum("ijkl,kl->ij", space["jacobian"](A)[0], E)
    np.testing.assert_allclose(found, scipy.linalg.expm_frechet(A, E)[1], rtol=1e-10)


# -- small cases of look-ups -----------------------------------------------------------------------
def test_small_cases_of_embeddings_have_values_for_the_indices():
    derivation = cr.derive(lambda W, t: W[t], W="V D", t="int N")
    text = str(derivation.small_case(N=3))
    assert "t = ⎛ 1 ⎞" in text
    assert "t: indices, counted from 0" in text
    assert "y₁₁ = W₂₁" in text
    assert "∂L/∂W₂₁ = G₁₁ + G₃₁" in text  # rows 1 and 3 look up the same row of W
    assert text.endswith("the elements agree with those above symbolically")


def test_small_cases_show_captured_indices():
    table = np.array([1, 0, 1])
    text = str(cr.derive(lambda W: np.sum(W[table] ** 2), W="V D").small_case())
    assert "table = ⎛ 1 ⎞" in text
    assert "∂L/∂W₂₁ = 4 W₂₁" in text


def test_indices_that_depend_on_values_have_no_small_case():
    with pytest.raises(ValueError, match="depends on the values of x has no value on paper"):
        cr.derive(lambda x: np.sort(x), x="N").small_case()
