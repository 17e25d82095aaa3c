"""Notation put together: products, transposes, ``⊙``, numbers in front, as one writes them."""

from __future__ import annotations

from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent
from .notation import (
    Diag,
    DiagonalOf,
    Hadamard,
    HalfTriangle,
    Halved,
    Identity,
    Inverse,
    Literal,
    Name,
    Norm,
    Notation,
    OffDiagonal,
    Ones,
    Plus,
    Power,
    Product,
    Scaled,
    Summed,
    Trace,
    Transpose,
)

__all__ = [
    "coefficient",
    "gathered",
    "hadamard",
    "inverse",
    "is_reciprocal",
    "is_whole",
    "multiply",
    "scaled",
    "transpose",
]


def transpose(inner: Notation) -> Notation:
    """``innerᵀ``, products reversed, double transposes gone."""
    if isinstance(inner, Transpose):
        return inner.inner
    if _is_symmetric(inner):
        return inner
    if isinstance(inner, Product):
        return Product(tuple(transpose(f) for f in reversed(inner.factors)))
    if isinstance(inner, Identity | OffDiagonal | Literal | Trace | Norm | Summed):
        return inner
    if isinstance(inner, Diag) and not isinstance(inner, DiagonalOf):
        return inner
    return Transpose(inner)


def _is_symmetric(inner: Notation) -> bool:
    """Whether what is written is its own transpose: a symmetric name, ``(I + X Xᵀ)⁻¹``."""
    if isinstance(inner, Name):
        return inner.symmetric
    if isinstance(inner, Inverse):
        return _is_symmetric(inner.inner)
    if isinstance(inner, Plus):
        return all(transpose(part) == part for part in inner.parts)
    return isinstance(inner, Scaled) and inner.body is not None and _is_symmetric(inner.body)


def inverse(inner: Notation) -> Notation:
    """``inner⁻¹``; of a transpose ``inner⁻ᵀ``."""
    if isinstance(inner, Transpose):
        return Transpose(Inverse(inner.inner))
    return Inverse(inner)


def multiply(*factors: Notation) -> Notation:
    """The matrix product, flat."""
    flat: list[Notation] = []
    for factor in factors:
        flat.extend(factor.factors if isinstance(factor, Product) else (factor,))
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def hadamard(parts: list[Notation]) -> Notation:
    """The elementwise product; reciprocals as divisors."""
    halved = _halved(parts)
    if halved is not None:
        return halved
    if len(parts) > 1:
        parts = [factor for part in parts for factor in _twice(part)]
    parts = sorted(parts, key=lambda p: isinstance(p, Plus))
    above = [p for p in parts if not is_reciprocal(p)]
    below = [_inverted(p) for p in parts if is_reciprocal(p)]
    if not above and len(parts) == 1:
        return parts[0]
    if not above:
        return Power(hadamard(below), Fraction(-1), True)
    if len(above) == 1 and not below:
        return above[0]
    return Hadamard(tuple(above), tuple(below))


def _twice(part: Notation) -> tuple[Notation, ...]:
    """A square as its two factors, so that ``p ⊙ (z ⊙ z)`` needs no parentheses."""
    if isinstance(part, Power) and part.exponent == 2 and part.matrix:
        return (part.inner, part.inner)
    return (part,)


def _halved(parts: list[Notation]) -> Notation | None:
    """``Φ(M)`` for M under the mask ``tril(𝟏 𝟏ᵀ) − I/2``: the triangle, its diagonal halved."""
    for i, part in enumerate(parts):
        if isinstance(part, HalfTriangle):
            rest = [p for k, p in enumerate(parts) if k != i]
            return Halved(hadamard(rest), part.lower) if rest else None
    return None


def is_reciprocal(part: Notation) -> bool:
    return isinstance(part, Power) and part.exponent < 0


def _inverted(part: Notation) -> Notation:
    assert isinstance(part, Power)
    if part.exponent == -1:
        return part.inner
    return Power(part.inner, -part.exponent, part.matrix)


def scaled(coef: Extent, scalars: list[Notation], body: Notation | None) -> Notation:
    """Numbers times something."""
    above: list[Notation] = []
    below: list[Notation] = []
    for scalar in scalars:
        if isinstance(scalar, Scaled):
            coef = coef * scalar.coef
            above += scalar.above
            below += scalar.below
            if scalar.body is not None:
                above.append(scalar.body)
        elif is_reciprocal(scalar):
            below.append(_inverted(scalar))
        elif isinstance(scalar, Literal):
            coef = coef * scalar.number
        else:
            above.append(scalar)
    if body is None and not above and not below:
        return Literal(coef)
    if isinstance(body, Scaled):
        coef = coef * body.coef
        above += body.above
        below += body.below
        body = body.body
    above.sort(key=lambda n: (not isinstance(n, Name), len(n.text) if isinstance(n, Plus) else 0))
    if coef == ONE and not above and not below:
        assert body is not None
        return body
    if coef == ONE and not below and body is None and len(above) == 1:
        return above[0]
    return Scaled(coef, tuple(above), tuple(below), body)


def _is_integer(value: Extent) -> bool:
    number = value.number
    return isinstance(number, Fraction) and number.denominator == 1


def is_whole(value: Extent) -> bool:
    """Whether a number is whole: an integer, or whole multiples of products of extents."""
    return len(value.bottom) == 1 and all(
        isinstance(c, Fraction)
        and c.denominator == 1
        and all(power > 0 and power.denominator == 1 for _, power in mono)
        for mono, c in value.top
    )


def coefficient(coefs: list[Extent]) -> Extent:
    """What all coefficients of a sum have in common and one writes in front."""
    if any(_is_integer(c) for c in coefs) and not all(map(_is_integer, coefs)):
        return ONE
    best = min(coefs, key=lambda c: abs(float(c.number)) if c.number is not None else 1e300)
    for candidate in (best, coefs[0]):
        ratios = [c / candidate for c in coefs]
        if all(map(is_whole, ratios)):
            negative = all(r.negative for r in ratios)
            positive = all(not r.negative for r in ratios)
            if negative or (candidate.negative and not positive):
                candidate = -candidate
            return candidate
    return ONE


def in_order(parts: list[tuple[Extent, Notation]]) -> list[tuple[Extent, Notation]]:
    """The parts of a sum as one writes them: a positive one first, numbers times names later.

    ``B X C + Bᵀ X Cᵀ``: of products of the same factors those with fewer transposes first.
    """
    parts = sorted(parts, key=lambda p: isinstance(p[1], Scaled) and bool(p[1].above))
    names = {tuple(sorted(_factors(p))) for _, p in parts}
    if len(names) == 1 and not any(c.negative for c, _ in parts):
        parts.sort(key=lambda p: (p[1].text.count("ᵀ"), p[1].text))
    first = next((i for i, (c, _) in enumerate(parts) if not c.negative), 0)
    parts.insert(0, parts.pop(first))
    return parts


def _factors(part: Notation) -> list[str]:
    """The factors of a product, transposes left out."""
    factors = part.factors if isinstance(part, Product) else (part,)
    return [(f.inner if isinstance(f, Transpose) else f).text for f in factors]


def gathered(bodies: list[tuple[Extent, Notation]]) -> list[tuple[Extent, Notation]]:
    """Parts of a sum; of ``Aᵀ x + A x − 2 ρ x`` the first two as ``(A + Aᵀ) x``."""
    groups: dict[Notation, list[int]] = {}
    for i, (coef, body) in enumerate(bodies):
        if isinstance(body, Product) and coef in (ONE, -ONE):
            if isinstance(body.factors[-1], Ones):
                continue
            groups.setdefault(body.factors[-1], []).append(i)
    result = list(bodies)
    for last, places in groups.items():
        heads = [(bodies[i][0], multiply(*bodies[i][1].factors[:-1])) for i in places]  # type: ignore[attr-defined]
        long = any(len(bodies[i][1].factors) > 2 for i in places)  # type: ignore[attr-defined]
        if len(heads) < 2 or (long and len(heads) < len(bodies)):
            continue
        heads.sort(
            key=lambda h: (h[0].negative, isinstance(h[1], Diag), isinstance(h[1], Transpose))
        )
        sign = heads[0][0]
        total = Plus(tuple(scaled(c * sign, [], h) for c, h in heads))
        result[places[0]] = (sign, Product((total, last)))
        for i in places[1:]:
            result[i] = (ZERO, last)
    return [(c, body) for c, body in result if c]
