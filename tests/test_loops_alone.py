"""scan, while_loop, cond, checkpoint without an oracle: what must not change, and mistakes."""

import numpy as np
import pytest

import chainrule as cr
from oracle import close

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 3)) * 0.5
XS = RNG.normal(size=(7, 3))
H = RNG.normal(size=3)


def recurrent(lib, w, h, xs, **more):
    """A recurrent network: carries a state and a count, gives a row a round."""
    np_, scan = lib

    def step(carry, x):
        h, k = carry
        h = np_.tanh(w @ h + x * np_.sin(h)) + w[0] * 0.1
        return (h, k + 1), {"sum": np_.sum(h * x), "row": h**2}

    (h, k), ys = scan(step, (h, 0), xs, **more)
    return np_.sum(h) + np_.sum(ys["sum"] ** 2) + np_.sum(ys["row"] * xs) + 0 * k


OURS = (np, cr.scan)


@pytest.mark.parametrize("more", [{}, {"reverse": True}], ids=str)
@pytest.mark.parametrize("checkpoint", ["sqrt", 100, 10**6])
def test_checkpoints_change_nothing(checkpoint, more):
    def gradient(**kinds):
        def f(*a):
            return recurrent(OURS, *a, **more, **kinds)

        return cr.grad(f, argnums=(0, 1, 2))(W, H, XS)

    for a, b in zip(gradient(checkpoint=checkpoint), gradient(), strict=True):
        close(a, b, 1e-12)


def test_scan_without_rows_and_without_rounds():
    last, ys = cr.scan(lambda c, _: (2 * c, None), np.ones(2), None, length=3)
    assert last.tolist() == [8, 8]
    assert ys is None
    last, ys = cr.scan(lambda c, x: (c + x, c), 1.0, np.zeros(0))
    assert (float(last), ys.shape) == (1.0, (0,))

    def f(a):
        return cr.scan(lambda c, x: (c * x, c), a, np.zeros(0))[0]

    assert float(cr.grad(f)(3.0)) == 1.0


def test_the_program_does_not_grow_with_the_rounds():
    def nodes(n):
        xs = np.full(n, 0.5)
        f = cr.compile(
            cr.grad(lambda w: cr.scan(lambda c, x: (np.sin(c * w + x), None), 0.1, xs)[0])
        )
        f(0.3)
        (path,) = (p for paths in f._entries.values() for p in paths)
        return len(path.program.plan.steps)

    assert nodes(2000) == nodes(3) < 30


def test_the_other_branch_is_not_computed():
    def f(x):
        return cr.cond(x > 0, lambda x: np.sqrt(x), lambda x: 0 * x, x)

    with np.errstate(all="raise"):
        assert float(cr.grad(f)(-1.0)) == 0.0


def test_checkpoint():
    layer = cr.checkpoint(lambda h, w: np.tanh(w @ np.sin(h)) * np.exp(-h))

    def plain(h, w):
        return np.tanh(w @ np.sin(h)) * np.exp(-h)

    def loss(block):
        return lambda h, w: np.sum(block(block(h, w), w) ** 2)

    ours = cr.value_and_grad(loss(layer), argnums=(0, 1))(H, W)
    expected = cr.value_and_grad(loss(plain), argnums=(0, 1))(H, W)
    close(ours[0], expected[0], 1e-15)
    for a, b in zip(ours[1], expected[1], strict=True):
        close(a, b, 1e-14)
    t = RNG.normal(size=3)
    close(cr.hvp(loss(layer))(H, W, t), cr.hvp(loss(plain))(H, W, t), 1e-13)
    jac = cr.jacobian(layer)(H, W).to_dense()
    close(jac, cr.jacobian(plain)(H, W).to_dense(), 1e-14)
    close(cr.vmap(layer, in_axes=(0, None))(XS, W), cr.vmap(plain, in_axes=(0, None))(XS, W), 1e-14)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cr.scan(lambda c, x: c, 0.0, XS), TypeError, "must return a pair"),
        (lambda: cr.scan(lambda c, x: ((c, c), x), 0.0, XS), TypeError, "the carry goes in as"),
        (
            lambda: cr.scan(lambda c, x: (c + x, x), 0.0, XS),
            TypeError,
            r"goes in as float64\[\] and comes out as float64\[3\]",
        ),
        (
            lambda: cr.scan(lambda c, x: (c, x), 0.0, (XS, XS[:2])),
            ValueError,
            "lengths differ: 2, 7",
        ),
        (lambda: cr.scan(lambda c, x: (c, x), 0.0), ValueError, "give xs or length"),
        (lambda: cr.scan(lambda c, x: (c, x), 0.0, 1.0), ValueError, "0-d and has no rows"),
        (
            lambda: cr.scan(lambda c, x: (c, x), 0.0, XS, checkpoint="all"),
            ValueError,
            "checkpoint is 'sqrt'",
        ),
        (lambda: cr.cond(XS > 0, np.sin, np.cos, XS), TypeError, "pred has shape"),
        (lambda: cr.cond(True, np.sin, np.sum, XS), TypeError, "the branches return"),
        (lambda: cr.while_loop(lambda c: c > XS, np.sin, 1.0), TypeError, "one boolean"),
        (
            lambda: cr.while_loop(lambda c: c > 0, lambda c: c > 1, 1.0),
            TypeError,
            "comes out as bool",
        ),
        (
            lambda: cr.scan(lambda c, x: (c if c > 0 else -c, x), 0.0, XS),
            cr.TraceError,
            "cond",
        ),
    ],
)
def test_mistakes_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()
