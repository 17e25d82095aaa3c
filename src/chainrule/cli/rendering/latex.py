"""An explanation as LaTeX: blocks for a document with amsmath."""

from collections.abc import Iterable

from chainrule.formula.derivation import Definition
from chainrule.formula.symbols import meanings
from chainrule.formula.writing import latex_name
from chainrule.web import Explanation

__all__ = ["block", "escaped", "given", "to_latex"]

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "∂": r"$\partial$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "Σ": r"$\Sigma$",
    "ᵀ": r"$^\top$",
    "²": r"$^2$",
    "δ": r"$\delta$",
    "𝟏": r"$\mathbf{1}$",
    "−": "$-$",
    "̄": "",
}


def escaped(text: str) -> str:
    """Words in a LaTeX document."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def block(rows: Iterable[Definition]) -> str:
    r"""Equations one under the other, without delimiters, and what symbols in them mean."""
    rows = list(rows)
    lines = [f"{row.left(True)} &= {row.latex}" for row in rows]
    lines += [f"&{meaning.latex}" for meaning in meanings(rows)]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def given(explanation: Explanation) -> str:
    """What is known: `x \\in \\mathbb{R}^{N \\times D}, …`."""
    derivation = explanation.derivation
    known = [*derivation.arguments]
    if derivation.arriving is not None:
        known.append(derivation.arriving)
    spaces = [(name, r" \times ".join(shape)) for name, shape in known]
    return r",\quad ".join(
        rf"{latex_name(name)} \in \mathbb{{R}}" + (f"^{{{space}}}" if space else "")
        for name, space in spaces
    )


def to_latex(explanation: Explanation) -> str:
    """Sections with displayed equations; code goes into verbatim blocks."""
    derivation = explanation.derivation
    parts = [
        f"% {explanation.title} ({explanation.conventions()}); needs amsmath and amssymb",
        f"Given ${given(explanation)}$:",
        _displayed(block(explanation.rows())),
    ]
    if explanation.jacobians:
        forms = derivation.jacobians
        parts += [r"\paragraph{Jacobians}", _displayed(block([*forms.parts, *forms.values()]))]
    if explanation.hessians:
        second = derivation.hessians
        parts += [r"\paragraph{Hessians}", _displayed(block([*second.parts, *second.values()]))]
    if explanation.steps:
        for number, step in enumerate(derivation.steps, 1):
            parts.append(rf"\paragraph{{{number}. {escaped(step.title)}}}")
            if step.latex:
                parts.append(_displayed(step.latex))
            if step.note:
                parts.append(escaped(step.note))
    if explanation.small is not None:
        parts.append(explanation.small.latex)
    if explanation.plan is not None:
        parts.append(_verbatim(str(explanation.plan)))
    parts += [_verbatim(source) for source in explanation.code.values()]
    return "\n\n".join(parts) + "\n"


def _displayed(body: str) -> str:
    return f"\\[\n{body}\n\\]"


def _verbatim(body: str) -> str:
    return f"\\begin{{verbatim}}\n{body.rstrip()}\n\\end{{verbatim}}"
