"""vmap: a function of one example becomes a function of a batch, by one more label."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from ..chain.batch import batched
from ..expr.build import broadcast, permute
from ..expr.draft import whole as as_term
from ..expr.nodes import Leaf, Node, Term
from ..expr.walk import substitute_nodes
from ..jacobian.object import Jacobian
from ..trace.array import TracedArray, as_node, traced
from ..trace.session import Level, Session
from .core import level, settle
from .first import _name
from .trees import NAMESPACE, flatten, is_array, unflatten

__all__ = ["vmap"]


def _prefix(axes: Any, tree: Any, what: str) -> list[int | None]:
    """One axis (or None) a leaf: an int or None for a whole subtree, or a matching tree."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(flatten(tree)[0])
    if isinstance(axes, list | tuple) and isinstance(tree, list | tuple):
        if len(axes) != len(tree):
            raise ValueError(f"{what} has {len(axes)} entries for {len(tree)} values")
        return [a for x, t in zip(axes, tree, strict=True) for a in _prefix(x, t, what)]
    if isinstance(axes, dict) and isinstance(tree, dict):
        return [a for key in sorted(tree) for a in _prefix(axes[key], tree[key], what)]
    raise ValueError(f"{what} does not match the structure of the values")


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """``f`` over a batch: a label is added to the program, no loop is run.

    ``in_axes`` names the batch axis of each argument (an int, None for "not batched", or a tree
    of them, one entry an argument), ``out_axes`` where it goes in the results.  A result that is
    a Jacobian gets the batch axis in front of ``out_shape``.

    Raises ValueError where batch sizes differ, or no argument is batched.

    >>> import numpy as np, chainrule as cr
    >>> cr.vmap(np.dot)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values, spec = flatten(args)
        axes = _prefix(
            in_axes if not isinstance(in_axes, list) else tuple(in_axes), args, "in_axes"
        )
        size = _batch_size(values, axes, _name(f))
        with level("vmap") as (session, opened):
            handles, whole = _enter(session, opened, values, axes)

            def lift(nodes: list[Node]) -> list[Node]:
                return [node for node, _ in batched(nodes, whole, size)]

            opened.lift = lift
            result = f(*unflatten(spec, handles), **kwargs)
            finish_with = _collect(result, whole, size, out_axes, f"results of {_name(f)}")
        return finish_with(session)

    return wrapped


def _batch_size(values: list[Any], axes: list[int | None], name: str) -> int:
    sizes: dict[int, str] = {}
    for i, (value, axis) in enumerate(zip(values, axes, strict=True)):
        if axis is None:
            continue
        if np.ndim(value) == 0:
            raise ValueError(
                f"vmap of {name}: value {i} is 0-d and cannot be batched (axis {axis})"
            )
        sizes.setdefault(np.shape(value)[axis], f"value {i} has shape {np.shape(value)}")
    if not sizes:
        raise ValueError(f"vmap of {name}: in_axes names no batched argument")
    if len(sizes) > 1:
        raise ValueError(f"vmap of {name}: batch sizes differ: " + "; ".join(sizes.values()))
    return next(iter(sizes))


def _enter(
    session: Session, opened: Level, values: list[Any], axes: list[int | None]
) -> tuple[list[Any], dict[Node, Node]]:
    handles: list[Any] = []
    whole: dict[Node, Node] = {}
    for value, axis in zip(values, axes, strict=True):
        if axis is None or not is_array(value):
            handles.append(value)
            continue
        if isinstance(value, TracedArray):
            node = value.node
        else:
            array = np.asarray(value)
            leaf = session.new_leaf(array.shape, array.dtype.newbyteorder("="))
            session.bindings[leaf] = array
            node = leaf
        axis %= node.ndim
        order = [axis, *(i for i in range(node.ndim) if i != axis)]
        front = permute(node, order)
        example: Leaf = session.new_leaf(front.shape[1:], front.dtype)
        opened.leaves.append(example)
        whole[example] = front
        handles.append(traced(example))
    return handles, whole


def _collect(
    result: Any, whole: dict[Node, Node], size: int, out_axes: Any, what: str
) -> Callable[[Session], Any]:
    """Batch the results now (the level is open); settle them when it has closed."""
    leaves, spec = optree.tree_flatten(
        result, is_leaf=lambda v: isinstance(v, Jacobian), namespace=NAMESPACE
    )
    if not any(isinstance(v, Jacobian) for v in leaves):
        leaves, spec = flatten(result)
        axes = _prefix(out_axes, result, "out_axes")
    else:
        axes = [out_axes if isinstance(out_axes, int) else 0] * len(leaves)
    nodes: list[Node] = []
    plans: list[tuple[Any, int, int]] = []
    for value, axis in zip(leaves, axes, strict=True):
        if isinstance(value, Jacobian):
            made, terms = _batched_jacobian(value, whole, size)
            plans.append(((value, terms), len(nodes), len(made)))
            nodes.extend(made)
        elif is_array(value) and not isinstance(value, bool):
            node = as_node(value if isinstance(value, TracedArray) else np.asarray(value))
            ((moved, has),) = batched([node], whole, size)
            plans.append((None, len(nodes), 1))
            nodes.append(_placed(moved, has, axis, size, what))
        else:
            plans.append((value, len(nodes), 0))

    def settle_all(session: Session) -> Any:
        done = settle(session, nodes)
        filled = []
        for plan, start, count in plans:
            if count == 1 and plan is None:
                filled.append(done[start])
            elif isinstance(plan, tuple) and isinstance(plan[0], Jacobian):
                j, terms = plan
                filled.append(
                    Jacobian(
                        terms,
                        done[start : start + count],
                        (size, *j.out_shape),
                        j.in_shape,
                        j.dtype,
                        j.layout,
                    )
                )
            else:
                filled.append(plan)
        return optree.tree_unflatten(spec, filled)

    return settle_all


def _placed(node: Node, has_batch: bool, axis: int | None, size: int, what: str) -> Node:
    if axis is None:
        if has_batch:
            raise ValueError(f"{what}: out_axes is None, but the value depends on the batch")
        return node
    if not has_batch:
        node = broadcast(node, (size, *node.shape))
    axis %= node.ndim
    order = list(range(1, node.ndim))
    order.insert(axis, 0)
    return permute(node, order)


def _batched_jacobian(
    j: Jacobian, whole: dict[Node, Node], size: int
) -> tuple[list[Node], list[Any]]:
    """Factors with the batch axis, and terms with the batch label in front of out."""
    terms, bindings = j._bound()
    slots = sorted(bindings, key=lambda leaf: leaf.slot)  # type: ignore[attr-defined]
    made = batched([as_node(bindings[leaf]) for leaf in slots], whole, size)
    fresh: dict[Node, Node] = {}
    renamed: dict[Node, Node] = {}
    for position, (leaf, (node, has)) in enumerate(zip(slots, made, strict=True)):
        placeholder = Leaf(position, leaf.shape, leaf.dtype)
        renamed[leaf] = placeholder
        if has:
            fresh[placeholder] = Leaf(position, node.shape, node.dtype)
    moved = substitute_nodes(list(terms), renamed)
    spread = []
    for node, has in batched(moved, fresh, size):
        node = node if has else broadcast(node, (size, *node.shape))
        spread.append(node if isinstance(node, Term) else as_term(node))
    return [node for node, _ in made], spread
