"""jacobian, value_and_jacobian, hessian: derivatives that keep their structure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import optree

from ..expr.draft import opened
from ..expr.nodes import Leaf, Node, Term
from ..expr.walk import substitute_nodes
from ..jacobian.object import Jacobian, Layout
from ..jacobian.structure import structure_of
from ..jacobian.terms import factor_nodes
from ..jacobian.values import factor_values
from ..simplify.network import finalize
from ..trace.array import TracedArray, as_node, traced
from ..trace.session import Level, Session
from .core import Outputs, check_bound, enter, finish, level, outputs, settle
from .first import (
    Argnums,
    Symmetric,
    _name,
    _split_aux,
    grad,
    merged,
    split_arguments,
    symmetric_leaves,
)
from .orders import networks
from .trees import NAMESPACE, unflatten

__all__ = ["hessian", "jacobian", "value_and_jacobian"]

Mode = Literal["auto", "forward", "reverse"]
MODES = ("auto", "forward", "reverse")


def _take_apart(j: Jacobian) -> tuple[list[Any], Any]:
    fixed = (tuple(j._terms), j.out_shape, j.in_shape, j.dtype, j.layout)
    return list(j._values), fixed


def _put_together(fixed: Any, values: Any) -> Jacobian:
    terms, out_shape, in_shape, dtype, layout = fixed
    return Jacobian(terms, list(values), out_shape, in_shape, dtype, layout)


optree.register_pytree_node(
    Jacobian,  # type: ignore[arg-type]
    _take_apart,  # type: ignore[arg-type]
    _put_together,  # type: ignore[arg-type]
    namespace=NAMESPACE,
)


def dense_nodes(tree: Any) -> Any:
    """A result with every Jacobian in it as one traced array of its (unformed) elements."""
    leaves, spec = optree.tree_flatten(
        tree, is_leaf=lambda v: isinstance(v, Jacobian), namespace=NAMESPACE
    )
    return optree.tree_unflatten(
        spec, [_as_traced(v) if isinstance(v, Jacobian) else v for v in leaves]
    )


def _as_traced(j: Jacobian) -> TracedArray:
    _, bindings = j._bound()
    (node,) = substitute_nodes([j.node], {k: as_node(v) for k, v in bindings.items()})
    result = traced(node)
    if j.layout == "denominator":
        n_out = len(j.out_shape)
        result = np.transpose(result, [*range(n_out, j.ndim), *range(n_out)])  # type: ignore[assignment]
    return result


def value_and_jacobian(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    layout: Layout = "numerator",
    mode: Mode = "auto",
    symmetric: Symmetric = False,
) -> Callable[..., Any]:
    """Value and structured Jacobian; arguments as :func:`jacobian`.

    Returns a function giving ``(value, J)``, or ``((value, aux), J)`` with ``has_aux``.
    """
    both = _value_and_jacobian(f, argnums, has_aux, layout, mode, symmetric, valued=True)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, aux, result = both(*args, **kwargs)
        return ((value, aux), result) if has_aux else (value, result)

    return wrapped


def _value_and_jacobian(
    f: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    layout: Layout,
    mode: Mode,
    symmetric: Symmetric,
    valued: bool,
) -> Callable[..., tuple[Any, Any, Any]]:
    """``(value, aux, J)``; unless ``valued`` the value, which may not fit, is not computed."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
    if layout not in ("numerator", "denominator"):
        raise ValueError(f"layout must be 'numerator' or 'denominator', not {layout!r}")

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        numbers, chosen = split_arguments(argnums, args)
        with level("jacobian") as (session, opened_level):
            inputs = enter(session, opened_level, chosen, f"argument of {_name(f)}: args")
            result, aux = _split_aux(f(*merged(args, numbers, inputs.tree), **kwargs), has_aux)
            outs = outputs(dense_nodes(result))
            extra = outputs(aux)
            flags = symmetric_leaves(inputs, symmetric)
            rows = _networks(outs.nodes, inputs.leaves, mode, flags)
        wanted = outs.nodes if valued else []
        if not (valued or session.levels):
            check_bound(session, outs.nodes)
        done = finish(session, opened_level, [*wanted, *extra.nodes])
        value = outs.rebuild(done[: len(wanted)]) if valued else None
        per_out = []
        for out, row in zip(outs.nodes, rows, strict=True):
            objects = [
                _object(session, opened_level, out, leaf, terms, report, layout)
                for leaf, (terms, report) in zip(inputs.leaves, row, strict=True)
            ]
            tree = unflatten(inputs.spec, objects)
            per_out.append(tree[0] if isinstance(argnums, int | np.integer) else tree)
        return value, extra.rebuild(done[len(wanted) :]), _nested(outs, per_out)

    return wrapped


def jacobian(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    layout: Layout = "numerator",
    mode: Mode = "auto",
    symmetric: Symmetric = False,
) -> Callable[..., Any]:
    """The generalized Jacobian, as an object that keeps its structure.

    Returns a function of the same arguments giving a :class:`chainrule.Jacobian` of shape
    out + in (``layout="denominator"``: in + out); trees of results and of arguments nest, results
    outside.  ``mode`` orders the evaluation: "forward" accumulates from the inputs, "reverse" from
    the outputs; "auto" by the best order that a short search (or :func:`chainrule.plan`) finds.
    ``(J, aux)`` with ``has_aux``.  The value of f is not computed: it need not fit.

    ``symmetric`` (a bool, or one an argument of a tuple ``argnums``): the argument runs over
    symmetric matrices only (in its last two axes).  J is then the derivative along symmetric
    directions and 0 along antisymmetric ones: ``J @ V`` is the derivative along ``(V + Vᵀ)/2``.
    A gradient G becomes its projection ``(G + Gᵀ)/2``, the gradient for the inner product
    tr(AᵀB) of symmetric matrices: ``X⁻¹`` for log det X, ``(a bᵀ + b aᵀ)/2`` for aᵀXb.  (The
    derivative by the elements on and above the diagonal is another one: 2G − diag(G).)

    >>> import numpy as np, chainrule as cr
    >>> J = cr.jacobian(np.tanh)(np.zeros(1000))
    >>> J.structure, J.shape, J.nbytes
    ('a->a|a', (1000, 1000), 8000)
    """
    both = _value_and_jacobian(f, argnums, has_aux, layout, mode, symmetric, valued=False)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _, aux, result = both(*args, **kwargs)
        return (result, aux) if has_aux else result

    return wrapped


def hessian(
    f: Callable[..., Any], argnums: Argnums = 0, symmetric: Symmetric = False
) -> Callable[..., Any]:
    """The Hessian of a scalar function, as a structured object of shape in + in.

    For a tuple ``argnums`` a tuple of tuples of blocks.  ``symmetric`` as in :func:`jacobian`, in
    both groups.

    >>> import numpy as np, chainrule as cr
    >>> H = cr.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    >>> H.structure, H.diagonal()
    ('a->a|a', array([ 6., 12.]))
    """
    return jacobian(grad(f, argnums, symmetric=symmetric), argnums, symmetric=symmetric)


Report = tuple[str, int]


def _networks(
    outs: Sequence[Node], sources: Sequence[Leaf], mode: Mode, symmetric: Sequence[bool]
) -> list[list[tuple[list[Term], Report]]]:
    """Terms in the order asked for, and the report, which always comes from the reverse sweep."""
    rows = []
    for out, ordered, backward in zip(outs, *networks(mode, outs, sources), strict=True):
        row = []
        for mine, reported, flag in zip(ordered, backward, symmetric, strict=True):
            if flag:
                mine = reported = symmetrized(mine, out.ndim)
            size = sum(node.nbytes for node in factor_nodes(reported))
            row.append((mine, (structure_of(reported, out.ndim), size)))
        rows.append(row)
    return rows


def symmetrized(terms: Sequence[Term], n_out: int) -> list[Term]:
    """``(J + J with the last two input axes exchanged)/2``: the map on symmetric matrices."""
    halves: list[Term] = []
    for term in terms:
        for turned in (False, True):
            draft = opened(term)
            assert draft is not None
            draft.coef = term.coef * 0.5
            if turned:
                draft.out = [*term.out[:-2], term.out[-1], term.out[-2]]
            node = draft.term()
            if node is not None:
                halves.append(node)
    return finalize(halves)


def _object(
    session: Session,
    opened_level: Level,
    out: Node,
    leaf: Leaf,
    terms: Sequence[Term],
    report: Report,
    layout: Layout,
) -> Jacobian:
    """The object of one network: factors as numbers (on demand), or traced in an outer level."""
    lift = opened_level.lift
    bindings = session.bindings
    inside = bool(session.levels)

    def resolve(nodes: list[Node]) -> list[Any]:
        lifted = lift(nodes) if lift is not None else nodes
        if inside:
            return settle(session, lifted)
        return factor_values(lifted, bindings)

    dtype = np.result_type(out.dtype, leaf.dtype)
    return Jacobian.build(
        terms, resolve, out.shape, leaf.shape, dtype, layout, report, lazy=not inside
    )


def _nested(outs: Outputs, per_out: Sequence[Any]) -> Any:
    stream = iter(per_out)
    rest = [next(stream) for _ in outs.nodes]
    return outs.rebuild(rest)
