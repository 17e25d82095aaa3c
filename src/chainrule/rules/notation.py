"""Pieces of a local Jacobian in the notation of its structure: ``"ia,bj->ij|ab"``.

Left of the arrow the subscripts of the factors, right of it those of the node and, after the bar,
those of the argument; a subscript is a letter or, in parentheses, a shifted letter ``(k+1)``.
Batch axes come first everywhere and are not written.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..expr.nodes import Call, Factor, Node, Scalar
from ..expr.subs import Sub, affine
from .local import CALLS, CallRule, Piece

__all__ = ["piece", "rule"]

_TOKEN = re.compile(r"([a-z])|\(([a-z])\+(\d+)\)")
_WHERE = re.compile(r"([a-z])(>=|>)([a-z])")


def rule(*names: str) -> Callable[[CallRule], CallRule]:
    """Register a rule for calls."""

    def register(function: CallRule) -> CallRule:
        for name in names:
            CALLS[name] = function
        return function

    return register


def _tokens(group: str) -> list[tuple[str, int]]:
    found = [(m[1] or m[2], int(m[3] or 0)) for m in _TOKEN.finditer(group)]
    return found


def piece(
    node: Call,
    arg: Node,
    spec: str,
    *factors: Node,
    coef: Scalar = 1,
    where: str = "",
    conj: bool = False,
) -> list[Piece]:
    """One piece of ``∂node/∂arg`` (or none, if a range is empty); see the module's text.

    ``where`` restricts the labels: ``"a>=b"``.
    """
    left, _, right = spec.partition("->")
    out_text, into_text = right.split("|")
    groups = [_tokens(g) for g in left.split(",")] if left else []
    out, into = _tokens(out_text), _tokens(into_text)
    batch = arg.ndim - len(into)
    number: dict[str, int] = {}
    extents = list(arg.shape[:batch])
    arrays: list[tuple[Node, list[tuple[str, int]]]] = [
        (node, out),
        (arg, into),
        *zip(factors, groups, strict=True),
    ]
    for array, tokens in arrays:
        assert array.ndim == batch + len(tokens), (spec, array.shape, batch)
        for (letter, shift), extent in zip(tokens, array.shape[batch:], strict=True):
            if letter not in number:
                number[letter] = len(extents)
                extents.append(extent - shift)
            label = number[letter]
            extents[label] = min(extents[label], extent - shift)
    if min(extents, default=1) <= 0:
        return []

    def subs(tokens: list[tuple[str, int]]) -> tuple[Sub, ...]:
        core = [affine(shift, [(1, number[letter])]) for letter, shift in tokens]
        return (*range(batch), *core)

    constraints: list[Sub] = []
    for big, sign, small in _WHERE.findall(where):
        shift = -1 if sign == ">" else 0
        constraints.append(affine(shift, [(1, number[big]), (-1, number[small])]))
    pairs: list[Factor] = [(f, subs(t)) for f, t in zip(factors, groups, strict=True)]
    return [
        Piece(
            arg, coef, tuple(extents), tuple(pairs), subs(out), subs(into), tuple(constraints), conj
        )
    ]
