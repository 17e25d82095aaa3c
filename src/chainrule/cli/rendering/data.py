"""An explanation as plain data, for JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from chainrule.formula.derivation import Definition, JacobianForm
from chainrule.formula.symbols import meanings
from chainrule.transforms.planning import Plan
from chainrule.web import Explanation, stored

__all__ = ["plan_data", "to_data"]


def to_data(explanation: Explanation) -> dict[str, Any]:
    """Dictionaries, lists and strings; formulas in text, LaTeX, MathML and index notation."""
    derivation = explanation.derivation
    arriving = derivation.arriving
    data: dict[str, Any] = {
        "function": explanation.title,
        "layout": derivation.layout,
        "convention": derivation.convention,
        "checked": explanation.checked,
        "arguments": [{"name": n, "shape": list(s)} for n, s in derivation.arguments],
        "arriving": None if arriving is None else {"name": arriving[0], "shape": list(arriving[1])},
        "value": _formula(derivation.value),
        "definitions": [_formula(part) for part in derivation.parts],
        "gradients": {path: _formula(g) for path, g in derivation.gradients.items()},
        "where": _meanings([*derivation.parts, *derivation.gradients.values()]),
    }
    if explanation.jacobians:
        forms = derivation.jacobians
        data["jacobians"] = {path: _formula(form) for path, form in forms.items()}
        data["jacobian_definitions"] = [_formula(part) for part in forms.parts]
        data["jacobian_where"] = _meanings([*forms.parts, *forms.values()])
    if explanation.hessians:
        second = derivation.hessians
        data["hessians"] = [{"by": list(paths)} | _formula(f) for paths, f in second.items()]
        data["hessian_definitions"] = [_formula(part) for part in second.parts]
        data["hessian_where"] = _meanings([*second.parts, *second.values()])
    if explanation.steps:
        data["steps"] = [
            {
                "kind": s.kind,
                "title": s.title,
                "lines": _lines(s.lines),
                "where": [m._asdict() for m in s.meanings],
                "note": s.note,
            }
            for s in derivation.steps
        ]
    if explanation.small is not None:
        small = explanation.small
        data["small_case"] = {
            "sizes": small.sizes,
            "agreement": small.agreement,
            "sections": [
                {"title": s.title, "latex": s.latex, "note": s.note, "text": str(s)}
                for s in small.sections
            ],
        }
    if explanation.plan is not None:
        data["plan"] = plan_data(explanation.plan, explanation.plan_sizes)
    if explanation.code:
        data["code"] = dict(explanation.code)
    return data


def plan_data(plan: Plan, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The counts of a plan."""
    data: dict[str, Any] = {
        "sizes": dict(sizes),
        "structures": list(plan.structures),
        "dense_bytes": plan.dense_nbytes,
        "bytes": plan.nbytes,
        "dense_multiplications": plan.dense_multiplications,
        "structured_multiplications": plan.structured_multiplications,
    }
    for name in ("forward", "reverse", "best"):
        sweep = getattr(plan, name)
        data[name] = {
            "method": sweep.method,
            "flops": sweep.flops,
            "bytes": sweep.bytes,
            "peak_bytes": sweep.peak_bytes,
            "order": [str(v) for v in sweep.order],
        }
    return data


def _formula(row: Definition) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.name,
        "left": row.left(),
        "text": row.text,
        "latex": row.latex,
        "mathml": row.mathml,
        "index": row.index,
        "letters": list(row.letters),
        "shape": list(row.shape),
        "flops": row.flops,
    }
    if isinstance(row, JacobianForm):
        found |= {"structure": row.structure, "stored": stored(row)}
    return found


def _meanings(rows: Iterable[Definition]) -> list[dict[str, str]]:
    """What symbols in formulas mean, in text and LaTeX."""
    return [meaning._asdict() for meaning in meanings(rows)]


def _lines(lines: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"left": left, "right": right} for left, right in lines]
