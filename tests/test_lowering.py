"""Programs: scatter-adds, padded windows, masks, placed parts; what they cost in memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.chain.sweep import pullback
from chainrule.expr.build import linear, map_, view
from chainrule.expr.draft import Draft
from chainrule.expr.nodes import Const, Leaf, Node, Term
from chainrule.expr.subs import Look, Sub, affine, scale
from chainrule.expr.walk import substitute_nodes
from chainrule.lower import kernels
from chainrule.lower.run import evaluate, program_for
from terms import Draw, brute

FLOAT = np.dtype(float)
INDEX = np.dtype(np.intp)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16", "i8", "f2"])
@pytest.mark.parametrize("lead", [0, 1, 2])
def test_scatter_add_is_add_at(dtype: str, lead: int) -> None:
    rng = np.random.default_rng(0)
    front = (3, 2)[:lead]
    for axes, count in [((5,), (7,)), ((4, 3), (6,)), ((4, 3), (2, 5)), ((5,), (0,))]:
        buffer = rng.integers(-3, 4, (*front, *axes)).astype(dtype)
        value = rng.integers(-3, 4, (*front, *count)).astype(dtype)
        index = tuple(rng.integers(0, n, count) for n in axes)
        desired = buffer.copy()
        for point in np.ndindex(*count):
            where = (..., *(i[point] for i in index))
            desired[where] += value[(..., *point)]
        kernels.scatter_add(buffer, index, value, lead)
        np.testing.assert_array_equal(buffer, desired)
        assert buffer.dtype == np.dtype(dtype)


def window(n: int, taps: int, pad: int) -> tuple[Node, Leaf, Leaf]:
    """A correlation with zero padding, as one term with two guarding constraints."""
    x, w = Leaf(0, (n,), FLOAT), Leaf(1, (taps,), FLOAT)
    out = n + 2 * pad - taps + 1
    at = affine(-pad, [(1, 0), (1, 1)])
    guards = [at, scale(at, -1, n - 1)]
    factors: list[tuple[Node, tuple[Sub, ...]]] = [(x, (at,)), (w, (1,))]
    node = Draft((out,), FLOAT, 1, {0: out, 1: taps}, factors, [0], guards).finish()
    return node, x, w


@pytest.mark.parametrize("pad", [0, 2, 6])
def test_padded_windows_need_no_mask(pad: int) -> None:
    node, x, w = window(40, 7, pad)
    rng = np.random.default_rng(1)
    bindings = {x: rng.normal(size=40), w: rng.normal(size=7)}
    g = Leaf(2, node.shape, FLOAT)
    gx, gw = pullback([node], [g], [x, w])
    bindings[g] = rng.normal(size=node.shape)
    value, dx, dw = evaluate([node, gx, gw], bindings)
    padded = np.pad(bindings[x], pad)
    np.testing.assert_allclose(value, np.correlate(padded, bindings[w], "valid"))
    full = np.convolve(bindings[g], bindings[w])
    np.testing.assert_allclose(dx, full[pad : pad + 40], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dw, np.correlate(padded, bindings[g], "valid"), atol=1e-12)
    for target in (node, gx, gw):
        source = program_for([target]).source
        assert "where" not in source
        assert "index_grid" not in source


def test_picking_one_entry_a_row_is_linear() -> None:
    """x[a, t[a]]: a label on a plain axis and in a look-up is one gather, not a square."""
    n = 3000
    x, t = Leaf(0, (n, 4), FLOAT), Leaf(1, (n,), INDEX)
    look = affine(0, [(1, Look(t, (0,), 4))])
    node = Draft((n,), FLOAT, 1, {0: n}, [(x, (0, look))], [0]).finish()
    g = Leaf(2, (n,), FLOAT)
    (gradient,) = pullback([node], [g], [x])
    rng = np.random.default_rng(0)
    bindings: dict[Leaf, Any] = {
        x: rng.normal(size=(n, 4)),
        t: rng.integers(0, 4, n),
        g: rng.normal(size=n),
    }
    evaluate([node, gradient], bindings)
    tracemalloc.start()
    value, back = evaluate([node, gradient], bindings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * n * 8
    rows = np.arange(n)
    np.testing.assert_array_equal(value, bindings[x][rows, bindings[t]])
    desired = np.zeros((n, 4))
    desired[rows, bindings[t]] = bindings[g]
    np.testing.assert_array_equal(back, desired)


def test_boolean_factors_select() -> None:
    """What a mask leaves out may be infinite or NaN."""
    m, x, y = Leaf(0, (2, 3), np.dtype(bool)), Leaf(1, (2, 3), FLOAT), Leaf(2, (2,), FLOAT)
    mask = np.array([[True, False, True], [False, True, True]])
    bad = np.where(mask, 2.0, np.nan)
    product = Draft((2, 3), FLOAT, 3, {0: 2, 1: 3}, [(m, (0, 1)), (x, (0, 1))], [0, 1]).finish()
    total = Draft((2,), FLOAT, 1, {0: 2, 1: 3}, [(m, (0, 1)), (x, (0, 1)), (y, (0,))], [0]).finish()
    bindings = {m: mask, x: bad, y: np.array([1.0, 2.0])}
    for node in (product, total):
        (value,) = evaluate([node], bindings)
        np.testing.assert_array_equal(value, brute(node, bindings))
        assert not np.isnan(value).any()


def test_a_constraint_on_a_label_of_its_own_counts() -> None:
    x = Leaf(0, (5,), FLOAT)
    node = Draft((5,), FLOAT, 1, {0: 5, 1: 5}, [(x, (0,))], [0], [affine(0, [(1, 0), (-1, 1)])])
    (value,) = evaluate([node.finish()], {x: np.ones(5)})
    np.testing.assert_array_equal(value, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
def test_cumulative_sums(reverse: bool, dtype: str) -> None:
    x = Leaf(0, (3, 50), np.dtype(dtype))
    sign = -1 if reverse else 1
    guard = affine(0, [(sign, 1), (-sign, 2)])
    extents = {0: 3, 1: 50, 2: 50}
    node = Draft((3, 50), x.dtype, 1, extents, [(x, (0, 2))], [0, 1], [guard]).finish()
    value = np.arange(150).reshape(3, 50).astype(dtype)
    (actual,) = evaluate([node], {x: value})
    step = -1 if reverse else 1
    desired = np.cumsum(value[:, ::step], 1, dtype=dtype)[:, ::step]
    np.testing.assert_array_equal(actual, desired)
    assert actual.dtype == x.dtype
    assert "accumulate" in program_for([node]).source


def test_concatenation_keeps_the_sign_of_zero() -> None:
    x, y = Leaf(0, (3,), FLOAT), Leaf(1, (2,), FLOAT)
    left = view(x, {0: 3}, [0], [0], (5,))
    right = view(y, {0: 2}, [0], [affine(3, [(1, 0)])], (5,))
    node = linear((1, left), (1, right))
    (value,) = evaluate([node], {x: np.full(3, -0.0), y: np.array([-0.0, 1.0])})
    assert np.signbit(value).tolist() == [True, True, True, True, False]


def test_parts_are_written_into_one_buffer() -> None:
    """A long sum of parts costs its parts, not a full array each."""
    n = 400
    x = Leaf(0, (n,), FLOAT)
    parts = [
        (1, view(map_("sin", view(x, {}, [affine(k, [])], [], ())), {}, [], [affine(k, [])], (n,)))
        for k in range(n)
    ]
    node = linear(*parts)
    source = program_for([node]).source
    assert source.count("zeros") == 1
    value = np.linspace(0, 1, n)
    np.testing.assert_array_equal(evaluate([node], {x: value})[0], np.sin(value))


def test_a_scalar_may_take_the_place_of_a_leaf() -> None:
    x, s = Leaf(0, (3,), FLOAT), Leaf(1, (), FLOAT)
    node = Draft((3,), FLOAT, 1, {0: 3}, [(x, (0,)), (s, ())], [0]).finish()
    (with_two,) = substitute_nodes([node], {s: Const(2.0)})
    (value,) = evaluate([with_two], {x: np.arange(3.0)})
    np.testing.assert_array_equal(value, [0, 2, 4])


def test_integers_are_multiplied_in_the_precision_of_the_product() -> None:
    small = np.dtype(np.int8)
    a, b, x = Leaf(0, (2,), small), Leaf(1, (2,), small), Leaf(2, (2,), FLOAT)
    factors: list[tuple[Node, tuple[Sub, ...]]] = [(a, (0,)), (b, (0,)), (x, (0,))]
    node = Draft((2,), FLOAT, 1, {0: 2}, factors, [0]).finish()
    values = np.array([100, 50], small)
    (value,) = evaluate([node], {a: values, b: values, x: np.ones(2)})
    np.testing.assert_array_equal(value, [10000.0, 2500.0])


def test_windows_never_read_beyond_their_array() -> None:
    """Random guarded windows: reads stay inside (a stray read would show as a strange number)."""
    for seed in range(200):
        draw = Draw(seed)
        n, a, b = draw.integer(1, 6), draw.integer(2, 6), draw.integer(2, 4)
        k, m, c = draw.integer(-2, 2), draw.integer(-2, 2), draw.integer(-4, 6)
        at = affine(c, [(k, 0), (m, 1)])
        x = draw.leaf((n,), "f")
        guards = [] if isinstance(at, int) else [at, scale(at, -1, n - 1)]
        if isinstance(at, int):
            continue
        forward = Draft((a,), FLOAT, 1, {0: a, 1: b}, [(x, (at,))], [0], guards).finish()
        y = draw.leaf((a, b), "f")
        back = Draft((n,), FLOAT, 1, {0: a, 1: b}, [(y, (0, 1))], [at], guards).finish()
        for node in (forward, back):
            (value,) = evaluate([node], draw.bindings)
            np.testing.assert_array_equal(value, brute(node, draw.bindings))
            assert isinstance(node, Term) or not node.children or value.shape == node.shape


def test_booleans_among_numbers_are_numbers() -> None:
    m, x = Leaf(0, (3,), np.dtype(bool)), Leaf(1, (3,), FLOAT)
    bindings = {m: np.array([True, False, True]), x: np.arange(3.0)}
    node = linear((-1, m), (1, x))
    np.testing.assert_array_equal(evaluate([node], bindings)[0], [-1, 1, 1])
    count = Draft((), FLOAT, -2, {0: 3}, [(m, (0,))], []).finish()
    assert evaluate([count], bindings)[0] == -4


def test_python_scalars_are_leaves_of_their_dtype() -> None:
    s, x = Leaf(0, (), FLOAT), Leaf(1, (2,), np.dtype(np.float32))
    node = Draft((2,), FLOAT, 1, {0: 2}, [(s, ()), (x, (0,))], [0]).finish()
    (value,) = evaluate([node], {s: 0.1, x: np.ones(2, np.float32)})
    assert value.dtype == FLOAT
    np.testing.assert_array_equal(value, [0.1, 0.1])


def test_a_part_that_hangs_over_is_added_to_what_is_there():
    """Two terms of a Jacobian, one through a guarded look-up: neither overwrites the other."""
    index = np.array([2, 1, 0])

    def f(x):
        padded = np.pad(x, ((1, 0), (0, 0)))[index]
        return np.concatenate([padded.reshape(-1), x.reshape(-1)])

    J = cr.jacobian(f)(np.ones((3, 2)))
    columns = [J @ e for e in np.eye(6).reshape(6, 3, 2)]
    np.testing.assert_array_equal(np.asarray(J), np.stack(columns, -1).reshape(12, 3, 2))


@pytest.mark.parametrize("value", [3.0, 0.0])
def test_arguments_that_are_python_numbers(value):
    """They are not subscripted, and dividing by 0 gives infinity as NumPy's do."""

    def f(x):
        return x * 0.5, 1 / x, np.deg2rad(x)

    compiled = cr.compile(f, backend="numpy")
    with np.errstate(all="ignore"):
        found = compiled(value)
        wanted = f(np.float64(value))
    np.testing.assert_equal(np.array(found), np.array(wanted))
    assert all(isinstance(one, np.float64) for one in found)


def test_operations_that_one_other_reads_stand_in_one_statement() -> None:
    """Half the time that Python takes to compile a long program goes into its statements."""
    x = np.linspace(0.1, 1.0, 5)

    def f(x):
        y = x
        for k in range(40):
            y = np.sin(y * (1.5 + k)) if k % 3 else np.exp(-y)
        return y

    for start in (x, x[0]):
        compiled = cr.compile(f, backend="numpy")
        with np.errstate(all="raise"):
            np.testing.assert_allclose(compiled(start), f(start), rtol=1e-13)
        (path,) = [p for paths in compiled._entries.values() for p in paths]
        source = path.program.source
        assert source.count("\n") < len(path.program.plan.steps)
