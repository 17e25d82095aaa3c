"""An explanation as Markdown with formulas in dollars, as GitHub and notebooks show it."""

from collections.abc import Iterable

from chainrule.cli.rendering.latex import block, given
from chainrule.formula.derivation import JacobianForm
from chainrule.web import Explanation, stored

__all__ = ["to_markdown"]


def to_markdown(explanation: Explanation) -> str:
    """Headed sections; the picture of the graph is left to HTML."""
    derivation = explanation.derivation
    parts = [
        f"# `{explanation.title}`",
        f"Given ${given(explanation)}$ ({explanation.conventions()}):",
        _displayed(block(explanation.rows())),
    ]
    if explanation.jacobians:
        forms = derivation.jacobians
        parts += [
            "## Jacobians",
            _displayed(block([*forms.parts, *forms.values()])),
            _structures(forms.values()),
        ]
    if explanation.hessians:
        second = derivation.hessians
        parts += [
            "## Hessians",
            _displayed(block([*second.parts, *second.values()])),
            _structures(second.values()),
        ]
    if explanation.steps:
        parts.append("## Steps")
        for number, step in enumerate(derivation.steps, 1):
            parts.append(f"{number}. **{step.title}**" + (f": {step.note}" if step.note else ""))
            if step.latex:
                parts.append(_displayed(step.latex))
    if explanation.small is not None:
        sizes = ", ".join(f"{n} = {k}" for n, k in explanation.small.sizes.items())
        parts.append(f"## Element by element{', for ' if sizes else ''}{sizes}")
        for section in explanation.small.sections:
            parts.append(f"**{section.title}**" + (f": {section.note}" if section.note else ""))
            if section.latex:
                parts.append(_displayed(section.latex))
    if explanation.plan is not None:
        sizes = ", ".join(f"{n} = {k}" for n, k in explanation.plan_sizes.items())
        parts += [f"## Cost{', for ' if sizes else ''}{sizes}", _fenced(str(explanation.plan), "")]
    for backend, source in explanation.code.items():
        parts += [f"## Code: {backend}", _fenced(source, "python")]
    return "\n\n".join(parts) + "\n"


def _displayed(body: str) -> str:
    return f"$$\n{body}\n$$"


def _fenced(body: str, language: str) -> str:
    return f"```{language}\n{body.rstrip()}\n```"


def _structures(forms: Iterable[JacobianForm]) -> str:
    rows = [
        f"| ${form.left(True)}$ | {' × '.join(form.shape) or '1'} "
        f"| `{form.structure.replace('|', '&#124;')}` | {stored(form)} |"
        for form in forms
    ]
    # a code span keeps entities as they are, so the bar is written by <code>
    rows = [row.replace("`", "<code>", 1).replace("`", "</code>", 1) for row in rows]
    return "\n".join(["| | shape | structure | stored |", "|---|---|---|---|", *rows])
