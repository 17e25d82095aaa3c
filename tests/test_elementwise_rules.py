"""Every elementwise function's derivative at the level of nodes, in both sweeps and twice.

The oracle is central differences of the function's own implementation; for complex arguments along
complex directions, which tells ∂/∂z and ∂/∂z̄ apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule.chain.sweep import pullback, pushforward
from chainrule.expr.build import linear, map_, product
from chainrule.expr.nodes import Const, Leaf, Node
from chainrule.expr.ops import OPS
from chainrule.expr.verify import verify
from chainrule.lower.run import evaluate
from chainrule.rules.elementwise import FLAT

SIZE = 7
FLOAT, COMPLEX = np.dtype(float), np.dtype(complex)

# Where a function is smooth: a range an argument; default (-1.6, 1.7), away from kinks below.
RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    **dict.fromkeys(["log", "log2", "log10", "sqrt", "root", "cbrt"], ((0.4, 3),)),
    **dict.fromkeys(["gammaln", "digamma", "polygamma"], ((0.4, 3),)),
    **dict.fromkeys(["log1p", "logit", "erfinv"], ((0.2, 0.8),)),
    **dict.fromkeys(["arcsin", "arccos", "arctanh"], ((-0.8, 0.7),)),
    **dict.fromkeys(["gamma", "y0", "y1", "k0", "k1", "k0e", "k1e"], ((0.6, 3),)),
    "erfcinv": ((0.4, 1.6),),
    **dict.fromkeys(["beta", "poch"], ((0.7, 3), (0.7, 3))),
    "binom": ((3.5, 6), (0.6, 2.5)),
    "arccosh": ((1.3, 3),),
    "power": ((0.5, 2), (-2, 2)),
    "float_power": ((0.5, 2), (-2, 2)),
    "xlogy": ((-2, 2), (0.5, 3)),
    "xlog1py": ((-2, 2), (0.5, 3)),
    "divide": ((-2, 2), (0.5, 2)),
    "remainder": ((0.1, 0.9), (1.0, 1.5)),
    "fmod": ((0.1, 0.9), (1.0, 1.5)),
    "tan": ((-1.2, 1.2),),
}
HOLOMORPHIC = (
    "exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal negative sin cos tan arcsin arccos "
    "arctan sinh cosh tanh arcsinh arccosh arctanh power float_power divide multiply"
)
OTHER_COMPLEX = "conj real imag abs angle sign"
INCOMPLETE = {"gammainc", "gammaincc"}  # no derivative by the order
SMOOTH = [name for name in OPS if name not in FLAT | INCOMPLETE | {"astype", "where", "stop"}]


def points(op: str, rng: np.random.Generator, dtype: np.dtype[Any]) -> list[np.ndarray]:
    ranges = RANGES.get(op, ((-1.6, 1.7),) * OPS[op].arity)
    values = []
    for low, high in ranges:
        value = rng.uniform(low, high, SIZE)
        value += np.where(np.abs(value) < 0.05, 0.1, 0)
        values.append(value + 1j * rng.uniform(0.2, 0.9, SIZE) if dtype == COMPLEX else value)
    return values


def directions(values: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    found = []
    for value in values:
        t = rng.normal(size=SIZE)
        found.append(t + 1j * rng.normal(size=SIZE) if value.dtype == COMPLEX else t)
    return found


def difference(function: Any, values: list[Any], along: list[Any], step: float = 2e-3) -> Any:
    """The derivative along a direction, by sixth-order central differences."""
    total: Any = 0.0
    for k, w in {1: 45.0, 2: -9.0, 3: 1.0}.items():
        for sign in (1, -1):
            moved = [v + sign * k * step * t for v, t in zip(values, along, strict=True)]
            total = total + sign * w * np.asarray(function(*moved))
    return total / (60.0 * step)


def applied(op: str, leaves: list[Leaf]) -> Node:
    return map_(op, *leaves, params=(1,) if op == "polygamma" else ())


def check(node: Node, leaves: list[Leaf], values: list[np.ndarray], seed: int, rtol: float) -> None:
    """Both sweeps against differences of the node's value; the reverse sweep once more."""
    rng = np.random.default_rng(seed)
    along = directions(values, rng)
    slot = len(leaves)
    tangents = [Leaf(slot + i, leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)]
    cotangent = Leaf(2 * slot, node.shape, node.dtype)
    weights = rng.normal(size=SIZE).astype(node.dtype)
    if node.dtype == COMPLEX:
        weights = weights + 1j * rng.normal(size=SIZE)
    bindings: dict[Leaf, Any] = dict(zip(leaves, values, strict=True))
    bindings |= dict(zip(tangents, along, strict=True))
    bindings[cotangent] = weights

    def at(target: list[Node], *moved: Any) -> list[Any]:
        return evaluate(target, bindings | dict(zip(leaves, moved, strict=True)))

    (forward,) = pushforward([node], leaves, tangents)
    backward = pullback([node], [cotangent], leaves)
    verify([forward, *backward])
    desired = difference(lambda *v: at([node], *v)[0], values, along)
    actual, *gradients = at([forward, *backward], *values)
    scale = max(1.0, float(np.max(np.abs(desired))))
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=rtol * scale)
    assert actual.dtype == node.dtype
    # JAX's convention: the real part of the bilinear pairing is kept
    inner = np.sum((weights * desired).real)
    adjoint = sum(np.sum((g * t).real) for g, t in zip(gradients, along, strict=True))
    np.testing.assert_allclose(adjoint, inner, rtol=rtol, atol=rtol * scale * SIZE)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        assert gradient.dtype == leaf.dtype

    # once more: forward over reverse
    second = pushforward(backward, leaves, tangents)
    again = difference(lambda *v: np.stack(at(list(backward), *v)), values, along)
    result = np.stack(at(list(second), *values))
    scale = max(1.0, float(np.max(np.abs(again))))
    np.testing.assert_allclose(result, again, rtol=10 * rtol, atol=10 * rtol * scale)


@pytest.mark.parametrize("op", SMOOTH)
def test_real(op: str) -> None:
    seed = list(OPS).index(op)
    values = points(op, np.random.default_rng(seed), FLOAT)
    leaves = [Leaf(i, (SIZE,), FLOAT) for i in range(len(values))]
    check(applied(op, leaves), leaves, values, seed, 2e-8)


@pytest.mark.parametrize("op", [op for op in SMOOTH if OPS[op].arity == 2])
def test_a_scalar_operand(op: str) -> None:
    """Each argument against a Python scalar in the place of the other one."""
    seed = 100 + list(OPS).index(op)
    values = points(op, np.random.default_rng(seed), FLOAT)
    leaf = Leaf(0, (SIZE,), FLOAT)
    left, right = values
    scalar = float(right[0])
    left += np.where(np.abs(left - scalar) < 0.05, 0.1, 0)  # no tie nearby
    check(map_(op, leaf, Const(scalar)), [leaf], [left], seed, 2e-8)
    if op != "copysign":
        scalar = float(left[0])
        right += np.where(np.abs(right - scalar) < 0.05, 0.1, 0)
        check(map_(op, Const(scalar), leaf), [leaf], [right], seed, 2e-8)


@pytest.mark.parametrize("op", [*HOLOMORPHIC.split(), *OTHER_COMPLEX.split()])
def test_complex(op: str) -> None:
    seed = 200 + list(OPS).index(op)
    values = points(op, np.random.default_rng(seed), COMPLEX)
    leaves = [Leaf(i, (SIZE,), COMPLEX) for i in range(len(values))]
    node = applied(op, leaves)
    check(node, leaves, values, seed, 2e-8)


def test_mixed_real_and_complex() -> None:
    """A real argument of a complex product gets a real cotangent."""
    rng = np.random.default_rng(5)
    x, z = Leaf(0, (SIZE,), FLOAT), Leaf(1, (SIZE,), COMPLEX)
    node = map_("abs", linear((1, product(x, z)), (1j, map_("square", map_("conj", z)))))
    values = [rng.normal(size=SIZE), rng.normal(size=SIZE) + 1j * rng.normal(size=SIZE)]
    check(node, [x, z], values, 5, 1e-7)


@pytest.mark.parametrize("op", ["floor", "ceil", "trunc", "rint", "heaviside", "floor_divide"])
def test_flat(op: str) -> None:
    assert op in FLAT
    leaves = [Leaf(i, (SIZE,), FLOAT) for i in range(OPS[op].arity)]
    node = applied(op, leaves)
    seeds: list[Node] = [Leaf(9, (SIZE,), FLOAT)]
    for gradient in pullback([node], seeds, leaves):
        assert not gradient.children


def test_where_chooses_without_looking_at_the_other() -> None:
    c, a = Leaf(0, (3,), np.dtype(bool)), Leaf(1, (3,), FLOAT)
    safe = map_("where", c, map_("log", a), Const(0.0))
    g = Leaf(2, (3,), FLOAT)
    (gradient,) = pullback([safe], [g], [a])
    with np.errstate(all="ignore"):
        (value,) = evaluate(
            [gradient],
            {c: np.array([True, False, True]), a: np.array([2.0, 0.0, 4.0]), g: np.ones(3)},
        )
    np.testing.assert_array_equal(value, [0.5, 0.0, 0.25])


@pytest.mark.parametrize(
    ("op", "args", "gradients"),
    [
        ("xlogy", (0.0, 3.0), (np.log(3.0), 0.0)),
        ("xlogy", (0.0, 0.0), (0.0, 0.0)),
        ("xlog1py", (0.0, 2.0), (np.log(3.0), 0.0)),
        ("remainder", (49.0 * 3, 49.0), (1.0, -3.0)),
        ("fmod", (-49.0 * 3, 49.0), (1.0, 3.0)),
        ("fmax", (2.0, np.nan), (1.0, 0.0)),
        ("fmin", (np.nan, 2.0), (0.0, 1.0)),
        ("maximum", (2.0, 2.0), (0.5, 0.5)),
        ("hypot", (0.0, 0.0), (0.0, 0.0)),
        ("logaddexp", (-np.inf, 1.0), (0.0, 1.0)),
        ("power", (0.0, 0.0), (0.0, 0.0)),
        ("power", (0.0, 2.0), (0.0, 0.0)),
        ("power", (-2.0, 3.0), (12.0, np.nan)),
    ],
)
def test_special_points(op: str, args: tuple[float, float], gradients: tuple[float, float]) -> None:
    leaves = [Leaf(i, (), FLOAT) for i in range(2)]
    g = Leaf(2, (), FLOAT)
    nodes = pullback([map_(op, *leaves)], [g], leaves)
    with np.errstate(all="ignore"):
        actual = evaluate(nodes, {**dict(zip(leaves, args, strict=True)), g: 1.0})
    np.testing.assert_allclose(actual, gradients, rtol=1e-15)


def test_sinc_near_zero() -> None:
    """The derivatives of sinc keep their digits through 0, where the closed form cancels."""
    x = Leaf(0, (5,), FLOAT)
    t = Leaf(1, (5,), FLOAT)
    (first,) = pushforward([map_("sinc", x)], [x], [t])
    (second,) = pushforward([first], [x], [t])
    at = np.array([0.0, 1e-9, 1e-5, 0.1999, -0.2001])
    ones = np.ones(5)
    one, two = evaluate([first, second], {x: at, t: ones})
    u = np.pi * at
    series = [
        sum(
            (-1) ** k * 2 * k * v ** (2 * k - 1) / float(_factorial(2 * k + 1))
            for k in range(1, 15)
        )
        * np.pi
        for v in u
    ]
    curve = [
        sum(
            (-1) ** k * 2 * k * (2 * k - 1) * v ** (2 * k - 2) / float(_factorial(2 * k + 1))
            for k in range(1, 15)
        )
        * np.pi**2
        for v in u
    ]
    np.testing.assert_allclose(one, series, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(two, curve, rtol=1e-12)


def _factorial(n: int) -> int:
    return n * _factorial(n - 1) if n else 1


@pytest.mark.parametrize("op", ["abs", "angle", "real", "imag", "conj", "exp", "sqrt", "log"])
def test_the_complex_convention_is_that_of_jax(op: str) -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(3)
    value = rng.normal(size=SIZE) + 1j * rng.normal(size=SIZE)
    leaf = Leaf(0, (SIZE,), COMPLEX)
    node = map_(op, leaf)
    weights = rng.normal(size=SIZE) + (1j * rng.normal(size=SIZE) if node.dtype == COMPLEX else 0)
    g = Leaf(1, (SIZE,), node.dtype)
    (gradient,) = evaluate(pullback([node], [g], [leaf]), {leaf: value, g: weights})
    _, back = jax.vjp(getattr(jax.numpy, op), value)
    np.testing.assert_allclose(gradient, back(weights)[0], rtol=1e-12)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op != "float_power"])
def test_single_precision_stays_single(op: str) -> None:
    """Value, tangent and cotangent of float32 arguments are float32, in the plan and in memory."""
    single = np.dtype(np.float32)
    values = [v.astype(single) for v in points(op, np.random.default_rng(1), FLOAT)]
    leaves = [Leaf(i, (SIZE,), single) for i in range(len(values))]
    node = applied(op, leaves)
    g = Leaf(8, (SIZE,), single)
    bindings = {**dict(zip(leaves, values, strict=True)), g: np.ones(SIZE, single)}
    for result in evaluate([node, *pullback([node], [g], leaves)], bindings):
        assert result.dtype == single


@pytest.mark.parametrize("op", sorted(INCOMPLETE))
def test_the_order_of_an_incomplete_gamma_function_stays_fixed(op: str) -> None:
    orders, x = np.array([0.5, 1.0, 3.2]), np.array([0.3, 1.7, 4.0])
    function = getattr(scipy.special, op)
    found = cr.grad(lambda x: np.sum(function(orders, x)))(x)
    np.testing.assert_allclose(
        found, difference(lambda x: function(orders, x), [x], [1.0]), rtol=1e-9
    )
    with pytest.raises(cr.TraceError, match="no derivative by a in closed form"):
        cr.grad(lambda a: np.sum(function(a, x)))(orders)


# references by mpmath with 40 digits
FAR = {
    "erfcx": {
        -3.0: -97237.061503164615,
        40.0: -0.00035228842528748392,
        49.0: -0.00023483443498219486,
        1e4: -5.6418957508491275e-9,
    },
    "log_ndtr": {
        -40.0: 40.024968847207264,
        -1e8: 1e8,
        0.0: 0.79788456080286536,
        9.0: 1.0279773571668915e-18,
    },
    "exprel": {
        0.0: 0.5,
        1e-9: 0.50000000033333333,
        -0.499: 0.36104632867158903,
        -0.501: 0.36058592293258436,
        -700.0: 2.0408163265306122e-6,
    },
    "j1": {0.0: 0.5},
}


@pytest.mark.parametrize("op", FAR)
def test_special_functions_far_out_and_at_their_limits(op: str) -> None:
    for x, slope in FAR[op].items():
        found = cr.grad(getattr(scipy.special, op))(x)
        np.testing.assert_allclose(found, slope, rtol=2e-9, err_msg=f"{op} at {x}")
