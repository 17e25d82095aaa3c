"""Programs on JAX and PyTorch: the table of primitives against NumPy, kinds of arrays, errors."""

import importlib.util

import numpy as np
import optree
import pytest

import chainrule as cr
from cases import CASES
from oracle import arguments, copies, under, weights

# every case in turn, spread over the table; JAX compiles each program anew, so it gets fewer
SELECTED = {"torch": CASES[::8], "jax": CASES[3::32]}

BACKENDS = ["jax", "torch"]
#: What a library has no function for: the error says so.
LACKING = {"torch": ("beta-", "poch-", "gamma-"), "jax": ()}


def library(backend):
    return pytest.importorskip("jax.numpy" if backend == "jax" else "torch")


def loss(x, w):
    return np.sum(np.tanh(x @ w) ** 2)


def agree(found, wanted, tolerance, what):
    """Equal up to a part of the largest element; dtypes and shapes exactly."""
    for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(wanted), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), what
        scale = max(float(np.abs(b).max(initial=0.0)), 1e-2)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=what)


@pytest.mark.parametrize(
    ("backend", "case"),
    [(backend, case) for backend, cases in SELECTED.items() for case in cases],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_values_and_pullbacks_agree_with_numpy(backend, case):
    library(backend)
    f, args = under(case, 1), arguments(case)
    weight = weights(case)

    def both(*args):
        y, back = cr.vjp(f, *args)
        return y, back(weight.astype(y.dtype))

    wanted = cr.compile(both, backend="numpy")(*copies(args))
    program = cr.compile(both, backend=backend)
    if case.name.startswith(LACKING[backend]):
        with pytest.raises(NotImplementedError, match="has no counterpart in the backend"):
            program(*copies(args))
        return
    found = program(*copies(args))
    agree(found, wanted, 1e-9, case.name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_stays_float32(backend):
    library(backend)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3)).astype("f4"), rng.normal(size=(3, 2)).astype("f4")
    both = cr.value_and_grad(loss, argnums=(0, 1))
    agree(cr.compile(both, backend=backend)(x, w), both(x, w), 1e-5, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_the_library_come_back(backend):
    xp = library(backend)
    step = cr.compile(cr.value_and_grad(loss), backend=backend)
    arrays = xp.ones((4, 3)), xp.ones((3, 2))
    value, gradient = step(*arrays)
    assert type(value) is type(gradient) is type(arrays[0])
    assert gradient.dtype == arrays[0].dtype
    wanted = cr.grad(loss)(*map(np.asarray, arrays))
    np.testing.assert_allclose(np.asarray(gradient), wanted, rtol=1e-6)
    assert isinstance(step(np.ones((4, 3)), np.ones((3, 2)))[1], np.ndarray)
    assert step.report() == [backend] * len(step.report())


@pytest.mark.parametrize("backend", BACKENDS)
def test_branches_are_checked_at_every_call(backend):
    xp = library(backend)

    def f(x):
        return np.sum(x**2) if np.sum(x) > 0 else np.sum(x**3)

    step = cr.compile(cr.grad(f), backend=backend)
    for x in (np.ones(2), -np.ones(2), np.ones(2)):
        np.testing.assert_allclose(step(x), cr.grad(f)(x))
        np.testing.assert_allclose(np.asarray(step(xp.asarray(x))), cr.grad(f)(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_captured_arrays_are_read_at_every_call(backend):
    library(backend)
    A = np.array([1.0, 2.0])
    step = cr.compile(cr.grad(lambda x: np.sum(A * x**2)), backend=backend)
    np.testing.assert_allclose(step(np.ones(2)), [2.0, 4.0])
    A[:] = 3.0
    np.testing.assert_allclose(step(np.ones(2)), [6.0, 6.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_jacobians_keep_their_structure(backend):
    library(backend)
    J = cr.compile(cr.jacobian(lambda x: np.tanh(x)), backend=backend)(np.linspace(0, 1, 4))
    assert J.structure == "a->a|a"
    np.testing.assert_allclose(J.diagonal(), 1 - np.tanh(np.linspace(0, 1, 4)) ** 2)


def test_programs_inside_traces_of_jax():
    jax = pytest.importorskip("jax")
    step = cr.compile(cr.grad(loss), backend="jax")
    x, w = np.ones((4, 3)), np.ones((3, 2))
    wanted = cr.grad(loss)(x, w)
    inside = jax.jit(lambda x, w: step(x, w) * 2)(x, w)
    np.testing.assert_allclose(inside, 2 * wanted)
    batch = np.stack([x, 2 * x])
    found = jax.vmap(lambda x: step(x, w))(batch)
    np.testing.assert_allclose(found[1], cr.grad(loss)(2 * x, w))


def test_64_bits_whatever_jax_has_by_default():
    jax = pytest.importorskip("jax")
    step = cr.compile(cr.grad(loss), backend="jax")
    x, w = np.random.default_rng(0).normal(size=(4, 3)), np.ones((3, 2))
    with jax.enable_x64(False):
        found = step(x, w)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, cr.grad(loss)(x, w), rtol=1e-12)


def test_tensors_that_track_gradients():
    torch = pytest.importorskip("torch")
    double = cr.compile(lambda x: 2 * np.sin(x), backend="torch")
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(double(x).sum(), x)
    np.testing.assert_allclose(slope.numpy(), 2 * np.cos(np.ones(3)))


def test_arguments_are_not_changed():
    pytest.importorskip("torch")

    def f(x):
        y = x * 1.0
        y[0] = x[1]
        return y, x

    step = cr.compile(f, backend="torch")
    x = np.arange(3.0)
    x.flags.writeable = False
    y, same = step(x)
    assert same is not x
    np.testing.assert_array_equal(x, np.arange(3.0))
    np.testing.assert_array_equal(y, [1.0, 1.0, 2.0])


# -- what goes wrong ------------------------------------------------------------------------------
def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for backend in BACKENDS:
        with pytest.raises(ImportError, match=rf"pip install 'chainrule\[{backend}\]'"):
            cr.compile(loss, backend=backend)


def test_an_unknown_backend():
    with pytest.raises(ValueError, match="this version has numpy, native, jax, torch"):
        cr.compile(loss, backend="tensorflow")


def test_a_function_that_a_library_lacks(monkeypatch):
    pytest.importorskip("torch")
    from chainrule.lower.torch_backend import TorchProgram

    without = {op: f for op, f in TorchProgram.elementwise.items() if op != "sin"}
    monkeypatch.setattr(TorchProgram, "elementwise", without)
    with pytest.raises(NotImplementedError, match='sin has no counterpart in the backend "torch"'):
        cr.compile(lambda x: np.sin(x) * 3.25, backend="torch")(np.ones(2))


def test_a_dtype_that_numpy_lacks():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="dtype bfloat16 has no counterpart in NumPy"):
        cr.compile(lambda x: 2 * x, backend="torch")(torch.ones(2, dtype=torch.bfloat16))
