"""scan, while_loop, cond, checkpoint against JAX: every mode and order, under vmap and compile."""

import numpy as np
import pytest

import chainrule as cr
from oracle import close
from test_loops_alone import OURS, XS, H, W, recurrent

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

RNG = np.random.default_rng(0)
THEIRS = (jnp, jax.lax.scan)


@pytest.mark.parametrize("more", [{}, {"reverse": True}], ids=str)
def test_scan_values_and_gradients(more):
    ours = cr.value_and_grad(lambda *a: recurrent(OURS, *a, **more), argnums=(0, 1, 2))
    theirs = jax.value_and_grad(lambda *a: recurrent(THEIRS, *a, **more), argnums=(0, 1, 2))
    value, slopes = ours(W, H, XS)
    expected, expected_slopes = theirs(W, H, XS)
    close(value, expected, 1e-12)
    for a, b in zip(slopes, expected_slopes, strict=True):
        close(a, b, 1e-11)
    compiled = cr.compile(ours)
    for _ in range(2):
        close(compiled(W, H, XS)[1][0], expected_slopes[0], 1e-11)


def test_scan_forward_second_order_and_jacobians():
    def f(w):
        return recurrent(OURS, w, H, XS)

    def g(w):
        return recurrent(THEIRS, w, H, XS)

    tangent = RNG.normal(size=(3, 3))
    close(cr.jvp(f, (W,), (tangent,))[1], jax.jvp(g, (W,), (tangent,))[1], 1e-11)
    close(cr.hvp(f)(W, tangent), jax.jvp(jax.grad(g), (W,), (tangent,))[1], 1e-10)
    close(cr.hessian(f)(W).to_dense(), jax.hessian(g)(W), 1e-10)

    def states(scan, np_):
        return lambda w: scan(lambda h, x: (np_.tanh(w @ h + x),) * 2, H, XS)[1]

    expected = jax.jacrev(states(jax.lax.scan, jnp))(W)
    for mode in ("forward", "reverse", "auto"):
        close(cr.jacobian(states(cr.scan, np), mode=mode)(W).to_dense(), expected, 1e-11)


def test_scan_under_vmap():
    many = RNG.normal(size=(4, 7, 3))
    ours = cr.vmap(cr.grad(lambda xs, h: recurrent(OURS, W, h, xs)), in_axes=(0, None))(many, H)
    theirs = jax.vmap(jax.grad(lambda xs, h: recurrent(THEIRS, W, h, xs)), in_axes=(0, None))
    close(ours, theirs(many, H), 1e-11)
    starts = RNG.normal(size=(5, 3))
    close(
        cr.vmap(lambda h: recurrent(OURS, W, h, XS))(starts),
        jax.vmap(lambda h: recurrent(THEIRS, W, h, XS))(starts),
        1e-12,
    )


def test_derivatives_inside_and_outside_of_a_scan_do_not_mix():
    def descent(lib, grad, scan, a):
        def step(x, _):
            return (x - 0.1 * grad(lambda z: lib.sum(a * z**4))(x), x)

        return lib.sum(scan(step, lib.ones(2) * a, None, length=5)[1] ** 2)

    ours = cr.grad(lambda a: descent(np, cr.grad, cr.scan, a))(0.3)
    theirs = jax.grad(lambda a: descent(jnp, jax.grad, jax.lax.scan, a))(0.3)
    close(ours, theirs, 1e-12)


def test_nested_scans_and_float32():
    def f(lib, scan, x):
        def inner(c, y):
            return (c * 0.5 + lib.sin(y), c)

        def outer(c, row):
            return scan(inner, c, row)

        return lib.sum(scan(outer, x[0, 0], x)[1])

    x = RNG.normal(size=(3, 4)).astype(np.float32)
    ours = cr.grad(lambda x: f(np, cr.scan, x))(x)
    assert ours.dtype == np.float32
    close(ours, jax.grad(lambda x: f(jnp, jax.lax.scan, x))(x), 1e-5)


# -- while -----------------------------------------------------------------------------------------
def newton(lib, while_loop, a):
    """√a by Newton's method, ended by its residual."""

    def go_on(s):
        return lib.abs(s[0] ** 2 - a) > 1e-13

    def step(s):
        return (0.5 * (s[0] + a / s[0]), s[1] + 1)

    return while_loop(go_on, step, (a * 1.0, 0))


def test_while_loop():
    value, rounds = newton(np, cr.while_loop, 5.0)
    expected, expected_rounds = newton(jnp, jax.lax.while_loop, 5.0)
    close(value, expected, 1e-14)
    assert int(rounds) == int(expected_rounds) > 3
    _, change = cr.jvp(lambda a: newton(np, cr.while_loop, a)[0], (5.0,), (1.0,))
    close(change, 0.5 / np.sqrt(5.0), 1e-12)
    with pytest.raises(cr.TraceError, match="while_loop has no reverse derivative"):
        cr.grad(lambda a: newton(np, cr.while_loop, a)[0])(5.0)
    J = cr.jacobian(lambda a: newton(np, cr.while_loop, a)[0], mode="forward")(5.0)
    close(J.to_dense(), 0.5 / np.sqrt(5.0), 1e-12)


def test_while_loop_under_vmap_ends_each_by_itself():
    a = np.array([0.3, 5.0, 4000.0])
    values, rounds = cr.vmap(lambda a: newton(np, cr.while_loop, a))(a)
    expected, expected_rounds = jax.vmap(lambda a: newton(jnp, jax.lax.while_loop, a))(a)
    close(values, expected, 1e-14)
    assert rounds.tolist() == expected_rounds.tolist()


# -- cond ------------------------------------------------------------------------------------------
def piecewise(lib, cond, x, w):
    return cond(lib.sum(x) > 0, lambda x: lib.sum(lib.sin(x) * w), lambda x: lib.sum(x**3) - w, x)


@pytest.mark.parametrize("sign", [1, -1])
def test_cond(sign):
    x = sign * np.array([1.0, 2.0, 0.5])
    ours = cr.value_and_grad(lambda x, w: piecewise(np, cr.cond, x, w), argnums=(0, 1))(x, 0.7)
    theirs = jax.value_and_grad(lambda x, w: piecewise(jnp, jax.lax.cond, x, w), argnums=(0, 1))
    expected = theirs(x, 0.7)
    close(ours[0], expected[0], 1e-14)
    close(ours[1][0], expected[1][0], 1e-14)
    close(ours[1][1], expected[1][1], 1e-14)
    H = cr.hessian(lambda x: piecewise(np, cr.cond, x, 0.7))(x).to_dense()
    close(H, jax.hessian(lambda x: piecewise(jnp, jax.lax.cond, x, 0.7))(x), 1e-13)


def test_cond_is_decided_when_the_program_runs():
    step = cr.compile(cr.grad(lambda x: piecewise(np, cr.cond, x, 0.7)))
    for x in (np.ones(3), -np.ones(3), np.ones(3)):
        close(step(x), jax.grad(lambda x: piecewise(jnp, jax.lax.cond, x, 0.7))(x), 1e-14)
    assert len(step.report()) == 1


def test_cond_under_vmap():
    many = RNG.normal(size=(6, 3))
    ours = cr.vmap(cr.grad(lambda x: piecewise(np, cr.cond, x, 0.7)))(many)
    close(ours, jax.vmap(jax.grad(lambda x: piecewise(jnp, jax.lax.cond, x, 0.7)))(many), 1e-13)
    same = cr.vmap(lambda x: cr.cond(True, np.sin, np.cos, x))(many)
    close(same, np.sin(many), 1e-15)
