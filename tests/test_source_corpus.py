"""The corpus as emitted code: every entry, run in all three backends, against numbers."""

import functools

import numpy as np
import pytest

import chainrule as cr
from corpus import CORPUS, NAMED

BACKENDS = ["numpy", "jax", "torch"]


@functools.cache
def derived(name):
    """An entry's derivation, its arguments, value, cotangent and gradients in float64."""
    entry = NAMED[name]
    values = entry.arguments()
    rest = {n: v for n, v in values.items() if n not in entry.wanted}

    def f(*args):
        return entry.function(**dict(zip(entry.wanted, args, strict=True)), **rest)

    y, back = cr.vjp(f, *(values[n] for n in entry.wanted))
    G = np.random.default_rng(0).normal(size=np.shape(y)) if np.ndim(y) else np.asarray(1.0)
    return entry.derive(check=False), list(values.values()), y, G, back(G)


def converter(backend, dtype):
    if backend == "numpy":
        return lambda a: cast(a, dtype)
    if backend == "jax":
        asarray = pytest.importorskip("jax.numpy").asarray
        return lambda a: asarray(cast(a, dtype))
    tensor = pytest.importorskip("torch").tensor
    return lambda a: tensor(cast(a, dtype))


def cast(a, dtype):
    a = np.asarray(a)
    return a.astype(dtype) if a.dtype.kind == "f" else a


def loaded(source):
    namespace = {}
    exec(compile(source, "<emitted>", "exec"), namespace)
    return namespace


def close(found, wanted, tolerance, dtype, source):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.shape, found.dtype) == (wanted.shape, np.dtype(dtype)), source
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale, err_msg=source)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [e.name for e in CORPUS])
def test_value_and_gradients(name, backend):
    if backend != "numpy":
        pytest.importorskip(backend)
    derivation, values, y, G, expected = derived(name)
    source = derivation.source(backend)
    functions = loaded(source)
    for dtype, tolerance in (("float64", 1e-9), ("float32", 2e-3)):
        if dtype == "float32" and backend == "jax":
            continue  # JAX compiles each operation anew for each dtype
        convert = converter(backend, dtype)
        args = [convert(v) for v in values]
        given = [convert(G)] if np.ndim(y) else []
        close(functions["forward"](*args), y, tolerance, dtype, source)
        found = functions["backward"](*args, *given)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            close(a, b, tolerance, dtype, source)


@pytest.mark.parametrize("name", [e.name for e in CORPUS if e.hessian])
def test_hessians(name):
    derivation, values, *_ = derived(name)
    entry = NAMED[name]
    named = dict(zip(entry.shapes, values, strict=True))
    rest = {n: v for n, v in named.items() if n not in entry.wanted}

    def f(*args):
        return entry.function(**dict(zip(entry.wanted, args, strict=True)), **rest)

    source = derivation.source(parts="hessian")
    args = [named[n] for n in entry.wanted]
    for i, row in enumerate(loaded(source)["hessian"](*values)):
        for j, found in enumerate(row):
            wanted = cr.jacobian(cr.grad(f, argnums=i), argnums=j)(*args).to_dense()
            close(found, wanted, 1e-8, "float64", source)


@pytest.mark.parametrize("name", [e.name for e in CORPUS][::6])
def test_torch_functions_pass_gradcheck(name):
    torch = pytest.importorskip("torch")
    derivation, values, *_ = derived(name)
    entry = NAMED[name]
    forward = loaded(derivation.source("torch", style="autograd"))["forward"]
    args = [
        torch.tensor(v, requires_grad=n in entry.wanted)
        for n, v in zip(entry.shapes, values, strict=True)
    ]
    assert torch.autograd.gradcheck(forward, args, atol=1e-4)
