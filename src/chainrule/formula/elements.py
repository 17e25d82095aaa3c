"""Arrays written out element by element: sums of products of scalars, as one has them on paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from ..expr.extents import Number, exact
from .evaluate import evaluate
from .functions import style_of
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Ramp, Sym, Wrap, ordered
from .writing import ATOM, Env, latex_name

__all__ = ["Atom", "Elements", "NoElements", "Numbers", "Scalar", "TooLong"]

_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class TooLong(Exception):
    """Written out, a quantity is longer than the budget allows."""


class NoElements(ValueError):
    """What cannot be written element by element; says why."""


@dataclass(frozen=True)
class Atom:
    """What is not taken apart: an element of a named array, or a function of scalars."""

    text: str
    latex: str
    quantity: Quantity | None = None
    index: tuple[int, ...] = ()
    op: str = ""
    args: tuple[Scalar, ...] = ()
    simple: bool = True
    params: tuple[Any, ...] = ()

    def value(self, numbers: Numbers) -> float:
        """The number under values of the arrays."""
        return numbers.of(self)


class Numbers:
    """Values of atoms under values of arrays, each computed once."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self._arrays: dict[Quantity, Any] = {}
        self._atoms: dict[Atom, float] = {}

    def of(self, atom: Atom) -> float:
        """The number that an atom stands for."""
        if atom not in self._atoms:
            self._atoms[atom] = self._value(atom)
        return self._atoms[atom]

    def _value(self, atom: Atom) -> float:
        if atom.quantity is None:
            args = [np.asarray(a.value(self)) for a in atom.args]
            return (
                float(self.env.functions[atom.op](*args, *atom.params))
                if atom.op
                else float(args[0])
            )
        if atom.quantity not in self._arrays:
            self._arrays[atom.quantity] = evaluate(atom.quantity, self.env, {})
        return float(self._arrays[atom.quantity][atom.index])


Powers: TypeAlias = "tuple[tuple[Atom, Fraction], ...]"


@dataclass(frozen=True, eq=False)
class Scalar:
    """``Σ coef · Π atom^power``; terms in the order in which they came."""

    terms: Mapping[frozenset[tuple[Atom, Fraction]], tuple[Number, Powers]] = field(
        default_factory=dict
    )

    @staticmethod
    def number(value: Number) -> Scalar:
        """A constant."""
        return Scalar({frozenset(): (value, ())} if value else {})

    @staticmethod
    def of(atom: Atom) -> Scalar:
        """One atom."""
        powers = ((atom, Fraction(1)),)
        return Scalar({frozenset(powers): (Fraction(1), powers)})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scalar) or self.terms.keys() != other.terms.keys():
            return False
        return all(_near(c, other.terms[key][0]) for key, (c, _) in self.terms.items())

    def __hash__(self) -> int:
        return hash(frozenset(self.terms))

    def __add__(self, other: Scalar) -> Scalar:
        total = dict(self.terms)
        for key, (coef, powers) in other.terms.items():
            known = total.get(key)
            total[key] = (coef if known is None else known[0] + coef, powers)
        return Scalar({k: v for k, v in total.items() if v[0]})

    def __mul__(self, other: Scalar) -> Scalar:
        total = Scalar()
        for c1, p1 in self.terms.values():
            for c2, p2 in other.terms.values():
                powers: dict[Atom, Fraction] = dict(p1)
                for atom, power in p2:
                    powers[atom] = powers.get(atom, Fraction(0)) + power
                kept = tuple((a, p) for a, p in powers.items() if p)
                total = total + Scalar({frozenset(kept): (c1 * c2, kept)})
        return total

    def scaled(self, factor: Number) -> Scalar:
        """Times a number."""
        return self * Scalar.number(factor)

    @property
    def constant(self) -> Number | None:
        """The number it is, None where atoms occur."""
        if not self.terms:
            return Fraction(0)
        if len(self.terms) == 1 and frozenset() in self.terms:
            return self.terms[frozenset()][0]
        return None

    def power(self, exponent: Fraction, expand: bool = False) -> Scalar:
        """A power: of one product factor by factor, of a sum as an atom (expanded on request)."""
        if exponent == 1:
            return self
        if len(self.terms) == 1:
            ((coef, powers),) = self.terms.values()
            if exponent.denominator == 1 or coef == 1:
                raised = tuple((a, p * exponent) for a, p in powers)
                size = coef ** int(exponent) if exponent.denominator == 1 else Fraction(1)
                return Scalar({frozenset(raised): (size, raised)})
        whole = exponent.denominator == 1 and exponent > 0
        if whole and expand and exponent <= 4:
            result = self
            for _ in range(int(exponent) - 1):
                result = result * self
            return result
        atom = Atom(self.text, self.latex, args=(self,), simple=False)
        powers = ((atom, exponent),)
        return Scalar({frozenset(powers): (Fraction(1), powers)})

    def value(self, numbers: Numbers) -> float:
        """The number under values of the arrays."""
        total = 0.0
        for coef, powers in self.terms.values():
            part = float(coef)
            for atom, power in powers:
                part *= atom.value(numbers) ** float(power)
            total += part
        return total

    # -- the derivative -----------------------------------------------------------------------
    def by(self, wanted: Atom) -> Scalar | None:
        """The derivative by an atom, by the rules of school; None where a function has none here.

        It shares nothing with the rules that formulas are derived by.
        """
        total = Scalar()
        for coef, powers in self.terms.values():
            for atom, power in powers:
                inner = _slope(atom, wanted)
                if inner is None:
                    return None
                if not inner.terms:
                    continue
                rest = Scalar.number(coef * power)
                for other, p in powers:
                    p = p - 1 if other is atom else p
                    if p:
                        rest = rest * Scalar(
                            {frozenset({(other, p)}): (Fraction(1), ((other, p),))}
                        )
                total = total + rest * inner
        return total

    # -- writing ------------------------------------------------------------------------------
    @property
    def text(self) -> str:
        """``G₁ w₁₁ + 2 G₂ w₁₂``."""
        return self._write(False)

    @property
    def latex(self) -> str:
        """The same in LaTeX."""
        return self._write(True)

    def _write(self, latex: bool) -> str:
        minus = "-" if latex else "−"
        text = ""
        for coef, powers in self.terms.values():
            body = _product(-coef if coef < 0 else coef, powers, latex)
            if not text:
                text = minus + body if coef < 0 else body
            else:
                text += f" {minus if coef < 0 else '+'} {body}"
        return text or "0"


def _near(a: Number, b: Number) -> bool:
    return abs(float(a) - float(b)) <= 1e-12 * max(abs(float(a)), abs(float(b)))


def _product(coef: Number, powers: Powers, latex: bool) -> str:
    above = [_raised(a, p, latex) for a, p in powers if p > 0]
    below = [_raised(a, -p, latex) for a, p in powers if p < 0]
    top, bottom = (coef.numerator, coef.denominator) if isinstance(coef, Fraction) else (coef, 1)
    if isinstance(top, float):
        above.insert(0, f"{top:.6g}")
    elif top != 1 or not above:
        above.insert(0, str(top))
    if bottom != 1:
        below.insert(0, str(bottom))
    space = r" \, " if latex else " "
    if not below:
        return space.join(above)
    if latex:
        return rf"\frac{{{space.join(above)}}}{{{space.join(below)}}}"
    under = below[0] if len(below) == 1 else f"({' '.join(below)})"
    return f"{' '.join(above)}/{under}" if len(above) == 1 else f"{' '.join(above)} / {under}"


def _raised(atom: Atom, power: Fraction, latex: bool) -> str:
    text = atom.latex if latex else atom.text
    if power == Fraction(1, 2):
        if latex:
            return rf"\sqrt{{{text}}}"
        return "√" + (text if atom.simple else f"({text})")
    if not atom.simple:
        text = rf"\left({text}\right)" if latex else f"({text})"
    if power == 1:
        return text
    if latex:
        return f"{text}^{{{power}}}"
    mark = str(power).translate(_RAISED) if power.denominator == 1 else f"^({power})"
    return text + mark


def _slope(atom: Atom, wanted: Atom) -> Scalar | None:
    if atom == wanted:
        return Scalar.number(Fraction(1))
    if atom.quantity is not None:
        return Scalar() if isinstance(atom.quantity, Sym) else None
    inner = atom.args[0].by(wanted) if len(atom.args) == 1 else None
    if len(atom.args) > 1:
        slopes = [a.by(wanted) for a in atom.args]
        return Scalar() if all(s is not None and not s.terms for s in slopes) else None
    if inner is None or not inner.terms:
        return inner
    if not atom.op:
        return inner
    rule = _SLOPES.get(atom.op)
    return None if rule is None else rule(Scalar.of(atom), atom.args[0]) * inner


_ONE = Scalar.number(Fraction(1))


def _applied(op: str, argument: Scalar) -> Scalar:
    return Scalar.of(function_atom(op, (argument,)))


_SLOPES: dict[str, Callable[[Scalar, Scalar], Scalar]] = {
    "exp": lambda y, _: y,
    "log": lambda _, u: u.power(Fraction(-1)),
    "sin": lambda _, u: _applied("cos", u),
    "cos": lambda _, u: _applied("sin", u).scaled(Fraction(-1)),
    "tanh": lambda y, _: _ONE + (y * y).scaled(Fraction(-1)),
    "expit": lambda y, _: y + (y * y).scaled(Fraction(-1)),
}


def function_atom(op: str, args: tuple[Scalar, ...], params: tuple[Any, ...] = ()) -> Atom:
    """A function of scalars."""
    style = style_of(op, params)
    texts = []
    for pattern, latex in ((style.text, False), (style.latex, True)):
        inside = [a.latex if latex else a.text for a in args]
        if pattern.count("⟨⟩") == len(args):
            for piece in inside:
                pattern = pattern.replace("⟨⟩", piece, 1)
        else:
            pattern = pattern.replace("⟨⟩", ", ".join(inside))
        texts.append(pattern)
    return Atom(texts[0], texts[1], op=op, args=args, simple=style.binds == ATOM, params=params)


class Elements:
    """Writes quantities out at given sizes; ``names`` stay symbols unless they are to be opened.

    ``indices`` has the values of arrays that are used as indices.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        names: Mapping[Quantity, str],
        write: Callable[[Quantity], tuple[str, str]],
        expand: bool = False,
        budget: int | None = None,
        indices: Env | None = None,
    ) -> None:
        self.sizes = sizes
        self.names = names
        self.write = write
        self.expand = expand
        self.budget = budget
        self.indices = Env({}, sizes, {}) if indices is None else indices
        self._known: dict[Quantity, Any] = {}
        self._tables: dict[Quantity, Any] = {}

    def shape(self, q: Quantity) -> tuple[int, ...]:
        """The shape at the sizes."""
        return tuple(round(e.value(self.sizes)) for e in q.shape)

    def symbols(self, name: str, q: Quantity) -> Any:
        """The elements of a named array; of a symmetric argument ``K₁₂`` for ``K₂₁`` as well."""
        latex = latex_name(name)
        symbol = q if isinstance(q, Sym) else Sym(name, q.shape)

        def atom(index: tuple[int, ...]) -> Scalar:
            at = tuple(sorted(index)) if symbol.symmetric else index
            return Scalar.of(
                Atom(name + self._mark(q, at, name), self._latex_mark(latex, q, at), symbol, at)
            )

        return self._array(q, atom)

    def _array(self, q: Quantity, make: Callable[[tuple[int, ...]], Scalar]) -> Any:
        shape = self.shape(q)
        result = np.empty(shape, object)
        for index in np.ndindex(shape):
            result[index] = make(index)
        return result

    def _places(self, q: Quantity, index: tuple[int, ...]) -> list[int]:
        """Indices from 1, without those of axes of extent 1."""
        shape = self.shape(q)
        kept = [i + 1 for i, n in zip(index, shape, strict=True) if n > 1]
        return kept

    def _mark(self, q: Quantity, index: tuple[int, ...], name: str) -> str:
        places = self._places(q, index)
        if not places:
            return ""
        if name[-1:].isdigit() or max(self.shape(q)) > 9:
            return "[" + ",".join(map(str, places)) + "]"
        return "".join(str(p).translate(_SUBSCRIPT) for p in places)

    def _latex_mark(self, latex: str, q: Quantity, index: tuple[int, ...]) -> str:
        places = self._places(q, index)
        if not places:
            return latex
        separator = "," if max(self.shape(q)) > 9 else ""
        base = latex if "_" not in latex else f"({latex})"
        return f"{base}_{{{separator.join(map(str, places))}}}"

    # -- quantities ---------------------------------------------------------------------------
    def of(self, q: Quantity, top: bool = False) -> Any:
        """The elements of a quantity as an array of scalars; at the ``top`` its name is opened."""
        if not top and q in self.names:
            return self.symbols(self.names[q], q)
        if top:
            return self._of(q)
        if q not in self._known:
            self._known[q] = self._of(q)
        return self._known[q]

    def _of(self, q: Quantity) -> Any:
        if isinstance(q, Ramp):
            return self._array(q, lambda at: Scalar.number(exact(at[0])))
        if isinstance(q, Sym):
            if q.name in self.indices.values:
                values = self.indices.values[q.name]
                return self._array(q, lambda at: Scalar.number(exact(int(values[at]))))
            return self.symbols(q.name, q)
        if isinstance(q, Num):
            return self._array(q, lambda _: Scalar.number(exact(q.value.value(self.sizes))))
        if isinstance(q, Add):
            total = self._array(q, lambda _: Scalar())
            for coef, part in q.parts:
                number = exact(coef.value(self.sizes))
                piece: Any = np.broadcast_to(self.of(part), total.shape)
                for index in np.ndindex(total.shape):
                    self._spend(len(piece[index].terms))
                    total[index] = total[index] + piece[index].scaled(number)
            return total
        if isinstance(q, Pow):
            base = self.of(q.base)
            return self._array(q, lambda i: base[i].power(q.exponent, self.expand))
        if isinstance(q, Fun):
            return self._function(q)
        assert isinstance(q, Prod)
        return self._product(q)

    def _function(self, q: Fun) -> Any:
        if not q.whole:
            args = [np.broadcast_to(self.of(a), self.shape(q)) for a in q.args]
            return self._array(
                q, lambda i: Scalar.of(function_atom(q.op, tuple(a[i] for a in args), q.params))
            )
        text, latex = self.write(q)
        return self._array(
            q,
            lambda i: Scalar.of(
                Atom(text + self._mark(q, i, "·"), self._latex_mark(latex, q, i), q, i)
            ),
        )

    def _product(self, q: Prod) -> Any:
        total = self._array(q, lambda _: Scalar())
        box = tuple(round(e.value(self.sizes)) for e in q.extents)
        factors = [(self.of(f), subs) for f, subs in q.factors]
        coef = Scalar.number(exact(q.coef.value(self.sizes)))
        for point in np.ndindex(box):
            if any(self._at(c, point) < 0 for c in q.constraints):
                continue
            part = coef
            for values, subs in factors:
                factor = values[tuple(self._at(s, point) for s in subs)]
                self._spend(len(part.terms) * len(factor.terms))
                part = part * factor
            where = tuple(self._at(s, point) for s in q.out)
            total[where] = total[where] + part
        return total

    def _spend(self, products: int) -> None:
        if self.budget is not None:
            self.budget -= products
            if self.budget < 0:
                raise TooLong

    def _at(self, index: Index, point: Sequence[int]) -> int:
        if isinstance(index, int):
            return point[index]
        total = round(index.const.value(self.sizes))
        for coef, key in index.parts:
            total += round(coef.value(self.sizes)) * self._key(key, point)
        return total

    def _key(self, key: int | Wrap, point: Sequence[int]) -> int:
        if isinstance(key, int):
            return point[key]
        if key.kind == "look":
            assert key.table is not None
            return int(self._table(key.table)[tuple(self._at(s, point) for s in key.subs)])
        n = round(key.n.value(self.sizes))
        sub = self._at(key.subs[0], point)
        return sub % n if key.kind == "mod" else sub // n

    def _table(self, table: Quantity) -> Any:
        """The values of an array of indices, counted from 0.  Raises NoElements."""
        if table not in self._tables:
            symbols = {q.name for q in ordered([table]) if isinstance(q, Sym)}
            unknown = sorted(symbols - self.indices.values.keys())
            if unknown:
                raise NoElements(
                    f"an index that depends on the values of {', '.join(unknown)} has no value on "
                    "paper"
                )
            self._tables[table] = evaluate(table, self.indices, {})
        return self._tables[table]
