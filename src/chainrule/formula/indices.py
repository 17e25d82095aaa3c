"""Index notation of a quantity: ``Σ_c G[a,c] w[b,c]``.  Every quantity has one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent
from .composing import coefficient
from .evaluate import evaluate
from .functions import style_of
from .masks import apart, order, sides
from .matrix import Matrices, NoMatrixForm
from .notation import Indexed, Literal
from .quantity import (
    Add,
    Form,
    Fun,
    Index,
    Num,
    Pow,
    Prod,
    Quantity,
    Ramp,
    Sym,
    Wrap,
    map_labels,
)
from .windows import implied
from .writing import (
    ADD,
    ATOM,
    HADAMARD,
    POSTFIX,
    PRODUCT,
    Env,
    Written,
    latex_name,
    without_brackets,
)

__all__ = ["Indices"]

_SPARE = "ijklmnabcdpqrstuv"


class Indices:
    """Writes quantities in index notation; ``names`` are written by name."""

    def __init__(self, names: Mapping[Quantity, str], taken: Iterable[str]) -> None:
        self.names = names
        self.taken = set(taken)
        self.matrices = Matrices(names)

    def letters(self, shape: tuple[Extent, ...]) -> tuple[str, ...]:
        """The letters of the free indices: those of the extents where that is possible."""
        used: set[str] = set()
        return tuple(self._letter(extent, used) for extent in shape)

    def _letter(self, extent: Extent, used: set[str]) -> str:
        text = str(extent)
        wish = text.lower() if text.isidentifier() else ""
        kept = {name.lower() for name in self.taken if len(name) == 1 and name.isupper()}
        spare = sorted(_SPARE, key=lambda letter: letter in kept)
        choices: list[str] = [wish, *spare]
        for letter in choices:
            if letter and letter not in used and letter not in self.taken:
                used.add(letter)
                return letter
        number = 1
        while f"i{number}" in used:
            number += 1
        used.add(f"i{number}")
        return f"i{number}"

    def write(self, quantity: Quantity) -> Indexed:
        """The right-hand side in index notation, under :meth:`letters` of its shape."""
        texts = (self._text(quantity, False), self._text(quantity, True))

        def compute(env: Env) -> object:
            return evaluate(quantity, env, self.names)

        return Indexed(texts, compute)

    def _text(self, quantity: Quantity, latex: bool) -> str:
        writer = _Writer(self, latex)
        free = self.letters(quantity.shape)
        labels = []
        for letter, extent in zip(free, quantity.shape, strict=True):
            labels.append(writer.label(extent, letter))
        return writer.element(quantity, tuple(labels), top=True).text


class _Writer:
    """One formula: letters are given to labels as they come."""

    def __init__(self, owner: Indices, latex: bool) -> None:
        self.owner = owner
        self.latex = latex
        self.names: dict[int, str] = {}
        self.used: set[str] = set()
        self.extents: dict[int, Extent] = {}
        self.reach: dict[int, set[Extent]] = {}  # how far axes let a label run

    def label(self, extent: Extent, letter: str | None = None) -> int:
        number = len(self.names)
        if letter is None:
            letter = self.owner._letter(extent, self.used)
        self.used.add(letter)
        self.names[number] = letter
        self.extents[number] = extent
        return number

    # -- elements -----------------------------------------------------------------------------
    def element(self, q: Quantity, at: tuple[Index, ...], top: bool = False) -> Written:
        """Entry ``at`` of a quantity."""
        name = self.owner.names.get(q) if not top else None
        if isinstance(q, Ramp):
            return Written(self.index(at[0]), ATOM if isinstance(at[0], int) else ADD)
        if name is None and isinstance(q, Sym):
            name = q.name
        if name is not None:
            return self._entry(latex_name(name) if self.latex else name, at, q.shape)
        if isinstance(q, Num):
            return Literal(q.value).write(self.latex)
        if isinstance(q, Add):
            return self._sum(q, at)
        if isinstance(q, Pow):
            return self._power(q, at)
        if isinstance(q, Fun):
            return self._function(q, at, top)
        assert isinstance(q, Prod)
        return self._product(q, at)

    def _entry(self, name: str, at: tuple[Index, ...], shape: tuple[Extent, ...] = ()) -> Written:
        if not at:
            return Written(name)
        for index, extent in zip(at, shape, strict=False):
            self._reaches(index, extent)
        inside = ",".join(self.index(i) for i in at)
        if self.latex:
            base = f"({name})" if "_" in name else name
            return Written(f"{base}_{{{inside}}}")
        return Written(f"{name}[{inside}]")

    def _reaches(self, index: Index, extent: Extent) -> None:
        """Note how far an axis of this extent lets the label of an index run."""
        if isinstance(index, int):
            self.reach.setdefault(index, set()).add(extent)
        elif len(index.parts) == 1:
            ((coef, key),) = index.parts
            if isinstance(key, int):
                last = index.const / -coef if coef.negative else (extent - 1 - index.const) / coef
                self.reach.setdefault(key, set()).add(last + 1)

    def _ranged(self, label: int, extent: Extent) -> str:
        """The letter of a sum, with its range where the arrays under it do not show that."""
        letter = self.names[label]
        if extent in self.reach.get(label, ()):
            return letter
        return f"{letter} < {self._number(extent)}"

    def index(self, index: Index) -> str:
        """An index as text."""
        if isinstance(index, int):
            return self.names[index]
        text = ""
        minus = "-" if self.latex else "−"
        for coef, key in index.parts:
            size = abs(coef)
            front = "" if size == ONE else f"{size} "
            body = front + self._key(key)
            if not text:
                text = minus + body if coef.negative else body
            else:
                text += minus + body if coef.negative else "+" + body
        if index.const or not text:
            const, bottom = index.const.fraction(self.latex)
            if bottom != "1":  # −(N − 1)/2
                const = Literal(abs(index.const)).write(self.latex).text
                const = (minus if index.const.negative else "") + const
            const = const.replace(" ", "")
            text += const if not text or const.startswith(minus) else "+" + const
        return text

    def _key(self, key: int | Wrap) -> str:
        if isinstance(key, int):
            return self.names[key]
        inside = [self.index(s) for s in key.subs]
        if key.kind == "look":
            assert key.table is not None
            return self.element(key.table, key.subs).text
        if key.kind == "mod":
            sub = key.subs[0]
            if isinstance(sub, Form):  # i−n, not −n+i
                parts = sorted(sub.parts, key=lambda part: part[0].negative)
                inside = [self.index(Form(sub.const, tuple(parts)))]
            return f"({inside[0]} mod {key.n})"
        body = inside[0] if isinstance(key.subs[0], int) else f"({inside[0]})"
        return rf"\lfloor {body}/{key.n} \rfloor" if self.latex else f"⌊{body}/{key.n}⌋"

    # -- sums, powers, functions --------------------------------------------------------------
    def _sum(self, total: Add, at: tuple[Index, ...]) -> Written:
        if not total.parts:
            return Written("0")
        common = coefficient([c for c, _ in total.parts])
        minus = "-" if self.latex else "−"
        pieces: list[str] = []
        parts = sorted(total.parts, key=lambda p: (p[0] / common).negative)
        for coef, q in parts:
            rest = coef / common
            if isinstance(q, Num):
                rest, body = rest * q.value, None
            else:
                body = self.element(q, at)
            written = self._scaled(rest, [body] if body is not None else [])
            pieces.append(
                written.text
                if written.text.startswith(minus)
                else written.within(HADAMARD, self.latex)
            )
        text = pieces[0]
        for piece in pieces[1:]:
            text += f" {minus} {piece[len(minus) :]}" if piece.startswith(minus) else f" + {piece}"
        return Written(text, ADD) if common == ONE else self._scaled(common, [Written(text, ADD)])

    def _scaled(self, coef: Extent, factors: list[Written]) -> Written:
        if len(factors) == 1 and factors[0].binds == ADD and factors[0].text[:1] in ("−", "-"):
            body = factors[0].text[1:]
            if not re.search(r" [−+-] ", without_brackets(body)):  # −Σ_i …, no sum
                coef, factors = -coef, [Written(body, PRODUCT)]
        minus = ("-" if self.latex else "−") if coef.negative else ""
        top, bottom = abs(coef).fraction(self.latex)
        below = (
            []
            if self.latex
            else [w for w in factors if w.text.startswith("1/") and w.binds >= PRODUCT]
        )
        factors = [w for w in factors if w not in below]
        parts = [w.within(PRODUCT, self.latex) for w in factors]
        if len(factors) > 1:
            parts = [w.within(POSTFIX, self.latex) for w in factors]
        space = r" \, " if self.latex else " "
        if self.latex and bottom != "1":
            front = rf"\frac{{{top}}}{{{bottom}}}"
            return Written(minus + space.join([front, *parts]), ADD if minus else PRODUCT)
        if top != "1" or not parts:
            parts.insert(0, top if " + " not in top and " − " not in top else f"({top})")
        text = space.join(parts)
        sums = below and any(sign in bottom for sign in (" + ", " − "))
        low = [f"({bottom})" if sums else bottom] if bottom != "1" else []
        low += [w.text[2:] for w in below]
        if low:
            under = low[0] if len(low) == 1 and _is_one(low[0]) else f"({' '.join(low)})"
            text += f"/{under}" if len(parts) == 1 else f" / {under}"
        if not minus and len(parts) == 1 and bottom == "1" and factors:
            return Written(text, max(factors[0].binds, PRODUCT))
        return Written(minus + text, ADD if minus else PRODUCT)

    def _power(self, q: Pow, at: tuple[Index, ...]) -> Written:
        body = self.element(q.base, at)
        e = q.exponent
        if e == Fraction(1, 2):
            if self.latex:
                return Written(rf"\sqrt{{{body.text}}}")
            return Written("√" + body.within(ATOM, False), POSTFIX)
        if e < 0:
            below = self.element(q.base, at) if e == -1 else None
            if below is None:
                positive = Pow(q.base, -e)
                below = self._power(positive, at)
            if self.latex:
                return Written(rf"\frac{{1}}{{{below.text}}}")
            return Written("1/" + below.within(POSTFIX, False), PRODUCT)
        mark = f"^{{{e}}}" if self.latex else _raised(e)
        return Written(body.within(ATOM, self.latex) + mark, POSTFIX)

    def _function(self, q: Fun, at: tuple[Index, ...], top: bool) -> Written:
        if q.whole:
            try:
                whole = self.owner.matrices.write(q, top)
            except NoMatrixForm:
                if q.op in ("softmax", "logsumexp"):
                    return self._along(q, at)
                style = style_of(f"{q.op}:{q.params[-1]}" if q.params[-1] else q.op)
                inner = ", ".join(
                    self.element(a, tuple(self.label(e, "·") for e in a.shape)).text for a in q.args
                )
                text = (style.latex if self.latex else style.text).replace("⟨⟩", inner)
                return self._entry(text, at, q.shape)
            return self._entry(whole.write(self.latex).within(ATOM, self.latex), at, q.shape)
        style = style_of(q.op, q.params)
        level = HADAMARD if style.binds != ATOM else ADD
        texts = [self.element(a, at if a.shape else ()).within(level, self.latex) for a in q.args]
        pattern = style.latex if self.latex else style.text
        if pattern.count("⟨⟩") == len(texts):
            for text in texts:
                pattern = pattern.replace("⟨⟩", text, 1)
        else:
            pattern = pattern.replace("⟨⟩", ", ".join(texts))
        return Written(pattern, style.binds)

    def _along(self, q: Fun, at: tuple[Index, ...]) -> Written:
        """``softmax_s(S[h,t,s])``: a function along the axis of an index."""
        axis = q.params[0]
        if q.op == "logsumexp":
            at = (*at[:axis], self.label(q.args[0].shape[axis]), *at[axis:])
        body = self.element(q.args[0], at).text
        letter = self.index(at[axis])
        if self.latex:
            return Written(rf"\operatorname{{{q.op}}}_{{{letter}}}\left({body}\right)")
        return Written(f"{q.op}_{letter}({body})")

    # -- products -----------------------------------------------------------------------------
    def _product(self, q: Prod, at: tuple[Index, ...]) -> Written:
        mapping: dict[int, Index] = {}
        brackets: list[str] = []
        pending: list[tuple[Index, Index]] = []
        for axis, (sub, here) in enumerate(zip(q.out, at, strict=True)):
            solved = _solved(sub, here)
            if solved is not None and solved[0] not in mapping:
                inner, value, shift, sign = solved
                mapping[inner] = value
                brackets += self._range(here, q.shape[axis], shift, sign, q.extents[inner])
            elif isinstance(sub, int) or sub.parts or q.shape[axis] != ONE:
                pending.append((here, sub))
        summed: dict[int, Extent] = {}

        def fresh(label: int) -> None:
            if label not in mapping:
                mapping[label] = number = self.label(q.extents[label])
                summed[number] = q.extents[label]

        for here, sub in list(pending):
            freed = _freed(sub, mapping, q.extents)
            if freed is None or not isinstance(sub, Form):
                continue
            for _, key in sub.parts:
                if isinstance(key, int) and key != freed:
                    fresh(key)
            rest = Form(sub.const, tuple(p for p in sub.parts if p[1] != freed))
            value = _minus(here, map_labels(rest, mapping))
            mapping[freed] = value
            pending.remove((here, sub))
            least, most = (r" \geq ", r" \leq ") if self.latex else (" ≥ ", " ≤ ")
            last = Form(q.extents[freed] - 1, ((-ONE, freed),))
            low = not implied(value, self.extents)
            high = not implied(map_labels(last, {freed: value}), self.extents)
            if low and high:
                brackets.append(f"0{most}{self.index(value)}{most}{self._number(last.const)}")
            elif low:
                brackets.append(f"{self.index(value)}{least}0")
            elif high:
                brackets.append(f"{self.index(value)}{most}{self._number(last.const)}")
        for label in range(len(q.extents)):
            fresh(label)
        parts = []
        for factor, subs in q.factors:
            parts.append(self.element(factor, tuple(map_labels(s, mapping) for s in subs)))
        for here, sub in pending:
            there = map_labels(sub, mapping)
            if isinstance(here, int) and isinstance(there, int):
                parts.append(self._entry(r"\delta" if self.latex else "δ", (there, here)))
            else:
                brackets.append(f"{self.index(here)} = {self.index(there)}")
        parts.extend(Written(f"[{bracket}]") for bracket in brackets)
        bounds = self._bounds(map_labels(c, mapping) for c in q.constraints)
        parts.extend(Written(f"[{bound}]") for bound in bounds)
        body = self._scaled(q.coef, parts)
        if not summed:
            return body
        ranged = [self._ranged(k, extent) for k, extent in summed.items()]
        plain = ranged == [self.names[k] for k in summed]
        letters = ("," if plain else ", ").join(ranged)
        if self.latex:
            sigma = rf"\sum_{{{letters}}} "
        else:
            sigma = f"Σ_{letters} " if plain and len(summed) == 1 else f"Σ_({letters}) "
        for k in summed:
            self.used.discard(self.names[k])
        if body.text.startswith(("−", "-")):
            return Written(body.text[0] + sigma + body.text[1:], ADD)
        return Written(sigma + body.text, PRODUCT)

    def _bounds(self, constraints: Iterable[Index]) -> list[str]:
        """``constraint ≥ 0`` as comparisons without minus signs, but for what always holds."""
        at_least, at_most = (r" \geq ", r" \leq ") if self.latex else (" ≥ ", " ≤ ")
        found: list[str] = []
        for constraint in constraints:
            if isinstance(constraint, int) or implied(constraint, self.extents):
                continue
            gap, ordered = apart(constraint), order(constraint)
            if gap is not None:
                one, other = map(self.index, sides(gap))
                found.append(rf"{one} \neq {other}" if self.latex else f"{one} ≠ {other}")
                continue
            if ordered is not None and ordered.shift == 1:
                found.append(f"{self.index(ordered.low)} < {self.index(ordered.high)}")
                continue
            left = tuple(p for p in constraint.parts if not p[0].negative)
            right = tuple((-c, k) for c, k in constraint.parts if c.negative)
            const = constraint.const
            if not left:
                text = f"{self.index(Form(ZERO, right))}{at_most}{self.index(Form(const))}"
            elif const.negative or not right:
                text = f"{self.index(Form(ZERO, left))}{at_least}{self.index(Form(-const, right))}"
            else:
                text = f"{self.index(Form(ZERO, right))}{at_most}{self.index(Form(const, left))}"
            found.append(text)
        return found

    def _number(self, value: Extent) -> str:
        return Literal(value).write(self.latex).text

    def _range(
        self, here: Index, whole: Extent, shift: Extent, sign: int, extent: Extent
    ) -> list[str]:
        """Where ``here = shift + sign·label`` has a solution, as far as that is not everywhere."""
        low = shift if sign > 0 else shift - (extent - 1)
        found = []
        at_least, at_most = (r" \geq ", r" \leq ") if self.latex else (" ≥ ", " ≤ ")
        if low:
            found.append(self.index(here) + at_least + self._number(low))
        if low + extent != whole:
            last = low + extent - whole
            if last.number is not None:
                found.append(f"{self.index(here)} < {self._number(whole + last)}")
            else:
                found.append(f"{self.index(here)}{at_most}{self._number(low + extent - 1)}")
        return found


def _solved(sub: Index, here: Index) -> tuple[int, Index, Extent, int] | None:
    """The label of ``sub = here`` where sub is ``shift ± label``: (label, value, shift, sign)."""
    if isinstance(sub, int):
        return sub, here, ZERO, 1
    if len(sub.parts) != 1:
        return None
    coef, label = sub.parts[0]
    if not isinstance(label, int) or coef not in (ONE, -ONE):
        return None
    sign = 1 if coef == ONE else -1
    const, parts = (ZERO, ((ONE, here),)) if isinstance(here, int) else (here.const, here.parts)
    value = map_labels(Form((const - sub.const) * sign, tuple((c * sign, k) for c, k in parts)), {})
    return label, value, sub.const, sign


def _freed(sub: Index, mapping: Mapping[int, Index], extents: tuple[Extent, ...]) -> int | None:
    """A summed label for which ``sub = here`` can be solved: of several that with most text."""
    if isinstance(sub, int) or not all(isinstance(key, int) for _, key in sub.parts):
        return None
    free = [key for c, key in sub.parts if isinstance(key, int) and key not in mapping and c == ONE]
    return max(free, key=lambda k: len(str(extents[k])), default=None)


def _minus(here: Index, rest: Index) -> Index:
    """``here − rest``."""
    total: dict[int | Wrap, Extent] = {}
    const = ZERO
    for sign, index in ((ONE, here), (-ONE, rest)):
        form = Form(ZERO, ((ONE, index),)) if isinstance(index, int) else index
        const = const + sign * form.const
        for coef, key in form.parts:
            total[key] = total.get(key, ZERO) + sign * coef
    return map_labels(Form(const, tuple((c, k) for k, c in total.items() if c)), {})


def _is_one(text: str) -> bool:
    """Whether nothing stands beside anything else outside of brackets."""
    depth = 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == " " and not depth:
            return False
    return True


def _raised(e: Fraction) -> str:
    if e.denominator == 1:
        return str(e).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"^({e})"
