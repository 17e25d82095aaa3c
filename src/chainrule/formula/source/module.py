"""What the functions of emitted modules consist of: lowered bodies, statements, the module."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..conditions import clauses, code
from ..quantity import Quantity
from .body import Body
from .identifiers import identifier, plain_identifier
from .lowering import Lowering
from .program import Named, Program
from .syntax import Expr, name, names_in, written
from .target import SourceError, Target
from .text import broken, commented, data, docstring

__all__ = ["Bodies", "Module"]

_RESERVED = (
    "np jnp jax torch special linalg forward forward_saving backward jacobian hessian saved ctx len"
)
_MOST_WRITTEN = 4096
_TOO_LARGE = (
    "{function} captures the array {name} of shape {shape}, too large to be written into the code "
    "({size} elements, at most {most}): make it a parameter of the function and give its shape"
)


@dataclass
class Bodies:
    """A function's statements and results, and what it takes from the forward pass."""

    body: Body
    results: list[Expr]
    saved: list[str]


class Module:
    """Bodies and statements of one program's functions; the styles put them together."""

    def __init__(self, program: Program, target: type[Target]) -> None:
        self.program = program
        self.used: set[str] = set()
        taken = set(_RESERVED.split())
        self.symbols = {s: identifier(s, taken) for s, _ in program.arguments}
        names = dict.fromkeys(e for _, shape in program.arguments for e in shape if not e.isdigit())
        self.idents = {n: identifier(n, taken) for n in names}
        for symbol in program.constants:
            self.symbols[symbol] = identifier(symbol, taken)
        if program.arriving is not None:
            self.symbols[program.arriving[0]] = identifier(program.arriving[0], taken)
        self.variables: dict[Quantity, str] = {}
        self.named: dict[Quantity, Named] = {}
        for part in program.parts:
            self.variables[part.quantity] = identifier(part.name, taken)
            self.named[part.quantity] = part
        value = program.value
        if value.quantity not in self.variables and value.quantity.children:
            self.variables[value.quantity] = identifier(value.name, taken)
            self.named[value.quantity] = value
        self.taken = taken
        self.kinds = {s: np.asarray(a).dtype.kind for s, a in program.constants.items()}
        arrays = [s for s, shape in program.arguments if shape]
        first = arrays[0] if arrays else program.arguments[0][0] if program.arguments else "x"
        self.target = target(self.symbols.get(first, first))
        self.target.numbers = set(self.idents.values())
        self.forward_parts = self._reached([value.quantity], set())

    # -- pieces -------------------------------------------------------------------------------
    def _reached(self, roots: Sequence[Quantity], stop: set[Quantity]) -> list[Quantity]:
        """The named quantities below roots, parts first; below ``stop`` is not entered."""
        found: dict[Quantity, None] = {}
        done: set[Quantity] = set()
        stack = [(root, False) for root in reversed(roots)]
        while stack:
            q, expanded = stack.pop()
            if expanded:
                if q in self.variables:
                    found[q] = None
            elif q not in done:
                done.add(q)
                stack.append((q, True))
                if q not in stop:
                    stack.extend((c, False) for c in reversed(q.children))
        return list(found)

    def _lowering(self, indent: int = 4) -> Lowering:
        body = Body(set(self.taken), indent=indent)
        return Lowering(self.target, body, self.idents, self.symbols, self.kinds)

    def _assign(
        self, lowering: Lowering, named: Named, target: str, like: str | None, uses: Any
    ) -> None:
        q = named.quantity
        found = lowering.value(q, uses)
        expr = lowering.full(q, found, like, boolean=q in self.variables)
        shape = f"({', '.join(named.shape)}{',' if len(named.shape) == 1 else ''})"
        comment = f"{named.formula}   {shape}" if named.shape else named.formula
        if isinstance(expr, ast.Name) and expr.id in lowering.placing.scatters and uses[q] <= 1:
            lowering.body.renamed(expr.id, target, comment)
        else:
            lowering.body.assign(target, expr, comment)

    def _parts(self, lowering: Lowering, quantities: Sequence[Quantity], uses: Any) -> None:
        for q in quantities:
            if q not in lowering.bound:
                self._assign(lowering, self.named[q], self.variables[q], None, uses)
                lowering.bind(q, self.variables[q])

    def forward(self, indent: int = 4) -> Bodies:
        """The forward pass: its last result is the value."""
        lowering = self._lowering(indent)
        value = self.program.value.quantity
        uses = lowering.prepare([value])
        self._parts(lowering, self.forward_parts, uses)
        if value in lowering.bound:
            result = name(lowering.bound[value])
        else:
            result = lowering.full(value, lowering.value(value, uses))
        lowering.body.pruned(names_in(result) | {self.variables[q] for q in self.forward_parts})
        return Bodies(lowering.body, [result], [])

    def derived(self, results: Sequence[Named], indent: int = 4) -> Bodies:
        """Derivatives, given what the forward pass has named."""
        lowering = self._lowering(indent)
        roots = [r.quantity for r in results]
        held = set(self.forward_parts)
        reached = self._reached(roots, held)
        saved = [q for q in self.forward_parts if q in set(reached)]
        for q in saved:
            lowering.bind(q, self.variables[q])
        uses = lowering.prepare(roots)
        self._parts(lowering, reached, uses)
        exprs: list[Expr] = []
        for result in results:
            target = lowering.body.fresh(plain_identifier(result.name))
            like = self.symbols[result.like] if result.like is not None else None
            self._assign(lowering, result, target, like, uses)
            exprs.append(name(target))
        lowering.body.pruned({n for e in exprs for n in names_in(e)})
        return Bodies(lowering.body, exprs, [self.variables[q] for q in saved])

    # -- statements -----------------------------------------------------------------------------
    def constants(self, used: set[str], indent: str) -> list[str]:
        """Captured arrays, in the dtype (and on the device) of the arguments."""
        lines = []
        for symbol, array in self.program.constants.items():
            ident = self.symbols[symbol]
            if ident in used:
                self.used.add(symbol)
                floating = np.asarray(array).dtype.kind == "f"
                expr = self.target.constant(name(f"{ident}_DATA"), floating)
                lines.append(f"{indent}{ident} = {written(expr)}")
                used |= names_in(expr)
        return lines

    def sizes(self, used: set[str], indent: str, at: str = "") -> list[str]:
        """``N, D = x.shape`` for the names that are used."""
        lines: list[str] = []
        known: set[str] = set()
        for symbol, shape in self.program.arguments:
            ident = self.symbols[symbol]
            fresh = [
                (k, self.idents[e])
                for k, e in enumerate(shape)
                if not e.isdigit() and self.idents[e] in used and self.idents[e] not in known
            ]
            fresh = [f for i, f in enumerate(fresh) if f[1] not in [g[1] for g in fresh[:i]]]
            known |= {f[1] for f in fresh}
            if len(fresh) == len(shape) > 1:
                lines.append(f"{indent}{', '.join(f[1] for f in fresh)} = {ident}.shape")
            else:
                lines += [f"{indent}{f[1]} = {ident}.shape[{f[0]}]" for f in fresh]
        return lines

    def _guard(self, indent: str) -> list[str]:
        """An error for sizes at which the formulas do not hold."""
        found = clauses(self.program.condition)
        if not found:
            return []
        condition = code(self.program.condition, self.idents)
        opposite = {" < ": " >= ", " <= ": " > ", " >= ": " < ", " == ": " != "}
        fails = f"not ({condition})"
        if len(found) == 1:
            sign = next(sign for sign in opposite if sign in condition)
            fails = condition.replace(sign, opposite[sign])
        names = dict.fromkeys(self.idents[n] for clause in found for n in clause.names)
        given = ", ".join(f"{n} = {{{n}}}" for n in names)
        return [
            f"{indent}if {fails}:",
            f'{indent}    raise ValueError(f"this holds for {condition} only, not for {given}")',
        ]

    def statements(
        self, body: Body, results: Sequence[Expr], indent: str, guarded: bool = True
    ) -> list[str]:
        used = body.used() | {n for e in results for n in names_in(e)}
        constants = self.constants(used, indent)
        guard = self._guard(indent) if guarded else []
        if guarded:
            used |= {self.idents[n] for c in clauses(self.program.condition) for n in c.names}
        lines = self.sizes(used, indent) + guard + constants
        for line in body.lines:
            lines += commented(line, indent)
        return lines

    def head(self, function: str, arguments: Sequence[str], indent: str = "") -> list[str]:
        one = f"{indent}def {function}({', '.join(arguments)}):"
        return broken(one, f"{indent}def {function}(", arguments, "):", indent)

    def arguments(self) -> list[str]:
        return [self.symbols[s] for s, _ in self.program.arguments]

    def arriving(self) -> list[str]:
        return [self.symbols[self.program.arriving[0]]] if self.program.arriving else []

    def text(self, blocks: list[list[str]]) -> str:
        text = "\n".join(line for block in blocks for line in block)
        heads = self._roots(text)
        helpers = [code for name_, code in self.target.helpers.items() if name_ in heads]
        blocks = [*(code.strip().split("\n") for code in helpers), *blocks]
        text = "\n".join(line for block in blocks for line in block)
        heads = self._roots(text)
        imports = [line for root, line in self.target.imports.items() if root in heads]
        imports.sort(key=lambda line: (line.startswith("from"), line))
        own = [line for line in imports if line.startswith("import")]
        rest = [line for line in imports if not line.startswith("import")]
        constants = []
        for symbol in self.used:
            array = np.asarray(self.program.constants[symbol])
            if array.size > _MOST_WRITTEN:
                raise SourceError(
                    _TOO_LARGE.format(
                        function=self.program.function,
                        name=symbol,
                        shape=array.shape,
                        size=array.size,
                        most=_MOST_WRITTEN,
                    )
                )
            constants += data(f"{self.symbols[symbol]}_DATA", array.tolist())
        pieces = [docstring(self.program.header, "")] if self.program.header else []
        pieces.append([*own, *rest])
        text_blocks = ["\n".join(piece) for piece in pieces if piece]
        if constants:
            text_blocks.append("\n".join(constants))
        head = "\n\n".join(text_blocks)
        return "\n\n\n".join([head, *("\n".join(block) for block in blocks)]).strip() + "\n"

    def _roots(self, text: str) -> set[str]:
        return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}

    def about(self, function: str, optional: str | None) -> str:
        given = ", ".join(self.symbols[g.like or g.name] for g in self.program.gradients)
        if function == "backward":
            if self.program.arriving is None:
                text = f"The gradient by {given}"
            else:
                arriving = self.symbols[self.program.arriving[0]]
                text = f"The gradients of L by {given}, given {arriving} = ∂L/∂y"
                if self.program.value.name != "y":
                    text = text[: -len("y")] + self.program.value.name
            if optional == "saved":
                return text + "; saved: what forward_saving gave, if known."
            return text + (f"; {optional}: the value, if known." if optional else ".")
        if function == "jacobian":
            first, then = "the value", "the argument"
            if self.program.denominator:
                first, then = then, first
            return f"The Jacobians by {given}: axes of {first}, then of {then}."
        return f"The Hessian by {given}: rows of blocks, axes of the first, then of the second."

    def value_about(self) -> str:
        value = self.program.value
        shape = f", of shape ({', '.join(value.shape)})" if value.shape else ""
        return f"The value {value.name}{shape}."
