"""check: derivatives against their definition, with a report of where they differ."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DerivativeError
from .transforms.first import grad, jvp, vjp
from .transforms.trees import differentiable_leaf, flatten, paths, unflatten

__all__ = ["check"]

MODES = ("jvp", "vjp")


def check(
    f: Callable[..., Any],
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = ("jvp", "vjp"),
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Compare derivatives of ``f`` at ``args`` with central differences, element by element.

    Up to ``order`` (the derivative of the gradient is checked as the gradient is), in the
    ``modes`` "jvp" and "vjp".  Central differences with one step of Richardson extrapolation are
    exact to about 1e-9 relative in float64 and 1e-3 in float32; tolerances follow from that unless
    given.  Where f has more than 200 input elements, random directions stand for single elements.

    Raises :class:`chainrule.DerivativeError` naming the mode, the argument, the index, and the
    expected and found values; ValueError for unknown modes.

    >>> import numpy as np, chainrule as cr
    >>> cr.check(lambda x: np.sum(np.tanh(x)), np.ones(3))
    """
    unknown = set(modes) - set(MODES)
    if unknown:
        raise ValueError(f"modes may be {MODES}, not {sorted(unknown)}")
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")
    _check_order(f, args, order, tuple(modes), atol, rtol, np.random.default_rng(seed), 1)


def _check_order(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    rng: np.random.Generator,
    depth: int,
    names: list[str] | None = None,
) -> None:
    probe = _Probe(f, args, rng, names)
    tolerance = _tolerance(probe.primals, atol, rtol, depth)
    if "jvp" in modes:
        probe.check_jvp(tolerance, depth)
    if "vjp" in modes:
        probe.check_vjp(tolerance, depth)
    if depth < order:
        weighted = probe.weighted()

        def gradient(*flat: Any) -> Any:
            return grad(weighted, argnums=tuple(range(len(flat))))(*flat)

        inner = (modes[-1],) if len(modes) > 1 else modes
        primals = tuple(probe.primals)
        _check_order(gradient, primals, order, inner, atol, rtol, rng, depth + 1, probe.names)


def _tolerance(
    primals: Sequence[Any], atol: float | None, rtol: float | None, depth: int
) -> tuple[float, float]:
    single = any(
        np.asarray(p).dtype.itemsize // (2 if np.iscomplexobj(p) else 1) == 4 for p in primals
    )
    default = (2e-2 if single else 1e-6) * 10 ** (depth - 1)
    return (default if atol is None else atol), (default if rtol is None else rtol)


class _Probe:
    """A function of flat arrays, and its central differences."""

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], rng: Any, names: list[str] | None
    ) -> None:
        flat, spec = flatten(args)
        self.names = names if names is not None else _named(f, args)
        self.primals = [
            np.asarray(differentiable_leaf(v, n)) for v, n in zip(flat, self.names, strict=True)
        ]
        self.f = f
        self.spec = spec
        self.rng = rng
        self.values = [np.asarray(v) for v in self._outputs(*self.primals)]

    def _outputs(self, *flat: Any) -> list[Any]:
        return [v for v in flatten(self.f(*unflatten(self.spec, flat)))[0]]

    def call(self, *flat: Any) -> tuple[Any, ...]:
        return tuple(self._outputs(*flat))

    def weighted(self) -> Callable[..., Any]:
        """A random linear functional of the outputs, as a scalar function."""
        weights = [self.rng.uniform(0.5, 1.5, v.shape).astype(_real(v)) for v in self.values]

        def functional(*flat: Any) -> Any:
            parts = [
                np.sum(np.real(v) * w) for v, w in zip(self._outputs(*flat), weights, strict=True)
            ]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            return total

        return functional

    def difference(self, direction: list[Any]) -> list[Any]:
        """Directional derivative by central differences, extrapolated once."""
        step = 1e-2 if self.primals and _real(self.primals[0]).itemsize == 4 else 1e-3

        def central(h: float) -> list[Any]:
            ahead = self._outputs(
                *(_moved(p, h, d) for p, d in zip(self.primals, direction, strict=True))
            )
            back = self._outputs(
                *(_moved(p, -h, d) for p, d in zip(self.primals, direction, strict=True))
            )
            return [
                (np.asarray(a) - np.asarray(b)) / (2 * h) for a, b in zip(ahead, back, strict=True)
            ]

        coarse, fine = central(step), central(step / 2)
        return [(4 * b - a) / 3 for a, b in zip(coarse, fine, strict=True)]

    def directions(self) -> list[tuple[str, list[Any]]]:
        """Unit directions for every element, or a few random ones where there are many."""
        total = sum(p.size for p in self.primals)
        result = []
        for i, (name, primal) in enumerate(zip(self.names, self.primals, strict=True)):
            indices = list(np.ndindex(primal.shape))
            if total > 200:
                picks = self.rng.choice(len(indices), min(len(indices), 8), replace=False)
                indices = [indices[k] for k in sorted(picks)] if indices else []
            for index in indices:
                direction = [np.zeros_like(p) for p in self.primals]
                direction[i][index] = 1
                where = f", index [{', '.join(map(str, index))}]" if index else ""
                result.append((f"{name}{where}", direction))
        return result

    def check_jvp(self, tolerance: tuple[float, float], depth: int) -> None:
        for where, direction in self.directions():
            _, found = jvp(self.call, self.primals, direction)
            expected = self.difference(direction)
            for k, (a, b) in enumerate(zip(found, expected, strict=True)):
                _compare(a, b, tolerance, f"jvp (order {depth})", where, k)

    def check_vjp(self, tolerance: tuple[float, float], depth: int) -> None:
        _, pull = vjp(self.call, *self.primals)
        if len(self.values) == 1 and self.values[0].shape == ():
            weights: tuple[Any, ...] = (np.ones((), self.values[0].dtype),)
        else:
            weights = tuple(
                self.rng.uniform(0.5, 1.5, v.shape).astype(v.dtype) for v in self.values
            )
        pulled = pull(weights)
        for where, direction in self.directions():
            expected = sum(
                np.sum(np.asarray(d) * w)
                for d, w in zip(self.difference(direction), weights, strict=True)
            )
            found = sum(np.sum(np.asarray(p) * d) for p, d in zip(pulled, direction, strict=True))
            _compare(found, expected, tolerance, f"vjp (order {depth})", where, None)


def _named(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """``w['b']``-like names of all leaves, from the function's own parameter names."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    result = []
    for position, arg in enumerate(args):
        name = f"args[{position}]"
        if position < len(parameters) and parameters[position].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            name = parameters[position].name
        result += [name + path for path in paths(flatten(arg)[1])]
    return result


def _real(value: Any) -> np.dtype[Any]:
    dtype = np.asarray(value).dtype
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _moved(primal: Any, step: float, direction: Any) -> Any:
    return primal + primal.dtype.type(step) * direction


def _compare(
    found: Any,
    expected: Any,
    tolerance: tuple[float, float],
    mode: str,
    where: str,
    output: int | None,
) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    atol, rtol = tolerance
    scale = float(np.max(np.abs(expected), initial=0.0))
    wrong = ~(np.abs(found - expected) <= atol * max(1.0, scale) + rtol * np.abs(expected))
    wrong &= np.isfinite(expected)
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f" (output {output}, index {list(index)})" if output is not None else ""
    raise DerivativeError(
        f"{mode} by argument {where}{place}: expected {expected[index]:.10g} (central "
        f"differences), found {found[index]:.10g}, off by {abs(found[index] - expected[index]):.3g}"
    )
