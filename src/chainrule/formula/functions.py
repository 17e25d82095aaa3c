"""How functions are written: text and LaTeX patterns, ``⟨⟩`` for the arguments; which are tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..expr.ops import OPS
from .writing import ATOM, HADAMARD

__all__ = ["FUNCTIONS", "LOWERED", "TESTS", "Style", "style_of"]

LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

#: functions whose values are True and False
TESTS = frozenset(op for op, known in OPS.items() if known.result == "bool") | {
    "any",
    "all",
    "last_writer",
}


class Style(NamedTuple):
    text: str
    latex: str
    binds: int = ATOM


def _call(text: str, latex: str) -> Style:
    return Style(f"{text}(⟨⟩)", rf"{latex}\left(⟨⟩\right)")


_NATIVE = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "det")

_BESSEL = ("j0", "j1", "y0", "y1", "k0", "k1")

FUNCTIONS: dict[str, Style] = {name: _call(name, "\\" + name) for name in _NATIVE}
FUNCTIONS |= {
    "arcsin": _call("arcsin", r"\arcsin"),
    "arccos": _call("arccos", r"\arccos"),
    "arctan": _call("arctan", r"\arctan"),
    "expit": _call("σ", r"\sigma"),
    "ndtr": _call("Φ", r"\Phi"),
    "normpdf": _call("φ", r"\varphi"),
    "abs": Style("|⟨⟩|", r"\left|⟨⟩\right|"),
    "maximum": _call("max", r"\max"),
    "minimum": _call("min", r"\min"),
    "gamma": _call("Γ", r"\Gamma"),
    "log_ndtr": _call("log Φ", r"\log\Phi"),
    "beta": _call("B", r"\mathrm{B}"),
    **{
        op: _call(op[0].upper() + op[1].translate(LOWERED), f"{op[0].upper()}_{op[1]}")
        for op in _BESSEL
    },
    "gammaln": _call("log Γ", r"\log\Gamma"),
    "digamma": _call("ψ", r"\psi"),
    "floor": Style("⌊⟨⟩⌋", r"\lfloor ⟨⟩ \rfloor"),
    "ceil": Style("⌈⟨⟩⌉", r"\lceil ⟨⟩ \rceil"),
    "equal": Style("[⟨⟩ = ⟨⟩]", r"[⟨⟩ = ⟨⟩]"),
    "not_equal": Style("[⟨⟩ ≠ ⟨⟩]", r"[⟨⟩ \neq ⟨⟩]"),
    "less": Style("[⟨⟩ < ⟨⟩]", r"[⟨⟩ < ⟨⟩]"),
    "less_equal": Style("[⟨⟩ ≤ ⟨⟩]", r"[⟨⟩ \leq ⟨⟩]"),
    "greater": Style("[⟨⟩ > ⟨⟩]", r"[⟨⟩ > ⟨⟩]"),
    "greater_equal": Style("[⟨⟩ ≥ ⟨⟩]", r"[⟨⟩ \geq ⟨⟩]"),
    "logical_not": Style("¬⟨⟩", r"\lnot ⟨⟩", HADAMARD),
    "logical_and": Style("(⟨⟩ ∧ ⟨⟩)", r"\left(⟨⟩ \land ⟨⟩\right)"),
    "logical_or": Style("(⟨⟩ ∨ ⟨⟩)", r"\left(⟨⟩ \lor ⟨⟩\right)"),
    "expm_frechet": _call("L_exp", r"L_{\exp}"),
    "gaps": Style("offdiag(1/(⟨⟩))", r"\operatorname{offdiag}\left(1/\left(⟨⟩\right)\right)"),
    "cholesky": _call("chol", r"\operatorname{chol}"),
    "eigh": _call("eigvals", r"\operatorname{eigvals}"),
    "eigh:1": _call("eigvecs", r"\operatorname{eigvecs}"),
    "eigvalsh": _call("eigvals", r"\operatorname{eigvals}"),
    "svd": _call("svd_U", r"\operatorname{svd}_{U}"),
    "svd:1": _call("svdvals", r"\operatorname{svdvals}"),
    "svd:2": _call("svd_Vt", r"\operatorname{svd}_{V^\top}"),
    "qr": _call("qr_Q", r"\operatorname{qr}_{Q}"),
    "qr:1": _call("qr_R", r"\operatorname{qr}_{R}"),
    "logabsdet": Style("log|det ⟨⟩|", r"\log\left|\det ⟨⟩\right|"),
}


def style_of(op: str, params: Sequence[Any] = ()) -> Style:
    """The patterns of a function; any other is written by its name.

    ``op:1`` is the second of several results.
    """
    if op == "polygamma":
        return _call(f"ψ{str(params[0]).translate(LOWERED)}", rf"\psi_{{{params[0]}}}")
    known = FUNCTIONS.get(op)
    return known if known is not None else _call(op, rf"\operatorname{{{op}}}".replace("_", r"\_"))
