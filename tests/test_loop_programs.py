"""Scans as loops in the emitted NumPy function, against the same loop in plain Python."""

import numpy as np
import pytest

import chainrule as cr
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
