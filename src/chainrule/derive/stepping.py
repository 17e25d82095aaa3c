"""The steps of a derivation: operations, local Jacobians, the chain, rewrites, results, costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..chain.sweep import active_nodes
from ..expr.extents import ONE, ZERO, Extent
from ..expr.nodes import Leaf, Node, Term
from ..expr.walk import topological
from ..formula.adjoints import barred
from ..formula.algebra import Algebra
from ..formula.costs import polynomial, size
from ..formula.derivation import Derivation, JacobianForm
from ..formula.indices import Indices
from ..formula.kronecker import Generalized
from ..formula.matrix import Matrices, NoMatrixForm
from ..formula.networks import exchanged, total_of, whole
from ..formula.notation import Indexed, Notation
from ..formula.quantity import Add, Prod, Quantity, Sym
from ..formula.rewriting import Recorder
from ..formula.rows import in_rows
from ..formula.steps import Step, Steps
from ..formula.structures import named_structure
from ..formula.symbolic import Translator
from ..formula.symbols import meanings
from ..formula.writing import latex_name
from ..jacobian.structure import structure_of
from ..rules.local import Piece, local_jacobian

if TYPE_CHECKING:
    from .writer import Writer

__all__ = ["Stepper"]

_LONG = 160  # characters beyond which a rewrite is no help to a reader


class Stepper:
    """Writes the steps of one derivation, operation by operation."""

    def __init__(self, writer: Writer, derivation: Derivation) -> None:
        self.writer = writer
        self.derivation = derivation
        self.one, self.other = writer.traces("gradients")
        self.layout = derivation.layout
        self.by_rows = derivation.convention == "row"
        self.translator = self._translator(Algebra())
        sources = [self.one.inputs[k] for k in writer.wanted]
        self.active = [n for n in active_nodes([self.one.output], sources)]
        self.partner = _paired(self.one.output, self.other.output)
        self.names = self._node_names()
        for node in self.active:
            if not isinstance(node, Leaf):
                shape = self.translator.shape(node, self.partner[node])
                self.translator.known[node] = Sym(self.names[node], shape)
                self.translator._partner[node] = self.partner[node]
        taken = writer.taken | set(self.names.values())
        self.indices = Indices({}, taken)
        self.matrices = Matrices({})
        self.generalized = Generalized(self.matrices, self.by_rows)

    def _translator(self, algebra: Algebra) -> Translator:
        mine = self.writer.translator
        translator = Translator(algebra, mine.first, mine.second)
        translator.symbols = dict(mine.symbols)
        translator.arrays = mine.arrays
        translator.symmetric = mine.symmetric
        return translator

    def _node_names(self) -> dict[Node, str]:
        """The name of every operation on the path: the user's, the derivation's, or v1, v2 …"""
        writer = self.writer
        found: dict[Node, str] = {
            leaf: symbol for leaf, symbol in zip(self.one.inputs, writer.symbols, strict=True)
        }
        taken = set(writer.symbols) | set(writer.taken)
        labels = {n: s for n, s in self.one.locals.items() if s not in set(found.values())}
        used = set(found.values()) | {writer.value_name}
        number = 0
        for node in self.active:
            if node in found:
                continue
            if node is self.one.output:
                found[node] = writer.value_name
            elif (name := labels.get(node) or self._written_name(node)) not in {None, *used}:
                assert name is not None
                found[node] = name
                used.add(name)
            else:
                number += 1
                while f"v{number}" in taken:
                    number += 1
                found[node] = f"v{number}"
        return found

    def _written_name(self, node: Node) -> str | None:
        """The name under which the derivation writes the value of an operation."""
        q = self.writer.translator.known.get(node)
        return None if q is None else self.writer.own.get(q)

    # -- writing ------------------------------------------------------------------------------
    def _write(self, q: Quantity, lead: int | None = None) -> Notation:
        try:
            found = self.matrices.write(q) if lead is None else self.generalized.write(q, lead)
        except NoMatrixForm:
            return self.indices.write(q)
        return in_rows(found, 1 if q.ndim == 1 else 2) if self.by_rows else found

    def _left(self, name: str, q: Quantity, notation: Notation) -> tuple[str, str]:
        if not isinstance(notation, Indexed) or not q.shape:
            return name, latex_name(name)
        inside = ",".join(self.indices.letters(q.shape))
        return f"{name}[{inside}]", f"{latex_name(name)}_{{{inside}}}"

    def _shape(self, shape: Sequence[Extent]) -> str:
        return " × ".join(map(str, shape)) or "a number"

    # -- the steps ----------------------------------------------------------------------------
    def run(self) -> Steps:
        """All steps in order."""
        steps = [self._function()]
        steps += self._operations()
        steps += self._locals()
        steps += self._chain()
        steps += self._rewrites()
        steps += self._results()
        return Steps(steps, self.derivation._head())

    def _function(self) -> Step:
        value = self.derivation.value
        name = value.name
        whole_value = next((p for p in self.derivation.parts if p.name == name), value)
        lines, tex = [(value.left(), whole_value.text)], [(value.left(True), whole_value.latex)]
        if value.letters and whole_value.index != whole_value.text:
            inside = ",".join(value.letters)
            lines.append((f"{name}[{inside}]", whole_value.index))
            tex.append((f"{latex_name(name)}_{{{inside}}}", whole_value.index_notation.latex))
        given = "; ".join(
            f"{n}: {' × '.join(s) or 'a number'}" for n, s in self.derivation.arguments
        )
        note = f"{given}; {name}: {' × '.join(value.shape) or 'a number'}"
        return Step("function", "The function", tuple(lines), tuple(tex), note)

    def _operations(self) -> Iterator[Step]:
        """The function as a sequence of operations, where it is more than one."""
        inner = [n for n in self.active if not isinstance(n, Leaf)]
        if len(inner) < 2:
            return
        lines, tex = [], []
        for node in inner:
            q = self._operation(node)
            notation = self._write(q)
            left, left_tex = self._left(self.names[node], q, notation)
            lines.append((left, notation.text))
            tex.append((left_tex, notation.latex))
        yield Step("function", "The same, one operation at a time", tuple(lines), tuple(tex))

    def _operation(self, node: Node) -> Quantity:
        translator = self.translator
        other = self.partner[node]
        translator.roots(list(node.children), list(other.children))
        return translator._quantity(node, other)

    def _pieces(self, node: Node) -> dict[Node, list[tuple[Piece, Piece]]]:
        """The local Jacobian at both sizes, by argument."""
        active = set(self.active)
        found: dict[Node, list[tuple[Piece, Piece]]] = {}
        pairs = zip(local_jacobian(node), local_jacobian(self.partner[node]), strict=True)
        for a, b in pairs:
            if a.arg in active:
                found.setdefault(a.arg, []).append((a, b))
        return found

    def _term(self, a: Piece, b: Piece, node: Node) -> tuple[Quantity, Term, Term]:
        """One piece as a product with the axes node + argument."""
        terms = []
        for piece, at in ((a, node), (b, self.partner[node])):
            terms.append(
                Term(
                    at.shape + piece.arg.shape,
                    at.dtype,
                    piece.coef,
                    piece.extents,
                    piece.factors,
                    piece.out + piece.into,
                    piece.constraints,
                )
            )
        one, other = terms
        self.translator.roots(list(one.children), list(other.children))
        shape = self.translator.shape(one, other)
        return self.translator._term(one, other, shape), one, other

    def _local(self, node: Node, arg: Node) -> tuple[Quantity, str | None]:
        terms = [self._term(a, b, node) for a, b in self._pieces(node)[arg]]
        shape = (
            *self.translator.shape(node, self.partner[node]),
            *self.translator.shape(arg, self.partner[arg]),
        )
        structure = named_structure(
            structure_of([t for _, t, _ in terms], node.ndim),
            structure_of([t for _, _, t in terms], node.ndim),
            self.writer.first,
            self.writer.second,
        )
        return total_of([q for q, _, _ in terms], shape), structure

    def _locals(self) -> Iterator[Step]:
        for node in self.active:
            if not isinstance(node, Leaf):
                yield self._local_step(node)

    def _form(self, node: Node, arg: Node, q: Quantity, in_indices: bool) -> JacobianForm:
        """A local Jacobian as an object that knows its left side."""
        lead = node.ndim
        if self.layout == "denominator":
            q, lead = exchanged(q, lead), arg.ndim
        index = self.indices.write(q)
        return JacobianForm(
            name=self.names[arg],
            quantity=q,
            notation=index if in_indices else self._write(q, lead),
            index_notation=index,
            letters=self.indices.letters(q.shape),
            shape=tuple(map(str, q.shape)),
            cost=ZERO,
            extents=(),
            of=(self.names[node],),
            lead=lead,
            structure="",
            stored=ZERO,
            layout=self.layout,
        )

    def _local_step(self, node: Node) -> Step:
        name = self.names[node]
        lines: list[tuple[str, str]] = []
        tex: list[tuple[str, str]] = []
        notes = []
        arguments = list(self._pieces(node))
        for arg in arguments:
            q, structure = self._local(node, arg)
            for in_indices in (False, True):
                form = self._form(node, arg, q, in_indices)
                if (form.left(), form.text) in lines:
                    continue
                lines.append((form.left(), form.text))
                tex.append((form.left(True), form.latex))
            groups = [self._shape(q.shape[: node.ndim]), self._shape(q.shape[node.ndim :])]
            if self.layout == "denominator":
                groups.reverse()
            note = f"∂{name}/∂{self.names[arg]}: ({groups[0]}) by ({groups[1]})"
            notes.append(note + (f", structure {structure}" if structure is not None else ""))
        several = "s" if len(arguments) > 1 else ""
        title = f"Local Jacobian{several} of {name}"
        return Step("local", title, tuple(lines), tuple(tex), "; ".join(notes))

    # -- the chain ----------------------------------------------------------------------------
    def _adjoint(self, node: Node) -> str:
        if node is self.one.output:
            arriving = self.derivation.arriving
            return arriving[0] if arriving is not None else ""
        return barred(self.names[node])

    def _chain(self) -> Iterator[Step]:
        """From the output back: ∂L/∂(argument) from the derivatives of all that use it."""
        users: dict[Node, list[Node]] = {}
        for node in self.active:
            if not isinstance(node, Leaf):
                for arg in self._pieces(node):
                    users.setdefault(arg, []).append(node)
        first = True
        for node in reversed(self.active):
            if node in users:
                step = self._chain_step(node, users[node], first)
                first = first and "δ" not in step.note
                yield step

    def _chain_step(self, arg: Node, users: Sequence[Node], first: bool) -> Step:
        L = self.derivation.output
        name = self.names[arg]
        left, left_tex = f"∂{L}/∂{name}", rf"\frac{{\partial {L}}}{{\partial {latex_name(name)}}}"
        products, tex_products, sums, tex_sums, parts = [], [], [], [], []
        for user in users:
            q, _ = self._local(user, arg)
            factors = [f"∂{L}/∂{self.names[user]}", f"∂{self.names[user]}/∂{name}"]
            tex = [
                rf"\frac{{\partial {latex_name(a)}}}{{\partial {latex_name(b)}}}"
                for a, b in ((L, self.names[user]), (self.names[user], name))
            ]
            if user is self.one.output and not self._adjoint(user):
                factors, tex = factors[1:], tex[1:]
            if self.layout == "denominator":
                factors.reverse()
                tex.reverse()
            products.append(" · ".join(factors))
            tex_products.append(r" \cdot ".join(tex))
            sums.append(self._spelled(user, arg, q, False))
            tex_sums.append(self._spelled(user, arg, q, True))
            parts.append(self._pulled(user, arg, q))
        total = self._sum(parts)
        notation = self._write(total)
        letters = self.indices.letters(total.shape)
        lines, tex_lines = [], []
        if products != [left]:
            lines.append((left, " + ".join(products)))
            tex_lines.append((left_tex, " + ".join(tex_products)))
        inside = ",".join(letters)
        at = (f"{left}[{inside}]", rf"\left({left_tex}\right)_{{{inside}}}") if letters else None
        spelled, spelled_tex = " + ".join(sums), " + ".join(tex_sums)
        simple = self.indices.write(total)
        if len(spelled) <= _LONG and at is not None:
            lines.append((at[0], spelled))
            tex_lines.append((at[1], spelled_tex))
            if simple.text != spelled:
                lines.append((at[0], simple.text))
                tex_lines.append((at[1], simple.latex))
        if not isinstance(notation, Indexed) or len(lines) < 2:
            where = at if isinstance(notation, Indexed) and at is not None else (left, left_tex)
            lines.append((where[0], notation.text))
            tex_lines.append((where[1], notation.latex))
        return Step(
            "chain",
            f"Chain rule: {name}",
            tuple(lines),
            tuple(tex_lines),
            self._chain_note(arg, spelled if first else "", len(users)),
        )

    def _chain_note(self, arg: Node, spelled: str, users: int) -> str:
        notes = []
        if "δ[" in spelled and "Σ" in spelled:
            notes.append("of a sum over an index of δ only the term with equal indices is left")
        if users > 1:
            notes.append(f"{self.names[arg]} is used {users} times: the derivatives are added")
        if self.names[arg] in self.translator.symmetric:
            notes.append(
                f"{self.names[arg]} is symmetric: its gradient is (D + Dᵀ)/2 of this derivative D"
            )
        if not isinstance(arg, Leaf):
            notes.append(
                f"{barred(self.names[arg])} stands for ∂{self.derivation.output}/∂{self.names[arg]}"
            )
        return "; ".join(notes)

    def _spelled(self, user: Node, arg: Node, q: Quantity, latex: bool) -> str:
        """``Σ_(n,m) G[n,m] w[d,m] δ[n,i]``: the sum before anything is simplified."""
        turned = exchanged(q, user.ndim)
        index = self.indices.write(turned)
        body = index.latex if latex else index.text
        letters = self.indices.letters(turned.shape)[arg.ndim :]
        adjoint = self._adjoint(user)
        if isinstance(turned, Add):
            body = rf"\left({body}\right)" if latex else f"({body})"
        if not adjoint:
            return body
        if body.startswith(("−", "-")):
            body = rf"\left({body}\right)" if latex else f"({body})"
        inside = ",".join(letters)
        if latex:
            at = latex_name(adjoint) + (f"_{{{inside}}}" if letters else "")
            return (rf"\sum_{{{inside}}} " if letters else "") + at + r" \, " + body
        at = adjoint + (f"[{inside}]" if letters else "")
        sigma = f"Σ_({inside}) " if len(letters) > 1 else f"Σ_{inside} " if letters else ""
        return sigma + at + (" " + body if body != "1" else "")

    def _pulled(self, user: Node, arg: Node, q: Quantity) -> Quantity:
        """The derivative by ``arg`` that comes through one operation."""
        adjoint = self._adjoint(user)
        lead = user.ndim
        algebra = self.translator.algebra
        terms = q.parts if isinstance(q, Add) else ((ONE, q),)
        parts: list[tuple[Extent, Quantity]] = []
        for coef, term in terms:
            if not isinstance(term, Prod):
                term = whole(term)
            factors = list(term.factors)
            if adjoint:
                factors.insert(0, (Sym(adjoint, q.shape[:lead]), term.out[:lead]))
            extents = dict(enumerate(term.extents))
            made = algebra.prod(
                term.coef, extents, factors, term.out[lead:], term.constraints, q.shape[lead:]
            )
            parts.append((coef, made))
        return algebra.add(parts, q.shape[lead:])

    def _sum(self, parts: Sequence[Quantity]) -> Quantity:
        if len(parts) == 1:
            return parts[0]
        return self.translator.algebra.add([(ONE, p) for p in parts], parts[0].shape)

    # -- rewrites -----------------------------------------------------------------------------
    def _rewrites(self) -> Iterator[Step]:
        """What the algebra did on the way from the chain to the closed form."""
        recorder = Recorder()
        translator = self._translator(recorder)
        translator.labels = dict(self.writer.translator.labels)
        translator.roots([self.one.output], [self.other.output])
        primal = len(recorder.rewrites)
        translator.roots(self.one.gradients, self.other.gradients)
        names = dict(translator.names)
        matrices, indices = Matrices(names), Indices(names, self.writer.taken)
        seen: set[tuple[str, str]] = set()
        for number, rewrite in enumerate(recorder.rewrites):
            if number < primal and rewrite.name in ("like terms", "equal factors", "common factor"):
                continue
            try:
                sides = (
                    matrices.write(rewrite.before, top=True),
                    matrices.write(rewrite.after, top=rewrite.after.ndim > 0),
                )
            except NoMatrixForm:
                sides = (indices.write(rewrite.before), indices.write(rewrite.after))
            if self.by_rows:
                sides = tuple(  # type: ignore[assignment]
                    in_rows(s, rewrite.before.ndim) if not isinstance(s, Indexed) else s
                    for s in sides
                )
            before, after = (s.text for s in sides)
            if before == after or (before, after) in seen or len(before + after) > _LONG:
                continue
            seen.add((before, after))
            yield Step(
                "rewrite",
                f"Simplification: {rewrite.name}",
                ((before, after),),
                ((sides[0].latex, sides[1].latex),),
            )

    # -- results ------------------------------------------------------------------------------
    def _results(self) -> Iterator[Step]:
        derivation = self.derivation
        if derivation.parts:
            yield Step(
                "result",
                "With the names",
                tuple((p.left(), p.text) for p in derivation.parts),
                tuple((p.left(True), p.latex) for p in derivation.parts),
                meanings=tuple(meanings(derivation.parts)),
            )
        names = self.writer.signature.names
        known = ", the names being known" if derivation.parts else ""
        for path, gradient in derivation.gradients.items():
            lines = [(gradient.left(), gradient.text)]
            tex = [(gradient.left(True), gradient.latex)]
            shape = f"shape ({' × '.join(gradient.shape) or 'a number'})"
            note = f"{shape}, that of {gradient.name}"
            known_already = meanings(derivation.parts)
            new = tuple(m for m in meanings([gradient]) if m not in known_already)
            title = f"In closed form: {gradient.name}"
            yield Step("result", title, tuple(lines), tuple(tex), note, new)
            value = derivation.value.quantity
            if not value.shape:
                cost = f"this form takes {gradient.flops} flops{known}"
                yield Step("cost", f"Cost: {gradient.name}", note=cost)
                continue
            dense = size(value.shape) * size(gradient.quantity.shape)
            form = derivation.jacobians[path]
            stored = polynomial(form.stored, names)
            note = (
                f"the dense Jacobian holds {polynomial(dense, names)} numbers and its product with "
                f"{derivation.arriving[0] if derivation.arriving else 'G'} takes "
                f"{polynomial(dense * 2, names)} flops; its structure holds {stored} numbers, and "
                f"this form takes {gradient.flops} flops{known}"
            )
            yield Step("cost", f"Cost: {gradient.name}", note=note)


def _paired(one: Node, other: Node) -> dict[Node, Node]:
    """Corresponding nodes of two isomorphic graphs."""
    pairs = zip(topological([one]), topological([other]), strict=True)
    return dict(pairs)
