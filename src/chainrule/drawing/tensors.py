"""From a computation to a picture: one card an array, with the one step that computes it.

Transposes and broadcasts of single arrays, numbers and unnamed multiples are written into the
formulas that use them.  What is recognized as one function (softmax, σ, …) is one card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..chain.network import reverse_network
from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Sum, Term
from ..expr.subs import Sub, labels_of
from ..expr.walk import substitute_nodes, topological
from ..formula.algebra import Algebra
from ..formula.indices import Indices
from ..formula.matrix import Matrices, NoMatrixForm
from ..formula.notation import Indexed, Notation
from ..formula.quantity import Fun, Num, Quantity, Sym
from ..formula.symbolic import FormulaError, Translator
from ..jacobian.structure import structure_of
from ..rules.local import differentiable
from ..simplify.sums import accumulate
from .computation import Computation
from .picture import Direction, Edge, Kind, Picture, Vertex

__all__ = ["draw"]


def draw(computation: Computation, jacobians: bool, direction: Direction) -> Picture:
    """The picture of a computation; with ``jacobians`` the edges carry the local ones."""
    return _Drawing(computation, jacobians).picture(direction)


class _Drawing:
    def __init__(self, computation: Computation, jacobians: bool) -> None:
        self.of = computation
        self.jacobians = jacobians
        self.names: dict[Node, str] = {}
        self.roots = {root.node: root for root in computation.roots}
        self.elements = all(not root.node.shape for root in computation.roots) and not any(
            leaf.shape for leaf in computation.leaves
        )
        self.fused = _recognized(computation)
        self.order = self._reachable()
        self.uses = self._uses()
        self.inline: set[Node] = set()
        self.operands: dict[Node, list[Node]] = {}
        self._find_operands()
        self._choose_names()
        self.translator = _translator(computation)

    # -- what is drawn ------------------------------------------------------------------------
    def _below(self, node: Node) -> Sequence[Node]:
        """What a card is made of: the children, or the arguments of a recognized function."""
        fused = self.fused.get(node)
        return node.children if fused is None else fused.nodes

    def _reachable(self) -> list[Node]:
        done: set[Node] = set()
        order: list[Node] = []
        stack = [(root.node, False) for root in reversed(self.of.roots)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                stack.extend((c, False) for c in reversed(self._below(node)) if c not in done)
        return order

    def _uses(self) -> dict[Node, int]:
        uses = dict.fromkeys(self.order, 0)
        for node in self.order:
            for child in self._below(node):
                uses[child] += 1
        return uses

    def _is_inline(self, node: Node) -> bool:
        """Whether a node is written into the formulas that use it."""
        if isinstance(node, Leaf):
            return node not in self.of.leaves
        if node in self.roots or node in self.of.labels:
            return False
        if isinstance(node, Const):
            return True
        if isinstance(node, Box) or not self.operands[node]:
            return True
        if isinstance(node, Sum):
            return not node.parts or (len(node.parts) == 1 and self.uses[node] == 1)
        if not isinstance(node, Term) or node.constraints:
            return False
        if self.elements and self.uses[node] == 1:
            return True
        if len(node.factors) != 1:
            return False
        (factor, subs), *_ = node.factors
        fits = all(
            sub in node.out if isinstance(sub, int) else extent == 1
            for sub, extent in zip(subs, factor.shape, strict=True)
        )
        whole = fits and _bare(node.out) and len(set(subs)) == len(subs)
        return whole and (node.coef == 1 or self.uses[node] == 1)

    def _find_operands(self) -> None:
        """For each node, the cards that it is made of (what is inline is looked through)."""
        for node in self.order:
            found: dict[Node, None] = {}
            for child in self._below(node):
                inner = self.operands[child] if child in self.inline else [child]
                found.update(dict.fromkeys(inner))
            self.operands[node] = list(found)
            if self._is_inline(node):
                self.inline.add(node)

    @property
    def cards(self) -> list[Node]:
        return [node for node in self.order if node not in self.inline]

    def _choose_names(self) -> None:
        taken = self.of.taken()
        number = 0
        for node in self.cards:
            if node in self.of.leaves:
                self.names[node] = self.of.leaves[node][0]
            elif node in self.roots:
                self.names[node] = self.roots[node].name
            elif node in self.of.labels:
                self.names[node] = self.of.labels[node]
            else:
                number += 1
                while f"v{number}" in taken:
                    number += 1
                self.names[node] = f"v{number}"

    # -- writing ------------------------------------------------------------------------------
    def picture(self, direction: Direction) -> Picture:
        vertices: list[Vertex] = []
        place: dict[Node, int] = {}
        edges: list[Edge] = []
        for node in self.order:
            quantity = self._step(node)
            if node in self.inline:
                continue
            if isinstance(node, Leaf):
                name, kind = self.of.leaves[node]
                vertices.append(Vertex(name, "", self._shape(node), kind))
            else:
                vertices.append(self._card(node, quantity))
            place[node] = len(vertices) - 1
            edges += [
                Edge(place[operand], place[node], self._label(node, operand))
                for operand in self.operands[node]
            ]
        for root in self.of.roots:
            if (
                root.name != self.names[root.node]
            ):  # an argument returned as it is, or a result twice
                name = self.names[root.node]
                vertices.append(Vertex(root.name, name, self._shape(root.node), root.kind))
                edges.append(Edge(place[root.node], len(vertices) - 1))
        return Picture(self.of.title, vertices, edges, direction)

    def _step(self, node: Node) -> Quantity | None:
        """How a node is computed of what is drawn, in the formula's terms; then it is a name."""
        translator, partner = self.translator, self.of.partner[node]
        quantity: Quantity | None
        try:
            fused = self.fused.get(node)
            if fused is None:
                quantity = translator.step(node, partner)
            else:
                shape = translator.shape(node, partner)
                args = tuple(translator.known[a] if isinstance(a, Node) else a for a in fused.args)
                quantity = Fun(fused.op, args, shape, fused.params, fused.whole)
        except (FormulaError, KeyError):
            quantity = None
        if node in self.inline and quantity is not None:
            translator.known[node] = quantity
        elif node in self.names:
            translator.known[node] = Sym(self.names[node], translator.shape(node, partner))
        return quantity

    def _shape(self, node: Node) -> tuple[str, ...]:
        return tuple(map(str, self.translator.shape(node, self.of.partner[node])))

    def _card(self, node: Node, quantity: Quantity | None) -> Vertex:
        name = self.names[node]
        kind: Kind = "backward" if node in self.of.backward else "operation"
        if node in self.roots:
            kind = self.roots[node].kind
        if quantity is None:
            inside = ", ".join(self.names[n] for n in self.operands[node])
            formula = f"{_operation(node)}({inside})"
        else:
            notation, letters = self._written(quantity)
            formula = notation.text
            if isinstance(notation, Indexed) and letters:
                name = f"{name}[{','.join(letters)}]"
        return Vertex(name, formula, self._shape(node), kind)

    def _written(self, quantity: Quantity) -> tuple[Notation, tuple[str, ...]]:
        try:
            return Matrices({}).write(quantity, True), ()
        except NoMatrixForm:
            indices = Indices({}, self.of.taken() | set(self.names.values()))
            return indices.write(quantity), indices.letters(quantity.shape)

    # -- local Jacobians ----------------------------------------------------------------------
    def _label(self, node: Node, operand: Node) -> str:
        """``∂node/∂operand``: its structure, or for numbers its formula."""
        if not self.jacobians or operand.dtype.kind not in "fc":
            return ""
        start = 1 + max((n.slot for n in self.order if isinstance(n, Leaf)), default=0)
        stand_in: dict[Node, Node] = {
            n: Leaf(start + k, n.shape, n.dtype) for k, n in enumerate(self.operands[node])
        }
        if not any(differentiable(n) for n in (node,)):
            return ""
        (whole,) = substitute_nodes([node], stand_in)
        (terms,) = reverse_network(whole, [stand_in[operand]])
        if node.shape or operand.shape:
            return structure_of(terms, node.ndim)
        result = Leaf(start + len(stand_in), node.shape, node.dtype)
        (value,) = substitute_nodes([accumulate(terms, (), node.dtype)], {whole: result})
        known = {stand_in[n]: Sym(self.names[n], ()) for n in stand_in}
        known[result] = Sym(self.names[node], ())
        translator = Translator(Algebra(), {}, {})
        translator.known.update(known)
        try:
            (quantity,) = translator.roots([value], [value])
        except FormulaError:
            return ""
        return self._written(quantity)[0].text


def _bare(subs: Sequence[Sub]) -> bool:
    return all(isinstance(s, int) or not s.parts for s in subs)


def _operation(node: Node) -> str:
    return node.op if isinstance(node, Map | Call) else node.kind


def _translator(of: Computation) -> Translator:
    translator = Translator(Algebra(), of.first, of.second)
    translator.arrays = of.arrays
    for leaf, (name, _) in of.leaves.items():
        translator.symbols[leaf] = name
    return translator


class _Function(NamedTuple):
    """One function of other nodes, though the program takes several steps."""

    op: str
    args: tuple[Node | Num, ...]
    params: tuple[Any, ...] = ()
    whole: bool = False

    @property
    def nodes(self) -> list[Node]:
        return [a for a in self.args if isinstance(a, Node)]


def _recognized(of: Computation) -> dict[Node, _Function]:
    """What the formulas recognize as one function; values without derivative are one, too."""
    roots = [root.node for root in of.roots]
    found: dict[Node, _Function] = {}
    outside = set(topological(roots, stop=_is_stop))
    for node in outside:
        if _is_stop(node):
            below = topological(node.children, stop=outside.__contains__)
            seen = [n for n in below if n in outside and not isinstance(n, Const)]
            found[node] = _Function("stop", tuple(seen))
    translator = _translator(of)
    quantities: dict[Node, Quantity] = {}
    for number, node in enumerate(topological(roots)):
        partner = of.partner[node]
        try:
            quantities[node] = translator.known[node] = translator.step(node, partner)
        except FormulaError:
            translator.known[node] = Sym(f"#{number}", translator.shape(node, partner))
            continue
        if node in of.labels or (isinstance(node, Term) and _is_contraction(node)):
            # no function reaches across these
            translator.known[node] = Sym(f"#{number}", translator.shape(node, partner))
    nodes: dict[Quantity, Node] = {}
    for node, quantity in translator.known.items():
        nodes.setdefault(quantity, node)
    for node, quantity in quantities.items():
        if not isinstance(quantity, Fun) or isinstance(node, Leaf | Const):
            continue
        if node in of.backward or node in found:
            continue
        args = tuple(a if isinstance(a, Num) else nodes.get(a) for a in quantity.args)
        known = tuple(a for a in args if a is not None)
        direct = all(isinstance(a, Num) or a in node.children for a in known)
        if len(known) == len(args) and not direct:
            found[node] = _Function(quantity.op, known, quantity.params, quantity.whole)
    return found


def _is_contraction(node: Term) -> bool:
    kept: dict[int, None] = {}
    for sub in node.out:
        kept.update(labels_of(sub))
    return len(node.factors) > 1 and len(kept) < len(node.extents)


def _is_stop(node: Node) -> bool:
    return isinstance(node, Map) and node.op == "stop"
