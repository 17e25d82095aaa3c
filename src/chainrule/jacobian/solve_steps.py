"""Steps of a linear system by structure: plans that values of the factors turn into solvers.

Right-hand sides come with one axis of columns behind the axes of out, solutions have it behind
those of in.  Inside a traced function every step is a division or ``np.linalg.solve``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..expr.nodes import Node, Term
from ..simplify.sums import accumulate
from . import factor
from .memory import check_size
from .sparse import csr, entries
from .terms import with_out
from .values import value_of

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = ["Apart", "Axes", "Diagonal", "Entries", "LowRank", "Made", "Numbers", "Reshaped", "Step"]

Array: TypeAlias = Any
Apply: TypeAlias = Callable[[Array], Array]

REMEDY = (
    "an iterative method on J.to_linear_operator(), such as scipy.sparse.linalg.cg, gmres or lsmr, "
    "or max_bytes=… to insist"
)


@dataclass
class Numbers:
    """What steps compute with: values of the leaves, and whether something is traced."""

    jacobian: Jacobian
    traced: bool
    max_bytes: int | None

    def value(self, node: Node) -> Array:
        values = self.jacobian._values
        return value_of(node, _Slots(values))

    def check(self, size: int, what: str) -> None:
        check_size(size, what, self.max_bytes, REMEDY)


class _Slots(dict[Node, Any]):
    """Bindings by the slot of a leaf."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values_by_slot = values

    def __missing__(self, leaf: Any) -> Any:
        return self.values_by_slot[leaf.slot]


@dataclass
class Made:
    """A step with numbers: ``apply`` takes out + columns to in + columns."""

    method: str
    apply: Apply


class Step:
    """A plan for systems of given terms."""

    def make(self, numbers: Numbers) -> Made:
        raise NotImplementedError


@dataclass
class Axes:
    """Axes that are one label in every term (pairs), and the rest of either group."""

    out: tuple[int, ...]
    into: tuple[int, ...]
    pairs: list[tuple[int, int]]

    def __post_init__(self) -> None:
        taken = {i for i, _ in self.pairs}, {j for _, j in self.pairs}
        self.rows = [i for i in range(len(self.out)) if i not in taken[0]]
        self.columns = [j for j in range(len(self.into)) if j not in taken[1]]
        self.batch = tuple(self.out[i] for i, _ in self.pairs)
        self.count = prod(self.batch)
        self.size = prod(self.out[i] for i in self.rows)

    def gathered(self, b: Array) -> Array:
        """out + columns as [batch, rows, columns]."""
        order = [*(i for i, _ in self.pairs), *self.rows, len(self.out)]
        moved = np.transpose(b, order)
        return np.reshape(moved, (self.count, self.size, b.shape[-1]))

    def gathered_in(self, x: Array) -> Array:
        """in + columns as [batch, columns of J, columns]."""
        order = [*(j for _, j in self.pairs), *self.columns, len(self.into)]
        return np.reshape(np.transpose(x, order), (self.count, self.size, x.shape[-1]))

    def spread(self, x: Array, group: str = "in") -> Array:
        """[batch, rows, columns] as in + columns (or out + columns)."""
        shape, own = (self.into, self.columns) if group == "in" else (self.out, self.rows)
        paired = [j for _, j in self.pairs] if group == "in" else [i for i, _ in self.pairs]
        x = np.reshape(x, (*self.batch, *(shape[k] for k in own), x.shape[-1]))
        order = [*paired, *own]
        back = [order.index(k) for k in range(len(order))]
        return np.transpose(x, [*back, len(order)])


@dataclass
class Reshaped(Step):
    """The same system with axes of extent 1 left out, or merged axes split."""

    inner: Step
    inner_out: tuple[int, ...]
    into: tuple[int, ...]

    def make(self, numbers: Numbers) -> Made:
        made = self.inner.make(numbers)

        def apply(b: Array) -> Array:
            x = made.apply(np.reshape(b, (*self.inner_out, b.shape[-1])))
            return np.reshape(x, (*self.into, b.shape[-1]))

        return Made(made.method, apply)


@dataclass
class Apart(Step):
    """Groups of axes, each with a system of its own (None: the identity)."""

    groups: list[tuple[list[int], list[int], Step | None]]

    def make(self, numbers: Numbers) -> Made:
        made = [
            (out, into, None if step is None else step.make(numbers))
            for out, into, step in self.groups
        ]

        def apply(b: Array) -> Array:
            # the axes of b by name: ("out", i), ("in", j), then columns
            names: list[tuple[str, int]] = [("out", i) for i in range(b.ndim - 1)]
            names.append(("columns", 0))
            for out, into, solver in made:
                mine = [names.index(("out", i)) for i in out]
                if solver is None:
                    for k, j in zip(mine, into, strict=True):
                        names[k] = ("in", j)
                    continue
                rest = [k for k in range(b.ndim) if k not in mine]
                other = [b.shape[k] for k in rest]
                moved = np.transpose(b, [*mine, *rest])
                moved = np.reshape(moved, (*(b.shape[k] for k in mine), prod(other)))
                x = solver.apply(moved)
                b = np.reshape(x, (*x.shape[:-1], *other))
                names = [*(("in", j) for j in into), *(names[k] for k in rest)]
            count = len(names) - 1
            order = [names.index(("in", j)) for j in range(count)]
            return np.transpose(b, [*order, names.index(("columns", 0))])

        texts = []
        for out, _, solver in made:
            name = "the number" if not out else "out axis" if len(out) == 1 else "out axes"
            axes = " ".join([name, *map(str, out)])
            texts.append(f"{'identity' if solver is None else solver.method} on {axes}")
        return Made("axes apart: " + ", ".join(texts), apply)


@dataclass
class Diagonal(Step):
    node: Node
    axes: Axes

    def make(self, numbers: Numbers) -> Made:
        elements = numbers.value(self.node)
        if not numbers.traced:
            elements = np.asarray(elements)
            zero = np.argwhere(elements == 0)
            if len(zero):
                index = tuple(int(k) for k in zero[0])
                raise factor.singular(
                    "the diagonal has a zero" + (f" at index {index}" if index else "")
                )

        def apply(b: Array) -> Array:
            x = self.axes.gathered(b) / np.reshape(elements, (self.axes.count, 1, 1))
            return self.axes.spread(x)

        return Made("diagonal", apply)


@dataclass
class Entries(Step):
    """Blocks, bands, triangles, sparse or dense."""

    terms: tuple[Term, ...]
    axes: Axes
    dtype: np.dtype[Any]

    def make(self, numbers: Numbers) -> Made:
        axes = self.axes
        n, m, item = prod(axes.out), axes.size, self.dtype.itemsize
        count = entries(self.terms)
        few = n >= 32 and 8 * count <= n * n
        if axes.count > 1:
            few = m > 64 and 8 * count <= n * m
        if few and not numbers.traced:
            return self._sparse(numbers)
        size = axes.count * m * m * item
        what = f"{axes.count} blocks" if axes.count > 1 else "a matrix"
        numbers.check(2 * size, f"{what} of {m} x {m} and the factors")
        blocks = np.reshape(numbers.value(self._blocks()), (axes.count, m, m))
        if numbers.traced:
            return Made("traced", lambda b: axes.spread(np.linalg.solve(blocks, axes.gathered(b))))
        solver = factor.blocks(blocks) if axes.count > 1 else factor.dense(blocks[0])

        def apply(b: Array) -> Array:
            b = axes.gathered(b)
            return axes.spread(solver.apply(b) if axes.count > 1 else solver.apply(b[0])[None])

        return Made(solver.method, apply)

    def _blocks(self) -> Node:
        axes = self.axes
        n_out = len(axes.out)
        shape = (
            *axes.batch,
            *(axes.out[i] for i in axes.rows),
            *(axes.into[j] for j in axes.columns),
        )
        parts = []
        for term in self.terms:
            out = [
                *(term.out[i] for i, _ in axes.pairs),
                *(term.out[i] for i in axes.rows),
                *(term.out[n_out + j] for j in axes.columns),
            ]
            parts.append(with_out(term, out, shape))
        return accumulate(parts, shape, self.dtype)

    def _sparse(self, numbers: Numbers) -> Made:
        kind, values = type(numbers.jacobian), numbers.jacobian._values
        part = kind(list(self.terms), values, self.axes.out, self.axes.into, self.dtype)
        solver = factor.sparse(csr(part, numbers.max_bytes), numbers.check)

        def apply(b: Array) -> Array:
            x = solver.apply(np.reshape(b, (-1, b.shape[-1])))
            return np.reshape(x, (*self.axes.into, b.shape[-1]))

        return Made(solver.method, apply)


@dataclass
class LowRank(Step):
    """``S + U Vᵀ``: solutions with S, and a small dense system."""

    base: Step
    sides: tuple[Node, Node]  # each [batch, axes of one group, rank]
    rank: int
    axes: Axes
    whole: Step
    terms: tuple[Term, ...]
    dtype: np.dtype[Any]

    def make(self, numbers: Numbers) -> Made:
        if numbers.traced:
            return self.whole.make(numbers)
        axes = self.axes
        shape = (axes.count, axes.size, self.rank)
        numbers.check(3 * prod(shape) * self.dtype.itemsize, f"the low-rank factors {shape}")
        try:
            base = self.base.make(numbers)
            u, v = (np.reshape(numbers.value(node), shape) for node in self.sides)
            solved = axes.gathered_in(base.apply(axes.spread(u, "out")))
            middle = np.eye(self.rank) + np.swapaxes(v, -1, -2) @ solved
            inner = factor.blocks(middle)
            inner.apply(np.ones((axes.count, self.rank, 1), middle.dtype))
        except np.linalg.LinAlgError:  # S alone is singular, or nearly: J need not be
            return self.whole.make(numbers)
        matrix = Operator(numbers.jacobian, self.terms, axes, self.dtype)

        def once(b: Array) -> Array:
            x = axes.gathered_in(base.apply(b))
            x = x - solved @ inner.apply(np.swapaxes(v, -1, -2) @ x)
            return axes.spread(x)

        def apply(b: Array) -> Array:
            x = once(b)
            x = x + once(b - matrix(x))
            left = np.max(np.abs(b - matrix(x)), initial=0.0)
            scale = np.max(np.abs(b), initial=0.0)
            if not left <= np.sqrt(np.finfo(x.dtype).eps) * scale:  # cancellation, or NaN
                return self.whole.make(numbers).apply(b)
            return x

        return Made(f"{base.method} plus rank {self.rank} (Woodbury)", apply)


class Operator:
    """Products with the terms of a system."""

    def __init__(
        self, jacobian: Jacobian, terms: Sequence[Term], axes: Axes, dtype: np.dtype[Any]
    ) -> None:
        part = type(jacobian)(terms, jacobian._values, axes.out, axes.into, dtype)
        self._operator = part.to_linear_operator()
        self._shape = axes.out

    def __call__(self, x: Array) -> Array:
        product = self._operator.matmat(np.reshape(x, (-1, x.shape[-1])))
        return np.reshape(product, (*self._shape, x.shape[-1]))
