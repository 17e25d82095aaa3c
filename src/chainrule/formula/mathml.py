"""MathML (presentation) of a printed formula."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from .reading import CannotRead, Read, letters_of_sum, read
from .writing import name_parts

__all__ = ["mathml"]

_NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789−")
_GREEK = {
    **dict(
        zip(
            ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"],
            "αβγδεζηθ",
            strict=True,
        )
    ),
    **dict(
        zip(
            ["kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau"],
            "κλμνξπρστ",
            strict=True,
        )
    ),
    **dict(zip(["phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta"], "φχψωΓΔΘ", strict=True)),
    **dict(zip(["Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"], "ΛΞΠΣΦΨΩ", strict=True)),
}
_ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~"}
_TIMES = "<mo>&#x2062;</mo>"
_APPLY = "<mo>&#x2061;</mo>"


def mathml(*texts: str) -> str:
    """The ``<math>`` element of a formula; several texts are joined by equality signs.

    >>> mathml("2 x")[-51:]
    '<mn>2</mn><mo>&#x2062;</mo><mi>x</mi></mrow></math>'
    """
    rows = "<mo>=</mo>".join(map(_formula, texts))
    body = rows if len(texts) == 1 else _row([rows])
    return f'<math xmlns="{_NAMESPACE}" display="block">{body}</math>'


def _formula(text: str) -> str:
    try:
        return _written(read(text))
    except CannotRead:
        return f"<mtext>{escape(text)}</mtext>"


def _row(parts: Iterable[str]) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _operator(sign: str) -> str:
    return f"<mo>{escape(sign)}</mo>"


def _fenced(inner: str, left: str = "(", right: str = ")") -> str:
    marks = [f'<mo fence="true" stretchy="true">{m}</mo>' for m in (left, right)]
    return _row([marks[0], inner, marks[1]])


def _identifier(name: str) -> str:
    """``w1`` as w with the index 1, ``sigma`` as σ, long names upright."""
    if name == "𝟏":
        return "<mn>𝟏</mn>"
    plain = name.rsplit(".", 1)[-1].replace("\u0304", "")
    head, tail, digits = name_parts(plain)
    head = _GREEK.get(head, head)
    upright = "" if len(head) == 1 else ' mathvariant="normal"'
    base = f"<mi{upright}>{escape(head or name)}</mi>"
    accent = "¯" if plain != name.rsplit(".", 1)[-1] else _ACCENTS.get(tail)
    if accent is not None:
        base = f'<mover accent="true">{base}<mo>{accent}</mo></mover>'
        tail = "" if tail in _ACCENTS else tail
    below = [f"<mtext>{escape(tail)}</mtext>"] if tail else []
    below += [f"<mn>{digits}</mn>"] if digits else []
    return f"<msub>{base}{_row(below)}</msub>" if below else base


def _listed(parts: Iterable[Read]) -> str:
    return "<mo>,</mo>".join(map(_written, parts))


def _bare(tree: Read) -> str:
    """A piece without the parentheses that a fraction or a root makes superfluous."""
    return _written(tree.parts[0] if tree.kind == "group" else tree)


def _written(tree: Read) -> str:
    kind, text, parts = tree.kind, tree.text, tree.parts
    if kind == "number":
        return _number(text)
    if kind == "name":
        return _identifier(text)
    if kind == "sum":
        return _row(
            _written(p) if not i or p.kind == "minus" else "<mo>+</mo>" + _written(p)
            for i, p in enumerate(parts)
        )
    if kind == "minus":
        return _operator("−") + _written(parts[0])
    if kind == "product":
        return _row([_TIMES.join(map(_written, parts))])
    if kind == "/":
        return f"<mfrac>{_row([_bare(parts[0])])}{_row([_bare(parts[1])])}</mfrac>"
    if kind in ("⊙", "⊘", "⊗"):
        return _row([_operator(kind).join(map(_written, parts))])
    if kind == "relation":
        return _row([_operator(text).join(map(_written, parts))])
    if kind == "chain":
        more = [_operator(p.text) + _written(p.parts[1]) for p in parts]
        return _row([_written(parts[0].parts[0]), *more])
    if kind == "mod":
        return _row(["<mo>mod</mo>".join(map(_written, parts))])
    if kind == "power":
        return _power(tree)
    if kind == "at":
        return f"<msub>{_written(parts[0])}{_row([_listed(parts[1:])])}</msub>"
    if kind == "Σ":
        letters = "<mo>,</mo>".join(
            _identifier(letter) + ("" if last is None else _operator("<") + _written(last))
            for letter, last in letters_of_sum(text)
        )
        return _row([f"<munder><mo>∑</mo>{_row([letters])}</munder>", _written(parts[0])])
    if kind == "call":
        head = _identifier(text) if text != "logabsdet" else "<mi>log</mi>"
        inner = _listed(parts)
        if text == "logabsdet":
            return _row([head, _APPLY, _fenced("<mi>det</mi>" + inner, "|", "|")])
        return _row([head, _APPLY, _fenced(inner)])
    return _enclosed(tree)


def _enclosed(tree: Read) -> str:
    kind, parts = tree.kind, tree.parts
    if kind == "√":
        return f"<msqrt>{_bare(parts[0])}</msqrt>"
    if kind == "∂":
        sign = _operator("∂")
        if tree.text:
            sign = f"<msup>{sign}<mn>{tree.text.translate(_PLAIN)}</mn></msup>"
        return _row([sign, _written(parts[0])])
    if kind == "¬":
        return _row([_operator("¬"), _written(parts[0])])
    marks = {"group": "()", "iverson": "[]", "|": "||", "⌊": "⌊⌋", "‖": "‖‖"}[kind]
    return _fenced(_written(parts[0]), marks[0], marks[1])


def _number(text: str) -> str:
    digits, _, power = text.partition("·10")
    if not power:
        return f"<mn>{digits}</mn>"
    raised = f"<msup><mn>10</mn><mn>{power.translate(_PLAIN)}</mn></msup>"
    return _row([f"<mn>{digits}</mn>", "<mo>·</mo>", raised])


def _power(tree: Read) -> str:
    base = _written(tree.parts[0])
    mark = tree.text
    if mark == "ᵀ":
        above = "<mo>⊤</mo>"
    elif mark == "⁻ᵀ":
        above = _row(["<mo>−</mo>", "<mo>⊤</mo>"])
    elif mark.startswith("^∘"):
        above = _row(["<mo>∘</mo>", f"<mn>{mark.strip('^∘()').translate(_PLAIN)}</mn>"])
    else:
        above = f"<mn>{mark.strip('^()').translate(_PLAIN)}</mn>"
    return f"<msup>{base}{above}</msup>"
