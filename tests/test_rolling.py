"""Python loops that repeat one body become one scan, of the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.expr.nodes import Call
from chainrule.expr.walk import topological
from chainrule.lower.plan import make_plan
from chainrule.simplify import repeats
from chainrule.transforms.core import derived_pullback, enter, level, outputs, rolled_up


@contextmanager
def worthwhile(nodes: int) -> Iterator[None]:
    """Loops of so many nodes are rolled up."""
    before = repeats.WORTHWHILE
    repeats.WORTHWHILE = nodes
    cr.clear_caches()
    try:
        yield
    finally:
        repeats.WORTHWHILE = before
        cr.clear_caches()


@pytest.fixture(autouse=True)
def short_loops_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CHAINRULE_NATIVE", "0")  # the same kernels on both sides
    with worthwhile(40):
        yield


def scans(f: Callable[..., Any], *args: Any) -> int:
    """Loops in the program of a gradient."""
    with level("grad") as (session, opened):
        inputs = enter(session, opened, args, "args")
        nodes = outputs(f(*inputs.tree)).nodes
        made = topological(rolled_up(session, nodes, backward=True))
    return len({(n.args, n.params) for n in made if isinstance(n, Call) and n.op == "scan"})


def same(f: Callable[..., Any], *args: Any, loops: int | None = 1, rtol: float = 1e-12) -> None:
    """Values are bitwise those of the program as traced, derivatives are to rounding."""
    numbers = tuple(range(len(args)))
    tangents = tuple(
        np.cos(np.arange(np.size(a))).reshape(np.shape(a)).astype(a.dtype) for a in args
    )

    def everything() -> list[Any]:
        value, grads = cr.value_and_grad(f, numbers)(*args)
        y, dy = cr.jvp(f, args, tangents)
        z, pullback = cr.vjp(f, *args)
        line = cr.linearize(f, *args)[1](*tangents)
        compiled = cr.compile(cr.value_and_grad(f, numbers))(*args)
        forward = cr.compile(f)(*args)
        values = [value, y, z, compiled[0], forward]
        return [values, [*grads, dy, *pullback(np.ones_like(z)), line, *compiled[1]]]

    with worthwhile(10**9):
        values, derivatives = everything()
    if loops is not None:
        assert scans(f, *args) == loops
    found, others = everything()
    for a, b in zip(found, values, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for a, b in zip(others, derivatives, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (1e-30 + np.max(np.abs(b))))


def changing(x: Any, rounds: int = 50) -> Any:
    for k in range(rounds):
        x = np.sin(x * (1.0 + 0.5 / (k + 1))) + 0.1 * k
    return np.sum(x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_changing_scalar(dtype: str) -> None:
    x = np.linspace(0.1, 1, 8).astype(dtype)
    same(changing, x, rtol=1e-12 if dtype == "float64" else 1e-5)


def test_a_scalar_that_does_not_change() -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = np.tanh(1.5 * x) / 3.0 + 0.25
        return np.sum(x * x)

    same(f, np.linspace(-1, 1, 5))
    same(f, np.float64(0.3))


def test_zero_dimensional_and_signed_zeros() -> None:
    def f(x: Any) -> Any:
        for k in range(40):
            x = x / (k + 2) - (0.0 if k % 2 else -0.0) + np.cos(x)
        return x

    same(f, np.float64(0.5), loops=None)


def test_rows_in_both_directions() -> None:
    def f(x: Any, w: Any) -> Any:
        h = w[0]
        for t in range(30):
            h = np.tanh(h @ w + x[t]) + x[29 - t] * 0.5
        return np.sum(h * h)

    rng = np.random.default_rng(0)
    same(f, rng.normal(size=(30, 3)), rng.normal(size=(3, 3)), rtol=1e-10)


def test_rows_of_an_array_computed_before() -> None:
    def f(x: Any, w: Any) -> Any:
        y = np.sin(x @ w)
        h = y[0]
        for t in range(1, 30):
            h = np.tanh(h @ w) * y[t] + x[t - 1]
        return np.sum(h)

    rng = np.random.default_rng(1)
    same(f, rng.normal(size=(30, 3)), rng.normal(size=(3, 3)), rtol=1e-10)


def test_an_lstm_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def lstm(np: Any) -> Callable[..., Any]:
        def f(w: Any, u: Any, x: Any) -> Any:
            h = c = x[0] * 0.0
            for t in range(25):
                z = x[t] @ w + h @ u
                i, g, o = z[0:4], z[4:8], z[8:12]
                c = c * np.tanh(i) + np.sin(g)
                h = np.tanh(c) * np.cos(o)
            return np.sum(h**2) + np.sum(c)

        return f

    rng = np.random.default_rng(2)
    args = (rng.normal(size=(4, 12)), rng.normal(size=(4, 12)) / 4, rng.normal(size=(25, 4)))
    same(lstm(np), *args, rtol=1e-9)
    expected = jax.grad(lstm(jax.numpy), (0, 1, 2))(*args)
    for a, b in zip(cr.grad(lstm(np), (0, 1, 2))(*args), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_several_carries_that_swap_and_come_late() -> None:
    def swapped(x: Any, y: Any) -> Any:
        for _ in range(40):
            x, y = y, np.sin(x) + 0.5 * y
        return np.sum(x * y)

    def late(x: Any, y: Any) -> Any:
        states = [x, y, x * y]
        for _ in range(40):
            states.append(np.sin(states[-1]) * 0.5 + states[-2] * 0.25 - states[-3] * 0.125)
        return np.sum(states[-1] * states[-2])

    args = np.linspace(0.1, 1, 4), np.linspace(1, 2, 4)
    same(swapped, *args)
    same(late, *args, loops=None)


def test_components_of_a_state() -> None:
    def f(s: Any) -> Any:
        for _ in range(30):
            x, y, z = s[0], s[1], s[2]
            change = np.stack([10 * (y - x), x * (28.0 - z) - y, x * y - 8 / 3 * z])
            s = s + 0.01 * change
        return np.sum(s**2)

    same(f, np.array([1.0, 1.5, 20.0]), loops=None, rtol=1e-9)


def test_complex_numbers() -> None:
    def f(x: Any) -> Any:
        z = x * (1 + 0.5j)
        for _ in range(30):
            z = np.sin(z) * (0.5 + 0.1j) + z * z * 0.1
        return np.sum(np.real(z * np.conj(z)))

    same(f, np.linspace(0.1, 1, 4), loops=None)


def test_layers_of_one_shape_and_weights_of_their_own() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(3, 3)) for _ in range(30)]

    def f(x: Any, *ws: Any) -> Any:
        for w in ws:
            x = np.tanh(x @ w + 0.1)
        return np.sum(x)

    same(f, rng.normal(size=3), *weights, loops=0)


def test_captured_weights() -> None:
    w = np.random.default_rng(4).normal(size=(3, 3))

    def f(x: Any) -> Any:
        for _ in range(30):
            x = np.tanh(w @ x)
        return np.sum(x)

    x = np.linspace(-1, 1, 3)
    same(f, x)
    step = cr.compile(cr.grad(f))
    before = step(x)
    w *= 0.5  # captured by reference
    assert not np.allclose(before, step(x))
    np.testing.assert_array_equal(step(x), cr.grad(f)(x))


def test_states_that_are_read_after_the_loop_stay() -> None:
    def f(x: Any) -> Any:
        states = []
        for _ in range(30):
            x = np.sin(x) * 1.1
            states.append(x)
        return np.sum(np.stack(states) ** 2)

    def total(x: Any) -> Any:
        loss = 0.0
        for _ in range(30):
            x = np.sin(x) * 1.1
            loss = loss + np.sum(x * x)
        return loss

    x = np.linspace(0.1, 1, 3)
    same(f, x, loops=0)
    same(total, x)


def test_two_results_and_auxiliary_values() -> None:
    def f(x: Any) -> Any:
        first = x
        for _ in range(30):
            x = np.sin(x) * 1.1
        return np.sum(x), (x, first * 2, "name")

    x = np.linspace(0.1, 1, 3)
    with worthwhile(10**9):
        (value, aux), grad = cr.value_and_grad(f, has_aux=True)(x)
    (found, others), slope = cr.value_and_grad(f, has_aux=True)(x)
    np.testing.assert_array_equal(found, value)
    np.testing.assert_allclose(slope, grad, rtol=1e-13)
    np.testing.assert_array_equal(others[0], aux[0])
    np.testing.assert_array_equal(others[1], aux[1])
    assert others[2] == "name"


def test_an_early_exit() -> None:
    def f(x: Any) -> Any:
        for k in range(60):
            x = np.sin(x) * (1.0 + 0.01 * k)
            if x[0] > 0.9:
                break
        return np.sum(x)

    for start in (0.1, 0.5, 1.4):
        same(f, np.array([start, 0.3]), loops=0)


def test_masks_reach_through_the_loop() -> None:
    def loop(y: Any) -> Any:
        for _ in range(30):
            y = np.sqrt(y) * 1.1
        return y

    def after(x: Any) -> Any:
        return np.sum(np.where(x > 0, loop(x), 0.0))

    def before(x: Any) -> Any:
        return np.sum(loop(np.where(x > 0, x, 0.0)))

    def inside(x: Any) -> Any:
        for _ in range(30):
            x = np.where(x > 0.25, np.sqrt(x), 0.5 * x)
        return np.sum(x)

    def part(x: Any) -> Any:
        return np.sum(loop(x)[1:])

    x = np.array([0.0, 0.5, 2.0])
    with np.errstate(all="ignore"):
        same(after, x, loops=0)
        same(inside, x, loops=0)
        same(part, x, loops=0)
        with worthwhile(10**9):
            expected = cr.jvp(before, (x,), (np.ones(3),))[1]
        np.testing.assert_allclose(cr.jvp(before, (x,), (np.ones(3),))[1], expected, rtol=1e-12)


def test_nested_loops() -> None:
    def f(x: Any) -> Any:
        for i in range(10):
            for k in range(12):
                x = np.sin(x * (1.0 + 0.1 * k))
            x = x * 2.0 + 0.1 * i
        return np.sum(x)

    same(f, np.linspace(0.1, 1, 4), loops=None, rtol=1e-10)


def test_two_loops_one_after_the_other() -> None:
    def f(x: Any) -> Any:
        for _ in range(30):
            x = np.sin(x) * 1.1
        for k in range(30):
            x = np.tanh(x) + 0.1 * k
        return np.sum(x)

    same(f, np.linspace(0.1, 1, 4), loops=2)


def test_higher_orders_vmap_and_jacobians() -> None:
    def f(x: Any) -> Any:
        return changing(x, 30)

    def everything() -> list[Any]:
        rows = np.linspace(0.1, 1, 12).reshape(4, 3)
        x, v = rows[0], np.array([1.0, -1.0, 0.5])
        return [
            cr.vmap(cr.grad(f))(rows),
            cr.grad(lambda rows: np.sum(cr.vmap(f)(rows)))(rows),
            cr.hvp(f)(x, v),
            cr.grad(lambda x: np.sum(cr.grad(f)(x) ** 2))(x),
            np.asarray(cr.hessian(f)(x)),
            np.asarray(cr.jacobian(cr.grad(f))(x)),
            cr.compile(cr.vmap(cr.grad(f)))(rows),
            cr.vjp(cr.grad(f), x)[1](v)[0],
        ]

    with worthwhile(10**9):
        expected = everything()
    for a, b in zip(everything(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_custom_rules_and_stopped_gradients() -> None:
    @cr.custom
    def twice(x: Any) -> Any:
        return 2 * np.sin(x)

    twice.vjp(lambda x: (2 * np.sin(x), x), lambda x, g: (3.0 * g * np.cos(x),))

    def custom(x: Any) -> Any:
        for _ in range(30):
            x = twice(x) * 0.4
        return np.sum(x)

    def stopped(x: Any) -> Any:
        for _ in range(30):
            x = np.sin(x) + cr.stop_gradient(x) * 0.5
        return np.sum(x)

    x = np.linspace(0.1, 1, 3)
    with worthwhile(10**9):
        expected = [cr.grad(f)(x) for f in (custom, stopped)]
    for f, slope in zip((custom, stopped), expected, strict=True):
        np.testing.assert_allclose(cr.grad(f)(x), slope, rtol=1e-12)


def test_again_and_with_other_scalars() -> None:
    x = np.linspace(0.1, 1, 4)
    slopes = {}
    for scale in (1.0, 2.0, 1.0):

        def f(x: Any, scale: float = scale) -> Any:
            for k in range(40):
                x = np.sin(x * (scale + 0.01 * k))
            return np.sum(x)

        found = cr.grad(f)(x)
        with worthwhile(10**9):
            np.testing.assert_allclose(found, cr.grad(f)(x), rtol=1e-12)
        slopes.setdefault(scale, found)
        np.testing.assert_array_equal(cr.grad(f)(x), slopes[scale])
    assert not np.allclose(slopes[1.0], slopes[2.0])


def test_programs_do_not_grow_with_the_rounds() -> None:
    def steps(rounds: int) -> int:
        with level("grad") as (session, opened):
            inputs = enter(session, opened, (np.linspace(0.1, 1, 8),), "args")
            nodes = outputs(changing(*inputs.tree, rounds)).nodes
            nodes = rolled_up(session, nodes, backward=True)
            seeds = [session.new_leaf((), nodes[0].dtype)]
            plan = make_plan([*nodes, *derived_pullback(nodes, seeds, inputs.leaves)])
        return len(plan.steps)

    assert steps(100) == steps(5000) < 40


def test_elementwise_chains_without_derivatives_stay() -> None:
    def rows(x: Any, w: Any) -> Any:
        h = w[0]
        for t in range(30):
            h = np.tanh(h @ w + x[t])
        return h

    def steps(f: Callable[..., Any], *args: Any) -> int:
        compiled = cr.compile(f)
        compiled(*args)
        ((path,),) = compiled._entries.values()
        return len(path.program.plan.steps)

    assert steps(changing, np.ones(3)) > 100  # one native loop
    assert steps(rows, np.ones((30, 3)), np.ones((3, 3))) < 20


def test_large_values_stay() -> None:
    same(changing, np.linspace(0.1, 1, 5000), loops=0)


def test_programs_that_live_already_change_nothing() -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = np.sin(x) * 1.1
        return np.sum(x)

    def total(x: Any) -> Any:
        loss = 0.0
        for _ in range(40):
            x = np.sin(x) * 1.1
            loss = loss + np.sum(x * x)
        return loss

    x = np.linspace(0.1, 1, 3)
    with worthwhile(10**9):
        step = cr.compile(f)
        step(x)  # its nodes are nodes of the other program
    assert scans(total, x) == 1
    assert step(x) == f(x)


@st.composite
def bodies(draw: Any) -> tuple[Any, ...]:
    """A few statements on three variables, a constant and the rows of an array."""
    statement = st.tuples(
        st.integers(0, 2),  # written
        st.sampled_from(
            ["sin", "tanh", "mul", "add", "sub", "row", "scale", "shift", "div", "mat"]
        ),
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from([1.0, 0.5, -0.25, 2]),
        st.booleans(),  # whether the scalar changes
    )
    return tuple(draw(st.lists(statement, min_size=2, max_size=6)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies(), st.integers(9, 25), st.booleans(), st.booleans())
def test_any_body(body: tuple[Any, ...], rounds: int, single: bool, all_read: bool) -> None:
    rng = np.random.default_rng(5)
    dtype = np.float32 if single else np.float64
    w = (rng.normal(size=(3, 3)) / 3).astype(dtype)

    def f(x: Any, rows: Any) -> Any:
        values = [x, x * 0.5, np.cos(x)]
        for k in range(rounds):
            for target, op, i, j, scalar, changes in body:
                a, b = values[i], values[j]
                c = scalar + 0.125 * k if changes else scalar
                values[target] = {
                    "sin": lambda a, b, c: np.sin(a),
                    "tanh": lambda a, b, c: np.tanh(a) + b,
                    "mul": lambda a, b, c: np.tanh(a) * np.sin(b),
                    "add": lambda a, b, c: 0.5 * (a + b),
                    "sub": lambda a, b, c: 0.5 * a - b * 0.25,
                    "row": lambda a, b, c: np.sin(a) + rows[k],
                    "scale": lambda a, b, c: np.sin(a * c),
                    "shift": lambda a, b, c: np.sin(a + c),
                    "div": lambda a, b, c: a / (c + 4.0),
                    "mat": lambda a, b, c: w @ np.tanh(a),
                }[op](a, b, c)
        return np.sum(values[0] * values[1] + values[2]) if all_read else np.sum(values[0])

    x, rows = rng.normal(size=3).astype(dtype), rng.normal(size=(rounds, 3)).astype(dtype)
    with worthwhile(10**9):
        value, slopes = cr.value_and_grad(f, (0, 1))(x, rows)
        tangent = cr.jvp(f, (x, rows), (x, rows))[1]
    with worthwhile(16):
        found, others = cr.value_and_grad(f, (0, 1))(x, rows)
        moved = cr.jvp(f, (x, rows), (x, rows))[1]
    np.testing.assert_array_equal(found, value)
    rtol = 1e-3 if single else 1e-10
    for a, b in zip((*others, moved), (*slopes, tangent), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (1e-3 + np.max(np.abs(b))))
