"""What a graph computes, element by element: scalar expressions, one for each element.

They are interned as nodes are.  Arrays that no element is read from or written to one by one stay
whole (*opaque*): an element of one is a ``read``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...expr.nodes import (
    Box,
    Call,
    Const,
    Leaf,
    Map,
    Node,
    Scalar,
    Sum,
    Term,
    plain_scalar,
    scalar_key,
)
from ...expr.subs import Look, Mod, Sub, const_value
from ...expr.walk import topological

__all__ = ["Elements", "PatternError", "Raw", "by_element"]

_LIMIT = 400_000  # expressions


class PatternError(ValueError):
    """A computation by elements that is no loop nest of affine subscripts.

    ``nodes`` are those of the graph in which it was found.
    """

    def __init__(self, message: str, nodes: Sequence[Node] = ()) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


class Raw:
    """A scalar: ``op`` applied to ``args``; ``data`` is what else belongs to it.

    =======  =================================================  ==================================
    op       value                                              data
    =======  =================================================  ==================================
    number   a Python scalar                                    the scalar
    read     an element of an opaque array                      the array, the subscripts (−1 − n
                                                                stands for the next of ``args``)
    sum      ``Σ coef·arg``                                     the coefficients
    product  ``coef·Π args``                                    the coefficient
    map      an elementwise function                            its name, its parameters
    reduce   a reduction of a set: amax, amin, prod             its name
    =======  =================================================  ==================================
    """

    __slots__ = ("args", "data", "dtype", "op", "origin")

    def __init__(
        self, op: str, args: tuple[Raw, ...], data: Any, dtype: np.dtype[Any], origin: Node
    ) -> None:
        self.op = op
        self.args = args
        self.data = data
        self.dtype = dtype
        self.origin = origin


class Elements:
    """The elements of the nodes of one graph; ``constants`` are leaves that are mere numbers."""

    def __init__(self, constants: Mapping[Node, Scalar]) -> None:
        self.constants = constants
        self._known: dict[Any, Raw] = {}
        self._arrays: dict[Node, Any] = {}
        self._opaque: dict[Node, bool] = {}

    def _raw(
        self, op: str, args: tuple[Raw, ...], data: Any, dtype: np.dtype[Any], origin: Node
    ) -> Raw:
        key = (op, args, data, dtype) if op != "number" else (op, scalar_key(data), dtype)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Raw(op, args, data, dtype, origin)
            if len(self._known) > _LIMIT:
                raise PatternError(
                    "the loops run over too many elements: give names, not numbers, for long axes"
                )
        return found

    def enter(self, roots: Sequence[Node]) -> None:
        """Compute the elements of all nodes under ``roots`` that are not opaque."""
        order = topological(roots)
        based: set[Node] = set()
        for node in order:
            if isinstance(node, Leaf) or any(c in based for c in node.children):
                based.add(node)
            if node not in self._opaque:
                self._opaque[node] = (
                    node in based
                    and node not in self.constants
                    and not by_element(node)
                    and all(self._opaque[c] or isinstance(c, Const) for c in node.children)
                )
        for node in order:
            if not self._opaque[node] and node not in self._arrays:
                self._arrays[node] = self._elements(node)

    def opaque(self, node: Node) -> bool:
        """Whether a node is computed as an array throughout."""
        return self._opaque[node]

    def array(self, node: Node) -> Any:
        """All elements of a node: an object array of its shape."""
        found = self._arrays.get(node)
        if found is None:
            found = np.empty(node.shape, object)
            for at in np.ndindex(node.shape):
                found[at] = self._raw("read", (), (node, at), node.dtype, node)
            self._arrays[node] = found
        return found

    # -- one node -----------------------------------------------------------------------------
    def _elements(self, node: Node) -> Any:
        if isinstance(node, Const):
            return _filled(self._raw("number", (), node.value, node.dtype, node))
        if node in self.constants:
            return _filled(self._raw("number", (), self.constants[node], node.dtype, node))
        if isinstance(node, Box):
            return self.array(node.node)
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, Map):
            return self._map(node)
        if isinstance(node, Term):
            return self._term(node)
        assert isinstance(node, Call)
        if node.op in ("amax", "amin", "prod"):
            return self._reduction(node)
        if node.op == "last_writer":
            raise PatternError(
                "an element is written at an index that is looked up (h[b[i]] += …); "
                "np.add.at(h, b, …) adds at all of them",
                [node],
            )
        raise PatternError(
            f"{node.op} is applied to an array that is computed element by element", [node]
        )

    def _spread(self, node: Node, shape: tuple[int, ...]) -> Any:
        found = self.array(node)
        return found if node.shape == shape else np.broadcast_to(found, shape)

    def _sum(self, node: Sum) -> Any:
        arrays = [self._spread(n, node.shape) for _, n in node.parts]
        coefs = tuple(c for c, _ in node.parts)
        if not coefs:
            return _each(node.shape, lambda at: self._raw("number", (), 0, node.dtype, node))

        def one(at: tuple[int, ...]) -> Raw:
            args = tuple(a[at] for a in arrays)
            if all(a.op == "number" for a in args):
                total = sum(c * a.data for c, a in zip(coefs, args, strict=True))
                return self._raw("number", (), total, node.dtype, node)
            return self._raw("sum", args, coefs, node.dtype, node)

        return _each(node.shape, one)

    def _map(self, node: Map) -> Any:
        if node.op == "where":
            written = self._written(node)
            if written is not None:
                return written
        arrays = [self._spread(a, node.shape) for a in node.args]

        def one(at: tuple[int, ...]) -> Raw:
            args: tuple[Raw, ...] = tuple(a[at] for a in arrays)
            if node.op == "where" and args[0].op == "number":
                return args[1] if args[0].data else args[2]
            if all(a.op == "number" for a in args) and not node.params:
                function = getattr(np, node.op, None)
                if function is not None:
                    value = plain_scalar(function(*(a.data for a in args)))
                    return self._raw("number", (), value, node.dtype, node)
            if node.op == "astype" and args[0].op == "number":
                return self._raw("number", (), args[0].data, node.dtype, node)
            return self._raw("map", args, (node.op, node.params), node.dtype, node)

        return _each(node.shape, one)

    def _written(self, node: Map) -> Any:
        """``y[i, j] = value``, None for other uses of ``where``."""
        mask, value, before = node.args
        if not isinstance(mask, Term) or not isinstance(value, Term) or mask.factors:
            return None
        place = tuple(const_value(s) for s in mask.out)
        if None in place or value.out != mask.out:
            return None
        result = self._spread(before, node.shape).copy()
        result[place] = self.array(value)[place]
        return result

    def _reduction(self, node: Call) -> Any:
        (arg,) = node.args
        flat = self.array(arg).reshape((*node.shape, -1))
        return _each(
            node.shape, lambda at: self._raw("reduce", tuple(flat[at]), node.op, node.dtype, node)
        )

    def _term(self, node: Term) -> Any:
        arrays = [self.array(n) for n, _ in node.factors]
        plain = node.coef == 1 and len(node.factors) == 1
        parts: dict[tuple[int, ...], list[Raw]] = {}
        for point in np.ndindex(node.extents):
            if any(_at(s, point) < 0 for s in node.constraints):
                continue
            factors = tuple(
                self._factor(node, n, a, subs, point)
                for (n, subs), a in zip(node.factors, arrays, strict=True)
            )
            if any(f.op == "number" and not f.data for f in factors):
                continue
            made = (
                factors[0]
                if plain and factors[0].dtype == node.dtype
                else self._raw("product", factors, node.coef, node.dtype, node)
                if factors
                else self._raw("number", (), node.coef, node.dtype, node)
            )
            parts.setdefault(tuple(_at(s, point) for s in node.out), []).append(made)

        def one(at: tuple[int, ...]) -> Raw:
            terms = parts.get(at)
            if not terms:
                return self._raw("number", (), 0, node.dtype, node)
            if len(terms) == 1:
                return terms[0]
            return self._raw("sum", tuple(terms), (1,) * len(terms), node.dtype, node)

        return _each(node.shape, one)

    def _factor(
        self, term: Term, node: Node, array: Any, subs: Sequence[Sub], point: Sequence[int]
    ) -> Raw:
        if not any(_look(s) for s in subs):
            found: Raw = array[tuple(_at(s, point) for s in subs)]
            if found.origin is node:
                found.origin = term  # a read is where the user reads
            return found
        if not self._opaque[node]:
            raise PatternError(
                "an array that is computed element by element is read at an index from a table",
                [term],
            )
        at: list[int] = []
        tables: list[Raw] = []
        for sub in subs:
            look = _look(sub)
            if look is None:
                at.append(_at(sub, point))
                continue
            inner = tuple(_at(s, point) for s in look.subs)
            entry: Raw = self.array(look.table)[inner]
            if entry.op == "number":
                at.append(int(entry.data))
                continue
            at.append(-1 - look.n)
            tables.append(entry)
        if not tables:
            return array[tuple(at)]  # type: ignore[no-any-return]
        return self._raw("read", tuple(tables), (node, tuple(at)), node.dtype, term)


def _each(shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Raw]) -> Any:
    result = np.empty(shape, object)
    for at in np.ndindex(shape):
        result[at] = make(at)
    return result


def _filled(value: Raw) -> Any:
    result = np.empty((), object)
    result[()] = value
    return result


def _at(sub: Sub, point: Sequence[int]) -> int:
    """The value of a subscript at a point of the label box."""
    if isinstance(sub, int):
        return point[sub]
    total = sub.const
    for coef, key in sub.parts:
        if isinstance(key, int):
            total += coef * point[key]
        elif isinstance(key, Look):
            raise PatternError("an element is written at an index from a table")
        else:
            inner = _at(key.sub, point)
            total += coef * (inner % key.n if isinstance(key, Mod) else inner // key.n)
    return total


def _look(sub: Sub) -> Look | None:
    """The look-up that a subscript is."""
    if isinstance(sub, int) or not any(isinstance(key, Look) for _, key in sub.parts):
        return None
    coef, key = sub.parts[0]
    if sub.const or coef != 1 or len(sub.parts) != 1 or not isinstance(key, Look):
        raise PatternError("an index from a table is shifted or scaled")
    return key


def by_element(node: Node) -> bool:
    """Whether a node reads or writes an array at a fixed place."""
    if not isinstance(node, Term):
        return False
    for source, subs in node.factors:
        if any(_fixed(s, e) for s, e in zip(subs, source.shape, strict=True)):
            return True
    return any(_fixed(s, e) for s, e in zip(node.out, node.shape, strict=True))


def _fixed(sub: Sub, extent: int) -> bool:
    if isinstance(sub, int) or extent == 1:
        return False
    return all(
        isinstance(key, Look) and all(const_value(s) is not None for s in key.subs)
        for _, key in sub.parts
    )
