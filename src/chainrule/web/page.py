"""The page: one HTML file with formulas, graph, structure, costs, steps and code."""

from collections.abc import Iterable, Sequence
from html import escape

from chainrule.formula.derivation import Definition, JacobianForm
from chainrule.formula.mathml import mathml
from chainrule.formula.symbols import meanings
from chainrule.jacobian.memory import readable
from chainrule.transforms.planning import Plan
from chainrule.web.explanation import Explanation, stored
from chainrule.web.style import SCRIPT, STYLE

__all__ = ["to_html"]

_NAMES = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}


def to_html(explanation: Explanation) -> str:
    """A complete document that loads nothing."""
    sections = [
        ("formula", "Formula", _formulas(explanation)),
        ("graph", "Computational graph", _graph(explanation)),
        ("jacobians", "Jacobians", _jacobians(explanation)),
        ("hessians", "Hessians", _hessians(explanation)),
        ("structure", "Structure", _structure(explanation)),
        ("cost", "Cost", _cost(explanation)),
        ("steps", "Steps", _steps(explanation)),
        ("small", "Element by element", _small(explanation)),
        ("code", "Code", _code(explanation)),
    ]
    shown = [(key, title, body) for key, title, body in sections if body]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in shown)
    body = "\n".join(
        f'<section id="{key}"><h2>{title}</h2>\n{text}</section>' for key, title, text in shown
    )
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in explanation.notes)
    title = escape(explanation.title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1><code>{title}</code></h1>
<p class="given">{escape(explanation.derivation.given)}</p>
<p class="badges">{_badges(explanation)}</p>
<nav>{links}</nav>
</header>
<main>
{body}
{notes}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _badges(explanation: Explanation) -> str:
    derivation = explanation.derivation
    badges = [
        "<span class='badge good'>✓ checked at random sizes and values</span>"
        if explanation.checked
        else "<span class='badge bad'>not checked</span>",
        f"<span class='badge'>{escape(derivation.layout)} layout</span>",
        f"<span class='badge'>vectors are {escape(derivation.convention)}s</span>",
    ]
    return " ".join(badges)


# -- formulas -------------------------------------------------------------------------------------
def _formulas(explanation: Explanation) -> str:
    derivation = explanation.derivation
    *before, _ = [*derivation.gradients.values(), None]
    shared = explanation.rows()[: -len(before)] if before else explanation.rows()
    table = _table(shared, "definition") + _table(before, "result")
    indexed = "".join(_indexed(row) for row in explanation.rows())
    return (
        f"<div class='scroll'><table class='formulas'>{table}</table></div>"
        f"{_where(explanation.rows())}"
        f"<details><summary>In index notation</summary><div class='scroll'>"
        f"<table class='formulas'>{indexed}</table></div></details>"
    )


def _table(rows: Sequence[Definition], kind: str) -> str:
    return "".join(
        f"<tr class='{kind}'><td>{row.equation}</td>"
        f"<td class='shape'>{' × '.join(map(escape, row.shape)) or 'number'}</td>"
        f"<td class='flops' title='multiplications and additions, the names being known'>"
        f"{escape(row.flops)} flops</td></tr>\n"
        for row in rows
    )


def _indexed(row: Definition) -> str:
    left = row.left()
    if row.letters and "[" not in left:
        left = f"{left}[{','.join(row.letters)}]"
    return f"<tr><td>{mathml(left, row.index)}</td></tr>\n"


def _jacobians(explanation: Explanation) -> str:
    if not explanation.jacobians:
        return ""
    forms = explanation.derivation.jacobians
    return _forms(forms.parts, list(forms.values()))


def _hessians(explanation: Explanation) -> str:
    if not explanation.hessians:
        return ""
    second = explanation.derivation.hessians
    return _forms(second.parts, list(second.values()))


def _forms(parts: Sequence[Definition], forms: Sequence[JacobianForm]) -> str:
    rows = _table(parts, "definition") + "".join(
        f"<tr class='result'><td>{form.equation}</td>"
        f"<td class='shape'>{' × '.join(map(escape, form.shape)) or 'number'}</td>"
        f"<td>{_terms(form.structure)}</td>"
        f"<td class='shape'>{escape(stored(form))} stored</td></tr>\n"
        for form in forms
    )
    where = _where([*parts, *forms])
    return f"<div class='scroll'><table class='formulas'>{rows}</table></div>{where}"


def _where(rows: Sequence[Definition]) -> str:
    return "".join(f"<p class='hint'>{escape(m.text)}</p>" for m in meanings(rows))


def _terms(structure: str) -> str:
    """One term a line: they are read one by one, and never broken within."""
    terms = structure.split(" + ")
    return "<br>".join(
        f"<code class='term'>{escape(term)}{' +' if k < len(terms) else ''}</code>"
        for k, term in enumerate(terms, 1)
    )


# -- pictures -------------------------------------------------------------------------------------
def _graph(explanation: Explanation) -> str:
    if explanation.graph is None:
        return ""
    return f"<figure class='scroll'>{explanation.graph.svg}</figure>"


def _structure(explanation: Explanation) -> str:
    if not explanation.pictures:
        return ""
    sizes = _sizes(explanation.picture_sizes)
    figures = "".join(
        f"<figure class='picture'><figcaption>∂{escape(explanation.derivation.value.name)}/"
        f"∂{escape(name)}</figcaption>{picture}</figure>"
        for name, picture in explanation.pictures.items()
    )
    text = f"<p class='hint'>Where the Jacobian can differ from zero{sizes}.</p>"
    return f"{text}<div class='pictures'>{figures}</div>"


def _sizes(sizes: dict[str, int]) -> str:
    return f", for {escape(', '.join(f'{n} = {k}' for n, k in sizes.items()))}" if sizes else ""


# -- costs ----------------------------------------------------------------------------------------
def _cost(explanation: Explanation) -> str:
    plan = explanation.plan
    if plan is None:
        return ""
    best = min(plan.forward.flops, plan.reverse.flops, plan.best.flops)
    rows = ""
    for name in ("forward", "reverse", "best"):
        sweep = getattr(plan, name)
        chosen = " class='result'" if sweep.flops == best else ""
        title = f"best ({sweep.method})" if name == "best" else name
        order = " ".join(str(v) for v in sweep.order[:16]) + (" …" if len(sweep.order) > 16 else "")
        rows += (
            f"<tr{chosen}><th>{escape(title)}</th><td>{sweep.flops:,}</td><td>{sweep.bytes:,}</td>"
            f"<td>{sweep.peak_bytes:,}</td><td class='order'>{escape(order) or '–'}</td></tr>"
        )
    return (
        f"<p class='hint'>Evaluating the Jacobian{_sizes(explanation.plan_sizes)}.</p>"
        "<div class='scroll'><table class='numbers'><thead><tr><th></th><th>flops</th>"
        "<th>bytes moved</th><th>peak bytes</th><th>order of elimination</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{_saved(plan)}"
    )


def _saved(plan: Plan) -> str:
    rows = (
        ("numbers kept", readable(plan.dense_nbytes), readable(plan.nbytes)),
        (
            "multiplications by a cotangent",
            f"{plan.dense_multiplications:,}",
            f"{plan.structured_multiplications:,}",
        ),
    )
    cells = "".join(f"<tr><th>{a}</th><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    return (
        "<div class='scroll'><table class='numbers'><thead><tr><th></th><th>dense Jacobian</th>"
        f"<th>by structure</th></tr></thead><tbody>{cells}</tbody></table></div>"
    )


# -- steps, small case, code ----------------------------------------------------------------------
def _steps(explanation: Explanation) -> str:
    if not explanation.steps:
        return ""
    items = ""
    for step in explanation.derivation.steps:
        lines = "".join(f"<div class='scroll'>{line}</div>" for line in step.mathml)
        note = f"<p class='hint'>{escape(step.note)}</p>" if step.note else ""
        items += f"<li><b>{escape(step.title)}</b>{lines}{note}</li>\n"
    return f"<ol class='steps'>{items}</ol>"


def _small(explanation: Explanation) -> str:
    if explanation.small is None:
        return ""
    sizes = _sizes(explanation.small.sizes).lstrip(", ")
    return f"<p class='hint'>{sizes}</p><pre>{escape(explanation.small.text)}</pre>"


def _code(explanation: Explanation) -> str:
    """Tabs of radio buttons: they work without a script."""
    if not explanation.code:
        return ""
    return f"<div class='tabs'>{''.join(_tabs(explanation.code.items()))}</div>"


def _tabs(sources: Iterable[tuple[str, str]]) -> Iterable[str]:
    for number, (backend, source) in enumerate(sources):
        checked = " checked" if number == 0 else ""
        yield (
            f"<input type='radio' name='code' id='tab-{backend}'{checked}>"
            f"<label for='tab-{backend}'>{_NAMES.get(backend, backend)}</label>"
            f"<div class='panel'><button class='copy' type='button'>copy</button>"
            f"<pre><code>{escape(source.rstrip())}</code></pre></div>"
        )
