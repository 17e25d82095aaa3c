"""Random whole programs: a list of steps over a pool of arrays, run by NumPy or by JAX.

Every operation is bounded or nearly so, such that values stay near one however long the program
is, and none has a kink where a random program is likely to stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """An operation, the positions of its operands in the pool, and its fixed parameters."""

    name: str
    operands: tuple[int, ...]
    run: Callable[..., Any]

    def __repr__(self) -> str:
        return f"{self.name}{self.operands}"


@dataclass(frozen=True)
class Program:
    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    seed: int

    def __call__(self, np: Any, *inputs: Any) -> Any:
        pool = list(inputs)
        for step in self.steps:
            pool.append(step.run(np, *(pool[k] for k in step.operands)))
        # Every array at the end of the program that nothing else has read, summed into one result.
        read = {k for step in self.steps for k in step.operands}
        loose = [v for k, v in enumerate(pool) if k not in read]
        result = loose[-1]
        for v in loose[:-1]:
            result = result + np.sum(np.sin(v))
        return result

    def arguments(self, dtype: Any = np.float64) -> tuple[Any, ...]:
        rng = np.random.default_rng(self.seed)
        return tuple(np.asarray(rng.normal(size=shape), dtype) for shape in self.shapes)

    def tangents(self, dtype: Any = np.float64) -> tuple[Any, ...]:
        rng = np.random.default_rng(self.seed + 1)
        return tuple(np.asarray(rng.normal(size=shape), dtype) for shape in self.shapes)


UNARY = {
    "sin": lambda np, x: np.sin(x),
    "tanh": lambda np, x: np.tanh(x),
    "bell": lambda np, x: np.exp(-x * x),
    "rational": lambda np, x: x / (1.0 + x**2),
    "softplus": lambda np, x: np.log1p(np.exp(-(x**2))),
    "root": lambda np, x: np.sqrt(1.5 + np.cos(x)),
    "arctan": lambda np, x: np.arctan(2 * x),
    "double": lambda np, x: 0.5 * x - 0.25,
    "negative": lambda np, x: -x,
    "cube": lambda np, x: np.sin(x) ** 3,
    "hinge": lambda np, x: np.where(x > 0.123456, x, 0.5 * x),
    "mask": lambda np, x: x * (x < 0.654321),
}
BINARY = {
    "add": lambda np, x, y: x + y,
    "subtract": lambda np, x, y: x - y,
    "multiply": lambda np, x, y: np.sin(x) * y,
    "divide": lambda np, x, y: x / (2.0 + np.sin(y)),
    "product": lambda np, x, y: np.tanh(x) * np.cos(y),
    "choose": lambda np, x, y: np.where(x > 0.2345678, x, y),
    "arctan2": lambda np, x, y: np.arctan2(x, 2.0 + np.sin(y)),
}


def broadcastable(a: Shape, b: Shape) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


@st.composite
def moves(draw: Any, shape: Shape) -> tuple[str, Callable[..., Any]]:
    """An operation on one array that moves, joins or reduces its elements."""
    axis = draw(st.integers(0, len(shape) - 1)) if shape else 0
    names = ["newaxis", "reshape", "tile"]
    if shape:
        names += ["slice", "roll", "flip", "gather", "pad", "cumsum", "sum", "mean", "write"]
        names += ["transpose", "repeat", "self-concatenate", "gram", "softmax"]
    if len(shape) == 2 and shape[0] == shape[1]:
        names += ["diagonal", "tril", "square"]
    name = draw(st.sampled_from(names))
    n = shape[axis] if shape else 1
    lead = (slice(None),) * axis

    if name == "newaxis":
        return name, lambda np, x: np.expand_dims(x, axis)
    if name == "reshape":
        size = int(np.prod(shape, dtype=int))
        divisors = [d for d in range(1, max(size, 1) + 1) if size % d == 0]
        first = draw(st.sampled_from(divisors))
        order = draw(st.sampled_from("CF"))
        second = size // first if first else 0
        return name, lambda np, x: np.reshape(x, (first, second), order=order)
    if name == "tile":
        return name, lambda np, x: np.tile(x, 2)
    if name == "slice":
        step = draw(st.sampled_from([1, 2, -1, -2]))
        start = draw(st.integers(0, max(n - 1, 0)))
        cut = slice(start, None, step)
        return name, lambda np, x: x[(*lead, cut)]
    if name == "roll":
        shift = draw(st.integers(-n, n))
        return name, lambda np, x: np.roll(x, shift, axis=axis)
    if name == "flip":
        return name, lambda np, x: np.flip(x, axis=axis)
    if name == "gather":
        count = draw(st.integers(1, 3))
        index = np.array(draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)))
        return name, lambda np, x: x[(*lead, index)]
    if name == "pad":
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        mode = draw(st.sampled_from(["constant", "edge", "wrap"]))
        width = [(0, 0)] * len(shape)
        width[axis] = (before, after)
        return name, lambda np, x: np.pad(x, width, mode=mode)
    if name == "cumsum":
        return name, lambda np, x: np.cumsum(x, axis=axis) / n
    if name in ("sum", "mean"):
        keep = draw(st.booleans())
        if name == "sum":
            return name, lambda np, x: np.sum(x, axis=axis, keepdims=keep) / n
        return name, lambda np, x: np.mean(x, axis=axis, keepdims=keep)
    if name == "write":
        where = draw(st.integers(0, n - 1))
        return name, _write((*lead, where), (*lead, (where + 1) % n))
    if name == "transpose":
        order = draw(st.permutations(range(len(shape))))
        return name, lambda np, x: np.transpose(x, order)
    if name == "repeat":
        return name, lambda np, x: np.repeat(x, 2, axis=axis)
    if name == "self-concatenate":
        return name, lambda np, x: np.concatenate([x, np.sin(x)], axis=axis)
    if name == "gram":
        return name, lambda np, x: np.tensordot(np.sin(x), np.cos(x), axes=(axis, axis)) / n
    if name == "softmax":
        return (
            name,
            lambda np, x: np.exp(np.sin(x)) / np.sum(np.exp(np.sin(x)), axis, keepdims=True),
        )
    if name == "diagonal":
        return name, lambda np, x: np.diagonal(x)
    if name == "tril":
        return name, lambda np, x: np.tril(x, 0)
    return name, lambda np, x: np.sin(x) @ x / n


def _write(target: Any, source: Any) -> Callable[..., Any]:
    def run(np: Any, x: Any) -> Any:
        if np.__name__ == "jax.numpy":
            return x.at[target].set(x[source] ** 2 / (1 + x[source] ** 2))
        y = x.copy()
        y[target] = x[source] ** 2 / (1 + x[source] ** 2)
        return y

    return run


@st.composite
def programs(draw: Any, max_steps: int = 8, max_size: int = 40) -> Program:
    """A program of a few steps whose arrays all stay small."""
    side = st.integers(1, 3)
    shapes = tuple(tuple(draw(st.lists(side, max_size=3))) for _ in range(draw(st.integers(1, 2))))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    pool = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, max_steps))):
        kind = draw(st.sampled_from(["unary", "binary", "move", "move", "join"]))
        # Recent arrays are chosen more often, so that programs are deep rather than wide.
        k = len(pool) - 1 - min(draw(st.integers(0, 3)), len(pool) - 1)
        operands: tuple[int, ...] = (k,)
        if kind == "unary":
            name = draw(st.sampled_from(sorted(UNARY)))
            run = UNARY[name]
        elif kind == "move":
            name, run = draw(moves(pool[k].shape))
        else:
            partners = [
                j
                for j, v in enumerate(pool)
                if (kind == "binary" and broadcastable(v.shape, pool[k].shape))
                or (kind == "join" and _joinable(pool[k].shape, v.shape))
            ]
            if not partners:
                continue
            operands = (k, draw(st.sampled_from(partners)))
            if kind == "binary":
                name = draw(st.sampled_from(sorted(BINARY)))
                run = BINARY[name]
            else:
                name, run = draw(joins(pool[k].shape, pool[operands[1]].shape))
        value = run(np, *(pool[j] for j in operands))
        if value.size <= max_size and value.ndim <= 4:
            steps.append(Step(name, operands, run))
            pool.append(value)
    return Program(shapes, tuple(steps), seed)


def _joinable(a: Shape, b: Shape) -> bool:
    return bool(a) and bool(b) and (a == b or a[-1] == b[max(len(b) - 2, 0)])


@st.composite
def joins(draw: Any, a: Shape, b: Shape) -> tuple[str, Callable[..., Any]]:
    """An operation that joins two arrays, end to end, in a new axis, or in a product."""
    names = []
    if a == b:
        names += ["concatenate", "stack", "weighted"]
    if a[-1] == b[max(len(b) - 2, 0)] and (len(a) <= 2 or len(b) <= 2 or a[:-2] == b[:-2]):
        names += ["matmul"]
    if not names:
        names = ["outer"]
    name = draw(st.sampled_from(names))
    axis = draw(st.integers(0, len(a) - 1))
    if name == "concatenate":
        return name, lambda np, x, y: np.concatenate([x, y], axis=axis)
    if name == "stack":
        return name, lambda np, x, y: np.stack([x, y], axis=axis)
    if name == "weighted":
        return name, lambda np, x, y: np.einsum("...i,...i->...", x, np.sin(y)) / a[-1]
    if name == "matmul":
        return name, lambda np, x, y: np.sin(x) @ y / a[-1]
    return name, lambda np, x, y: np.outer(np.sin(x), np.cos(y))
