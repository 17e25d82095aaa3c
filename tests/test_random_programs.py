"""Random whole programs: jvp against vjp, against the stored Jacobian, against JAX."""

import importlib.util

import numpy as np
import pytest
from hypothesis import event, given, settings

import chainrule as cr
from oracle import close
from programs import Program, programs

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is the oracle")

STEPS = [
    # A few programs by hand that met trouble in a prototype, run in the same way as random ones.
    ("residual", lambda np, x: x + np.tanh(x) + np.tanh(x + np.tanh(x)), (4,)),
    ("roll-twice", lambda np, x: np.roll(np.roll(x, 1) * x, -2) * x, (5,)),
    ("diagonal-of-roll", lambda np, x: np.diagonal(np.roll(x, 1, axis=1) * x.T), (3, 3)),
    ("overlapping-windows", lambda np, x: (x[1:] * x[:-1])[1:] + x[2:] * x[:-2], (6,)),
    ("gather-collides", lambda np, x: x[np.array([0, 0, 1])] * x[np.array([1, 0, 0])], (2,)),
    (
        "reshape-mixes",
        lambda np, x: np.reshape(np.reshape(x, (3, 4)).T, (2, 6)) * x[:2, :1],
        (4, 3),
    ),
    ("flip-of-pad", lambda np, x: np.flip(np.pad(x, (2, 1))) * np.pad(x, (1, 2)), (4,)),
    ("cumsum-of-slice", lambda np, x: np.cumsum(np.cumsum(x)[::2])[::-1] * x[:3], (5,)),
]


def as_functions(program: Program):
    return lambda *inputs: program(np, *inputs)


def agree_with_each_other(f, args, tangents, seed):
    """The adjoint identity, and the products with the Jacobian, in every mode."""
    y, dy = cr.jvp(f, args, tangents)
    expected = f(*(a.copy() for a in args))
    close(y, expected, 1e-13, "value")
    assert np.asarray(dy).dtype == np.asarray(expected).dtype
    cotangent = np.random.default_rng(seed).normal(size=np.shape(y))
    _, pullback = cr.vjp(f, *args)
    gradients = pullback(cotangent)
    left = np.sum(cotangent * dy)
    parts = [g * t for g, t in zip(gradients, tangents, strict=True)]
    scale = 1 + np.sum(np.abs(cotangent * dy)) + sum(np.sum(np.abs(p)) for p in parts)
    assert abs(left - sum(np.sum(p) for p in parts)) <= 1e-11 * scale
    for mode in ("forward", "reverse", "auto"):
        js = cr.jacobian(f, argnums=tuple(range(len(args))), mode=mode)(*args)
        close(sum(j @ t for j, t in zip(js, tangents, strict=True)), dy, 1e-11, f"{mode} J @ v")
        for j, g in zip(js, gradients, strict=True):
            close(cotangent @ j, g, 1e-11, f"{mode} u @ J")
            close(np.tensordot(cotangent, j.to_dense(), cotangent.ndim), g, 1e-11, f"{mode} dense")
    return dy


def differences(f, args, tangents):
    h = 1e-3
    weights = {1: 45.0, 2: -9.0, 3: 1.0}

    def at(k):
        return f(*(a + k * h * t for a, t in zip(args, tangents, strict=True)))

    return sum(w * (at(k) - at(-k)) for k, w in weights.items()) / (60 * h)


@settings(max_examples=120)
@given(programs())
def test_forward_reverse_and_jacobian_agree(program):
    args, tangents = program.arguments(), program.tangents()
    for step in program.steps:
        event(step.name)
    agree_with_each_other(as_functions(program), args, tangents, program.seed)


@needs_jax
@settings(max_examples=60)
@given(programs())
def test_against_jax(program):
    import jax

    args = program.arguments()
    f = as_functions(program)
    every = tuple(range(len(args)))
    expected = f(*(a.copy() for a in args))
    weight = np.random.default_rng(program.seed).normal(size=np.shape(expected))

    @jax.jit
    def oracle(*inputs):
        def g(*xs):
            return program(jax.numpy, *xs)

        def scalar(*xs):
            return (weight * g(*xs)).sum()

        value = g(*inputs)
        return value, jax.jacrev(g, every)(*inputs), jax.jacfwd(jax.grad(scalar), every)(*inputs)

    value, jacobians, hessian_row = oracle(*args)
    close(value, expected, 1e-11, "value")
    found = cr.jacobian(f, argnums=every)(*args)
    for k in every:
        close(found[k].to_dense(), jacobians[k], 1e-8, f"Jacobian by argument {k}")
    rows = cr.jacobian(cr.grad(lambda *xs: np.sum(weight * f(*xs))), argnums=every)(*args)
    for k in every:
        close(np.asarray(rows[k]), hessian_row[k], 1e-8, f"Hessian row, argument {k}")
    tangents = program.tangents()
    _, dy = cr.jvp(f, args, tangents)
    products = (np.tensordot(j, t, t.ndim) for j, t in zip(jacobians, tangents, strict=True))
    close(dy, sum(products), 1e-8, "jvp")


@settings(max_examples=60)
@given(programs())
def test_hessians_are_symmetric_and_are_what_hvp_applies(program):
    args = program.arguments()
    f = as_functions(program)
    weight = np.random.default_rng(program.seed).normal(size=np.shape(f(*args)))

    def scalar(x):
        return np.sum(weight * f(x, *args[1:]))

    v = program.tangents()[0]
    h = cr.hessian(scalar)(args[0])
    dense = h.to_dense()
    n = args[0].size
    close(dense.reshape(n, n).T, dense.reshape(n, n), 1e-10, "symmetry")
    close(cr.hvp(scalar)(args[0], v), h @ v, 1e-10, "hvp")


@settings(max_examples=40)
@given(programs())
def test_float32_stays_float32(program):
    f = as_functions(program)
    args, tangents = program.arguments(np.float32), program.tangents(np.float32)
    expected = f(*(a.copy() for a in args))
    y, dy = cr.jvp(f, args, tangents)
    assert np.asarray(y).dtype == np.asarray(expected).dtype == np.float32
    assert np.asarray(dy).dtype == np.float32
    gradients = cr.vjp(f, *args)[1](np.ones(np.shape(y), np.float32))
    wide = tuple(a.astype(np.float64) for a in args)
    exact = cr.vjp(f, *wide)[1](np.ones(np.shape(y)))
    for gradient, g in zip(gradients, exact, strict=True):
        assert gradient.dtype == np.float32
        close(gradient, g, 2e-3, "gradient")


@settings(max_examples=30)
@given(programs(max_steps=5))
def test_vmap_is_a_loop(program):
    f = as_functions(program)
    batch = [tuple(s * a for a in program.arguments()) for s in (1.0, 0.5, -1.0)]
    gradient = cr.grad(lambda *xs: np.sum(np.sin(f(*xs))))
    found = cr.vmap(gradient)(*(np.stack(column) for column in zip(*batch, strict=True)))
    close(found, np.stack([gradient(*args) for args in batch]), 1e-11, "vmap of grad")


@pytest.mark.parametrize(("f", "shape"), [s[1:] for s in STEPS], ids=[s[0] for s in STEPS])
def test_programs_by_hand(f, shape):
    rng = np.random.default_rng(5)
    x, t = rng.normal(size=shape), rng.normal(size=shape)
    dy = agree_with_each_other(lambda x: f(np, x), (x,), (t,), 0)
    close(dy, differences(lambda x: f(np, x), (x,), (t,)), 1e-9, "differences")


def test_the_generator_covers_its_operations():
    """Each operation is met, and programs are long: otherwise the tests above prove little."""
    seen: dict[str, int] = {}
    lengths = []

    @settings(max_examples=300)
    @given(programs())
    def look(program):
        lengths.append(len(program.steps))
        for step in program.steps:
            seen[step.name] = seen.get(step.name, 0) + 1

    look()
    expected = "sin tanh bell hinge add multiply choose slice roll flip gather pad cumsum sum mean"
    expected += " write transpose repeat reshape tile newaxis concatenate stack matmul gram softmax"
    for name in expected.split():
        assert seen.get(name, 0) >= 3, name
    assert np.mean(lengths) > 3
