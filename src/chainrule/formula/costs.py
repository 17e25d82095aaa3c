"""What a formula costs to evaluate: flops as a polynomial in the names.

Products are multiplied in the best order of pairs; one multiplication and one addition count two.
Elementwise functions count one an element.  Factorizations count as in Golub and Van Loan, *Matrix
Computations*, 4th ed., ch. 3-5 and 8 (leading order).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent, Number
from ..expr.paths import pairwise
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Sym, labels_in

__all__ = ["flops", "polynomial", "size"]

# multiples of n³ for functions of one n×n matrix
_CUBIC = {
    "inv": Fraction(2),
    "inverse": Fraction(2),
    "det": Fraction(2, 3),
    "slogdet": Fraction(2, 3),
    "cholesky": Fraction(1, 3),
    "triangular_inverse": Fraction(1, 3),
    "eigh": Fraction(9),
    "eigvalsh": Fraction(4, 3),
    "svd": Fraction(14),
    "qr": Fraction(4),
    "pinv": Fraction(18),
    "expm": Fraction(20),
}
_SOFTMAX = 5  # maximum, difference, exponential, sum, quotient


def size(shape: Sequence[Extent]) -> Extent:
    """The number of elements of a shape."""
    total = ONE
    for extent in shape:
        total = total * extent
    return total


def flops(
    roots: Collection[Quantity], known: Collection[Quantity], at: Mapping[str, int]
) -> Extent:
    """The cost of quantities; those in ``known`` (other than the roots) have been computed before.

    ``at`` are typical sizes of the names, by which the order of products is chosen.
    """
    total = ZERO
    done: set[Quantity] = set()
    stack = list(roots)
    while stack:
        q = stack.pop()
        if q in done:
            continue
        done.add(q)
        total = total + _own(q, at)
        stack.extend(c for c in q.children if c not in known)
    return total


def _own(q: Quantity, at: Mapping[str, int]) -> Extent:
    if isinstance(q, Sym | Num):
        return ZERO
    if isinstance(q, Add):
        scaled = sum(abs(c) != ONE and not isinstance(part, Num) for c, part in q.parts)
        return size(q.shape) * (max(len(q.parts) - 1, 0) + scaled)
    if isinstance(q, Prod):
        return _product(q, at)
    if isinstance(q, Pow) or not q.whole:  # type: ignore[attr-defined]
        return size(q.shape)
    assert isinstance(q, Fun)
    shape = q.args[0].shape
    if q.op in ("softmax", "logsumexp"):
        return size(shape) * _SOFTMAX
    if q.op in _CUBIC and len(shape) >= 2:
        return size(shape) * shape[-1] * _CUBIC[q.op]
    if q.op == "solve":
        n = shape[-1]
        return n**3 * Fraction(2, 3) + size(q.shape) * n * 2
    if q.op == "expm_frechet":
        return size(q.shape) * shape[-1] * _CUBIC["expm"] * 3
    if q.op == "solve_triangular":
        return size(q.shape) * shape[-1]
    return size(shape)


def _labels(subs: Sequence[Index]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for sub in subs:
        found.update(labels_in(sub))
    return tuple(found)


def _product(q: Prod, at: Mapping[str, int]) -> Extent:
    def box(labels: Collection[int]) -> Extent:
        return size([q.extents[k] for k in labels])

    out = _labels((*q.out, *q.constraints))
    operands = [_labels(subs) for _, subs in q.factors]
    extents = {k: max(round(e.value(at)), 1) for k, e in enumerate(q.extents)}
    total = ZERO
    if len(operands) == 1:
        total = box(operands[0]) if set(operands[0]) - set(out) else ZERO
    while len(operands) > 1:
        i, j = pairwise(operands, [k for k in out if any(k in o for o in operands)], extents)
        if i == j:  # an operand to be summed alone
            j = next(k for k in range(len(operands)) if k != i)
        i, j = sorted((i, j))
        left, right = operands[i], operands[j]
        rest = [o for k, o in enumerate(operands) if k not in (i, j)]
        used = tuple(dict.fromkeys([*left, *right]))
        keep = tuple(k for k in used if k in out or any(k in o for o in rest))
        total = total + box(used) * (2 if len(keep) < len(used) else 1)
        operands = [*rest, keep]
    if q.factors and abs(q.coef) != ONE:
        total = total + box([k for k in out if any(k in _labels(s) for _, s in q.factors)])
    return total


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def polynomial(value: Extent, names: Sequence[str]) -> str:
    """``2·N·D·M + N·M``: names in their given order, the highest degree first."""
    if len(value.bottom) > 1:
        return str(value)
    place = {name: k for k, name in enumerate(names)}

    def part(mono: tuple[tuple[str, Fraction], ...], coef: Number) -> str:
        number = f"{float(coef):.6g}" if not isinstance(coef, Fraction) else str(coef)
        if "/" in number and mono:
            number = f"({number})"
        powers = sorted(mono, key=lambda p: place.get(p[0], len(place)))
        texts = [k if p == 1 else f"{k}{str(p).translate(_RAISED)}" for k, p in powers]
        return "·".join(([number] if number != "1" or not texts else []) + texts)

    text = ""
    for mono, coef in value.top:
        minus = coef < 0
        body = part(mono, -coef if minus else coef)
        text += (" − " if minus else " + ") + body if text else ("−" if minus else "") + body
    return text or "0"
