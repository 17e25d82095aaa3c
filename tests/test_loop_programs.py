"""Scans as loops in the emitted NumPy function, against the same loop in plain Python."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.lower.plan import make_plan
from chainrule.lower.steps import CallStep
from oracle import close

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 3)) * 0.5
XS = RNG.normal(size=(6, 3))


def python_scan(step, init, xs, reverse=False):
    rows = range(len(xs))
    carry, ys = init, []
    for t in reversed(rows) if reverse else rows:
        carry, y = step(carry, xs[t])
        ys.append(y)
    if reverse:
        ys.reverse()
    stacked = tuple(np.array(y) for y in zip(*ys, strict=True)) if ys else ()
    return carry, stacked


def swapped(c, x):  # carries change places
    a, b = c
    return (b, a + x), (a, b)


def shifted(c, x):  # values of two rounds before
    a, b = c
    return (np.tanh(W @ a + b) + x, a), (a, a * b)


def twice(c, x):  # one value as two carries and two results
    a, b = c
    h = np.sin(a) + b * x
    return (h, h), (h, h)


def views(c, x):  # carries that are views of new values, of rows and of captured arrays
    a, b = c
    return (np.exp(a - 1)[::-1], x), (b[::-1], a + W[1])


def constant(c, x):
    a, b = c
    return (a, W[0]), (a * x, b)


def written(c, x):  # a write into a part of a copy
    a, b = c
    h = a * 1.0
    h[1:] = b[:2] * x[0]
    return (h, np.where(h > 0, a, x)), (h * 2, np.cumsum(h))


def sums(c, x):
    a, b = c
    return (a + np.outer(x, x) @ a, b + x), (np.sum(a), 2 * a - b - x + 1)


def products(c, x):
    a, b = c
    big = np.tensordot(np.outer(a, b), W, 1)
    return (np.tanh(big.T @ x), big[0]), (big, np.sum(big * big, axis=1))


def nested(c, x):
    a, b = c
    inner, ys = cr.scan(lambda s, w: (np.sin(s + w * x[0]), s * w), a, W)
    return (inner, b * 0.5 + ys[0]), (ys, inner)


def branched(c, x):
    a, b = c
    a = cr.cond(np.sum(a) > 0, lambda a: a * x, lambda a: a - x, a)
    n = cr.while_loop(lambda s: np.sum(s * s) > 1, lambda s: 0.5 * s, b + x)
    return (a, n), (cr.checkpoint(np.tanh)(a), n)


def picked(c, x):
    a, b = c
    return (np.maximum(a - x, b), np.minimum(a * x, 1)), (np.clip(a, -1, 1), np.abs(b) > a)


STEPS = [
    picked,
    swapped,
    shifted,
    twice,
    views,
    constant,
    written,
    sums,
    products,
    nested,
    branched,
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_the_rounds_of_a_loop(step, reverse):
    init = (RNG.normal(size=3), RNG.normal(size=3))
    for xs in (XS, XS[:1]):
        expected = python_scan(step, init, xs, reverse)
        kept = [np.copy(a) for a in (*init, xs)]
        compiled = cr.compile(lambda a, b, xs: cr.scan(step, (a, b), xs, reverse=reverse))
        results = [compiled(*init, xs), compiled(*init, xs)]
        for carry, ys in results:
            for a, b in zip((*carry, *ys), (*expected[0], *expected[1]), strict=True):
                close(a, b, 1e-14)
        for before, after in zip(kept, (*init, xs), strict=True):
            assert np.array_equal(before, after)
        arrays = [a for carry, ys in results for a in (*carry, *ys)]
        for k, a in enumerate(arrays):  # results are nobody else's
            assert all(not np.shares_memory(a, b) for b in (*arrays[:k], *init, xs, W))


@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_no_rounds(step):
    init = (RNG.normal(size=3), RNG.normal(size=3))
    carry, ys = cr.compile(lambda a, b, xs: cr.scan(step, (a, b), xs))(*init, XS[:0])
    for a, b in zip(carry, init, strict=True):
        assert np.array_equal(a, b)
    assert all(y.shape[0] == 0 for y in ys)


def test_scalars_of_both_precisions():
    for dtype in (np.float32, np.float64):
        xs = RNG.normal(size=9).astype(dtype)

        def step(c, x):
            a, n = c
            b = a * x + 0.5 * a - x / (a * a + 1)
            return (np.tanh(b) - 2 * x, n + 1), (b, a, n)

        init = (dtype(0.25), 0)
        (a, n), ys = cr.compile(lambda a, xs: cr.scan(step, (a, 0), xs))(init[0], xs)
        expected, rows = python_scan(step, init, xs)
        assert a.dtype == ys[0].dtype == dtype
        assert int(n) == 9
        close(a, expected[0], 1e-6 if dtype is np.float32 else 1e-15)
        for y, row in zip(ys, rows, strict=True):
            close(y, row, 1e-6 if dtype is np.float32 else 1e-15)


def steps_of(compiled):
    (path,) = (p for paths in compiled._entries.values() for p in paths)
    return [s for s in path.program.plan.steps if isinstance(s, CallStep) and s.op == "scan"]


def test_value_and_gradient_run_forward_once():
    def f(w):
        return np.sum(cr.scan(lambda h, x: (np.tanh(w @ h + x), h * x), XS[0], XS)[1])

    compiled = cr.compile(cr.value_and_grad(f))
    value, slope = compiled(W)
    forward, backward = steps_of(compiled)
    assert not forward.params[4]
    assert backward.params[4]
    close(value, f(W), 1e-14)
    step = 1e-6 * RNG.normal(size=(3, 3))
    close(np.sum(slope * step), (f(W + step) - f(W - step)) / 2, 1e-7)


def test_rows_that_nobody_reads_are_not_kept():
    compiled = cr.compile(lambda xs: cr.scan(lambda c, x: (c + x, (c, c * x)), XS[0], xs)[1][1])
    close(compiled(XS), np.vstack([XS[:1], XS[0] + np.cumsum(XS, 0)[:-1]]) * XS, 1e-14)
    (scan,) = steps_of(compiled)
    assert len(scan.params[0].outs) == 2


def test_only_what_passes_on_is_computed_round_by_round():
    def f(w, u, xs):
        def step(h, x):
            return (np.tanh(w @ h + u @ x),) * 2

        return np.sum(cr.scan(step, XS[0], xs)[1] ** 2)

    compiled = cr.compile(cr.grad(f, argnums=(0, 1, 2)))
    compiled(W, 2 * W, XS)
    _, backward = steps_of(compiled)
    body, _, carries, _, _ = backward.params
    assert carries == 1  # gradients by w and u are products over all rounds
    kinds = [type(s).__name__ for s in make_plan(body.outs).steps]
    assert sorted(kinds) == ["Combine", "Contract", "Elementwise"], kinds


@pytest.mark.parametrize("n", [3, 5000])  # small states, and such that stay in the loop
def test_sums_over_rounds(n):
    rng = np.random.default_rng(n)
    a, b, xs = rng.normal(size=n), rng.normal(size=(2, n)), rng.normal(size=(4, n))

    def f(scan, a, b, c, xs):
        def step(h, x):
            g = np.where(h > 0.5, b[0] * c, np.sqrt(np.abs(h)) * x)
            return np.sin(h * a) + g + np.sum(a * x), (h * b[1], np.sum(h) * c)

        h, (y, s) = scan(step, a * 1, xs)
        return np.sum(h * a) + np.sum(y * y) + np.sum(s)

    def loss(scan):
        return cr.value_and_grad(lambda *v: f(scan, *v), argnums=(0, 1, 2, 3))(a, b, 0.3, xs)

    def plain(step, h, xs):
        rows = []
        for t in range(len(xs)):
            h, row = step(h, xs[t])
            rows.append(row)
        return h, tuple(np.stack(r) for r in zip(*rows, strict=True))

    (value, slopes), (expected, expected_slopes) = loss(cr.scan), loss(plain)
    close(value, expected, 1e-12)
    for one, other in zip(slopes, expected_slopes, strict=True):
        close(one, other, 1e-11)
