"""Emitted code: run in every backend, compared with numbers, formatted; errors are clear."""

import ast
import functools
import importlib.util
import itertools
import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import chainrule as cr
import chainrule.scipy.linalg
import chainrule.scipy.special
from chainrule.formula.source import SourceError
from chainrule.formula.source.numpy_target import NumpyTarget
from chainrule.formula.source.syntax import name as variable
from chainrule.formula.source.torch_target import TorchTarget

TABLE = np.array([2, 0, 1, 1, 3])
MASK = np.array([[True, False, True], [False, True, True]])
FIXED = np.arange(6.0).reshape(2, 3)

PROGRAMS = {
    # products
    "linear": (lambda x, w: x @ w, {"x": "N D", "w": "D M"}),
    "tanh layer": (lambda x, w, b: np.tanh(x @ w + b), {"x": "N D", "w": "D M", "b": "M"}),
    "columns": (lambda W, X, b: W @ X + b[:, None], {"W": "T N", "X": "N B", "b": "T"}),
    "quadratic": (lambda A, x: x @ A @ x, {"A": "N N", "x": "N"}),
    "three matrices": (lambda A, X, B: A @ X @ B, {"A": "K M", "X": "M N", "B": "N P"}),
    "gram": (lambda X: X @ X.T, {"X": "N D"}),
    "heads": (
        lambda q, k: np.einsum("bhqd,bhkd->bhqk", q, k),
        {"q": "B H Q D", "k": "B H K D"},
    ),
    "tensordot": (lambda x, w: np.tensordot(x, w, 2), {"x": "A B C", "w": "B C D"}),
    "time steps": (lambda x, w: x @ w, {"x": "B T D", "w": "D M"}),
    "outer": (lambda x, y: np.outer(x, y), {"x": "N", "y": "M"}),
    "kron": (lambda x, y: np.kron(x, y), {"x": (2, 3), "y": (2, 2)}),
    "trace": (lambda x: np.trace(x @ x), {"x": "N N"}),
    "diagonal": (lambda x: np.diag(x) @ np.diag(x), {"x": "N"}),
    "distances": (
        lambda X, Y: ((X[:, None] - Y[None]) ** 2).sum(axis=-1),
        {"X": "N D", "Y": "M D"},
    ),
    # rearrangements
    "slices": (lambda x: x[1:] * x[:-1], {"x": "N"}),
    "strides": (lambda x: np.sum(x[1::3] ** 2), {"x": (10,)}),
    "flip": (lambda x: np.flip(x, 1) * x, {"x": "N M"}),
    "one row": (lambda x: x[0] * x[-1], {"x": "N D"}),
    "gather": (lambda x: x[TABLE] ** 2, {"x": (4, 3)}),
    "roll": (lambda x: np.roll(x, 2) * x, {"x": "N"}),
    "reshape": (lambda x: np.sin(x.reshape(2, 6)), {"x": (3, 4)}),
    "concatenate": (lambda x, y: np.concatenate([x, y]) ** 2, {"x": "N", "y": "M"}),
    "stack": (lambda x, y: np.stack([x, np.sin(y)]), {"x": "N", "y": "N"}),
    "pad": (lambda x: np.pad(x, 1) ** 2, {"x": "N"}),
    "tile": (lambda x: np.tile(x, 2) ** 2, {"x": "N"}),
    "convolution": (lambda x, w: np.convolve(x, w, "same"), {"x": (7,), "w": (3,)}),
    "valid convolution": (lambda x, w: np.convolve(x, w, "valid"), {"x": "N", "w": (3,)}),
    "triangle": (lambda x: np.tril(x) @ x, {"x": "N N"}),
    "running sum": (lambda x: np.cumsum(x, axis=1) ** 2, {"x": "N M"}),
    "axes": (lambda x: np.transpose(x, (2, 0, 1)) ** 2, {"x": "A B C"}),
    "broadcast": (lambda x: np.broadcast_to(x, (4, x.shape[0])) ** 2, {"x": "N"}),
    # reductions and choices
    "maximum": (lambda x: np.max(x, axis=1), {"x": "N M"}),
    "relu": (lambda x: np.maximum(x - 0.5, 0), {"x": "N M"}),
    "where": (lambda x: np.where(x > 0.5, x**2, np.sin(x)), {"x": "N"}),
    "switch": (lambda x: np.where(x > 0.5, 1.0, 0.0) * x, {"x": "N"}),
    "mask": (lambda x: np.where(MASK, x, 0.0) ** 2, {"x": (2, 3)}),
    "products": (lambda x: np.prod(x, axis=1), {"x": "N M"}),
    "running product": (lambda x: np.cumprod(x), {"x": "N"}),
    "spread": (lambda x: np.var(x, axis=0), {"x": "N M"}),
    "sum": (lambda x: 3 * x.sum(), {"x": "N M"}),
    "softmax": (lambda x: cr.scipy.special.softmax(x, axis=1), {"x": "N M"}),
    "logsumexp": (lambda x: cr.scipy.special.logsumexp(x, axis=1), {"x": "N M"}),
    "softplus": (lambda x: np.log1p(np.exp(x)).sum(), {"x": "N"}),
    "erf": (lambda x: 0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2))), {"x": "N"}),
    "power": (lambda x, a: x**a, {"x": "N", "a": "N"}),
    "pairs": (lambda x, y: np.arctan2(x, y) + np.hypot(x, y), {"x": "N", "y": "N"}),
    "numbers": (lambda x, y: np.sin(x) / y, {"x": "", "y": ""}),
    "captured": (lambda x: FIXED @ x, {"x": (3,)}),
    # linear algebra
    "solve": (lambda A, B: np.linalg.solve(A, B), {"A": "N N", "B": "N K"}),
    "inverse": (lambda A: np.linalg.inv(A), {"A": "N N"}),
    "log of a triangle": (
        lambda A: np.sum(np.log(np.diag(np.linalg.cholesky(A)))),
        {"A": "N N"},
    ),
    "diagonal below": (lambda A, x: np.sum(x / np.diag(A)), {"A": "N N", "x": "N"}),
    "determinant": (lambda A: np.linalg.slogdet(A)[1] + np.linalg.det(A), {"A": "N N"}),
    "cholesky": (lambda A: np.linalg.cholesky(A), {"A": "N N"}),
    "eigenvalues": (lambda A: np.linalg.eigvalsh(A), {"A": "N N"}),
    "singular values": (lambda A: np.linalg.svd(A, compute_uv=False), {"A": (3, 4)}),
    "exponential": (lambda A: cr.scipy.linalg.expm(A), {"A": (3, 3)}),
}

HESSIANS = {
    "least squares": (
        lambda A, x, b: np.sum((A @ x - b) ** 2),
        {"A": "M N", "x": "N", "b": "M"},
    ),
    "logsumexp": (lambda x: np.log(np.sum(np.exp(x))), {"x": "N"}),
    "rosenbrock": (lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2), {"x": "N"}),
}


def draw(arguments):
    """Values of the arguments, positive and positive definite, and the sizes of the names."""
    rng, pool, sizes = np.random.default_rng(0), itertools.cycle((3, 5, 4, 2)), {}
    values = []
    for _, dims in arguments:
        shape = [int(e) if e.isdigit() else sizes.setdefault(e, next(pool)) for e in dims]
        value = rng.uniform(0.2, 0.8, shape)
        if len(shape) > 1 and shape[-1] == shape[-2]:
            value = value @ np.swapaxes(value, -1, -2) / shape[-1] + np.eye(shape[-1])
        values.append(value)
    return values


def loaded(source):
    namespace = {}
    exec(compile(source, "<emitted>", "exec"), namespace)
    return namespace


def converter(backend):
    if backend == "numpy":
        return np.asarray
    if backend == "jax":
        return pytest.importorskip("jax.numpy").asarray
    torch = pytest.importorskip("torch")
    return lambda a: torch.tensor(np.asarray(a))


def close(found, wanted, tolerance, what):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale, err_msg=what)


def compared(source, backend, f, values, dtype="float64"):
    """Value and gradients of emitted code against numbers."""
    functions, convert = loaded(source), converter(backend)
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    value, back = cr.vjp(f, *values)
    cotangent = np.random.default_rng(1).normal(size=np.shape(value))
    arrays = [convert(v.astype(dtype)) for v in values]
    given = [convert(cotangent.astype(dtype))] if np.ndim(value) else []
    results = [functions["forward"](*arrays), *functions["backward"](*arrays, *given)]
    wanted = [value, *back(cotangent if np.ndim(value) else np.asarray(1.0))]
    assert len(results) == len(wanted)
    for found, wish in zip(results, wanted, strict=True):
        assert np.asarray(found).dtype == dtype
        close(found, wish, tolerance, source)


@functools.cache
def derived(name):
    f, shapes = PROGRAMS[name]
    return f, cr.derive(f, **shapes, check=False)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *itertools.product(PROGRAMS, ["numpy", "torch"]),
        *itertools.product(list(PROGRAMS)[::3], ["jax"]),  # the corpus runs there as a whole
    ],
)
def test_emitted_code_computes_value_and_gradients(name, backend):
    converter(backend)
    f, derivation = derived(name)
    source = derivation.source(backend)
    assert "chainrule" not in source
    values = draw(derivation.arguments)
    compared(source, backend, f, values)
    if backend == "numpy":
        compared(source, backend, f, values, "float32")


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
@pytest.mark.parametrize("name", HESSIANS)
def test_emitted_jacobians_and_hessians(name, backend):
    convert = converter(backend)
    f, shapes = HESSIANS[name]
    derivation = cr.derive(f, **shapes, check=False)
    functions = loaded(derivation.source(backend, parts=("jacobian", "hessian")))
    values = draw(derivation.arguments)
    arrays = list(map(convert, values))
    for k, found in enumerate(functions["jacobian"](*arrays)):
        close(found, cr.grad(f, argnums=k)(*values), 1e-9, f"{name} {k}")
    for i, row in enumerate(functions["hessian"](*arrays)):
        for j, found in enumerate(row):
            wanted = cr.jacobian(cr.grad(f, argnums=i), argnums=j)(*values)
            close(found, wanted.to_dense(), 1e-9, f"{name} {i} {j}")


@pytest.mark.parametrize("name", ["linear", "tanh layer", "slices", "roll", "running sum"])
def test_emitted_jacobians_of_tensors(name):
    f, derivation = derived(name)
    values = draw(derivation.arguments)
    found = loaded(derivation.source(parts="jacobian"))["jacobian"](*values)
    for k, dense in enumerate(found):
        close(dense, cr.jacobian(f, argnums=k)(*values).to_dense(), 1e-9, name)


# -- style ----------------------------------------------------------------------------------------
AUTOGRAD = ["tanh layer", "quadratic", "gather", "softplus", "maximum", "solve", "numbers"]


@pytest.mark.parametrize("name", AUTOGRAD)
def test_torch_functions_pass_gradcheck(name):
    torch = pytest.importorskip("torch")
    _, derivation = derived(name)
    forward = loaded(derivation.source("torch", style="autograd"))["forward"]
    values = [torch.tensor(v, requires_grad=True) for v in draw(derivation.arguments)]
    assert torch.autograd.gradcheck(forward, values)


@pytest.mark.parametrize("name", AUTOGRAD)
def test_jax_custom_vjps_are_differentiated(name):
    jax = pytest.importorskip("jax")
    f, derivation = derived(name)
    forward = loaded(derivation.source("jax", style="autograd"))["forward"]
    values = draw(derivation.arguments)
    arguments = tuple(range(len(values)))
    found = jax.jit(jax.grad(lambda *a: forward(*a).sum(), arguments))(*values)
    wanted = cr.grad(lambda *a: np.sum(f(*a)), argnums=arguments)(*values)
    for got, wish in zip(found, wanted, strict=True):
        close(got, wish, 1e-9, name)


def test_a_second_derivative_through_saved_intermediates_is_refused():
    torch = pytest.importorskip("torch")

    def f(A, x):
        r = np.tanh(A @ x)
        return np.sum(r**2)

    source = cr.derive(f, A="M N", x="N").source("torch", style="autograd")
    forward = loaded(source)["forward"]
    A = torch.eye(2, dtype=torch.float64, requires_grad=True)
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(forward(A, x), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"does not require grad|once_differentiable"):
        torch.autograd.grad(first.sum(), x)


# -- what it looks like ---------------------------------------------------------------------------
LAYER = '''"""The function layer, and its backward pass."""

import numpy as np


def forward(x, w, b):
    """The value y, of shape (N, M)."""
    return np.tanh(x @ w + b)  # y = tanh(x w + 𝟏 bᵀ)   (N, M)


def backward(x, w, b, G, y=None):
    """The gradients of L by x, w, b, given G = ∂L/∂y; y: the value, if known."""
    if y is None:
        y = forward(x, w, b)
    Δ = G * (1 - y**2)  # Δ = G ⊙ (1 − y ⊙ y)   (N, M)
    dx = Δ @ w.T  # ∂L/∂x = Δ wᵀ   (N, D)
    dw = x.T @ Δ  # ∂L/∂w = xᵀ Δ   (D, M)
    db = Δ.sum(axis=0)  # ∂L/∂b = Δᵀ 𝟏   (M,)
    return dx, dw, db
'''


def layer(x, w, b):
    return np.tanh(x @ w + b)


def test_the_layer_is_what_a_person_would_write():
    assert cr.derive(layer, x="N D", w="D M", b="M").source() == LAYER


def test_parts_share_what_the_forward_pass_has_computed():
    def f(A, x, b):
        r = A @ x - b
        return r @ r

    functions = loaded(cr.derive(f, A="M N", x="N", b="M").source())
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=3)
    value, saved = functions["forward_saving"](*values)
    assert value == functions["forward"](*values)
    for one, other in zip(
        functions["backward"](*values), functions["backward"](*values, saved=saved), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_code_is_formatted(tmp_path):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("needs ruff")
    for name in PROGRAMS:
        _, derivation = derived(name)
        for backend, style in [("numpy", "function"), ("torch", "function"), ("jax", "autograd")]:
            path = tmp_path / f"{name.replace(' ', '_')}_{backend}.py"
            path.write_text(derivation.source(backend, style), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        ["format", "--diff", "--isolated", "--line-length=100"],
        ["check", "--quiet", "--isolated", "--select=E,F,W", "--ignore=E741", "--line-length=100"],
    ):
        result = subprocess.run([*ruff, *command, tmp_path], capture_output=True, text=True)
        assert not result.returncode, result.stdout + result.stderr


def test_names_that_python_needs_are_not_taken():
    def f(np_, backward, N):
        return np.tanh(np_ * backward) + N

    source = cr.derive(f, np_="K", backward="K", N="K").source()
    ast.parse(source)
    compared(source, "numpy", f, [np.ones(2), np.ones(2), np.ones(2)])


def test_leaves_of_trees_are_arguments():
    def f(params, x):
        return np.tanh(x @ params["w"]) @ params["v"]

    source = cr.derive(f, params={"w": "D H", "v": "H"}, x="N D").source()
    assert "def backward(w, v, x, G" in source or "def backward(v, w, x, G" in source


# -- what goes wrong ------------------------------------------------------------------------------
def test_unknown_backends_styles_and_parts():
    derivation = cr.derive(layer, x="N D", w="D M", b="M")
    with pytest.raises(ValueError, match="unknown backend 'tf'; there are numpy, jax, torch"):
        derivation.source("tf")
    with pytest.raises(ValueError, match="unknown style 'class'"):
        derivation.source(style="class")
    with pytest.raises(ValueError, match="there are forward, backward, jacobian, hessian"):
        derivation.source(parts="gradient")
    with pytest.raises(ValueError, match='needs backend="jax" or "torch"'):
        derivation.source(style="autograd")
    with pytest.raises(ValueError, match="there is no Hessian"):
        derivation.source(parts="hessian")


def test_custom_vjps_want_all_arguments():
    derivation = cr.derive(layer, x="N D", w="D M", b="M", wrt="w")
    with pytest.raises(SourceError, match="derive without wrt="):
        derivation.source("jax", "autograd")
    assert "return None, dw, None" in derivation.source("torch", "autograd")


def test_an_operation_without_a_counterpart_is_named():
    derivation = cr.derive(lambda x: scipy.special.i0e(x) + np.cbrt(x), x="N", check=False)
    derivation.source("torch")
    derivation = cr.derive(lambda x: np.linalg.qr(x)[1], x="3 3", check=False)
    derivation.source("numpy")
    unknown = cr.derive(lambda x: scipy.special.log_expit(x), x="N", check=False)
    assert "log_expit" in unknown.source("numpy")
    with pytest.raises(SourceError, match="'imag' cannot be written as torch code"):
        TorchTarget("x").function("imag", [variable("x")], [False], ())


def test_captured_arrays_that_are_too_large():
    big = np.random.default_rng(0).normal(size=(100, 100))
    derivation = cr.derive(lambda x: big @ x, x="100", check=False)
    with pytest.raises(SourceError, match="make it a parameter"):
        derivation.source()


def test_wrong_code_is_found(monkeypatch):
    derivation = cr.derive(layer, x="N D", w="D M", b="M")
    derivation.check(backends=["numpy"])
    monkeypatch.setitem(NumpyTarget.elementwise, "tanh", "np.sinh(a)")
    with pytest.raises(cr.DerivativeError, match="numpy code: forward is off by"):
        derivation.check(backends=["numpy"])


def test_checking_other_backends():
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    cr.derive(layer, x="N D", w="D M", b="M").check(backends=("numpy", "jax", "torch"))


def test_checking_a_backend_that_is_not_installed(monkeypatch):
    derivation = cr.derive(layer, x="N D", w="D M", b="M")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[torch\]'"):
        derivation.check(backends="torch")


@pytest.mark.parametrize(
    "f",
    [
        lambda A: np.linalg.cholesky(A),
        lambda A: np.linalg.eigh(A)[0],
        lambda A: np.linalg.eigvalsh(A),
    ],
    ids=["cholesky", "eigh", "eigvalsh"],
)
def test_factorizations_read_one_triangle_in_every_backend(f):
    """NumPy reads the lower triangle; JAX symmetrizes unless it is told not to."""
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    d = cr.derive(f, A="N N")
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3)) + 5 * np.eye(3)  # the upper triangle holds something else
    expected = f(a)
    for backend in ("numpy", "jax", "torch"):
        d.check(backends=(backend,))
        found = loaded(d.source(backend))["forward"](converter(backend)(a))
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12)


def test_halves_of_sizes_are_whole_numbers():
    derivation = cr.derive(lambda x: np.sum(np.reshape(x, (-1, 2)), axis=1), x="N")
    assert "x.reshape(N // 2, 2)" in derivation.source()
    derivation.check("numpy")


def test_traces_of_transposes_are_written_without():
    assert cr.derive(lambda A: np.sum(A * A.T), A="N N").value.text == "tr(A A)"
