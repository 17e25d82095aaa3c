"""Modules: forward, backward and their like, put together from lowered bodies."""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal, TypeAlias

import numpy as np

from ..quantity import Quantity
from .body import WIDTH, Body, Line
from .jax_target import JaxTarget
from .lowering import Lowering
from .numpy_target import NumpyTarget
from .program import Named, Program
from .syntax import Expr, name, names_in, written
from .target import SourceError, Target
from .torch_target import TorchTarget

__all__ = ["BACKENDS", "PARTS", "Backend", "Style", "emit"]

Backend: TypeAlias = Literal["numpy", "jax", "torch"]
Style: TypeAlias = Literal["function", "autograd"]

TARGETS: dict[str, type[Target]] = {
    "numpy": NumpyTarget,
    "jax": JaxTarget,
    "torch": TorchTarget,
}
BACKENDS = tuple(TARGETS)
PARTS = ("forward", "backward", "jacobian", "hessian")

_RESERVED = (
    "np jnp jax torch special linalg forward forward_saving backward jacobian hessian saved ctx len"
)
_MOST_WRITTEN = 4096
_TOO_LARGE = (
    "{function} captures the array {name} of shape {shape}, too large to be written into the code "
    "({size} elements, at most {most}): make it a parameter of the function and give its shape"
)


def emit(program: Program, backend: str, style: str, parts: Sequence[str]) -> str:
    """The text of a module.

    Raises SourceError for what the backend cannot do, ValueError for unknown names.
    """
    if backend not in TARGETS:
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    if style not in ("function", "autograd"):
        raise ValueError(f"unknown style {style!r}; there are function, autograd")
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ValueError(f"parts={tuple(parts)}; there are {', '.join(PARTS)}")
    if style == "autograd" and backend == "numpy":
        raise ValueError('style="autograd" needs backend="jax" or "torch"')
    writer = _Module(program, TARGETS[backend])
    return writer.autograd() if style == "autograd" else writer.functions(parts)


@dataclass
class _Bodies:
    """A function's statements and results, and what it takes from the forward pass."""

    body: Body
    results: list[Expr]
    saved: list[str]


class _Module:
    def __init__(self, program: Program, target: type[Target]) -> None:
        self.program = program
        self.used: set[str] = set()
        taken = set(_RESERVED.split())
        self.symbols = {s: _identifier(s, taken) for s, _ in program.arguments}
        names = dict.fromkeys(e for _, shape in program.arguments for e in shape if not e.isdigit())
        self.idents = {n: _identifier(n, taken) for n in names}
        for symbol in program.constants:
            self.symbols[symbol] = _identifier(symbol, taken)
        if program.arriving is not None:
            self.symbols[program.arriving[0]] = _identifier(program.arriving[0], taken)
        self.variables: dict[Quantity, str] = {}
        self.named: dict[Quantity, Named] = {}
        for part in program.parts:
            self.variables[part.quantity] = _identifier(part.name, taken)
            self.named[part.quantity] = part
        value = program.value
        if value.quantity not in self.variables and value.quantity.children:
            self.variables[value.quantity] = _identifier(value.name, taken)
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
        if isinstance(expr, ast.Name) and expr.id in lowering.scatters and uses[q] <= 1:
            lowering.body.renamed(expr.id, target, comment)
        else:
            lowering.body.assign(target, expr, comment)

    def _parts(self, lowering: Lowering, quantities: Sequence[Quantity], uses: Any) -> None:
        for q in quantities:
            if q not in lowering.bound:
                self._assign(lowering, self.named[q], self.variables[q], None, uses)
                lowering.bind(q, self.variables[q])

    def forward(self, indent: int = 4) -> _Bodies:
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
        return _Bodies(lowering.body, [result], [])

    def derived(self, results: Sequence[Named], indent: int = 4) -> _Bodies:
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
            target = lowering.body.fresh(_plain_identifier(result.name))
            like = self.symbols[result.like] if result.like is not None else None
            self._assign(lowering, result, target, like, uses)
            exprs.append(name(target))
        lowering.body.pruned({n for e in exprs for n in names_in(e)})
        return _Bodies(lowering.body, exprs, [self.variables[q] for q in saved])

    # -- text ---------------------------------------------------------------------------------
    def _constants(self, used: set[str], indent: str) -> list[str]:
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

    def _sizes(self, used: set[str], indent: str, at: str = "") -> list[str]:
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
        words = [self.idents.get(w, {"≤": "<="}.get(w, w)) for w in self.program.condition.split()]
        if not words:
            return []
        names = list(dict.fromkeys(words[::2]))
        holds = " ".join(words)
        opposite = {"<": ">=", "<=": ">"}
        fails = (
            f"not ({holds})" if len(words) > 3 else f"{words[0]} {opposite[words[1]]} {words[2]}"
        )
        given = ", ".join(f"{n} = {{{n}}}" for n in names)
        return [
            f"{indent}if {fails}:",
            f'{indent}    raise ValueError(f"this holds for {holds} only, not for {given}")',
        ]

    def _statements(
        self, body: Body, results: Sequence[Expr], indent: str, guarded: bool = True
    ) -> list[str]:
        used = body.used() | {n for e in results for n in names_in(e)}
        constants = self._constants(used, indent)
        guard = self._guard(indent) if guarded else []
        used |= {self.idents[w] for w in self.program.condition.split()[::2] if guarded}
        lines = self._sizes(used, indent) + guard + constants
        for line in body.lines:
            lines += _commented(line, indent)
        return lines

    def _head(self, function: str, arguments: Sequence[str], indent: str = "") -> list[str]:
        one = f"{indent}def {function}({', '.join(arguments)}):"
        return _broken(one, f"{indent}def {function}(", arguments, "):", indent)

    def _arguments(self) -> list[str]:
        return [self.symbols[s] for s, _ in self.program.arguments]

    def _arriving(self) -> list[str]:
        return [self.symbols[self.program.arriving[0]]] if self.program.arriving else []

    def _module(self, blocks: list[list[str]]) -> str:
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
            constants += _data(f"{self.symbols[symbol]}_DATA", array.tolist())
        pieces = [_docstring(self.program.header, "")] if self.program.header else []
        pieces.append([*own, *rest])
        text_blocks = ["\n".join(piece) for piece in pieces if piece]
        if constants:
            text_blocks.append("\n".join(constants))
        head = "\n\n".join(text_blocks)
        return "\n\n\n".join([head, *("\n".join(block) for block in blocks)]).strip() + "\n"

    def _roots(self, text: str) -> set[str]:
        return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}

    # -- style "function" ---------------------------------------------------------------------
    def functions(self, parts: Sequence[str]) -> str:
        program = self.program
        arguments = self._arguments()
        arriving = self._arriving()
        derived: list[tuple[str, list[str], list[Named]]] = []
        if "backward" in parts:
            derived.append(("backward", [*arguments, *arriving], program.gradients))
        if "jacobian" in parts:
            if not program.jacobians:
                raise ValueError(f"there are no Jacobians of {program.function} to emit")
            derived.append(("jacobian", arguments, program.jacobians))
        if "hessian" in parts:
            if not program.hessians:
                raise ValueError(
                    f"there is no Hessian of {program.function} to emit: its value is no number"
                )
            derived.append(("hessian", arguments, [h for row in program.hessians for h in row]))
        bodies = [(f, given, named, self.derived(named)) for f, given, named in derived]
        saved = list(dict.fromkeys(s for *_, b in bodies for s in b.saved))
        blocks = self._forward_functions(saved) if "forward" in parts or saved else []
        for function, given, named, found in bodies:
            optional = self._optional(found.saved, saved) if function == "backward" else None
            lines = self._head(function, [*given, f"{optional}=None"] if optional else given)
            lines += _docstring(self._about(function, optional), "    ")
            lines += self._restored(found.saved, saved, arguments, optional)
            lines += self._statements(found.body, found.results, "    ")
            lines += self._returned(function, found.results, named)
            blocks.append(lines)
        return self._module(blocks)

    def _value_name(self) -> str | None:
        return self.variables.get(self.program.value.quantity)

    def _optional(self, needed: list[str], saved: list[str]) -> str | None:
        """The parameter by which backward takes what the forward pass has computed already."""
        if not needed:
            return None
        return needed[0] if saved == [self._value_name()] else "saved"

    def _about(self, function: str, optional: str | None) -> str:
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

    def _returned(
        self, function: str, results: Sequence[Expr], named: Sequence[Named]
    ) -> list[str]:
        texts = [written(r) for r in results]
        if function == "hessian":
            width = len(self.program.hessians)
            rows = [texts[i * width : (i + 1) * width] for i in range(width)]
            texts = [f"({', '.join(row)}{',' if width == 1 else ''})" for row in rows]
        return _return(texts, "    ")

    def _forward_functions(self, saved: list[str]) -> list[list[str]]:
        arguments = self._arguments()
        found = self.forward()
        lines = self._statements(found.body, found.results, "    ")
        (result,) = found.results
        text = written(result)
        about = _docstring(self._value_about(), "    ")
        if not saved or saved == [self._value_name()]:
            return [[*self._head("forward", arguments), *about, *_returning(lines, text, "    ")]]
        call = f"forward_saving({', '.join(arguments)})"
        return [
            [*self._head("forward", arguments), *about, f"    return {call}[0]"],
            [
                *self._head("forward_saving", arguments),
                *_docstring("The value, and what the derivatives use of its computation.", "    "),
                *lines,
                *_return([text, f"({', '.join(saved)}{',' if len(saved) == 1 else ''})"], "    "),
            ],
        ]

    def _value_about(self) -> str:
        value = self.program.value
        shape = f", of shape ({', '.join(value.shape)})" if value.shape else ""
        return f"The value {value.name}{shape}."

    def _restored(
        self, needed: list[str], saved: list[str], arguments: list[str], optional: str | None
    ) -> list[str]:
        """``y, h = saved``: computed anew unless they are given."""
        if not needed:
            return []
        given = ", ".join(arguments)
        if saved == [self._value_name()]:
            call = f"{needed[0]} = forward({given})"
            if optional:
                return [f"    if {needed[0]} is None:", f"        {call}"]
            return [f"    {call}"]
        call = f"forward_saving({given})[1]"
        targets = [s if s in needed else "_" for s in saved]
        unpacked = f"{', '.join(targets)}" if len(targets) > 1 else f"({targets[0]},)"
        if not optional:
            return [f"    {unpacked} = {call}"]
        return [
            "    if saved is None:",
            f"        saved = {call}",
            f"    {unpacked} = saved",
        ]

    # -- style "autograd" ---------------------------------------------------------------------
    def autograd(self) -> str:
        program = self.program
        have = {g.like: g for g in program.gradients}
        complete = all(s in have for s, _ in program.arguments)
        if self.target.name == "torch":
            return self._torch(have)
        if not complete:
            raise SourceError(
                "jax.custom_vjp gives the gradients of all arguments: derive without wrt="
            )
        return self._jax()

    def _jax(self) -> str:
        arguments, found = self._arguments(), self.derived(self.program.gradients)
        forward = self.forward()
        (value,) = forward.results
        lines = self._statements(forward.body, forward.results, "    ")
        used = found.body.used() | {n for e in found.results for n in names_in(e)}
        used |= {n for line in self._constants(set(used), "") for n in _words(line)}
        used |= {n for line in self._sizes(used, "") for n in _words(line)}
        kept = [a for a in arguments if a in used] + found.saved
        packed = f"({', '.join(kept)}{',' if len(kept) == 1 else ''})"
        arriving = self._arriving() or [self._spare("G")]
        results = found.results
        body = self._statements(found.body, results, "    ", guarded=False)
        texts = [written(r) for r in results]
        if self.program.arriving is None:
            texts = [f"{arriving[0]} * {t}" for t in texts]
        restored = []
        if kept:
            unpacked = ", ".join(kept) if len(kept) > 1 else f"({kept[0]},)"
            restored = [f"    {unpacked} = saved"]
        about = _docstring(self._value_about(), "    ")
        blocks = [
            [
                "@jax.custom_vjp",
                *self._head("forward", arguments),
                *about,
                *_returning(lines, written(value), "    "),
            ],
            [
                *self._head("forward_saving", arguments),
                *_docstring("The value, and what the backward pass uses.", "    "),
                *lines,
                *_return([written(value), packed], "    "),
            ],
            [
                *self._head("backward", ["saved", *arriving]),
                *_docstring(self._about("backward", None), "    "),
                *restored,
                *body,
                *_return(texts, "    "),
                "",
                "",
                "forward.defvjp(forward_saving, backward)",
            ],
        ]
        return self._module(blocks)

    def _spare(self, stem: str) -> str:
        return _identifier(stem, set(self.taken))

    def _torch(self, have: dict[str | None, Named]) -> str:
        deep = 8 * " "
        arguments = self._arguments()
        found = self.derived(self.program.gradients, indent=8)
        forward = self.forward(indent=8)
        (value,) = forward.results
        used = found.body.used() | {n for e in found.results for n in names_in(e)}
        used |= {n for line in self._constants(set(used), "") for n in _words(line)}
        used |= {n for line in self._sizes(used, "") for n in _words(line)}
        kept = [a for a in arguments if a in used] + found.saved
        value_name = written(value)
        inner = [s for s in found.saved if s != value_name]
        arriving = self._arriving() or [self._spare("G")]
        texts = {g.like: written(r) for g, r in zip(have.values(), found.results, strict=True)}
        scale = f"{arriving[0]} * " if self.program.arriving is None else ""
        returned = [scale + texts[s] if s in texts else "None" for s, _ in self.program.arguments]
        class_name = _class_name(self.program.function)
        lines = [f"class {class_name}(torch.autograd.Function):"]
        lines += _docstring(f"{self._value_about()[:-1]}, with its backward pass.", "    ")
        lines += ["", "    @staticmethod", *self._head("forward", ["ctx", *arguments], "    ")]
        lines += self._statements(forward.body, forward.results, deep)
        if kept:
            lines += _call_lines("ctx.save_for_backward", kept, deep)
        lines += [f"{deep}return {value_name}", "", "    @staticmethod"]
        if inner:  # saved intermediates carry no graph: a second derivative would be wrong
            lines.append("    @torch.autograd.function.once_differentiable")
        lines += self._head("backward", ["ctx", *arriving], "    ")
        if kept:
            unpacked = ", ".join(kept) if len(kept) > 1 else f"({kept[0]},)"
            lines.append(f"{deep}{unpacked} = ctx.saved_tensors")
        lines += self._statements(found.body, found.results, deep, guarded=False)
        lines += _return(returned, deep) if len(returned) > 1 else [f"{deep}return {returned[0]}"]
        call = [
            *self._head("forward", arguments),
            *_docstring(self._value_about(), "    "),
            f"    return {class_name}.apply({', '.join(arguments)})",
        ]
        return self._module([lines, call])


# -- text -----------------------------------------------------------------------------------------
def _words(line: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", line))


def _plain_identifier(text: str) -> str:
    """A symbol as an identifier: ``params.w1`` as ``params_w1``."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c if ("a" + c).isidentifier() else "_" for c in text).rstrip("_") or "v"
    if not text.isidentifier() or keyword.iskeyword(text):
        text = f"{text}_" if keyword.iskeyword(text) else f"_{text}"
    return text


def _identifier(text: str, taken: set[str]) -> str:
    """An identifier for a symbol that is none yet; it is taken from now on."""
    found = _plain_identifier(text)
    while found in taken:
        found += "_"
    taken.add(found)
    return found


def _class_name(function: str) -> str:
    words = _plain_identifier(function).strip("_").split("_")
    name_ = "".join(word[:1].upper() + word[1:] for word in words if word)
    return name_ if name_.isidentifier() and name_ not in ("Lambda", "Forward") else "Function"


def _commented(line: Line, indent: str) -> list[str]:
    text = indent + line.text
    if not line.comment:
        return [text]
    if len(text) + 4 + len(line.comment) <= WIDTH:
        return [f"{text}  # {line.comment}"]
    room = WIDTH - len(indent) - 2
    return [*(f"{indent}# {part}" for part in wrap(line.comment, room)), text]


def _docstring(text: str, indent: str) -> list[str]:
    if len(text) + len(indent) + 6 <= WIDTH:
        return [f'{indent}"""{text}"""']
    first, *rest = wrap(text, WIDTH - len(indent) - 6)
    return [f'{indent}"""{first}', *(indent + line for line in rest), f'{indent}"""']


def _broken(one: str, head: str, items: Sequence[str], tail: str, indent: str) -> list[str]:
    """A bracket on one line, else its items on one line, else one a line."""
    if len(one) <= WIDTH:
        return [one]
    inner = f"{indent}    {', '.join(items)}"
    if len(inner) <= WIDTH:
        return [head, inner, f"{indent}{tail}"]
    return [head, *(f"{indent}    {item}," for item in items), f"{indent}{tail}"]


def _call_lines(function: str, items: Sequence[str], indent: str) -> list[str]:
    one = f"{indent}{function}({', '.join(items)})"
    return _broken(one, f"{indent}{function}(", items, ")", indent)


def _return(texts: Sequence[str], indent: str) -> list[str]:
    joined = ", ".join(texts)
    one = f"{indent}return ({joined},)" if len(texts) == 1 else f"{indent}return {joined}"
    if len(one) <= WIDTH:
        return [one]
    return [f"{indent}return (", *(f"{indent}    {t}," for t in texts), f"{indent})"]


def _returning(lines: Sequence[str], text: str, indent: str) -> list[str]:
    """The statements and what is returned; ``y = …`` at the end is what is returned."""
    head = f"{indent}{text} = "
    if not lines or not lines[-1].startswith(head):
        return [*lines, f"{indent}return {text}"]
    last = f"{indent}return {lines[-1][len(head) :]}"
    code, mark, comment = last.partition("  # ")
    if mark and len(last) > WIDTH:
        return [*lines[:-1], f"{indent}# {comment}", code]
    return [*lines[:-1], last]


def _data(ident: str, value: Any) -> list[str]:
    """Nested lists, as many numbers a line as fit."""
    one = f"{ident} = {value!r}"
    if len(one) <= WIDTH:
        return [one]
    return ["# fmt: off", *wrap(one, WIDTH, break_long_words=False), "# fmt: on"]
