"""The JAX backend: a plan as one function under ``jax.jit``, for every device that JAX knows.

Imported when it is asked for.  Products run at the highest precision that the device has, so that
results agree with NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import linalg, special

from ..expr.ops import OPS
from .functional import FunctionalProgram
from .steps import Plan

__all__ = ["JaxProgram"]

Array = Any
Results = tuple[Array, ...]


def _elementwise() -> dict[str, Callable[..., Array]]:
    other: dict[str, Callable[..., Array]] = {
        "stop": jax.lax.stop_gradient,
        "root": jnp.sqrt,
        "log_expit": jax.nn.log_sigmoid,
        "conj": jnp.conjugate,
        "polygamma": lambda x, order: special.polygamma(order, x),
    }
    table = dict(other)
    for op in OPS:
        function = other.get(op) or getattr(jnp, op, None) or getattr(special, op, None)
        if function is not None:
            table[op] = function
    return table


# -- calls ----------------------------------------------------------------------------------------
def _single(function: Callable[..., Array]) -> Callable[..., Results]:
    return lambda *args: (function(*args),)


def _several(function: Callable[..., Any]) -> Callable[..., Results]:
    return lambda *args: tuple(function(*args))


def _last(count: int) -> tuple[int, ...]:
    return tuple(range(-count, 0))


def _solve_triangular(t: Array, b: Array, lower: bool, unit: bool) -> Array:
    return linalg.solve_triangular(t, b, lower=lower, unit_diagonal=unit)


def _triangular_inverse(t: Array, lower: bool, unit: bool) -> Array:
    eye = jnp.broadcast_to(jnp.eye(t.shape[-1], dtype=t.dtype), t.shape)
    return _solve_triangular(t, eye, lower, unit)


def _cofactor(a: Array) -> Array:
    """det U · det Vᴴ · conj(U) diag(Π s[m], m ≠ i) conj(Vᴴ): right where A is singular, too."""
    u, s, vh = jnp.linalg.svd(a)
    others = jnp.where(jnp.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(axis=-1)
    sign = jnp.linalg.det(u) * jnp.linalg.det(vh)
    return (jnp.conj(u) * (sign[..., None] * others)[..., None, :]) @ jnp.conj(vh)


def _expm_jacobian(a: Array) -> Array:
    n = a.shape[-1]
    blocks = jnp.zeros((*a.shape[:-2], n, n, 2 * n, 2 * n), a.dtype)
    blocks = blocks.at[..., :n, :n].set(a[..., None, None, :, :])
    blocks = blocks.at[..., n:, n:].set(a[..., None, None, :, :])
    k, l = np.indices((n, n))
    blocks = blocks.at[..., k, l, k, n + l].set(1)
    return jnp.moveaxis(linalg.expm(blocks)[..., :n, n:], (-4, -3), (-2, -1))


def _segment_products(a: Array) -> Array:
    m = a.shape[-1]
    steps = jnp.where(np.tri(m, k=-1, dtype=bool), a[..., :, None], 1)
    return jnp.where(np.tri(m, dtype=bool), jnp.cumprod(steps, axis=-2), 0)


def _recurrence(a: Array, b: Array, reverse: bool) -> Array:
    factors = jnp.roll(a, -1, axis=-1) if reverse else a

    def step(y: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        y = at[0] * y + at[1]
        return y, y

    given = jnp.moveaxis(factors, -1, 0), jnp.moveaxis(b, -1, 0)
    if not b.shape[-1]:
        return b
    y = jax.lax.scan(step, jnp.zeros_like(given[1][0]), given, reverse=reverse)[1]
    return jnp.moveaxis(y, 0, -1)


def _other_products(x: Array) -> Array:
    one = jnp.ones_like(x[..., :1])
    before = jnp.cumprod(jnp.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
    after = jnp.cumprod(jnp.concatenate([one, x[..., :0:-1]], axis=-1), axis=-1)
    return before * after[..., ::-1]


def _last_writer(*args: Array) -> Array:
    """True where no later entry names the same element: the last of its run in a stable order."""
    tables, core = args, args[0].ndim
    if isinstance(args[-1], int):
        tables, core = args[:-1], args[-1]
    shape = tables[0].shape
    cut = len(shape) - core
    names = jnp.zeros((*shape[:cut], int(np.prod(shape[cut:]))), int)
    for table in tables:
        flat = jnp.reshape(table, names.shape)
        names = names * (jnp.max(flat, initial=0) + 1) + flat
    order = jnp.argsort(names, axis=-1, stable=True)
    ordered = jnp.take_along_axis(names, order, axis=-1)
    ends = jnp.concatenate(
        [ordered[..., 1:] != ordered[..., :-1], jnp.ones_like(ordered[..., :1], bool)], axis=-1
    )
    back = jnp.argsort(order, axis=-1)
    return jnp.take_along_axis(ends, back, axis=-1).reshape(shape)


def _pinv(a: Array, rcond: float | None) -> Array:
    return jnp.linalg.pinv(a, rtol=1e-15 if rcond is None else rcond)


_CALLS: dict[str, Callable[..., Results]] = {
    "inv": _single(jnp.linalg.inv),
    "inverse": _single(jnp.linalg.inv),
    "solve": _single(jnp.linalg.solve),
    "solve_triangular": _single(_solve_triangular),
    "triangular_inverse": _single(_triangular_inverse),
    "det": _single(jnp.linalg.det),
    "cofactor": _single(_cofactor),
    "slogdet": _several(jnp.linalg.slogdet),
    # only the lower triangle is read, as NumPy does
    "cholesky": _single(partial(jnp.linalg.cholesky, symmetrize_input=False)),
    "eigh": lambda a, uplo: tuple(jnp.linalg.eigh(a, UPLO=uplo, symmetrize_input=False)),
    "eigvalsh": lambda a, uplo: (
        jnp.linalg.eigh(a, UPLO=uplo, symmetrize_input=False).eigenvalues,
    ),
    "svd": lambda a: tuple(jnp.linalg.svd(a, full_matrices=False)),
    "svdvals": lambda a: (jnp.linalg.svd(a, compute_uv=False),),
    "qr": _several(jnp.linalg.qr),
    "pinv": _single(_pinv),
    "expm": _single(linalg.expm),
    "expm_jacobian": _single(_expm_jacobian),
    "segment_products": _single(_segment_products),
    "recurrence": _single(_recurrence),
    "cumprod": lambda x: (jnp.cumprod(x, axis=-1),),
    "other_products": _single(_other_products),
    "prod": lambda x, k: (jnp.prod(x, axis=_last(k)),),
    "amax": lambda x, k: (jnp.max(x, axis=_last(k)),),
    "amin": lambda x, k: (jnp.min(x, axis=_last(k)),),
    "any": lambda x, k: (jnp.any(x, axis=_last(k)),),
    "all": lambda x, k: (jnp.all(x, axis=_last(k)),),
    "argmax": lambda x: (jnp.argmax(x, axis=-1),),
    "argmin": lambda x: (jnp.argmin(x, axis=-1),),
    "argsort": lambda x: (jnp.argsort(x, axis=-1, stable=True),),
    "nonzero": lambda x: jnp.nonzero(x),
    "last_writer": _single(_last_writer),
}


def _into(place: Any, value: Array, add: bool) -> Array:
    """Values set or added at places; Boolean ones are added by "or"."""
    if not add:
        return place.set(value)
    return place.max(value) if value.dtype == bool else place.add(value)


class JaxProgram(FunctionalProgram):
    """A plan on JAX.  NumPy arrays in, NumPy arrays out; JAX arrays in, JAX arrays out.

    Inside a trace of JAX's own (``jax.jit``, ``jax.vmap`` …) it is a part of that trace.
    """

    name = "jax"
    elementwise: ClassVar[Mapping[str, Callable[..., Array]]] = _elementwise()
    calls = _CALLS

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.function = jax.jit(self.run)

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        leaves = self.plan.leaves
        given = [
            v if isinstance(v, jax.Array) else np.asarray(v, leaf.dtype)
            for v, leaf in zip(values, leaves, strict=True)
        ]
        if any(isinstance(v, jax.core.Tracer) for v in given):
            return tuple(self.function(*given))
        with jax.enable_x64(True):  # dtypes are the plan's, whatever JAX's default
            results = self.function(*given)
        if any(isinstance(v, jax.Array) for v in values):
            return tuple(results)
        return tuple(np.array(r)[()] for r in results)

    # -- operations ---------------------------------------------------------------------------
    def constant(self, value: Any) -> Array:
        return jnp.asarray(value)

    def cast(self, value: Array, dtype: np.dtype[Any]) -> Array:
        if value.dtype == dtype:
            return value
        if value.dtype.kind == "c" and dtype.kind in "fiu":
            value = jnp.real(value)
        return value.astype(dtype)

    def permute(self, value: Array, axes: Sequence[int]) -> Array:
        return jnp.transpose(value, tuple(axes))

    def broadcast(self, value: Array, shape: Sequence[int]) -> Array:
        return jnp.broadcast_to(value, tuple(shape))

    def diagonal(self, value: Array, first: int, second: int) -> Array:
        return jnp.diagonal(value, 0, first, second)

    def take(self, value: Array, index: Any, axis: int) -> Array:
        return jnp.take(value, index, axis=axis)

    def flip(self, value: Array, axes: Sequence[int]) -> Array:
        return jnp.flip(value, tuple(axes))

    def full(self, shape: Sequence[int], value: Any, dtype: np.dtype[Any]) -> Array:
        return jnp.full(tuple(shape), value, dtype)

    def total(self, value: Array, axes: tuple[int, ...]) -> Array:
        if value.dtype == bool:
            return jnp.any(value, axis=axes)
        return jnp.sum(value, axis=axes, dtype=value.dtype)

    def running(self, value: Array, axis: int) -> Array:
        return jnp.cumsum(value, axis=axis, dtype=value.dtype)

    def einsum(self, equation: str, left: Array, right: Array) -> Array:
        return jnp.einsum(equation, left, right, precision=jax.lax.Precision.HIGHEST)

    def where(self, mask: Array, value: Array) -> Array:
        return jnp.where(mask, value, jnp.zeros((), value.dtype))

    def clip(self, value: Array, high: int) -> Array:
        return jnp.clip(value, 0, high)

    def write(self, flat: Array, at: Array, value: Array, add: bool) -> Array:
        return _into(flat.at[at], value, add)

    def write_slices(self, buffer: Array, index: tuple[Any, ...], value: Array, add: bool) -> Array:
        return _into(buffer.at[index], value, add)

    def nonzero(self, mask: Array, count: int) -> tuple[Array, ...]:
        return tuple(jnp.nonzero(mask, size=count))
