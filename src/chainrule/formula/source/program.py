"""What is emitted: a function's value and derivatives as quantities with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..quantity import Quantity

__all__ = ["Named", "Program"]


@dataclass(frozen=True)
class Named:
    """A quantity with the name of its variable and the formula that goes into the comment.

    ``like`` is the argument whose shape the quantity has (a gradient's), None for others.
    """

    name: str
    quantity: Quantity
    formula: str = ""
    shape: tuple[str, ...] = ()
    like: str | None = None


@dataclass
class Program:
    """A function as it is emitted.

    ``arguments`` are names with shapes of numbers and names; ``constants`` the arrays that the
    function captures, by symbol; ``parts`` the named quantities that value and derivatives share,
    each after those it depends on; ``arriving`` is the gradient from above, None where the value
    is a number.  With ``denominator``, Jacobians have the argument's axes first.
    ``condition`` is what sizes must be (``K ≤ N``) for the formulas to hold.
    """

    function: str
    arguments: tuple[tuple[str, tuple[str, ...]], ...]
    value: Named
    parts: list[Named] = field(default_factory=list)
    gradients: list[Named] = field(default_factory=list)
    jacobians: list[Named] = field(default_factory=list)
    hessians: list[list[Named]] = field(default_factory=list)
    arriving: tuple[str, tuple[str, ...]] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    header: str = ""
    denominator: bool = False
    condition: str = ""
