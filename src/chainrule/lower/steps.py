"""The plan: a list of backend-neutral steps over numbered values.

Backends never see affine subscripts: reading a factor has become views and gathers, the product a
sequence of pairwise contractions over plain labels, writing a view, a placement or a scatter-add.
Every step knows its flops (multiply-add 2, transcendental 10).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..expr.nodes import Leaf, Scalar
from ..expr.subs import Sub

__all__ = [
    "Arg",
    "CallStep",
    "Combine",
    "Contract",
    "Cumulate",
    "Elementwise",
    "Fill",
    "Gather",
    "IndexGrid",
    "Place",
    "Plan",
    "Reduce",
    "Scale",
    "ScatterAdd",
    "Select",
    "Step",
    "Value",
    "View",
    "ViewOp",
]

Arg: TypeAlias = "int | Scalar"  # a value's number wrapped in Ref, or a Python scalar

# Flops of a product beside which a call from Python is nothing.
_LARGE = 10**8


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the plan by number (told apart from Python scalars)."""

    value: int


@dataclass(frozen=True, slots=True)
class ViewOp:
    """One rearrangement: reshape, index, transpose, broadcast, diagonal, window, contiguous."""

    name: str
    args: tuple[Any, ...]


@dataclass(slots=True)
class Step:
    """``target = f(inputs)``; ``flops`` is what it costs."""

    target: int
    inputs: tuple[int, ...]
    flops: int = field(default=0, kw_only=True)


@dataclass(slots=True)
class View(Step):
    ops: tuple[ViewOp, ...] = ()


@dataclass(slots=True)
class IndexGrid(Step):
    """Integer array of a subscript over ``labels``; inputs are the tables of its look-ups.

    With ``mask`` the boolean array ``subscript ≥ 0``; with ``below`` clipped into ``[0, below)``.
    """

    sub: Sub = 0
    labels: tuple[int, ...] = ()
    extents: tuple[int, ...] = ()
    tables: tuple[Any, ...] = ()
    mask: bool = False
    below: int | None = None


@dataclass(slots=True)
class Gather(Step):
    """``source[..., index…]``: the last axes of inputs[0] by the index arrays inputs[1:]."""


@dataclass(slots=True)
class Reduce(Step):
    axes: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(slots=True)
class Cumulate(Step):
    axis: int = 0
    reverse: bool = False
    dtype: str = ""


@dataclass(slots=True)
class Scale(Step):
    coef: Scalar = 1


@dataclass(slots=True)
class Contract(Step):
    """Product of two values under labels, summed over labels missing in ``out``."""

    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    extents: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Select(Step):
    """``where(inputs[0], inputs[1], 0)``."""


@dataclass(slots=True)
class Elementwise(Step):
    op: str = ""
    args: tuple[Any, ...] = ()
    params: tuple[Any, ...] = ()
    dtype: str = ""


@dataclass(slots=True)
class Combine(Step):
    """``Σ coef·arg`` from left to right."""

    coefs: tuple[Scalar, ...] = ()
    args: tuple[Any, ...] = ()
    dtype: str = ""


@dataclass(slots=True)
class Fill(Step):
    """A new array of one value."""

    shape: tuple[int, ...] = ()
    value: Scalar = 0
    dtype: str = ""


@dataclass(slots=True)
class Place(Step):
    """Write (or add) inputs[1] through a view of the buffer inputs[0], in place.

    Where the view, of shape ``extents``, meets an element several times, ``loops`` are axes to add
    along one index after the other.
    """

    ops: tuple[ViewOp, ...] = ()
    add: bool = False
    loops: tuple[int, ...] = ()
    extents: tuple[int, ...] = ()


@dataclass(slots=True)
class ScatterAdd(Step):
    """``view[…, index…] += value`` with repeats: inputs are buffer, value, index arrays.

    ``view`` is the buffer under ``ops``; its first ``lead`` axes are the value's first, the index
    arrays (of the shape of the value's other axes) stand for its last.
    """

    ops: tuple[ViewOp, ...] = ()
    lead: int = 0


@dataclass(slots=True)
class CallStep(Step):
    op: str = ""
    params: tuple[Any, ...] = ()
    outputs: int = 1
    index: int = 0
    writable: bool = False


class Value:
    """What the planner knows of a value.

    ``root`` is the value whose buffer this one looks into; ``owned`` says that the program made
    the buffer, ``spread`` that elements share memory among themselves.
    """

    __slots__ = ("dtype", "owned", "root", "shape", "spread")

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], root: int, owned: bool
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.root = root
        self.owned = owned
        self.spread = False

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(slots=True)
class Plan:
    """Steps in order, the leaves they read and the values that are the results.

    ``values`` says of every value by number what is known of it: shape, dtype, whose buffer it is.
    """

    leaves: list[Leaf]
    inputs: list[int]
    steps: list[Step]
    outputs: list[int]
    copies: list[bool]
    values: list[Value] = field(default_factory=list)

    @property
    def flops(self) -> int:
        """Counted floating-point operations of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def products_alone(self) -> bool:
        """Whether there is nothing but large products: a library of products does all the work."""
        products = [step for step in self.steps if not isinstance(step, View)]
        return bool(products) and all(
            isinstance(step, Contract) and step.flops >= _LARGE for step in products
        )
