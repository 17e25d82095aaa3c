"""Reading printed formulas back: what stands on paper, as a tree that evaluates itself.

It knows the notation only, not the quantities it was written from: so it checks the printed
characters.  Ranges of indices are taken from the shapes of the arrays in which they stand, unless
they are written under the sum: ``Σ_(i < N − 1)``.

::

    sum      = [−] product {(+ | −) product}
    product  = {power [⊙ | ⊘]} {/ power} | Σ_i product
    power    = √ power | atom {² | ⁻¹ | ᵀ | ^(3/2) | [indices]}
    atom     = number | name | function(sum, …) | (sum) | [condition] | |sum| | ⌊sum⌋ | ‖sum‖
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..expr.ops import OPS
from .functions import LOWERED
from .writing import Env

__all__ = ["CannotRead", "Read", "letters_of_sum", "read", "value_of_text"]

_MOST = 14  # letters in one formula


class CannotRead(ValueError):
    """Text in a notation that is not read back."""


@dataclass(frozen=True)
class Read:
    """A piece of a formula: ``kind`` and its parts."""

    kind: str
    text: str = ""
    parts: tuple[Read, ...] = ()


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?)"
    r"|(?P<sum>Σ_(?:\((?P<several>[^)]*)\)|(?P<one>[^\W_]\w*)))"
    r"|(?P<name>log Γ|log\|det|(?![_⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ])[^\W\d](?:(?![⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ])[\w̄]|\.(?=[^\W\d]))*|𝟏)"
    r"|(?P<power>⁻ᵀ|ᵀ|⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^\([^)]*\)|\^∘(?:[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\([^)]*\)))"
    r"|(?P<mark>[-−+/⊙⊘⊗()\[\],|⌊⌋‖=≠<>≤≥∧∨¬√·∂]))"
)
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LOW = {low: chr(high) for high, low in LOWERED.items()}
_RELATIONS = "=≠<>≤≥"


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, bool]] = []  # kind, text, whether a space is before
        position = 0
        text = text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise CannotRead(f"{text[position : position + 12]!r} in {text!r}")
            kind = str(found.lastgroup)
            if kind in ("several", "one"):
                kind = "sum"
            inside = found.group("several") or found.group("one") if kind == "sum" else None
            body = inside if inside is not None else found.group(kind)
            self.tokens.append((kind, body, found.group(0)[:1].isspace()))
            position = found.end()
        self.at = 0

    def peek(self) -> tuple[str, str, bool]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", True)

    def take(self, text: str = "") -> str:
        kind, found, _ = self.peek()
        if kind == "end" or (text and found != text):
            raise CannotRead(f"{found!r} where {text!r} is expected")
        self.at += 1
        return found

    def whole(self) -> Read:
        found = self.logic()
        if self.peek()[0] != "end":
            raise CannotRead(f"{self.peek()[1]!r} is left over")
        return found

    # -- levels, from the loosest on ----------------------------------------------------------
    def logic(self) -> Read:
        left = self.relation()
        while self.peek()[1] in ("∧", "∨"):
            sign = self.take()
            left = Read("relation", sign, (left, self.relation()))
        return left

    def relation(self) -> Read:
        left = self.sum()
        if self.peek()[1] == "mod":
            self.take()
            left = Read("mod", parts=(left, self.sum()))
        chain: list[Read] = []
        while self.peek()[0] == "mark" and self.peek()[1] in _RELATIONS:
            sign = self.take()
            right = self.sum()
            chain.append(Read("relation", sign, (left, right)))
            left = right
        if not chain:
            return left
        return chain[0] if len(chain) == 1 else Read("chain", parts=tuple(chain))

    def sum(self) -> Read:
        parts = [self.signed()]
        while self.peek()[1] in ("+", "−", "-"):
            minus = self.take() != "+"
            body = self.product()
            parts.append(Read("minus", parts=(body,)) if minus else body)
        return parts[0] if len(parts) == 1 else Read("sum", parts=tuple(parts))

    def signed(self) -> Read:
        if self.peek()[1] in ("−", "-"):
            self.take()
            return Read("minus", parts=(self.product(),))
        return self.product()

    def product(self) -> Read:
        kind, text, _ = self.peek()
        if kind == "sum":
            self.take()
            return Read("Σ", text, (self.product(),))
        factors = [self.power()]
        while True:
            kind, text, _ = self.peek()
            if kind == "sum":
                factors.append(self.product())
            elif text in ("⊙", "⊘", "⊗"):
                self.take()
                left = _joined(factors)
                right = [self.power()]
                while self._starts():
                    right.append(self.power())
                factors = [Read(text, parts=(left, _joined(right)))]
            elif text == "/":
                self.take()
                below = [self.power()]
                while below[0].kind == "∂" and self.peek()[1] == "∂":
                    below.append(self.power())
                factors = [Read("/", parts=(_joined(factors), _joined(below)))]
            elif self._starts():
                factors.append(self.power())
            else:
                return _joined(factors)

    def _starts(self) -> bool:
        kind, text, spaced = self.peek()
        if kind == "name":
            return text != "mod"
        if kind == "mark" and text in "|‖":
            return spaced and self._opens()
        return kind == "number" or (kind == "mark" and text in "([⌊√¬∂")

    def _opens(self) -> bool:
        """Whether a bar opens: something follows it without a space."""
        following = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        return following is not None and not following[2]

    def power(self) -> Read:
        if self.peek()[1] == "∂":
            self.take()
            mark = self.take() if self.peek()[0] == "power" else ""
            return Read("∂", mark, (self.power(),))
        if self.peek()[1] in ("√", "¬"):
            return Read(self.take(), parts=(self.power(),))
        found = self.atom()
        while True:
            kind, text, spaced = self.peek()
            if kind == "power":
                self.take()
                found = Read("power", text, (found,))
            elif text == "[" and not spaced:
                self.take()
                found = Read("at", parts=(found, *self.listed("]")))
            else:
                return found

    def listed(self, end: str) -> list[Read]:
        found = [self.logic()]
        while self.peek()[1] == ",":
            self.take()
            found.append(self.logic())
        self.take(end)
        return found

    def atom(self) -> Read:
        kind, text, _ = self.peek()
        if kind == "number":
            return Read("number", self.take())
        if kind == "name":
            self.take()
            if text == "log|det":
                inner = self.sum()
                self.take("|")
                return Read("call", "logabsdet", (inner,))
            if self.peek()[1] == "(" and not self.peek()[2]:
                self.take()
                return Read("call", text, tuple(self.listed(")")))
            return Read("name", text)
        if text in ("(", "["):
            self.take()
            inner = self.logic()
            self.take(")" if text == "(" else "]")
            return Read("group" if text == "(" else "iverson", parts=(inner,))
        for start, end in ("||", "⌊⌋", "‖‖"):
            if text == start:
                self.take()
                inner = self.sum()
                self.take(end)
                if start == "‖" and self.peek()[1] == "_F":
                    self.take()
                return Read(start, parts=(inner,))
        raise CannotRead(f"{text!r} begins nothing")


def _joined(factors: Sequence[Read]) -> Read:
    return factors[0] if len(factors) == 1 else Read("product", parts=tuple(factors))


def read(text: str) -> Read:
    """The tree of a printed formula.  Raises :class:`CannotRead` where it is not understood."""
    return _Reader(text).whole()


def letters_of_sum(text: str) -> list[tuple[str, Read | None]]:
    """The letters under a sum sign, with their bound where one is written: ``i < N − 1, j``."""
    found: list[tuple[str, Read | None]] = []
    for part in text.split(","):
        letter, _, last = part.partition("<")
        found.append((letter.strip(), read(last) if last else None))
    return found


# -- values -----------------------------------------------------------------------------------
_BY_SIGN: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal,
    "≠": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "≤": np.less_equal,
    "≥": np.greater_equal,
    "∧": np.logical_and,
    "∨": np.logical_or,
}
_CALLED = {"σ": "expit", "max": "maximum", "min": "minimum", "log Γ": "gammaln", "ψ": "digamma"}


def value_of_text(text: str, letters: Sequence[str], shape: Sequence[int], env: Env) -> Any:
    """The array of a formula in index notation whose left side has the indices ``letters``."""
    tree = read(text)
    evaluator = _Evaluator(env, dict(zip(letters, shape, strict=True)))
    found = evaluator.value(tree)
    full = tuple(shape) + (1,) * (_MOST - len(letters))
    return np.broadcast_to(np.asarray(found, float), full).reshape(shape)


class _Evaluator:
    """Every letter is an axis of its own; a sum adds one and takes it away."""

    def __init__(self, env: Env, free: Mapping[str, int]) -> None:
        self.env = env
        self.arrays = {k: np.asarray(v) for k, v in env.values.items()}
        self.letters: dict[str, Any] = {}
        self.depth = 0
        for letter, extent in free.items():
            self._open(letter, extent)

    def _open(self, letter: str, extent: int) -> None:
        if self.depth >= _MOST:
            raise CannotRead("too many indices")
        shape = [1] * _MOST
        shape[self.depth] = extent
        self.letters[letter] = np.arange(extent).reshape(shape)
        self.depth += 1

    def value(self, tree: Read) -> Any:
        conditions, rest = _conditions(tree)
        if conditions:  # what is under a condition need not have a value elsewhere
            value = self.value(rest)
            for condition in conditions:
                value = np.where(self.value(condition.parts[0]), value, 0.0)
            return value
        kind, parts = tree.kind, tree.parts
        if kind == "number":
            return _number(tree.text)
        if kind == "name":
            return self._name(tree.text)
        if kind == "Σ":
            return self._sum(tree)
        if kind == "at":
            return self._entry(tree)
        if kind == "call":
            return self._call(tree)
        values = [self.value(p) for p in parts]
        if kind == "sum":
            return sum(values[1:], start=values[0])
        if kind == "chain":
            return functools.reduce(_BY_SIGN["∧"], values)
        if kind == "relation":
            return _BY_SIGN[tree.text](*values)
        if kind == "power":
            return _power(values[0], tree.text)
        if kind == "product":
            result = values[0]
            for value in values[1:]:
                result = _times(result, value)
            return result
        return _SIMPLE[kind](*values)

    def _name(self, name: str) -> Any:
        if name in self.letters:
            return self.letters[name]
        if name in self.arrays:
            value = self.arrays[name]
            return value[:, None] if value.ndim == 1 else value
        if name in self.env.sizes:
            return self.env.sizes[name]
        raise CannotRead(f"{name} has no value")

    def _sum(self, tree: Read) -> Any:
        (body,) = tree.parts
        before, depth = dict(self.letters), self.depth
        names: list[str] = []
        for letter, last in letters_of_sum(tree.text):
            names.append(letter)
            self.letters.pop(letter, None)
            self._open(letter, self._range(body, letter) if last is None else self._size(last))
        value = np.asarray(self.value(body), float)
        value = np.broadcast_to(
            value, np.broadcast_shapes(value.shape, *(self.letters[n].shape for n in names))
        )
        total = value.sum(axis=tuple(range(depth, depth + len(names))), keepdims=True)
        self.letters, self.depth = before, depth
        return total

    def _size(self, tree: Read) -> int:
        return round(float(self.value(tree)))

    def _range(self, body: Read, letter: str) -> int:
        """How far a letter runs: as far as the arrays have axes in which it stands without others.

        Of ``G[k] x[k+1]`` with one element more in x: as far as both have.
        """
        found: list[int] = []
        stack = [body]
        while stack:
            tree = stack.pop()
            if tree.kind == "at":
                base = tree.parts[0]
                for axis, index in enumerate(tree.parts[1:]):
                    step = self._step(index, letter)
                    if step is None:
                        continue
                    if base.kind == "name" and base.text in self.arrays:
                        extent = int(self.arrays[base.text].shape[axis])
                    elif base.kind in ("group", "call"):
                        extent = int(np.shape(self.value(base))[axis])
                    else:
                        continue
                    first, by = step
                    last = (extent - 1 - first) // by if by > 0 else first // -by
                    found.append(last + 1)
            stack.extend(tree.parts)
        if not found:
            raise CannotRead(f"the range of {letter} is not seen")
        return min(found)

    def _step(self, index: Read, letter: str) -> tuple[int, int] | None:
        """For ``2 k + 1``: 1 and 2; None where other letters or look-ups stand beside k."""
        stack, names = [index], set()
        while stack:
            tree = stack.pop()
            if tree.kind not in ("name", "number", "sum", "minus", "product", "group", "/"):
                return None
            if tree.kind == "name":
                names.add(tree.text)
            stack.extend(tree.parts)
        if letter not in names or (names - {letter}) & self.letters.keys():
            return None
        before = self.letters.get(letter)
        values = []
        for at in (0, 1):
            self.letters[letter] = at
            values.append(self._size(index))
        del self.letters[letter]
        if before is not None:
            self.letters[letter] = before
        return values[0], values[1] - values[0]

    def _entry(self, tree: Read) -> Any:
        base, *indices = tree.parts
        if base == Read("name", "δ") and len(indices) == 2:
            first, second = (self.value(i) for i in indices)
            return np.equal(first, second)
        if base.kind == "name" and base.text in self.arrays:
            array = self.arrays[base.text]
        else:
            array = np.asarray(self.value(base))
            if array.ndim == 2 and len(indices) == 1:
                array = array.reshape(-1)
        if array.ndim != len(indices):
            raise CannotRead(f"{len(indices)} indices of an array of rank {array.ndim}")
        places = [np.asarray(self.value(i)).astype(int) for i in indices]
        return array[tuple(np.clip(p, 0, n - 1) for p, n in zip(places, array.shape, strict=True))]

    def _call(self, tree: Read) -> Any:
        name = _CALLED.get(tree.text, tree.text)
        values = [self.value(p) for p in tree.parts]
        if name[0] == "ψ":
            order = int(name[1:].translate(_LOW))
            return self.env.functions["polygamma"](*values, order)
        if name == "det":
            return np.linalg.det(values[0])
        if name == "diag":
            return np.diag(np.reshape(values[0], -1))
        by_rows = name in ("softmax", "logsumexp") and all(map(_is_matrix, values))
        if not (name in OPS or name == "logabsdet" or by_rows):
            raise CannotRead(f"{tree.text} is not evaluated")
        return self.env.functions[name](*values)


def _conditions(tree: Read) -> tuple[list[Read], Read]:
    """The conditions that a product (or a quotient) stands under, and what is under them."""
    if tree.kind == "/":
        found, above = _conditions(tree.parts[0])
        return found, Read("/", parts=(above, tree.parts[1]))
    if tree.kind != "product":
        return [], tree
    found = [p for p in tree.parts if p.kind == "iverson"]
    return found, _joined([p for p in tree.parts if p.kind != "iverson"] or [Read("number", "1")])


def _number(text: str) -> float:
    digits, _, power = text.partition("·10")
    return float(digits) * (10.0 ** int(power.translate(_PLAIN)) if power else 1.0)


def _is_matrix(value: Any) -> bool:
    return np.ndim(value) == 2


def _times(left: Any, right: Any) -> Any:
    both = _is_matrix(left) and _is_matrix(right)
    return left @ right if both and 1 not in (left.size, right.size) else left * right


def _power(base: Any, mark: str) -> Any:
    if mark == "ᵀ":
        return np.swapaxes(base, -1, -2)
    if mark == "⁻ᵀ":
        return np.linalg.inv(base).T
    if mark == "⁻¹" and _is_matrix(base):
        return np.linalg.inv(base)
    exponent = Fraction(mark.strip("^∘()").translate(_PLAIN))
    if exponent.denominator == 1:
        return np.asarray(base, float) ** int(exponent)
    return np.asarray(base) ** float(exponent)


_SIMPLE: dict[str, Callable[..., Any]] = {
    "minus": lambda a: -np.asarray(a, float),
    "group": lambda a: a,
    "iverson": lambda a: np.asarray(a, float),
    "/": lambda a, b: a / b,
    "mod": lambda a, b: a % b,
    "⊙": lambda a, b: a * b,
    "⊘": lambda a, b: a / b,
    "⊗": np.kron,
    "√": np.sqrt,
    "¬": np.logical_not,
    "|": np.abs,
    "⌊": np.floor,
    "‖": lambda a: np.sqrt(np.sum(np.asarray(a) ** 2)),
}
