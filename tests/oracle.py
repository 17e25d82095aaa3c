"""Derivatives from outside: JAX in float64, and central differences of plain NumPy."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

import numpy as np

from cases import LIBRARIES, Case


def close(actual: Any, desired: Any, rtol: float, what: str = "") -> None:
    """Equal up to `rtol` of the largest element; shapes equal, no element missing or NaN."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape}, not {desired.shape}"
    if desired.size:
        scale = max(float(np.max(np.abs(desired))), 1e-2)
        np.testing.assert_allclose(actual, desired, rtol=rtol, atol=rtol * scale, err_msg=what)


def under(case: Case, role: int) -> Any:
    """The case as a function of its arguments alone; role 0 reference, 1 under test, 2 oracle."""
    module = importlib.import_module(LIBRARIES[case.lib][role])
    fn = (case.jax or case.fn) if role == 2 else case.fn
    return lambda *args: fn(module, *args)


def copies(args: Any) -> tuple[Any, ...]:
    """The arguments anew, for functions that write into them."""
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)


def reference(case: Case, args: Any) -> Any:
    """What NumPy gives."""
    return under(case, 0)(*copies(args))


def directional(case: Case, args: Any, tangents: Any, step: float = 2e-3) -> Any:
    """The derivative along a direction by sixth-order central differences, error about 1e-9."""

    def at(k: int) -> Any:
        return reference(case, [a + k * step * t for a, t in zip(args, tangents, strict=True)])

    weights = {1: 45.0, 2: -9.0, 3: 1.0}
    return sum(w * (at(k) - at(-k)) for k, w in weights.items()) / (60.0 * step)


def arguments(case: Case, single: bool = False) -> tuple[Any, ...]:
    """The case's arguments in float64, or rounded to float32."""
    args = case.arguments()
    return tuple(np.asarray(a, np.float32) for a in args) if single else args


def weights(case: Case) -> Any:
    """What the result is weighted with where a scalar is differentiated twice."""
    return case.rng("weights").normal(size=np.shape(reference(case, case.arguments())))


def jacobians(case: Case, single: bool = False) -> tuple[Any, ...]:
    """The dense Jacobian by each argument, from JAX in float64."""
    return _derivatives(case, single)[0]


def hessians(case: Case) -> list[list[Any]]:
    """The dense blocks of the Hessian of the weighted sum of the result, from JAX."""
    return _derivatives(case, False)[1]


def _arrays(args: Any) -> tuple[Any, ...]:
    wide = {True: np.complex128, False: np.float64}
    return tuple(np.asarray(a, wide[np.iscomplexobj(a)]) for a in args)


@lru_cache(maxsize=16)
def _compiled(case: Case, argnums: tuple[int, ...], reverse: bool) -> Any:
    """One program for both orders: to compile it takes longer than all the rest."""
    import jax

    fn = under(case, 2)
    inner = tuple(k + 1 for k in argnums)

    def weighted(weight: Any, *args: Any) -> Any:
        return (weight * fn(*args)).sum()

    first = (jax.jacrev if reverse else jax.jacfwd)(fn, argnums)
    second = jax.jacfwd(jax.grad(weighted, inner), inner)

    @jax.jit
    def both(weight: Any, *args: Any) -> Any:
        return first(*args), second(weight, *args) if case.hess else ()

    return both


@lru_cache(maxsize=16)
def _derivatives(case: Case, single: bool) -> tuple[Any, Any]:
    """JAX has no opinion on arrays without elements; their blocks are filled in."""
    weight = weights(case)
    args = _arrays(arguments(case, single))
    first = [np.zeros(weight.shape + a.shape) for a in args]
    second = [[np.zeros(a.shape + b.shape) for b in args] for a in args]
    live = tuple(k for k, a in enumerate(args) if first[k].size)
    if live:
        reverse = weight.size <= sum(args[k].size for k in live)
        js, hs = _compiled(case, live, reverse)(weight, *args)
        for k, value in zip(live, js, strict=True):
            first[k] = np.asarray(value)
        for i, row in zip(live, hs, strict=case.hess):
            for j, value in zip(live, row, strict=True):
                second[i][j] = np.asarray(value)
    return tuple(first), second


def complex_products(case: Case, args: Any, tangents: Any, cotangent: Any) -> tuple[Any, Any]:
    """The jvp and the vjp on complex arguments, in JAX's conventions."""
    import jax

    fn = under(case, 2)

    @jax.jit
    def products(args: Any, tangents: Any, cotangent: Any) -> Any:
        return jax.jvp(fn, args, tangents)[1], jax.vjp(fn, *args)[1](cotangent)

    return products(_arrays(args), _arrays(tangents), cotangent)
