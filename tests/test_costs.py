"""Cheap gradients: value and gradient take at most 4 times the function, and the inputs once.

Counted in flops of the plan (a multiply-add 2, a transcendental 10, a comparison 1), so the tests
know no clock. Where one operation alone costs its derivative more, `FACTORS` says how much more;
nothing else has an allowance.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import chainrule.scipy.linalg as sla
from cases import CASES
from chainrule.expr.build import ones
from chainrule.lower.plan import make_plan
from chainrule.lower.steps import CallStep, Elementwise, Plan
from chainrule.transforms.core import derived_pullback, derived_pushforward, enter, level, outputs
from oracle import copies, under

FACTOR = 4

# What value and derivative take, in multiples of the operation.
FACTORS = {
    # n³/3; the gradient multiplies full matrices, 2 n³, and solves twice, n³ each
    "cholesky": 13,
    # 4/3 n³; the gradient needs the eigenvectors, 9 n³
    "eigvalsh": 10,
    # singular values 4 m n²; the gradient needs the vectors, 14 m n²
    "svdvals": 5.25,
    # 4 m n²; the gradient multiplies with Q and solves with R
    "qr": 5.5,
    # 2/3 n³; the gradient is the matrix of cofactors, 8/3 n³
    "det": 5.25,
    # the exponential of a matrix of twice the size, which is 8 times the work
    "expm": 9.25,
    # which operand wins is asked anew, and neither is NaN: comparisons count
    "fmax": 7,
    "fmin": 7,
    "maximum": 5,
    "minimum": 5,
}
# An extremum of n elements divides 1 among its ties.
PER_CALL = {"amax": 2, "amin": 2}


def plans(f: Callable[..., Any], *arguments: Any, forward: bool = False) -> tuple[Plan, Plan]:
    """The plans of f, a scalar function, and of f with its derivative by all arguments."""
    with level("count") as (session, opened):
        inputs = enter(session, opened, arguments, "argument")
        (value,) = outputs(f(*inputs.tree)).nodes
        assert value.shape == ()
        if forward:
            tangents = [session.new_leaf(n.shape, n.dtype) for n in inputs.leaves]
            derivative = derived_pushforward([value], inputs.leaves, tangents)
        else:
            derivative = derived_pullback([value], [ones((), value.dtype)], inputs.leaves)
        return make_plan([value]), make_plan([value, *derivative])


def bound(plan: Plan, arguments: Any) -> float:
    """The most that value and gradient may take."""
    total = float(sum(np.size(a) for a in arguments))
    for step in plan.steps:
        op = step.op if isinstance(step, CallStep | Elementwise) else ""
        total += FACTORS.get(op, FACTOR) * step.flops + PER_CALL.get(op, 0)
    return total


def assert_cheap(name: str, f: Callable[..., Any], *arguments: Any) -> None:
    """Both modes keep the bound."""
    for forward in (False, True):
        alone, together = plans(f, *arguments, forward=forward)
        most = bound(alone, arguments)
        mode = "tangent" if forward else "gradient"
        assert together.flops <= most, (
            f"{name}: the function takes {alone.flops} flops, with its {mode} {together.flops}, "
            f"{together.flops / max(alone.flops, 1):.2f} times as many; the bound is {most:g}"
        )


# -- whole functions --------------------------------------------------------------------------
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {}
TARGETS = np.eye(10)[np.arange(32) % 10]
INPUTS = np.random.default_rng(1).normal(size=(32, 64))
LEFT = np.random.default_rng(2).normal(size=(40, 30))
RIGHT = np.random.default_rng(3).normal(size=(30, 20))


def function(*shapes: tuple[int, ...]) -> Callable[..., Any]:
    """Name a scalar function of arrays of these shapes."""

    def add(f: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[f.__name__] = f, shapes
        return f

    return add


def cross_entropy(z: Any) -> Any:
    top = np.max(z, axis=1, keepdims=True)
    total = np.log(np.sum(np.exp(z - top), axis=1))
    return np.mean(top[:, 0] + total - np.sum(TARGETS * z, axis=1))


@function((64, 32), (32,), (32, 10), (10,))
def network(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return cross_entropy(np.tanh(INPUTS @ w1 + b1) @ w2 + b2)


@function((64, 10), (10,))
def softmax_regression(w: Any, b: Any) -> Any:
    return cross_entropy(INPUTS @ w + b)


@function((64, 32), (32, 10))
def relu_network(w1: Any, w2: Any) -> Any:
    return cross_entropy(np.maximum(INPUTS @ w1, 0) @ w2)


@function((20,))
def two_layers_by_the_input(x: Any) -> Any:
    return np.sum(np.tanh(LEFT @ np.tanh(RIGHT @ x)))


@function((8, 8), (8,))
def residual_layers(w: Any, x: Any) -> Any:
    for _ in range(12):
        x = x + np.tanh(w @ x)
    return x @ x


@function((1000,))
def logsumexp(x: Any) -> Any:
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


@function((32, 32), (5, 5))
def convolution(image: Any, kernel: Any) -> Any:
    windows = sliding_window_view(image, kernel.shape)
    return np.sum(np.einsum("ijkl,kl->ij", windows, kernel) ** 2)


@function((20, 30), (30, 40), (40, 10), (10,))
def matrix_chain(a: Any, b: Any, c: Any, v: Any) -> Any:
    return np.sum(a @ b @ c @ v)


@function((20, 30), (30, 40), (40, 10), (10,), (20,))
def matrix_chain_in_one_einsum(a: Any, b: Any, c: Any, v: Any, u: Any) -> Any:
    return np.einsum("i,ij,jk,kl,l->", u, a, b, c, v)


@function(*[(9,)] * 8)
def product_of_eight(*factors: Any) -> Any:
    return np.einsum(",".join("a" * 8) + "->", *factors)


@function((100,))
def elementwise(x: Any) -> Any:
    return np.sum(np.tanh(np.sin(x) * np.exp(-(x**2))) + np.log1p(x**2))


@function((50,), (50,))
def quotients(x: Any, y: Any) -> Any:
    return np.sum(x / (1 + y**2) - y / (1 + x**2))


@function((12, 7))
def standardized(x: Any) -> Any:
    z = (x - np.mean(x, axis=0)) / np.std(x, axis=0)
    return np.sum(z**3)


@function((6, 5))
def moments(x: Any) -> Any:
    return np.var(x) + np.sum(np.mean(x, axis=1) ** 2) + np.prod(np.sum(x, axis=0))


@function((40,))
def spread(x: Any) -> Any:
    return np.ptp(x) + np.median(x)


@function((30,))
def running_sums(x: Any) -> Any:
    return np.sum(np.cumsum(x) ** 2)


@function((30,))
def finite_differences(x: Any) -> Any:
    return np.sum((x[1:] - x[:-1]) ** 2) + np.sum((x[2:] - 2 * x[1:-1] + x[:-2]) ** 2)


@function((10, 6), (4, 6))
def embedding(table: Any, weights: Any) -> Any:
    rows = table[np.array([3, 1, 3, 9])]
    return np.sum(np.tanh(rows * weights))


@function((24,))
def rearranged(x: Any) -> Any:
    y = np.reshape(x, (4, 6)).T
    y = np.concatenate([y[::2], np.flip(y[1::2], 0)])
    return np.sum(np.roll(y, 1, axis=0) * np.reshape(y, (6, 4)))


@function((20,))
def written(x: Any) -> Any:
    y = x.copy()
    y[::2] *= 2.0
    y[3:7] = np.sin(x[:4])
    return np.sum(y**2)


@function((16, 3), (12, 3))
def distances(x: Any, y: Any) -> Any:
    return np.sum(np.sqrt(1 + np.sum((x[:, None] - y[None]) ** 2, axis=-1)))


@function((10, 8), (10, 8), (10, 8))
def attention(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.T / 8**0.5
    e = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    return np.sum(np.tanh(e / np.sum(e, axis=1, keepdims=True) @ v))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    assert_cheap(name, f, *(rng.normal(size=s) for s in shapes))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_curvature(name: str) -> None:
    """A product of the Hessian with a vector takes a few times the function too."""
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    with level("count") as (session, opened):
        arguments = [rng.normal(size=s) for s in shapes]
        inputs = enter(session, opened, arguments, "argument")
        (value,) = outputs(f(*inputs.tree)).nodes
        gradient = derived_pullback([value], [ones((), value.dtype)], inputs.leaves)
        direction = [session.new_leaf(n.shape, n.dtype) for n in inputs.leaves]
        product = derived_pushforward(gradient, inputs.leaves, direction)
        alone, both = make_plan([value]).flops, make_plan(product).flops
    assert both <= 9 * alone, f"{both} flops, {both / alone:.2f} times the function"


# -- every primitive --------------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_primitives(case: Any) -> None:
    """Each primitive's results against weights, summed: a scalar."""
    arguments = case.arguments()
    primitive = under(case, 1)
    rng = case.rng("cost")

    def f(*args: Any) -> Any:
        results = primitive(*args)
        results = results if isinstance(results, tuple | list) else [results]
        floats = [y for y in results if y.dtype.kind == "f"]
        return sum((np.sum(y * rng.normal(size=y.shape)) for y in floats), 0.0 * np.sum(args[0]))

    alone, together = plans(f, *copies(arguments))
    most = bound(alone, arguments)
    assert together.flops <= most, f"{together.flops} flops after {alone.flops}; bound {most:g}"


# -- linear algebra, at a size at which the cubes count ----------------------------------------
N = 40
_RNG = np.random.default_rng(4)
SQUARE, TALL = _RNG.normal(size=(N, N)), _RNG.normal(size=(2 * N, N))
POSITIVE = SQUARE @ SQUARE.T + N * np.eye(N)
LOWER, VECTOR = np.linalg.cholesky(POSITIVE), _RNG.normal(size=N)


@pytest.mark.parametrize(
    ("f", "arguments"),
    [
        pytest.param(np.linalg.solve, (POSITIVE, VECTOR), id="solve"),
        pytest.param(np.linalg.solve, (POSITIVE, SQUARE), id="solve-many"),
        pytest.param(np.linalg.inv, (POSITIVE,), id="inv"),
        pytest.param(np.linalg.det, (SQUARE,), id="det"),
        pytest.param(lambda a: np.linalg.slogdet(a)[1], (SQUARE,), id="slogdet"),
        pytest.param(np.linalg.cholesky, (POSITIVE,), id="cholesky"),
        pytest.param(lambda a: np.linalg.eigh(a)[1], (POSITIVE,), id="eigh"),
        pytest.param(np.linalg.eigvalsh, (POSITIVE,), id="eigvalsh"),
        pytest.param(lambda a: np.linalg.svd(a, full_matrices=False)[0], (TALL,), id="svd"),
        pytest.param(lambda a: np.linalg.svd(a, compute_uv=False), (TALL,), id="svdvals"),
        pytest.param(lambda a: np.linalg.qr(a)[1], (TALL,), id="qr"),
        pytest.param(np.linalg.pinv, (TALL,), id="pinv"),
        pytest.param(sla.expm, (SQUARE,), id="expm"),
        pytest.param(sla.solve_triangular, (LOWER.T, SQUARE), id="solve_triangular"),
        pytest.param(lambda a: np.linalg.matrix_power(a, 5), (SQUARE,), id="matrix_power"),
        pytest.param(lambda *a: np.linalg.multi_dot(a), (TALL, SQUARE, LOWER), id="multi_dot"),
    ],
)
def test_linear_algebra(f: Callable[..., Any], arguments: Any) -> None:
    def scalar(*args: Any) -> Any:
        y = f(*args)
        return np.sum(y * np.cos(np.arange(y.size)).reshape(y.shape))

    alone, together = plans(scalar, *arguments)
    most = bound(alone, arguments)
    assert together.flops <= most, f"{together.flops} flops after {alone.flops}; bound {most:g}"


# -- growth -----------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [4, 8, 16])
def test_factors_of_one_einsum(count: int) -> None:
    """The cost of the gradient by every factor does not grow with the number of factors."""
    letters = [chr(97 + k) for k in range(count + 1)]
    subscripts = ",".join(a + b for a, b in pairwise(letters))
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(9, 9)) for _ in range(count)]

    def f(*matrices: Any) -> Any:
        return np.sum(np.einsum(f"{subscripts}->{letters[0]}{letters[-1]}", *matrices) ** 2)

    alone, together = plans(f, *factors)
    assert together.flops <= 3.2 * alone.flops


@pytest.mark.parametrize("depth", [3, 30, 300])
def test_depth(depth: int) -> None:
    """The ratio does not grow with the depth."""
    w, x = np.random.default_rng(0).normal(size=(6, 6)), np.ones(6)

    def f(w: Any, x: Any) -> Any:
        for _ in range(depth):
            x = x + np.tanh(w @ x)
        return np.sum(x)

    alone, together = plans(f, w, x)
    assert together.flops <= 3 * alone.flops + 36 * depth
