"""Products of arrays: every one is a term; no rule of its own is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ...expr.build import cast, einsum, reshape
from ...expr.draft import Draft
from ...expr.nodes import Node
from ...expr.ops import join_dtypes
from ...expr.paths import pairwise
from ...expr.subs import affine, scale
from ..array import TracedArray, traced
from ..session import require_session
from .common import axis_of, implements, joined_shape, node_array, ufunc

__all__ = ["contract"]

Labels: TypeAlias = list[int]


def contract(operands: Sequence[tuple[Node, Labels]], out: Labels) -> TracedArray:
    """An einsum over integer labels; booleans count as integers, as in NumPy."""
    dtype = join_dtypes([n.dtype for n, _ in operands])
    if dtype.kind != "b":
        operands = [
            (cast(n, np.dtype(np.int64)) if n.dtype.kind == "b" else n, labels)
            for n, labels in operands
        ]
    return traced(einsum(1, operands, out, dtype))


# From so many factors on a product is formed pair by pair.  As one term, its derivative by each
# factor would multiply all the others anew: k factors would cost k times the function.
_MANY = 4


def _in_pairs(operands: Sequence[tuple[Node, Labels]], out: Labels) -> TracedArray:
    """``contract``, in the order in which a program would multiply the factors.

    A symbolic trace keeps one term: there the order would depend on what stands for the names.
    """
    dtype = join_dtypes([n.dtype for n, _ in operands])
    if len(operands) < _MANY or dtype.kind not in "fc" or require_session().symbolic:
        return contract(operands, out)
    pairs = list(operands)
    extents: dict[int, int] = {}
    for node, labels in pairs:
        for label, extent in zip(labels, node.shape, strict=True):
            extents[label] = extent if extents.get(label, 1) == 1 else extents[label]
    while len(pairs) > 2:
        i, j = pairwise([tuple(labels) for _, labels in pairs], out, extents)
        left, right = pairs[i], pairs[j]
        pairs = [pair for k, pair in enumerate(pairs) if k not in (i, j)]
        needed = {*out, *(k for _, labels in pairs for k in labels)}
        both = [k for k in dict.fromkeys([*left[1], *right[1]]) if k in needed]
        pairs.append((einsum(1, [left, right], both, dtype), both))
    return traced(einsum(1, pairs, out, dtype))


def _mismatch(name: str, a: Node, b: Node, why: str) -> ValueError:
    return ValueError(f"{name}: shapes {a.shape} and {b.shape} do not fit: {why}")


@ufunc(np.matmul)
def matmul(a: Any, b: Any) -> TracedArray:
    x, y = node_array(a), node_array(b)
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError("matmul: operands must have at least one axis (use * for scalars)")
    inner = y.shape[0] if y.ndim == 1 else y.shape[-2]
    if x.shape[-1] != inner:
        raise _mismatch(
            "matmul", x, y, f"the last axis {x.shape[-1]} meets {inner} (axis {-min(2, y.ndim)})"
        )
    if x.ndim > 2 and y.ndim > 2:
        joined_shape(x.shape[:-2], y.shape[:-2])
    left, right, out = _matmul_labels(x.ndim, y.ndim)
    return contract([(x, left), (y, right)], out)


@lru_cache(maxsize=256)
def _matmul_labels(m: int, n: int) -> tuple[Labels, Labels, Labels]:
    """Labels of the operands and the result of a matmul of m and n axes."""
    lead = max(m - 2, n - 2, 0)
    row, column, k = lead, lead + 1, lead + 2
    left = [*range(lead - max(m - 2, 0), lead), *([row] if m > 1 else []), k]
    right = [*range(lead - max(n - 2, 0), lead), k, *([column] if n > 1 else [])]
    out = [*range(lead), *([row] if m > 1 else []), *([column] if n > 1 else [])]
    return left, right, out


@implements(np.dot, method="dot")
def dot(a: Any, b: Any) -> Any:
    x, y = node_array(a), node_array(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(a, b)
    axis = y.ndim - 2 if y.ndim > 1 else 0
    if x.shape[-1] != y.shape[axis]:
        raise _mismatch("dot", x, y, f"{x.shape[-1]} meets {y.shape[axis]} (axis {axis})")
    left = list(range(x.ndim))
    right = list(range(x.ndim, x.ndim + y.ndim))
    right[axis] = left[-1]
    out = left[:-1] + [k for i, k in enumerate(right) if i != axis]
    return contract([(x, left), (y, right)], out)


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    return np.dot(np.ravel(np.conj(a)), np.ravel(b))


@implements(np.inner)
def inner(a: Any, b: Any) -> Any:
    x, y = node_array(a), node_array(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(a, b)
    if x.shape[-1] != y.shape[-1]:
        raise _mismatch("inner", x, y, "their last axes differ")
    left = list(range(x.ndim))
    right = [*range(x.ndim, x.ndim + y.ndim - 1), left[-1]]
    return contract([(x, left), (y, right)], left[:-1] + right[:-1])


@implements(np.outer)
def outer(a: Any, b: Any) -> Any:
    x, y = node_array(a), node_array(b)
    x, y = reshape(x, (x.size,)), reshape(y, (y.size,))
    return contract([(x, [0]), (y, [1])], [0, 1])


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    x, y = node_array(a), node_array(b)
    if isinstance(axes, int):
        axes_a, axes_b = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        first, second = axes
        axes_a = [int(first)] if isinstance(first, int | np.integer) else list(first)
        axes_b = [int(second)] if isinstance(second, int | np.integer) else list(second)
    axes_a = [axis_of(i, x.ndim) for i in axes_a]
    axes_b = [axis_of(i, y.ndim) for i in axes_b]
    if len(axes_a) != len(axes_b) or any(
        x.shape[i] != y.shape[j] for i, j in zip(axes_a, axes_b, strict=False)
    ):
        raise _mismatch("tensordot", x, y, f"axes {axes_a} and {axes_b} differ in extent")
    left = list(range(x.ndim))
    right = list(range(x.ndim, x.ndim + y.ndim))
    for i, j in zip(axes_a, axes_b, strict=True):
        right[j] = left[i]
    out = [k for k in left if k not in right] + [k for k in right if k not in left]
    return contract([(x, left), (y, right)], out)


@ufunc(np.vecdot)
def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    return np.sum(np.conj(a) * b, axis=axis)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    x, y = node_array(a), node_array(b)
    ndim = max(x.ndim, y.ndim)
    x = reshape(x, (1,) * (ndim - x.ndim) + x.shape)
    y = reshape(y, (1,) * (ndim - y.ndim) + y.shape)
    out = [k for i in range(ndim) for k in (i, ndim + i)]
    whole = contract([(x, list(range(ndim))), (y, list(range(ndim, 2 * ndim)))], out).node
    shape = tuple(p * q for p, q in zip(x.shape, y.shape, strict=True))
    return traced(reshape(whole, shape))


@implements(np.cross)
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError("cross: both operands need 3 components along the axis")
    parts = [a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return np.moveaxis(np.stack(parts, axis=-1), -1, axisc)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    x, y = node_array(a), node_array(v)
    if x.ndim != 1 or y.ndim != 1 or x.size == 0 or y.size == 0:
        raise ValueError("convolve: both operands need one axis that is not empty")
    if y.size > x.size:
        x, y = y, x
    n, m = x.size, y.size
    starts = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}
    if mode not in starts:
        raise ValueError(f"convolve: mode must be one of {sorted(starts)}, not {mode!r}")
    first, length = starts[mode]
    place = affine(first, [(1, 0), (-1, 1)])  # out[i] = Σ_k x[i + first - k] y[k]
    dtype = join_dtypes([x.dtype, y.dtype])
    draft = Draft(
        (length,),
        dtype,
        1,
        {0: length, 1: m},
        [(x, (place,)), (y, (1,))],
        [0],
        [place, scale(place, -1, n - 1)],
    )
    return traced(draft.finish())


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    if np.size(v) > np.size(a):
        return np.flip(np.conj(correlate(v, a, mode)))
    return convolve(a, np.flip(np.conj(v)), mode)


@implements(np.trace, method="trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@lru_cache(maxsize=1024)
def _parse(subscripts: str, ranks: tuple[int, ...]) -> tuple[list[list[str]], list[str]]:
    """Letters of every operand and of the output, ellipses expanded to ``...k`` names."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(
            f"einsum: {subscripts!r} names {len(terms)} operands, {len(ranks)} are given"
        )
    parsed: list[list[str]] = []
    widest = 0
    for term, rank in zip(terms, ranks, strict=True):
        if "..." in term:
            before, _, after = term.partition("...")
            hidden = rank - len(before) - len(after)
            if hidden < 0:
                raise ValueError(
                    f"einsum: {term!r} has more letters than the operand's {rank} axes"
                )
            widest = max(widest, hidden)
            dots = [f"...{hidden - i}" for i in range(hidden)]
            parsed.append([*before, *dots, *after])
        else:
            if len(term) != rank:
                raise ValueError(
                    f"einsum: {term!r} has {len(term)} letters, its operand has {rank} axes"
                )
            parsed.append(list(term))
    hidden_names = [f"...{widest - i}" for i in range(widest)]
    if arrow:
        before, dots_found, after = right.partition("...")
        out = [*before, *(hidden_names if dots_found else []), *after]
    else:
        letters = [k for term in parsed for k in term if not k.startswith("...")]
        out = hidden_names + sorted(k for k in set(letters) if letters.count(k) == 1)
    unknown = [k for k in out if all(k not in term for term in parsed)]
    if unknown:
        raise ValueError(f"einsum: the output letter {unknown[0]!r} is in no operand")
    return parsed, out


@implements(np.einsum)
def einsum_(*arguments: Any, optimize: Any = False, dtype: Any = None, **_: Any) -> Any:
    if isinstance(arguments[0], str):
        nodes = [node_array(a) for a in arguments[1:]]
        terms, out = _parse(arguments[0], tuple([n.ndim for n in nodes]))
    else:
        nodes, terms, out = _sublists(arguments)
    names = {k: i for i, k in enumerate(dict.fromkeys(k for term in terms for k in term))}
    extents: dict[str, int] = {}
    for node, term in zip(nodes, terms, strict=True):
        for extent, k in zip(node.shape, term, strict=True):
            known = extents.setdefault(k, extent)
            if known == 1:
                extents[k] = extent
            elif extent not in (1, known):
                raise ValueError(
                    f"einsum: label {k!r} is {known} in one operand and {extent} in another"
                )
    pairs = [(n, [names[k] for k in term]) for n, term in zip(nodes, terms, strict=True)]
    result = _in_pairs(pairs, [names[k] for k in out])
    return result.astype(dtype) if dtype is not None else result


def _sublists(arguments: tuple[Any, ...]) -> tuple[list[Node], list[list[str]], list[str]]:
    """``einsum(a, [0, 1], b, [1, 2], [0, 2])``; Ellipsis may stand in a list."""
    nodes = [node_array(a) for a in arguments[: 2 * (len(arguments) // 2) : 2]]
    lists = arguments[1::2]

    def text(labels: Any) -> str:
        return "".join("..." if k is Ellipsis else chr(97 + k) for k in labels)

    subscripts = ",".join(text(s) for s in lists)
    if len(arguments) % 2:
        subscripts += "->" + text(arguments[-1])
    terms, out = _parse(subscripts, tuple([n.ndim for n in nodes]))
    return nodes, terms, out
