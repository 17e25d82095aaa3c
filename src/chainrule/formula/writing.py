"""Pieces of written formulas: how tightly text binds, names in LaTeX, what evaluation needs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "ADD",
    "ATOM",
    "HADAMARD",
    "POSTFIX",
    "PRODUCT",
    "Env",
    "Value",
    "Written",
    "latex_name",
    "name_parts",
    "width_of",
    "without_brackets",
]

Value: TypeAlias = Any
ADD, HADAMARD, PRODUCT, POSTFIX, ATOM = range(5)


class Env(NamedTuple):
    """What evaluation needs: values by name, sizes of the extents, functions by name."""

    values: Mapping[str, Value]
    sizes: Mapping[str, int]
    functions: Mapping[str, Callable[..., Any]]


class Written(NamedTuple):
    """A piece of text and how tightly it binds."""

    text: str
    binds: int = ATOM

    def within(self, level: int, latex: bool) -> str:
        """The text, in parentheses where it binds less tightly than ``level``."""
        if self.binds >= level:
            return self.text
        return rf"\left({self.text}\right)" if latex else f"({self.text})"


def width_of(text: str) -> int:
    """Columns in a terminal: marks over a letter take none."""
    return sum(not 0x300 <= ord(c) < 0x370 for c in text)


def without_brackets(text: str) -> str:
    """What stands outside of all brackets."""
    while (shorter := re.sub(r"\([^()]*\)|\[[^\[\]]*\]|‖[^‖]*‖", "", text)) != text:
        text = shorter
    return text


_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda")
    + ("mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega")
    + ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega")
)


_LETTERS = {"Δ": "Delta", "δ": "delta", "σ": "sigma", "Φ": "Phi", "ℓ": "ell"} | {
    chr(code): unicodedata.name(chr(code)).split()[-1].lower().replace("lamda", "lambda")
    for code in range(ord("α"), ord("ω") + 1)
    if chr(code) not in "οςσ"
}


_ACCENTS = {"hat": r"\hat", "bar": r"\bar", "tilde": r"\tilde"}
_SPELLED = {"lam": "lambda", "lamb": "lambda", "lmbda": "lambda", "eps": "epsilon"}


def name_parts(name: str) -> tuple[str, str, str]:
    """Letter, index and number of a name: ``w_out_1``, ``Wq``, ``Δg``, ``h12``."""
    stem = name.rstrip("0123456789").rstrip("_")
    digits = name[len(stem) :].lstrip("_")
    head, _, tail = stem.partition("_")
    if len(head) == 2 and not tail and head[0].isupper() and head[1].islower():
        head, tail = head[0], head[1]
    return _SPELLED.get(head, head), tail, digits


def latex_name(name: str) -> str:
    """``w1`` as ``w_{1}``, ``Wq`` as ``W_{q}``, ``sigma`` as ``\\sigma``, long names upright."""
    if "." in name:
        name = name.rsplit(".", 1)[1]
    head, tail, digits = name_parts(name.replace("\u0304", ""))
    head = _LETTERS.get(head, head)
    if head in _GREEK or head == "ell":
        text = "\\" + head
    elif len(head) == 1:
        text = head
    else:
        text = rf"\mathrm{{{head}}}"
    if "\u0304" in name:
        text = rf"\bar{{{text}}}"
    elif tail in _ACCENTS:
        text, tail = rf"{_ACCENTS[tail]}{{{text}}}", ""
    below = ",".join(part for part in (tail.replace("_", r"\_"), digits) if part)
    return f"{text}_{{{below}}}" if below else text
