"""Walking and rebuilding graphs: never recursive, linear in shared graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .nodes import Box, Call, Leaf, Map, Node, Sum, Term
from .subs import Div, Key, Look, Mod, Sub, affine

__all__ = ["dependents", "leaves", "rebuild", "replace_tables", "substitute_nodes", "topological"]


def topological(roots: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """All nodes under ``roots``, children before parents; below ``stop`` nodes is not entered."""
    done: set[Node] = set()
    order: list[Node] = []
    stack: list[Node | None] = [*reversed(list(roots))]
    while stack:
        node = stack.pop()
        if node is None:  # what lies beneath is a node all of whose children are done
            order.append(stack.pop())  # type: ignore[arg-type]
            continue
        if node in done:
            continue
        done.add(node)
        children = node.children
        if not children or (stop is not None and stop(node)):
            order.append(node)
            continue
        stack += (node, None)
        for child in reversed(children):
            if child not in done:
                stack.append(child)
    return order


def leaves(roots: Iterable[Node]) -> list[Leaf]:
    """The leaves under ``roots``, by slot."""
    found = [node for node in topological(roots) if isinstance(node, Leaf)]
    return sorted(found, key=lambda leaf: leaf.slot)


def dependents(order: Iterable[Node], sources: Iterable[Node]) -> set[Node]:
    """Of a topological ``order``, the nodes that depend on one of ``sources``."""
    found = set(sources)
    for node in order:
        if node not in found and any(child in found for child in node.children):
            found.add(node)
    return found


def replace_tables(sub: Sub, new: Mapping[Node, Node]) -> Sub:
    """A subscript with the nodes of its table look-ups replaced."""
    if isinstance(sub, int) or not sub.parts:
        return sub

    def key(k: Key) -> Key:
        if isinstance(k, int):
            return k
        if isinstance(k, Look):
            return Look(
                new.get(k.table, k.table), tuple(replace_tables(s, new) for s in k.subs), k.n
            )
        if isinstance(k, Mod):
            return Mod(k.n, replace_tables(k.sub, new))
        return Div(k.n, replace_tables(k.sub, new))

    if all(isinstance(k, int) for _, k in sub.parts):
        return sub
    return affine(sub.const, [(c, key(k)) for c, k in sub.parts])


def _bare(node: Term) -> bool:
    """Whether all subscripts are labels: nothing in them to replace."""
    for sub in node.out:
        if type(sub) is not int:
            return False
    for _, subs in node.factors:
        for sub in subs:
            if type(sub) is not int:
                return False
    return True


def rebuild(node: Node, new: Mapping[Node, Node]) -> Node:
    """The same node over replaced children (of the same shapes and dtypes)."""
    if isinstance(node, Map):
        args = tuple([new.get(a, a) for a in node.args])
        return Map(node.op, node.shape, node.dtype, args, node.params)
    if isinstance(node, Sum):
        return Sum(node.shape, node.dtype, tuple([(c, new.get(n, n)) for c, n in node.parts]))
    if isinstance(node, Term):
        if not node.constraints and _bare(node):
            factors = tuple([(new.get(n, n), subs) for n, subs in node.factors])
            return Term(node.shape, node.dtype, node.coef, node.extents, factors, node.out)
        return Term(
            node.shape,
            node.dtype,
            node.coef,
            node.extents,
            tuple(
                (new.get(n, n), tuple(replace_tables(s, new) for s in subs))
                for n, subs in node.factors
            ),
            tuple(replace_tables(s, new) for s in node.out),
            tuple(replace_tables(s, new) for s in node.constraints),
        )
    if isinstance(node, Call):
        args = tuple(new.get(a, a) for a in node.args)
        return Call(node.op, node.shape, node.dtype, args, node.params, node.index)
    if isinstance(node, Box):
        return Box(new.get(node.node, node.node))
    return node


def substitute_nodes(roots: list[Node], replacement: Mapping[Node, Node]) -> list[Node]:
    """``roots`` with some nodes replaced wherever they occur."""
    new: dict[Node, Node] = dict(replacement)
    for node in topological(roots, stop=replacement.__contains__):
        if node in new:
            continue
        new[node] = node
        for child in node.children:
            if new[child] is not child:
                new[node] = rebuild(node, new)
                break
    return [new[root] for root in roots]
