"""Exact arithmetic over named extents: ``N``, ``N - 1``, ``2 N``, ``1/N``, ``N/(N - 1)``, ``√D``.

An :class:`Extent` is a quotient of two polynomials in names.  Exponents are rational, so that
``1/√D`` is one monomial.  Coefficients are exact; a float that is no short fraction stays a float.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TypeAlias

__all__ = ["ONE", "ZERO", "Extent", "Number", "exact", "extent", "name"]

Number: TypeAlias = Fraction | float
Monomial: TypeAlias = tuple[tuple[str, Fraction], ...]
Polynomial: TypeAlias = dict[Monomial, Number]

_UNIT: Monomial = ()


def exact(value: float | Fraction) -> Number:
    """A number as a short fraction where it is one (to the last bit or two), else as a float."""
    if isinstance(value, int | Fraction):
        return Fraction(value)
    if value != value or value in (float("inf"), float("-inf")):
        return value
    if value.is_integer():
        return Fraction(int(value))
    short = Fraction(value).limit_denominator(4096)
    return short if abs(float(short) - value) <= 4e-16 * abs(value) else value


def _rounded(value: Number) -> Number:
    """A product of floats as the short fraction that it is up to rounding: ``√½ · √½`` is ½."""
    if isinstance(value, Fraction):
        return value
    short = Fraction(value).limit_denominator(64)
    return short if short and abs(float(short) - value) <= 1e-15 * abs(value) else value


def _add(left: Polynomial, right: Polynomial) -> Polynomial:
    total = dict(left)
    for mono, coef in right.items():
        total[mono] = total.get(mono, Fraction(0)) + coef
    return {m: c for m, c in total.items() if c != 0}


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for m1, c1 in left.items():
        for m2, c2 in right.items():
            mono = _times(m1, m2)
            total[mono] = total.get(mono, Fraction(0)) + _rounded(c1 * c2)
    return {m: c for m, c in total.items() if c != 0}


def _times(left: Monomial, right: Monomial, sign: int = 1) -> Monomial:
    powers = dict(left)
    for key, power in right:
        powers[key] = powers.get(key, Fraction(0)) + sign * power
    return tuple(sorted((k, p) for k, p in powers.items() if p))


def _order(mono: Monomial) -> tuple[Fraction, list[tuple[str, Fraction]]]:
    return -sum((p for _, p in mono), Fraction(0)), [(k, -p) for k, p in mono]


def _lead(poly: Polynomial) -> Monomial:
    return min(poly, key=_order)


def _divide(top: Polynomial, bottom: Polynomial) -> Polynomial | None:
    """The exact quotient, or None."""
    quotient: Polynomial = {}
    rest = dict(top)
    head = _lead(bottom)
    for _ in range(64):
        if not rest:
            return quotient
        lead = _lead(rest)
        mono, coef = _times(lead, head, -1), rest[lead] / bottom[head]
        if mono in quotient or (len(bottom) > 1 and any(p < 0 for _, p in mono)):
            return None
        quotient[mono] = coef
        rest = _add(rest, _multiply({mono: -coef}, bottom))
    return None


def _cleared(top: Polynomial, bottom: Polynomial) -> tuple[Polynomial, Polynomial]:
    """A quotient without negative powers and without a common monomial."""
    low: dict[str, Fraction] = {}
    for index, mono in enumerate([*top, *bottom]):
        powers = dict(mono)
        for key in low.keys() | powers.keys():
            before = low.get(key, Fraction(0) if index else powers.get(key, Fraction(0)))
            low[key] = min(before, powers.get(key, Fraction(0)))
    shift = tuple(sorted((k, -p) for k, p in low.items() if p))
    return (
        {_times(m, shift): c for m, c in top.items()},
        {_times(m, shift): c for m, c in bottom.items()},
    )


class Extent:
    """An immutable quotient of polynomials in names; see the module's text."""

    __slots__ = ("_bottom", "_hash", "_top")

    def __init__(self, top: Polynomial, bottom: Polynomial | None = None) -> None:
        bottom = bottom if bottom is not None else {_UNIT: Fraction(1)}
        if not bottom:
            raise ZeroDivisionError("division by an extent that is zero")
        if not top:
            bottom = {_UNIT: Fraction(1)}
        elif len(bottom) > 1 and (whole := _divide(top, bottom)) is not None:
            top, bottom = whole, {_UNIT: Fraction(1)}
        elif len(bottom) > 1:
            top, bottom = _cleared(top, bottom)
            inverse = _divide(bottom, top) if len(top) > 1 else None
            if inverse is not None:
                top, bottom = {_UNIT: Fraction(1)}, inverse
        if len(bottom) == 1:
            ((mono, coef),) = bottom.items()
            if mono or coef != 1:
                top = {_times(m, mono, -1): c / coef for m, c in top.items()}
                bottom = {_UNIT: Fraction(1)}
        if len(bottom) > 1:
            scale = bottom[_lead(bottom)]
            if scale != 1:
                top = {m: c / scale for m, c in top.items()}
                bottom = {m: c / scale for m, c in bottom.items()}
        self._top = tuple(sorted(top.items(), key=lambda item: _order(item[0])))
        self._bottom = tuple(sorted(bottom.items(), key=lambda item: _order(item[0])))
        self._hash: int | None = None

    # -- reading ------------------------------------------------------------------------------
    @property
    def top(self) -> tuple[tuple[Monomial, Number], ...]:
        """The numerator: (monomial, coefficient), highest degree first."""
        return self._top

    @property
    def bottom(self) -> tuple[tuple[Monomial, Number], ...]:
        """The denominator; one unless it has several terms."""
        return self._bottom

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return frozenset(k for poly in (self._top, self._bottom) for m, _ in poly for k, _ in m)

    @property
    def number(self) -> Number | None:
        """The value where no name occurs, else None."""
        if not self._top:
            return Fraction(0)
        if len(self._bottom) == 1 and len(self._top) == 1 and self._top[0][0] == _UNIT:
            return self._top[0][1]
        return None

    @property
    def factor(self) -> Number:
        """The number in front: the leading coefficient."""
        return self._top[0][1] if self._top else Fraction(1)

    @property
    def negative(self) -> bool:
        """Whether the leading coefficient is negative: how the sign is written."""
        return bool(self._top) and self._top[0][1] < 0

    @property
    def simple(self) -> bool:
        """Whether it is one monomial (no sum anywhere)."""
        return len(self._top) <= 1 and len(self._bottom) == 1

    def value(self, sizes: Mapping[str, int]) -> float:
        """The number under sizes of the names; integral values come out exact."""

        def total(poly: Iterable[tuple[Monomial, Number]]) -> Number:
            result: Number = Fraction(0)
            for mono, coef in poly:
                part: Number = coef
                for key, power in mono:
                    if power.denominator == 1:
                        part = part * Fraction(sizes[key]) ** int(power)
                    else:
                        part = float(part) * sizes[key] ** float(power)
                result = result + part
            return result

        return float(total(self._top) / total(self._bottom))

    # -- arithmetic ---------------------------------------------------------------------------
    def __add__(self, other: Extent | float | Fraction) -> Extent:
        right = extent(other)
        if self._bottom == right._bottom:
            return Extent(_add(dict(self._top), dict(right._top)), dict(self._bottom))
        top = _add(
            _multiply(dict(self._top), dict(right._bottom)),
            _multiply(dict(right._top), dict(self._bottom)),
        )
        return Extent(top, _multiply(dict(self._bottom), dict(right._bottom)))

    __radd__ = __add__

    def __neg__(self) -> Extent:
        return Extent({m: -c for m, c in self._top}, dict(self._bottom))

    def __sub__(self, other: Extent | float | Fraction) -> Extent:
        return self + -extent(other)

    def __rsub__(self, other: Extent | float | Fraction) -> Extent:
        return extent(other) + -self

    def __mul__(self, other: Extent | float | Fraction) -> Extent:
        right = extent(other)
        return Extent(
            _multiply(dict(self._top), dict(right._top)),
            _multiply(dict(self._bottom), dict(right._bottom)),
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Extent | float | Fraction) -> Extent:
        right = extent(other)
        return Extent(
            _multiply(dict(self._top), dict(right._bottom)),
            _multiply(dict(self._bottom), dict(right._top)),
        )

    def __rtruediv__(self, other: Extent | float | Fraction) -> Extent:
        return extent(other) / self

    def __pow__(self, exponent: int | Fraction) -> Extent:
        if isinstance(exponent, int):
            base = self if exponent >= 0 else ONE / self
            result = ONE
            for _ in range(abs(exponent)):
                result = result * base
            return result
        if not self.simple or any(c != 1 for _, c in self._top):
            raise ValueError(f"({self}) to the power {exponent} is no quotient of polynomials")
        return Extent({tuple((k, p * exponent) for k, p in m): c for m, c in self._top})

    def __abs__(self) -> Extent:
        return -self if self.negative else self

    def __bool__(self) -> bool:
        return bool(self._top)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extent):
            if not isinstance(other, int | float | Fraction):
                return NotImplemented
            other = extent(other)
        if self._top == other._top and self._bottom == other._bottom:
            return True
        if len(self._bottom) == 1 and len(other._bottom) == 1:
            return False
        return _multiply(dict(self._top), dict(other._bottom)) == _multiply(
            dict(other._top), dict(self._bottom)
        )

    def __hash__(self) -> int:
        if self._hash is None:
            if self.number is not None:
                self._hash = hash(self.number)
            elif len(self._bottom) == 1:
                self._hash = hash(self._top)
            else:  # equal quotients may be written in two ways: hash a value
                sizes = {k: (2 + zlib.crc32(k.encode()) % 997) ** 2 for k in self.names}
                self._hash = hash(round(self.value(sizes), 6))
        return self._hash

    # -- writing ------------------------------------------------------------------------------
    def __str__(self) -> str:
        top, bottom = self.fraction()
        return top if bottom == "1" else f"{_atom(top)}/{_atom(bottom)}"

    def __repr__(self) -> str:
        return f"Extent({self})"

    def fraction(self, latex: bool = False) -> tuple[str, str]:
        """Numerator and denominator as text; negative powers stand in the denominator."""
        if len(self._bottom) > 1:
            scale = _denominator(self._top)
            top = tuple((m, c * scale) for m, c in self._top)
            bottom = tuple((m, c * scale) for m, c in self._bottom)
            return _poly_text(top, latex), _poly_text(bottom, latex)
        if not self._top:
            return "0", "1"
        low: dict[str, Fraction] = {}
        for mono, _ in self._top:
            for key, power in mono:
                low[key] = min(low.get(key, Fraction(0)), power)
        shift = tuple(sorted((k, -p) for k, p in low.items() if p < 0))
        if len(self._top) == 1:
            special = _special(self._top[0][1], latex)
            if special is not None:
                above, below = special
                rest = _poly_text(((_times(self._top[0][0], shift), Fraction(1)),), latex)
                under = _poly_text(((shift, Fraction(1)),), latex)
                return (
                    above if rest == "1" else rest if above == "1" else f"{above} {rest}",
                    below if under == "1" else under if below == "1" else f"{below} {under}",
                )
        scale = _denominator(self._top)
        top = tuple((_times(m, shift), c * scale) for m, c in self._top)
        return _poly_text(top, latex), _poly_text(((shift, Fraction(scale)),), latex)


_CONSTANTS = (
    ("√2", r"\sqrt{2}", 2**0.5),
    ("√π", r"\sqrt{\pi}", math.pi**0.5),
    ("√(2 π)", r"\sqrt{2 \pi}", (2 * math.pi) ** 0.5),
    ("π", r"\pi", math.pi),
)


def _special(value: Number, latex: bool) -> tuple[str, str] | None:
    """Numerator and denominator of a number such as ``1/√(2 π)``, None for other numbers."""
    if isinstance(value, Fraction):
        return None
    for below in (True, False):
        for text, tex, size in _CONSTANTS:
            ratio = exact(round(value * size if below else value / size, 13))
            if not isinstance(ratio, Fraction) or ratio.denominator > 64:
                continue
            top, bottom = str(ratio.numerator), str(ratio.denominator)
            name = tex if latex else text
            if below:
                return top, name if bottom == "1" else f"{bottom} {name}"
            return name if top == "1" else f"{top} {name}", bottom
    return None


def _is_decimal(scale: int) -> bool:
    """Whether thousandths are written as such: 0.9, but 1/2, 3/4."""
    return scale > 8 and 1000 % scale == 0


def _denominator(terms: Iterable[tuple[Monomial, Number]]) -> int:
    """What makes the coefficients whole, 1 where they are written as decimals."""
    scale = math.lcm(*(c.denominator for _, c in terms if isinstance(c, Fraction)))
    return 1 if _is_decimal(scale) else scale


def _atom(text: str) -> str:
    return f"({text})" if any(c in text for c in " /") else text


_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def _power_text(key: str, power: Fraction, latex: bool) -> str:
    if power == 1:
        return key
    if power == Fraction(1, 2):
        return rf"\sqrt{{{key}}}" if latex else f"√{key}"
    if latex:
        return f"{key}^{{{power}}}"
    if power.denominator == 1:
        return key + str(power).translate(_SUPERSCRIPTS)
    return f"{key}^({power})"


def _number_text(value: Number, latex: bool) -> str:
    if isinstance(value, Fraction):
        return f"{float(value):g}" if _is_decimal(value.denominator) else str(value)
    text = f"{value:.6g}"
    if "e" not in text:
        return text
    digits, _, power = text.partition("e")
    if latex:
        front = "" if digits == "1" else rf"{digits} \cdot "
        return f"{front}10^{{{int(power)}}}"
    front = "" if digits == "1" else f"{digits}·"
    return front + "10" + str(int(power)).translate(_SUPERSCRIPTS)


def _poly_text(poly: Iterable[tuple[Monomial, Number]], latex: bool) -> str:
    text = ""
    terms = list(poly)
    if any(coef > 0 for _, coef in terms):  # N − K, not −K + N; powers keep their order
        terms.sort(key=lambda term: (-sum((p for _, p in term[0]), Fraction(0)), term[1] < 0))
    for mono, coef in terms:
        powers = " ".join(_power_text(k, p, latex) for k, p in mono)
        size = -coef if coef < 0 else coef
        if not powers:
            body = _number_text(size, latex)
        elif size == 1:
            body = powers
        else:
            body = f"{_number_text(size, latex)} {powers}"
        if not text:
            text = ("−" if not latex else "-") + body if coef < 0 else body
        else:
            minus = "-" if latex else "−"
            text += f" {minus if coef < 0 else '+'} {body}"
    return text or "0"


def extent(value: Extent | float | Fraction) -> Extent:
    """The extent of a number (or the extent itself)."""
    if isinstance(value, Extent):
        return value
    number = exact(value)
    return Extent({_UNIT: number} if number != 0 else {})


def name(text: str) -> Extent:
    """A name as an extent."""
    return Extent({((text, Fraction(1)),): Fraction(1)})


ZERO = Extent({})
ONE = Extent({_UNIT: Fraction(1)})
