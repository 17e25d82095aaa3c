"""Extents as Python expressions: ``N``, ``N - 1``, ``2 * N``, ``D**0.5``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from fractions import Fraction
from math import lcm

from ...expr.extents import ONE, Extent, Number
from .syntax import Expr, binary, call, literal, name, negated

__all__ = [
    "NOMINAL",
    "is_unit",
    "nominal",
    "number_of",
    "product_of",
    "scaled",
    "size",
    "times",
    "whole",
]

#: How long a named extent is taken to be where an order of products is chosen.
NOMINAL = 50


def nominal(extent: Extent) -> float:
    """A number for an extent: what costs are counted with."""
    return extent.value(dict.fromkeys(extent.names, NOMINAL))


def is_unit(extent: Extent) -> bool:
    """Whether an axis has this one element."""
    return extent == ONE


def number_of(value: Number) -> Expr:
    """An exact number: an integer, a short decimal or a quotient."""
    if isinstance(value, float):
        return literal(value)
    if value.denominator == 1:
        return literal(int(value))
    if value.denominator in (2, 4, 5, 10, 20, 25, 50, 100):
        return literal(float(value))
    top = literal(value.numerator)
    return binary(top, "/", literal(value.denominator))


def product_of(factors: Iterable[Expr]) -> Expr | None:
    """``a * b * …``; None where there are none."""
    result: Expr | None = None
    for factor in factors:
        result = factor if result is None else binary(result, "*", factor)
    return result


def _power(key: str, power: Fraction, idents: dict[str, str]) -> Expr:
    base = name(idents.get(key, key))
    return base if power == 1 else binary(base, "**", number_of(power))


def _polynomial(
    poly: Iterable[tuple[tuple[tuple[str, Fraction], ...], Number]], idents: dict[str, str]
) -> Expr:
    total: Expr | None = None
    for mono, coef in poly:
        above, below = _monomial(mono, -coef if coef < 0 else coef, idents)
        term = product_of(above) or literal(1)
        for factor in below:
            term = binary(term, "/", factor)
        if total is None:
            total = negated(term) if coef < 0 else term
        else:
            total = binary(total, "-" if coef < 0 else "+", term)
    return total if total is not None else literal(0)


def _monomial(
    mono: tuple[tuple[str, Fraction], ...], size_: Number, idents: dict[str, str]
) -> tuple[list[Expr], list[Expr]]:
    """Factors above and below the line."""
    above: list[Expr] = []
    below: list[Expr] = []
    if isinstance(size_, Fraction):
        if size_.numerator != 1:
            above.append(literal(size_.numerator))
        if size_.denominator != 1:
            below.append(literal(size_.denominator))
    elif size_ != 1:
        above.append(literal(size_))
    for key, power in mono:
        (above if power > 0 else below).append(_power(key, abs(power), idents))
    return above, below


def times(front: Expr, body: Expr) -> Expr:
    """``front * body``, the front put before the first factor: ``2 * a * b``."""
    if isinstance(body, ast.BinOp) and isinstance(body.op, ast.Mult | ast.Div):
        return ast.BinOp(times(front, body.left), body.op, body.right)
    return binary(front, "*", body)


def minus(body: Expr) -> Expr:
    """``-body``, the sign put before the first factor: ``-a / b``."""
    if isinstance(body, ast.BinOp) and isinstance(body.op, ast.Mult | ast.Div):
        return ast.BinOp(minus(body.left), body.op, body.right)
    return negated(body)


def size(extent: Extent, idents: dict[str, str]) -> Expr:
    """The expression of an extent; ``idents`` are the identifiers of the names."""
    if extent.number is not None:
        return number_of(extent.number)
    top = _polynomial(extent.top, idents)
    if len(extent.bottom) == 1 and not extent.bottom[0][0] and extent.bottom[0][1] == 1:
        return top
    return binary(top, "/", _polynomial(extent.bottom, idents))


def whole(extent: Extent, idents: dict[str, str]) -> Expr:
    """The expression of an extent that is an integer: ``N // 2``."""
    if extent.number is not None:
        return number_of(extent.number)
    scale = lcm(*(c.denominator for _, c in extent.top if isinstance(c, Fraction)))
    above = extent * scale
    if any(power < 0 for mono, _ in above.top for _, power in mono):
        return call("round", size(extent, idents))
    below: Expr | None = None if scale == 1 else literal(scale)
    if not (len(extent.bottom) == 1 and not extent.bottom[0][0] and extent.bottom[0][1] == 1):
        low = _polynomial(above.bottom, idents)
        below = low if below is None else binary(below, "*", low)
    top = _polynomial(above.top, idents)
    return top if below is None else binary(top, "//", below)


def scaled(coef: Extent, body: Expr | None, idents: dict[str, str]) -> Expr:
    """``coef · body``: ``2 * x``, ``-x``, ``x / N``, ``x / D**0.5``."""
    if body is None:
        return size(coef, idents)
    if coef == ONE:
        return body
    if coef == -ONE:
        return minus(body)
    if not coef.simple:
        return times(size(coef, idents), body)
    ((mono, number),) = coef.top
    above, below = _monomial(mono, -number if number < 0 else number, idents)
    front = product_of(above)
    if front is not None:
        body = times(negated(front) if number < 0 else front, body)
    elif number < 0:
        body = minus(body)
    if below:
        divisor = product_of(below)
        assert divisor is not None
        body = binary(body, "/", divisor)
    return body
