"""Where a loop may skip rounds: everything that it adds up there is chosen by a False mask."""

from __future__ import annotations

from .layout import Access
from .nest import Apply, Constant, Fold, Load, Nest

__all__ = ["FEWEST", "skipped"]

#: Rounds from which a loop looks for those that it must do.
FEWEST = 8


def skipped(nest: Nest) -> tuple[int, Load] | None:
    """A loop (its number) and the mask along it, where only rounds in which it is True count.

    Boolean factors select: where one is False nothing is added, whatever the others hold.
    """
    if nest.serial or len(nest.shape) < 3 or not nest.sinks:
        return None
    for sink in nest.sinks:
        if not isinstance(sink, Fold) or sink.how != "sum" or sink.access.strides[-1] == 0:
            return None
    found: set[int] | None = None
    zero: list[set[int]] = []
    for number, node in enumerate(nest.nodes):
        zero.append(_zero_without(nest, number, zero) if isinstance(node, Apply) else set())
    for sink in nest.sinks:
        found = zero[sink.node] if found is None else found & zero[sink.node]
    for number in sorted(found or ()):
        mask = nest.nodes[number]
        assert isinstance(mask, Load)
        loop = _along(mask.access, nest.shape)
        if loop is not None:
            return loop, mask
    return None


def _zero_without(nest: Nest, number: int, zero: list[set[int]]) -> set[int]:
    """The masks, by their nodes, without which a node is 0."""
    node = nest.nodes[number]
    assert isinstance(node, Apply)
    if node.op == "where":
        mask, value, other = node.args
        rest = nest.nodes[other]
        if not isinstance(rest, Constant) or rest.value != 0:
            return zero[value] & zero[other]
        return zero[value] | ({mask} if _is_mask(nest, mask) else set())
    if node.op == "multiply":
        return set().union(*(zero[a] for a in node.args))
    if node.op == "convert" and _is_mask(nest, node.args[0]):
        return {node.args[0]}
    if node.op in ("convert", "negative"):
        return zero[node.args[0]]
    if node.op in ("add", "subtract"):
        return zero[node.args[0]] & zero[node.args[1]]
    return set()


def _is_mask(nest: Nest, number: int) -> bool:
    node = nest.nodes[number]
    return isinstance(node, Load) and node.kind == "i1" and not node.index


def _along(access: Access, shape: tuple[int, ...]) -> int | None:
    """The loop whose rounds have their masks side by side; loops beneath it share them."""
    loops = [k for k, s in enumerate(access.strides) if s != 0]
    if not loops or loops[-1] in (0, len(shape) - 1) or shape[loops[-1]] < FEWEST:
        return None
    return loops[-1] if access.strides[loops[-1]] == 1 else None
