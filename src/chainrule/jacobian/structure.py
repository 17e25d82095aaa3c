"""The structure of a network as one short string, such as ``cb->ab|ac``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..expr.nodes import Term
from ..expr.subs import Div, Key, Look, Mod, Sub, const_value, labels_of, parts_of

__all__ = ["factor_letters", "named", "structure_of"]


def _letter(index: int) -> str:
    return chr(97 + index) if index < 26 else f"_{index}"


def _key(key: Key, names: dict[int, str]) -> str:
    if isinstance(key, int):
        return names[key]
    if isinstance(key, Mod):
        return f"mod({_inside(key.sub, names)},{key.n})"
    if isinstance(key, Div):
        return f"div({_inside(key.sub, names)},{key.n})"
    assert isinstance(key, Look)
    return "t[" + ",".join(_inside(s, names) for s in key.subs) + "]"


def _inside(sub: Sub, names: dict[int, str]) -> str:
    """A subscript without brackets: ``a-b+6``; positive parts first."""
    constant, parts = parts_of(sub)
    text = ""
    for coef, key in sorted(parts, key=lambda p: p[0] < 0):
        sign = "-" if coef < 0 else "+" if text else ""
        size = "" if abs(coef) == 1 else str(abs(coef))
        text += f"{sign}{size}{_key(key, names)}"
    if constant or not text:
        text += f"{constant:+d}" if text else str(constant)
    return text


def _sub(sub: Sub, names: dict[int, str]) -> str:
    if isinstance(sub, int):
        return names[sub]
    if const_value(sub) is not None:
        return str(const_value(sub))
    return f"({_inside(sub, names)})"


def factor_letters(subs: Sequence[Sub], shape: Sequence[int], names: dict[int, str]) -> list[str]:
    """How a factor's subscripts are written, axes of extent 1 left out."""
    return [
        _sub(s, names)
        for s, extent in zip(subs, shape, strict=True)
        if not (extent == 1 and const_value(s) == 0)
    ]


def named(term: Term, out_ndim: int) -> tuple[str, dict[int, str]]:
    """A term as a string, and the letters of its labels."""
    outer: dict[int, None] = {}
    for sub in term.out:
        outer.update(labels_of(sub))
    names = {label: _letter(i) for i, label in enumerate(outer)}
    others = [label for label in range(len(term.extents)) if label not in outer]
    best: tuple[str, dict[int, str]] | None = None
    letters = [_letter(len(outer) + i) for i in range(len(others))]
    orders = itertools.permutations(letters) if len(others) <= 6 else [tuple(letters)]
    for order in orders:
        every = names | dict(zip(others, order, strict=True))
        factors = ["".join(factor_letters(ss, n.shape, every)) for n, ss in term.factors]
        text = ",".join(sorted(factors)) + "->"
        text += "".join(_sub(s, every) for s in term.out[:out_ndim]) + "|"
        text += "".join(_sub(s, every) for s in term.out[out_ndim:])
        for constraint in sorted(f"({_inside(c, every)})>=0" for c in term.constraints):
            text += ";" + constraint
        if best is None or text < best[0]:
            best = text, every
    assert best is not None
    return best


def structure_of(terms: Sequence[Term], out_ndim: int) -> str:
    """Terms in sorted order joined by `` + ``; ``0`` for none."""
    return " + ".join(sorted(named(t, out_ndim)[0] for t in terms)) or "0"
