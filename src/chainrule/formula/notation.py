"""Notation: trees that print themselves as text and as LaTeX, and evaluate themselves.

Vectors are columns, so a value is a 0-d number, an n×1 column, or a matrix.  Evaluation follows
the written operations one by one and refuses what the notation does not allow (a product whose
inner sizes differ, a sum of different shapes): what is checked is what is printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..expr.extents import ZERO, Extent
from .writing import (
    ADD,
    ATOM,
    HADAMARD,
    POSTFIX,
    PRODUCT,
    Env,
    Value,
    Written,
    latex_name,
    without_brackets,
)

__all__ = [
    "Apply",
    "Counting",
    "Diag",
    "DiagonalOf",
    "Hadamard",
    "HalfTriangle",
    "Halved",
    "Identity",
    "Indexed",
    "Inverse",
    "Literal",
    "Name",
    "Norm",
    "Notation",
    "OffDiagonal",
    "Ones",
    "Plus",
    "Power",
    "Product",
    "Scaled",
    "Summed",
    "Trace",
    "Transpose",
    "Triangle",
]


class Notation:
    """Base of all notation trees."""

    def write(self, latex: bool) -> Written:
        """The text and its binding strength."""
        raise NotImplementedError

    def value(self, env: Env) -> Value:
        """The value of what is written."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """Unicode text on one line."""
        return self.write(False).text

    @property
    def latex(self) -> str:
        """LaTeX, without delimiters."""
        return self.write(True).text


def _column(value: Value) -> Value:
    value = np.asarray(value)
    return value[:, None] if value.ndim == 1 else value


def _is_number(value: Value) -> bool:
    return bool(value.ndim == 0 or value.shape == (1, 1))


def _number(value: Value) -> Value:
    return value.reshape(()) if value.shape == (1, 1) else value


@dataclass(frozen=True)
class Name(Notation):
    """A named array or definition; ``symmetric`` if it is its own transpose."""

    name: str
    ndim: int
    symmetric: bool = field(default=False, kw_only=True)

    def write(self, latex: bool) -> Written:
        return Written(latex_name(self.name) if latex else self.name)

    def value(self, env: Env) -> Value:
        return _column(env.values[self.name])


@dataclass(frozen=True)
class Counting(Name):
    """The column ``(0, 1, …, n − 1)``, or one that begins elsewhere."""

    extent: Extent
    start: Extent = ZERO

    def write(self, latex: bool) -> Written:
        first, last = (
            Literal(e).write(latex).text for e in (self.start, self.start + self.extent - 1)
        )
        return Written(
            rf"\left({first}, \ldots, {last}\right)" if latex else f"({first}, …, {last})"
        )

    def value(self, env: Env) -> Value:
        count = np.arange(round(self.extent.value(env.sizes)), dtype=float)
        return (count + self.start.value(env.sizes))[:, None]


@dataclass(frozen=True)
class OffDiagonal(Notation):
    """``𝟏 𝟏ᵀ − I``: the mask of the elements that are not on the diagonal."""

    extent: Extent

    def write(self, latex: bool) -> Written:
        return Written(r"\mathbf{1} \, \mathbf{1}^\top - I" if latex else "𝟏 𝟏ᵀ − I", ADD)

    def value(self, env: Env) -> Value:
        return 1.0 - np.eye(round(self.extent.value(env.sizes)))


@dataclass(frozen=True)
class Literal(Notation):
    """A number, or an expression of extents."""

    number: Extent

    def write(self, latex: bool) -> Written:
        top, bottom = self.number.fraction(latex)
        sum_above = len(self.number.top) > 1 or self.number.negative
        if bottom == "1":
            return Written(top, ADD if sum_above else (PRODUCT if " " in top else ATOM))
        if latex:
            return Written(rf"\frac{{{top}}}{{{bottom}}}", ATOM)
        return Written(str(self.number), PRODUCT)

    def value(self, env: Env) -> Value:
        return np.asarray(self.number.value(env.sizes))


@dataclass(frozen=True)
class Ones(Notation):
    """The column of ones."""

    extent: Extent

    def write(self, latex: bool) -> Written:
        return Written(r"\mathbf{1}" if latex else "𝟏")

    def value(self, env: Env) -> Value:
        return np.ones((int(self.extent.value(env.sizes)), 1))


@dataclass(frozen=True)
class Identity(Notation):
    """The identity matrix."""

    extent: Extent

    def write(self, latex: bool) -> Written:
        return Written("I")

    def value(self, env: Env) -> Value:
        return np.eye(int(self.extent.value(env.sizes)))


@dataclass(frozen=True)
class Transpose(Notation):
    """``Xᵀ``."""

    inner: Notation

    def write(self, latex: bool) -> Written:
        if isinstance(self.inner, Inverse):
            text = self.inner.inner.write(latex).within(ATOM, latex)
            return Written(text + (r"^{-\top}" if latex else "⁻ᵀ"), POSTFIX)
        text = self.inner.write(latex).within(ATOM, latex)
        return Written(text + (r"^\top" if latex else "ᵀ"), POSTFIX)

    def value(self, env: Env) -> Value:
        inner = self.inner.value(env)
        return inner if inner.ndim == 0 else inner.T


@dataclass(frozen=True)
class Inverse(Notation):
    """``A⁻¹``, the matrix inverse."""

    inner: Notation

    def write(self, latex: bool) -> Written:
        text = self.inner.write(latex).within(ATOM, latex)
        return Written(text + ("^{-1}" if latex else "⁻¹"), POSTFIX)

    def value(self, env: Env) -> Value:
        return np.linalg.inv(self.inner.value(env))


@dataclass(frozen=True)
class Product(Notation):
    """The matrix product of two or more factors."""

    factors: tuple[Notation, ...]

    def write(self, latex: bool) -> Written:
        texts = [f.write(latex).within(POSTFIX, latex) for f in self.factors]
        return Written((r" \, " if latex else " ").join(texts), PRODUCT)

    def value(self, env: Env) -> Value:
        first = self.factors[0]
        values = [f.value(env) for f in self.factors]
        result = values[0]
        if type(first) is Diag and len(values) > 1:  # rows that it scales; the zeros meet nothing
            result, values = _scaled_by(result, values[1]), values[1:]
        for factor, value in zip(
            self.factors[len(self.factors) - len(values) + 1 :], values[1:], strict=True
        ):
            result = _scaled_by(value.T, result.T).T if type(factor) is Diag else result @ value
        return result


def _scaled_by(diagonal: Value, matrix: Value) -> Value:
    if diagonal.shape[1] != matrix.shape[0]:
        raise ValueError(f"a product of shapes {diagonal.shape} and {matrix.shape}")
    return np.diagonal(diagonal)[:, None] * matrix


@dataclass(frozen=True)
class Scaled(Notation):
    """Scalars times something: ``2 λ x / N``; ``below`` stands in the denominator."""

    coef: Extent
    above: tuple[Notation, ...]
    below: tuple[Notation, ...]
    body: Notation | None

    def write(self, latex: bool) -> Written:
        sign = self.coef.negative
        top, bottom = abs(self.coef).fraction(latex)
        minus = ("-" if latex else "−") if sign else ""
        level = ADD if sign else PRODUCT
        space = r" \, " if latex else " "
        below, main = self.below, self.body
        alone = main is None and len(self.above) == 1
        uppers = [a.write(latex).within(PRODUCT if alone else POSTFIX, latex) for a in self.above]
        if isinstance(main, Power) and main.exponent < 0:
            below, main = (*below, main.reciprocal()), None
        body = None if main is None else main.write(latex)
        lowers = [b.write(latex) for b in below]
        if top != "1":
            uppers.insert(0, top if " + " not in top and " − " not in top else f"({top})")
        divided = bottom != "1" or lowers
        if latex:
            if divided:
                low = [bottom] if bottom != "1" else []
                if lowers and (" + " in bottom or " - " in bottom):
                    low = [rf"\left({bottom}\right)"]
                low += [
                    w.text if len(lowers) == 1 and not low else w.within(POSTFIX, True)
                    for w in lowers
                ]
                if alone and top == "1":
                    uppers = [self.above[0].write(True).text]
                above = space.join(uppers)
                if body is not None and not above and (body.binds < PRODUCT or _is_plain(body)):
                    above, body = body.text, None
                elif body is not None and top == "1" and _is_plain(body):
                    above, body = f"{above}{space}{body.text}", None
                fraction = rf"\frac{{{above or 1}}}{{{space.join(low)}}}"
                parts = [fraction]
            else:
                parts = uppers
                if body is not None and body.binds == HADAMARD and not uppers:
                    return Written(minus + body.text, level)
            parts += [body.within(PRODUCT, True)] if body is not None else []
            return Written(minus + space.join(parts), level)
        parts = uppers + ([body.within(PRODUCT, False)] if body is not None else [])
        text = " ".join(parts) or "1"
        if body is not None and body.binds == HADAMARD and not uppers and not divided:
            text = body.text
        if divided:
            low = [bottom] if bottom != "1" else []
            if lowers and (" + " in bottom or " − " in bottom):
                low = [f"({bottom})"]
            low += [w.within(POSTFIX, False) for w in lowers]
            under = low[0] if len(low) == 1 else f"({' '.join(low)})"
            if len(low) == 1 and low[0] == bottom and " " in bottom:
                under = f"({bottom})"
            loose = len(parts) > 1 or " " in without_brackets(text)
            text += f" / {under}" if loose else f"/{under}"
        return Written(minus + text, level)

    def value(self, env: Env) -> Value:
        result = np.asarray(self.coef.value(env.sizes))
        for scalar in self.above:
            result = result * _must_be_number(scalar.value(env))
        for scalar in self.below:
            result = result / _must_be_number(scalar.value(env))
        return result if self.body is None else result * self.body.value(env)


def _is_plain(written: Written) -> bool:
    """Whether LaTeX fits above a bar: names, no functions, no parentheses."""
    return not re.search(r"\\left|\\operatorname|\\frac|\\sum", written.text)


def _must_be_number(value: Value) -> Value:
    if not _is_number(value):
        raise ValueError(f"a number is written where the value has shape {value.shape}")
    return _number(value)


@dataclass(frozen=True)
class Hadamard(Notation):
    """Elementwise products; ``below`` are divided by."""

    factors: tuple[Notation, ...]
    below: tuple[Notation, ...] = ()

    def write(self, latex: bool) -> Written:
        texts = [f.write(latex).within(POSTFIX, latex) for f in self.factors]
        text = (r" \odot " if latex else " ⊙ ").join(texts) or "1"
        for divisor in self.below:
            text += (r" \oslash " if latex else " ⊘ ") + divisor.write(latex).within(POSTFIX, latex)
        return Written(text, HADAMARD)

    def value(self, env: Env) -> Value:
        values = [f.value(env) for f in (*self.factors, *self.below)]
        if len({v.shape for v in values}) > 1:
            raise ValueError(f"⊙ of shapes {[v.shape for v in values]}")
        result = np.ones_like(values[0])
        for v in values[: len(self.factors)]:
            result = result * v
        for v in values[len(self.factors) :]:
            result = result / v
        if any(isinstance(f, OffDiagonal) for f in self.factors):  # a mask: it selects
            result = np.where(np.eye(len(result)), 0.0, result)
        return result


@dataclass(frozen=True)
class Plus(Notation):
    """A sum; signs come from the parts.  Numbers are added to every element."""

    parts: tuple[Notation, ...]

    def write(self, latex: bool) -> Written:
        text = ""
        minus = "-" if latex else "−"
        for part in self.parts:
            written = part.write(latex)
            body = written.text if written.text.startswith(minus) else written.within(ADD, latex)
            if isinstance(part, Plus):
                body = written.within(HADAMARD, latex)
            if not text:
                text = body
            elif body.startswith(minus):
                text += f" {minus} {body[len(minus) :]}"
            else:
                text += f" + {body}"
        return Written(text, ADD)

    def value(self, env: Env) -> Value:
        values = [p.value(env) for p in self.parts]
        shapes = {
            v.shape
            for p, v in zip(self.parts, values, strict=True)
            if not (_is_number(v) and isinstance(p, Literal))
        }
        if len({s for s in shapes if s not in ((), (1, 1))}) > 1:
            raise ValueError(f"sum of shapes {sorted(shapes)}")
        result = np.asarray(0.0)
        for v in values:
            result = result + (_number(v) if _is_number(v) else v)
        return result


@dataclass(frozen=True)
class Power(Notation):
    """An elementwise power; ``√x`` and ``1/x`` where that is the custom."""

    inner: Notation
    exponent: Fraction
    matrix: bool

    def reciprocal(self) -> Notation:
        """What stands under the bar of a negative power."""
        return self.inner if self.exponent == -1 else Power(self.inner, -self.exponent, self.matrix)

    def write(self, latex: bool) -> Written:
        e = self.exponent
        if e == Fraction(1, 2):
            body = self.inner.write(latex)
            if latex:
                return Written(rf"\sqrt{{{body.text}}}")
            return Written("√" + body.within(ATOM, False), POSTFIX)
        if e < 0:
            body = self.reciprocal().write(latex)
            if latex:
                return Written(rf"\frac{{1}}{{{body.text}}}")
            return Written("1/" + body.within(POSTFIX, False), PRODUCT)
        body_text = self.inner.write(latex).within(ATOM, latex)
        if self.matrix:
            if e == 2:
                joined = (r" \odot " if latex else " ⊙ ").join([body_text, body_text])
                return Written(joined, HADAMARD)
            mark = rf"^{{\circ {e}}}" if latex else "^∘" + _superscript(e).lstrip("^")
            return Written(body_text + mark, POSTFIX)
        return Written(body_text + (f"^{{{e}}}" if latex else _superscript(e)), POSTFIX)

    def value(self, env: Env) -> Value:
        inner = self.inner.value(env)
        e = self.exponent
        if e.denominator == 1:
            return inner ** int(e) if e > 0 else 1.0 / inner ** int(-e)
        return inner ** float(e)


def _superscript(e: Fraction) -> str:
    if e.denominator == 1:
        return str(e).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"^({e})"


@dataclass(frozen=True)
class Apply(Notation):
    """A function of arguments; ``pattern`` may hold ``{}`` for infix notation."""

    op: str
    args: tuple[Notation, ...]
    text_pattern: str
    latex_pattern: str
    binds: int = ATOM
    params: tuple[Any, ...] = ()
    ranks: tuple[int, ...] | None = None  # of the arguments of a function of whole arrays

    def write(self, latex: bool) -> Written:
        level = HADAMARD if self.binds != ATOM else ADD
        texts = [a.write(latex).within(level, latex) for a in self.args]
        pattern = self.latex_pattern if latex else self.text_pattern
        if pattern.count("⟨⟩") == len(texts):
            for text in texts:
                pattern = pattern.replace("⟨⟩", text, 1)
        else:
            pattern = pattern.replace("⟨⟩", ", ".join(texts))
        return Written(pattern, self.binds)

    def value(self, env: Env) -> Value:
        args = [a.value(env) for a in self.args]
        if self.ranks is not None:
            pairs = zip(args, self.ranks, strict=True)
            args = [a.reshape(()) if n == 0 else a[:, 0] if n == 1 else a for a, n in pairs]
            return _column(env.functions[self.op](*args, *self.params))
        shapes = {a.shape for a in args if not _is_number(a)}
        if len(shapes) > 1 and not self.params:
            raise ValueError(f"{self.op} of shapes {sorted(shapes)}")
        value = np.asarray(env.functions[self.op](*args, *self.params))
        return value.astype(float) if value.dtype == bool else value  # [x > 0] is 0 or 1


@dataclass(frozen=True)
class Diag(Notation):
    """``diag(v)``: the diagonal matrix of a column."""

    inner: Notation

    def write(self, latex: bool) -> Written:
        head = r"\operatorname{diag}" if latex else "diag"
        body = self.inner.write(latex).text
        return Written(head + (rf"\left({body}\right)" if latex else f"({body})"))

    def value(self, env: Env) -> Value:
        inner = self.inner.value(env)
        if inner.ndim != 2 or inner.shape[1] != 1:
            raise ValueError(f"diag of shape {inner.shape}")
        return np.diag(inner[:, 0])


@dataclass(frozen=True)
class DiagonalOf(Diag):
    """``diag(A)``: the diagonal of a matrix as a column."""

    def value(self, env: Env) -> Value:
        return np.diagonal(self.inner.value(env))[:, None]


@dataclass(frozen=True)
class Triangle(Notation):
    """``tril(A)``, ``triu(A)``: a matrix below (above) its diagonal, with it or ``strict``."""

    inner: Notation
    lower: bool
    strict: bool = False

    def write(self, latex: bool) -> Written:
        name = "tril" if self.lower else "triu"
        body = self.inner.write(latex).text
        if self.strict:
            body += (", -1" if latex else ", −1") if self.lower else ", 1"
        if latex:
            return Written(rf"\operatorname{{{name}}}\left({body}\right)")
        return Written(f"{name}({body})")

    def value(self, env: Env) -> Value:
        shift = (-1 if self.lower else 1) if self.strict else 0
        return (np.tril if self.lower else np.triu)(self.inner.value(env), shift)


@dataclass(frozen=True)
class HalfTriangle(Notation):
    """The mask 1 below (above) the diagonal, ½ on it, 0 elsewhere."""

    extent: Extent
    lower: bool

    def write(self, latex: bool) -> Written:
        name = "tril" if self.lower else "triu"
        if latex:
            ones = r"\mathbf{1} \, \mathbf{1}^\top"
            return Written(
                rf"\operatorname{{{name}}}\left({ones}\right) - \frac{{1}}{{2}} \, I", ADD
            )
        return Written(f"{name}(𝟏 𝟏ᵀ) − I/2", ADD)

    def value(self, env: Env) -> Value:
        n = round(self.extent.value(env.sizes))
        return (np.tril if self.lower else np.triu)(np.ones((n, n))) - np.eye(n) / 2


@dataclass(frozen=True)
class Halved(Notation):
    """``Φ(A)``: the triangle of a matrix with its diagonal halved."""

    inner: Notation
    lower: bool

    def write(self, latex: bool) -> Written:
        body = self.inner.write(latex).text
        mark = "" if self.lower else "ᵀ"
        if latex:
            mark = "" if self.lower else r"^\top"
            return Written(rf"\Phi{mark}\left({body}\right)")
        return Written(f"Φ{mark}({body})")

    def value(self, env: Env) -> Value:
        inner = self.inner.value(env)
        kept = (np.tril if self.lower else np.triu)(inner)
        return kept - np.diag(np.diagonal(inner)) / 2


@dataclass(frozen=True)
class Trace(Notation):
    """``tr(A)``."""

    inner: Notation

    def write(self, latex: bool) -> Written:
        head = r"\operatorname{tr}" if latex else "tr"
        body = self.inner.write(latex).text
        return Written(head + (rf"\left({body}\right)" if latex else f"({body})"))

    def value(self, env: Env) -> Value:
        return np.asarray(np.trace(self.inner.value(env)))


@dataclass(frozen=True)
class Norm(Notation):
    """``‖x‖`` or ``‖x‖²``: Euclidean, for a matrix Frobenius."""

    inner: Notation
    squared: bool
    matrix: bool

    def write(self, latex: bool) -> Written:
        body = self.inner.write(latex).text
        square = self.squared
        if latex:
            below = "_F" if self.matrix else ""
            text = rf"\left\|{body}\right\|{below}" + ("^2" if square else "")
        else:
            text = f"‖{body}‖{'_F' if self.matrix else ''}{'²' if square else ''}"
        return Written(text, POSTFIX if square else ATOM)

    def value(self, env: Env) -> Value:
        total = np.sum(self.inner.value(env) ** 2)
        return np.asarray(total if self.squared else np.sqrt(total))


@dataclass(frozen=True)
class Summed(Notation):
    """``Σ`` of all elements."""

    inner: Notation

    def write(self, latex: bool) -> Written:
        body = self.inner.write(latex).within(ATOM, latex)
        return Written((r"\sum " if latex else "Σ ") + body, PRODUCT)

    def value(self, env: Env) -> Value:
        return np.asarray(np.sum(self.inner.value(env)))


@dataclass(frozen=True)
class Indexed(Notation):
    """Index notation; text, LaTeX and value come from :mod:`.indices`."""

    texts: tuple[str, str]
    compute: Callable[[Env], Value]

    def write(self, latex: bool) -> Written:
        return Written(self.texts[latex], ADD)

    def value(self, env: Env) -> Value:
        return self.compute(env)
