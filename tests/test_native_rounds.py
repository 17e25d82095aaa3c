"""Loops and branches inside native programs: NumPy's results, and nothing called back."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import chainrule as cr
from chainrule.lower.native import lowering
from chainrule.lower.native.blocks import Choice, Part, Region, Rounds, While
from chainrule.lower.native.callback import Callback
from chainrule.lower.native.lowering import lower

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 3)) * 0.5
XS = RNG.normal(size=(7, 3))
H = RNG.normal(size=3)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str(tmp_path_factory.mktemp("objects")))
        yield


def flat(tree):
    if isinstance(tree, dict):
        return [x for key in sorted(tree) for x in flat(tree[key])]
    if isinstance(tree, tuple | list):
        return [x for item in tree for x in flat(item)]
    return [] if tree is None else [tree]


def inside(items):
    """All items, those of blocks too."""
    for item in items:
        yield item
        if isinstance(item, Region):
            for block in item.blocks:
                yield from inside(block.items)


def agree(f, *args, tol=1e-12):
    """Both tiers give one result, again and again; the kinds of items of the native program."""
    native, plain = cr.compile(f, backend="native"), cr.compile(f, backend="numpy")
    found, expected = flat(native(*args)), flat(plain(*args))
    assert native.report() == ["native"]
    for a, b in zip(found, expected, strict=True):
        assert (type(a), a.dtype, np.shape(a)) == (type(b), b.dtype, np.shape(b))
        scale = np.max(np.abs(b), initial=1e-300)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale)
    for a, b in zip(found, flat(native(*args)), strict=True):
        assert a.tobytes() == b.tobytes()
    ((path,),) = native._entries.values()
    return [type(item) for item in inside(lower(path.program.plan).items)]


def recurrent(w, h, xs, **more):
    """A recurrent network: carries a state and a count, gives two things a round."""

    def step(carry, x):
        h, k = carry
        h = np.tanh(w @ h + x * np.sin(h)) + w[0] * w[0].dtype.type(0.1)
        return (h, k + 1), {"sum": np.sum(h * x), "row": h**2}

    (h, k), ys = cr.scan(step, (h, 0), xs, **more)
    return np.sum(h) + np.sum(ys["sum"] ** 2) + np.sum(ys["row"] * xs) + 0 * k.astype(h.dtype)


def second(f):
    return lambda w, h, xs: cr.grad(lambda w: np.sum(cr.grad(f)(w, h, xs) ** 2))(w)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("more", [{}, {"reverse": True}, {"checkpoint": "sqrt"}], ids=str)
def test_recurrences_and_their_derivatives(more, length, dtype):
    args = [a.astype(dtype) for a in (W, H, RNG.normal(size=(length, 3)))]
    tol = 1e-4 if dtype == np.float32 else 1e-12

    def f(*a):
        return recurrent(*a, **more)

    for g in (f, cr.value_and_grad(f, argnums=(0, 1, 2)), second(f)):
        kinds = agree(g, *args, tol=tol)
        assert Rounds in kinds
        assert Callback not in kinds


def test_tangents_and_batches():
    batch = RNG.normal(size=(4, 7, 3))
    f = recurrent
    assert Callback not in agree(lambda w, v: cr.jvp(lambda w: f(w, H, XS), (w,), (v,)), W, W + 1)
    assert Callback not in agree(lambda w, xs: cr.vmap(lambda x: f(w, H, x))(xs), W, batch)
    each = cr.grad(f, argnums=(0, 2))
    assert Callback not in agree(lambda w, xs: cr.vmap(lambda x: each(w, H, x))(xs), W, batch)
    kinds = agree(lambda w: cr.hessian(lambda h: f(w, h, XS))(H).to_dense(), W)
    assert Rounds in kinds


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_loops_in_loops(rounds):
    x = RNG.normal(size=(rounds, 4, 5))

    def f(x):
        def outer(carry, rows):
            def inner(c, row):
                c = np.sin(c * row + carry[1][0])
                return c, (c * c, np.cumprod(row) if rounds == 2 else row)

            c, (a, b) = cr.scan(inner, carry[0], rows, reverse=True)
            return (c, carry[1] + np.sum(a, 0)), np.sum(a * b)

        (c, total), ys = cr.scan(outer, (x[0, 0], np.zeros(5)), x)
        return np.sum(c) + np.sum(total * ys.sum())

    kinds = agree(f, x)
    assert (Callback in kinds) == (rounds == 2)  # inside of the loop, an operation of NumPy's
    assert kinds.count(Rounds) == 2
    agree(cr.grad(f), x)
    if rounds == 3:
        agree(lambda x: cr.grad(lambda x: np.sum(cr.grad(f)(x) ** 2))(x), x)


def test_what_has_no_native_form_runs_on_numpy(monkeypatch):
    def f(c, x):
        for _ in range(20):
            c = np.sin(c * x)
        return c, np.sum(c)

    assert Callback not in agree(lambda xs: cr.scan(f, H, xs), XS)
    with monkeypatch.context() as patch:
        patch.setattr(lowering, "MOST_STEPS", 20)  # fewer than the body has
        assert Callback in agree(lambda xs: cr.scan(f, H, xs), XS)

    def g(a, xs):
        return cr.scan(lambda c, x: (np.linalg.inv(a) @ (c + x), np.linalg.det(a * x)), H, xs)

    kinds = agree(g, W, XS)
    assert Rounds in kinds
    agree(cr.grad(lambda a: np.sum(g(a, XS)[0])), W)

    def odd(c, x):  # known to be without native form when code is written
        return c ^ (x > 0), np.sum(x)

    agree(lambda xs: np.sin(cr.scan(odd, np.zeros(3, bool), xs)[1]), XS)

    def failing(c, x):
        return np.linalg.inv(c - x), None

    native = cr.compile(lambda c, xs: cr.scan(failing, c, xs)[0], backend="native")
    c, xs = np.eye(2) * 3, np.zeros((3, 2, 2))
    np.testing.assert_allclose(native(c, xs), np.eye(2) / 3)
    xs[2] = np.eye(2) / 3
    xs[1] = np.eye(2) * (1 / 3)
    with pytest.raises(np.linalg.LinAlgError):
        native(c, xs)
    np.testing.assert_allclose(native(c, xs * 0), np.eye(2) / 3)


def test_what_stays_the_same_leaves_the_loop():
    """A product and functions of captured arrays alone are items before the loop."""

    def f(w, c, xs):
        def step(c, x):
            y = cr.checkpoint(lambda w: np.tanh(w.T @ w))(w)
            return np.sin(c @ y) + x, None

        return np.sum(cr.scan(step, c, xs)[0])

    w, c = RNG.normal(size=(6, 6)), RNG.normal(size=(4, 6))
    xs = RNG.normal(size=(5, 4, 6))
    assert Callback not in agree(f, w, c, xs)
    assert Callback not in agree(cr.grad(f), w, c, xs)


def test_rows_that_are_views_and_results_that_are_arguments():
    def f(w, xs):
        c, ys = cr.scan(lambda c, x: (c, (c, x, w)), w, xs)
        return c, ys

    agree(f, H, XS)
    agree(lambda w, xs: f(w, xs.T[:, ::-1][:, :3]), H, RNG.normal(size=(9, 5)))
    agree(lambda w, xs: f(w, np.broadcast_to(w, (5, 3))), H, XS)
    agree(lambda x: cr.scan(lambda c, _: (x, c * 2), x + 1, None, length=4), H)
    agree(lambda x: cr.scan(lambda c, _: ((c[1], c[0]), c[0]), (x, x + 1), None, length=5), H)
    agree(lambda x: cr.scan(lambda c, _: (np.sum(x), None), 0.0, None, length=5), H)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_carries_kept_before_and_after_each_round(length, reverse):
    def f(a, xs):
        def step(carry, x):
            c, d = carry
            new = np.sin(c) + x
            return (new, c * d), (c, new, c, new * 2, d)

        return cr.scan(step, (a, a + 1), xs, reverse=reverse)

    kinds = agree(f, H, XS[:length])
    assert Callback not in kinds
    agree(lambda a, xs: np.sum(f(a, xs)[1][0] * f(a, xs)[1][2][::-1]), H, XS[:length])
    agree(lambda a, xs: f(a, xs)[1][1], H, XS[:length])
    agree(lambda a, xs: cr.scan(lambda c, x: (f(c, xs)[0][0], f(c, xs)[1]), a, xs), H, XS[:length])


def test_no_rounds():
    native = cr.compile(lambda x: cr.scan(lambda c, _: (c * 2, c), x, None, length=0)[0], "native")
    np.testing.assert_array_equal(native(H), H)
    empty = cr.compile(lambda x, xs: cr.scan(lambda c, r: (c * r, c), x, xs), "native")
    last, ys = empty(H, np.zeros((0, 3)))
    np.testing.assert_array_equal(last, H)
    assert ys.shape == (0, 3)


def test_integers_booleans_and_gathers():
    table = RNG.normal(size=(6, 3))

    def f(table, keys, c):
        def step(carry, k):
            c, seen, n = carry
            c = np.where(seen, c, -c) * table[k] + table[(k + n) % 6]
            return (c, seen != (k > 2), n + k), (c, seen, n)

        return cr.scan(step, (c, np.array(False), 0), keys)

    keys = np.array([3, 1, 5, 0, 2, 4, 4])
    assert Callback not in agree(f, table, keys, H)
    loss = cr.grad(lambda t, k, c: np.sum(f(t, k, c)[1][0] ** 2), argnums=(0, 2))
    agree(loss, table, keys, H)


# -- while_loop, cond, checkpoint ----------------------------------------------------------------
def test_while_loops():
    def f(x, limit):
        def grow(v):
            return (v[0] * 1.5 + x, v[1] + 1)

        return cr.while_loop(lambda v: np.sum(v[0]) < limit, grow, (x, 0))

    x = np.abs(H)
    for limit in (-1.0, 5.0, 1e3, 1e6):  # none, and even and odd numbers of rounds
        kinds = agree(f, x, limit)
        assert While in kinds
        assert Callback not in kinds
    agree(lambda x, l: cr.jvp(lambda x: f(x, l)[0], (x,), (x + 1,)), x, 1e4)
    agree(lambda x: cr.vmap(lambda l: f(x, l)[0])(np.array([0.0, 3.0, 100.0])), x)


def test_branches():
    def f(x, y):
        return cr.cond(np.sum(x) > 0, lambda a, b: (a * b, a), lambda a, b: (b, np.sin(a)), x, y)

    y = H + 1
    for x in (np.abs(H), -np.abs(H)):
        kinds = agree(f, x, y)
        assert Choice in kinds
        assert Callback not in kinds
        agree(cr.grad(lambda x, y: np.sum(f(x, y)[0] * f(x, y)[1]), argnums=(0, 1)), x, y)
    agree(lambda xs, y: cr.scan(lambda c, x: f(c * x, y), H, xs), XS, y)
    agree(cr.grad(lambda xs, y: np.sum(cr.scan(lambda c, x: f(c * x, y), H, xs)[1])), XS, y)
    agree(lambda xs, y: cr.vmap(lambda x: f(x, y))(xs), XS, y)


def test_parts_computed_anew():
    f = cr.checkpoint(lambda w, x: np.tanh(w @ np.sin(w @ x)))
    kinds = agree(cr.grad(lambda w: np.sum(f(w, H) ** 2)), W)
    assert Part in kinds
    assert Callback not in kinds
    agree(lambda w, xs: np.sum(cr.scan(lambda c, x: (f(w, c + x), c), H, xs)[1]), W, XS)
    agree(cr.grad(lambda w: np.sum(cr.scan(lambda c, x: (f(w, c + x), c), H, XS)[0])), W)


def test_an_endless_loop_can_be_interrupted():
    code = """
import _thread, threading, numpy as np, chainrule as cr
f = cr.compile(lambda x: cr.while_loop(lambda v: v > 0, lambda v: v * 1.0, x), "native")
f(-1.0)
import signal, os
signal.setitimer(signal.ITIMER_REAL, 0.5)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    f(1.0)
except KeyboardInterrupt:
    print("interrupted", f(-1.0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["interrupted", "-1.0"], done.stderr


# -- any body --------------------------------------------------------------------------------------
STEPS = {
    "tanh": lambda a, m, s, x: (np.tanh(a * x), m, s),
    "matmul": lambda a, m, s, x: (np.sin(m @ a) + x, m, s),
    "outer": lambda a, m, s, x: (a, m * 0.5 + np.outer(np.cos(a), x), s),
    "sum": lambda a, m, s, x: (a, m, s * 0.5 + np.sum(a * x)),
    "norm": lambda a, m, s, x: (a / np.sqrt(1 + np.sum(a * a)), m, s),
    "swap": lambda a, m, s, x: (x, m, np.tanh(s) + a[0]),
    "turn": lambda a, m, s, x: (a[::-1] + s, np.tanh(m.T), s),
    "roll": lambda a, m, s, x: (np.roll(a, 1) - x, m, np.max(m)),
    "where": lambda a, m, s, x: (np.where(a > x, a, x * s), m, s),
    "gram": lambda a, m, s, x: (a, np.tanh(m @ m.T) + 0.1, s),
    "softmax": lambda a, m, s, x: (np.exp(a - np.max(a)) / np.sum(np.exp(a - np.max(a))), m, s),
    "slice": lambda a, m, s, x: (np.concatenate([a[1:], x[:1]]), m, s + m[0, 1]),
}


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4),
    gives=st.lists(st.sampled_from("amsxt"), max_size=2),
    length=st.integers(1, 5),
    n=st.sampled_from([2, 3, 9]),
    reverse=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
    mode=st.sampled_from(["value", "gradient", "tangent", "batch"]),
)
def test_any_body(names, gives, length, n, reverse, dtype, mode):
    rng = np.random.default_rng(length * n)
    a, xs = rng.normal(size=n).astype(dtype), rng.normal(size=(length, n)).astype(dtype)
    m = (rng.normal(size=(n, n)) / n).astype(dtype)

    def f(a, m, xs):
        t = np.tanh(m + m.T)

        def step(carry, x):
            a, m, s = carry
            for name in names:
                a, m, s = STEPS[name](a, m, s, x)
            made = {"a": a, "m": m, "s": s, "x": x * 2, "t": t}
            return (a, m, s), [made[key] for key in gives]

        return cr.scan(step, (a, m, a[0]), xs, reverse=reverse)

    def loss(a, m, xs):
        return sum(np.sum(np.sin(r)) for r in flat(f(a, m, xs)))

    run = {
        "value": f,
        "gradient": cr.value_and_grad(loss, argnums=(0, 1, 2)),
        "tangent": lambda a, m, xs: cr.jvp(f, (a, m, xs), (m[0], m * 0.5, xs * 0.3)),
        "batch": lambda a, m, xs: cr.vmap(cr.grad(loss), in_axes=(0, None, None))(m, m, xs),
    }[mode]
    agree(run, a, m, xs, tol=2e-3 if dtype == np.float32 else 1e-10)
