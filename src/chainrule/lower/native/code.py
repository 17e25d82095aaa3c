"""A writer of LLVM's text: vector code, common subexpressions found as they are written."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ALIGN", "MEMORY", "STORED", "Code", "Target", "V", "literal"]

_SCALAR = {
    "f64": "double",
    "f32": "float",
    "i64": "i64",
    "i32": "i32",
    "i16": "i16",
    "i8": "i8",
    "i1": "i1",
}


#: What an element of a kind is in memory, and its alignment there (a mask's element is a byte).
MEMORY = {
    "f64": "double", "f32": "float", "i64": "i64", "i1": "i8",
    "u8": "i8", "s8": "i8", "u16": "i16", "i16": "i16", "u32": "i32", "i32": "i32",
}  # fmt: skip
#: The kind that a load gives, where it is another one.
STORED = {"i1": "i8", "u8": "i8", "s8": "i8", "u16": "i16", "u32": "i32"}
ALIGN = {"f64": 8, "f32": 4, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i1": 1}


@dataclass(frozen=True, slots=True)
class Target:
    """What code is written for: bytes of a vector register, whether it multiplies and adds in one
    instruction; and whether long functions are called instead of written where they are used."""

    register: int = 32
    fma: bool = True
    calls: bool = False

    def lanes(self, kind: str, registers: int = 2) -> int:
        """Elements handled together in a loop: so many registers of the widest kind."""
        return registers * self.register // (8 if kind in ("f64", "i64") else 4)


@dataclass(frozen=True, slots=True)
class V:
    """A value: its name (or literal) and the kind of its elements."""

    name: str
    kind: str


def literal(kind: str, value: float | int | bool) -> str:
    """A scalar constant in LLVM's text, exact."""
    if kind == "i1":
        return "true" if value else "false"
    if kind[0] == "i":
        return str(int(value))
    number = float(value)
    if kind == "f32":
        try:
            (number,) = struct.unpack("<f", struct.pack("<f", number))
        except OverflowError:
            number = float("inf") if number > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


class Code:
    """Lines of one function under construction; ``lanes`` elements in every vector.

    ``lanes`` 1 writes scalars.  Equal operations on equal values are written once within the
    part of the function that they dominate (``mark`` and ``forget`` bound it).
    """

    def __init__(self, target: Target, lanes: int, declared: dict[str, str]) -> None:
        self.target = target
        self.lanes = lanes
        self.lines: list[str] = []
        self.declared = declared
        self.block = "entry"
        self._count = 0
        self._known: dict[str, V] = {}

    # -- names and types ----------------------------------------------------------------------
    def type(self, kind: str) -> str:
        scalar = _SCALAR[kind]
        return scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"

    def fresh(self, stem: str = "t") -> str:
        self._count += 1
        return f"%{stem}{self._count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        """Open a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def new_label(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def mark(self) -> dict[str, V]:
        """What is known here, to go back to with ``forget`` where a block does not dominate."""
        return dict(self._known)

    def forget(self, known: dict[str, V]) -> None:
        self._known = known

    def op(self, text: str, kind: str) -> V:
        """The value of an instruction without side effects."""
        found = self._known.get(text)
        if found is None:
            found = V(self.fresh(), kind)
            self.line(f"{found.name} = {text}")
            self._known[text] = found
        return found

    def const(self, kind: str, value: float | int | bool) -> V:
        text = literal(kind, value)
        if self.lanes > 1:
            text = f"splat ({_SCALAR[kind]} {text})"
        return V(text, kind)

    def splat(self, name: str, kind: str) -> V:
        """A scalar in all lanes."""
        if self.lanes == 1:
            return V(name, kind)
        first = self.op(
            f"insertelement {self.type(kind)} poison, {_SCALAR[kind]} {name}, i64 0", kind
        )
        zero = f"<{self.lanes} x i32> zeroinitializer"
        of = self.type(kind)
        return self.op(f"shufflevector {of} {first.name}, {of} poison, {zero}", kind)

    # -- arithmetic ---------------------------------------------------------------------------
    def _binary(self, name: str, a: V, b: V) -> V:
        return self.op(f"{name} {self.type(a.kind)} {a.name}, {b.name}", a.kind)

    def add(self, a: V, b: V) -> V:
        return self._binary("fadd" if a.kind[0] == "f" else "add", a, b)

    def sub(self, a: V, b: V) -> V:
        return self._binary("fsub" if a.kind[0] == "f" else "sub", a, b)

    def mul(self, a: V, b: V) -> V:
        return self._binary("fmul" if a.kind[0] == "f" else "mul", a, b)

    def div(self, a: V, b: V) -> V:
        return self._binary("fdiv", a, b)

    def integer(self, name: str, a: V, b: V) -> V:
        """sdiv, srem and the like."""
        return self._binary(name, a, b)

    def neg(self, a: V) -> V:
        if a.kind[0] == "f":
            return self.op(f"fneg {self.type(a.kind)} {a.name}", a.kind)
        return self.sub(self.const(a.kind, 0), a)

    def fma(self, a: V, b: V, c: V) -> V:
        """``a·b + c``, rounded once where the machine can (else LLVM would call a library)."""
        if self.target.fma:
            return self.intrinsic("fma", a, b, c)
        return self.add(self.mul(a, b), c)

    def poly(self, x: V, coefs: Sequence[float], square: V | None = None) -> V:
        """``Σ coefs[k] xᵏ`` by Horner's rule; with ``square``, x², even and odd powers apart.

        Half as many steps follow each other then, at the price of the square.
        """
        if square is not None and len(coefs) > 3:
            odd = self.poly(square, coefs[1::2])
            return self.fma(odd, x, self.poly(square, coefs[::2]))
        result = self.const(x.kind, coefs[-1])
        for c in reversed(coefs[:-1]):
            result = self.fma(result, x, self.const(x.kind, c))
        return result

    # -- bits ---------------------------------------------------------------------------------
    def shl(self, a: V, count: int) -> V:
        return self._binary("shl", a, self.const(a.kind, count))

    def ashr(self, a: V, count: int) -> V:
        return self._binary("ashr", a, self.const(a.kind, count))

    def lshr(self, a: V, count: int) -> V:
        return self._binary("lshr", a, self.const(a.kind, count))

    def and_(self, a: V, b: V) -> V:
        return self._binary("and", a, b)

    def or_(self, a: V, b: V) -> V:
        return self._binary("or", a, b)

    def xor(self, a: V, b: V) -> V:
        return self._binary("xor", a, b)

    def bitcast(self, a: V, kind: str) -> V:
        return self.op(f"bitcast {self.type(a.kind)} {a.name} to {self.type(kind)}", kind)

    # -- choices and conversions --------------------------------------------------------------
    def cmp(self, how: str, a: V, b: V) -> V:
        """``how``: oeq, olt, une … for floats, eq, slt … for integers."""
        word = "fcmp" if a.kind[0] == "f" else "icmp"
        return self.op(f"{word} {how} {self.type(a.kind)} {a.name}, {b.name}", "i1")

    def select(self, mask: V, a: V, b: V) -> V:
        of = self.type(a.kind)
        return self.op(
            f"select {self.type('i1')} {mask.name}, {of} {a.name}, {of} {b.name}", a.kind
        )

    def convert(self, a: V, kind: str) -> V:
        """To another kind, as C converts."""
        if a.kind == kind:
            return a
        source, wide = a.kind, {"f64": 64, "f32": 32, "i64": 64, "i32": 32, "i8": 8, "i1": 1}
        if kind == "i1":
            return self.cmp("une" if source[0] == "f" else "ne", a, self.const(source, 0))
        if source[0] == "f" and kind[0] == "f":
            word = "fpext" if wide[kind] > wide[source] else "fptrunc"
        elif source[0] == "f":
            word = "fptosi"
        elif kind[0] == "f":
            word = "uitofp" if source == "i1" else "sitofp"
        elif wide[kind] > wide[source]:
            word = "zext" if source == "i1" else "sext"
        else:
            word = "trunc"
        return self.op(f"{word} {self.type(source)} {a.name} to {self.type(kind)}", kind)

    def widened(self, a: V, signed: bool) -> V:
        """A shorter integer as i64."""
        word = "sext" if signed else "zext"
        return self.op(f"{word} {self.type(a.kind)} {a.name} to {self.type('i64')}", "i64")

    # -- calls --------------------------------------------------------------------------------
    def _suffix(self, kind: str) -> str:
        return kind if self.lanes == 1 else f"v{self.lanes}{kind}"

    def intrinsic(self, name: str, *args: V) -> V:
        """An LLVM intrinsic of equal operand types."""
        kind = args[0].kind
        of = self.type(kind)
        full = f"@llvm.{name}.{self._suffix(kind)}"
        self.declared[full] = f"declare {of} {full}({', '.join([of] * len(args))})"
        return self.op(f"call {of} {full}({', '.join(f'{of} {a.name}' for a in args)})", kind)

    def library(self, name: str, *args: V) -> V:
        """A function of the C library, lane by lane."""
        kind = args[0].kind
        of, full = _SCALAR[kind], f"@{name}" + ("f" if kind == "f32" else "")
        self.declared[full] = f"declare {of} {full}({', '.join([of] * len(args))})"
        if self.lanes == 1:
            return self.op(f"call {of} {full}({', '.join(f'{of} {a.name}' for a in args)})", kind)
        vector = self.type(kind)
        result = "poison"
        key = f"{full} {' '.join(a.name for a in args)}"
        if key in self._known:
            return self._known[key]
        for lane in range(self.lanes):
            items = []
            for a in args:
                item = self.fresh()
                self.line(f"{item} = extractelement {vector} {a.name}, i64 {lane}")
                items.append(f"{of} {item}")
            value = self.fresh()
            self.line(f"{value} = call {of} {full}({', '.join(items)})")
            whole = self.fresh()
            self.line(f"{whole} = insertelement {vector} {result}, {of} {value}, i64 {lane}")
            result = whole
        self._known[key] = V(result, kind)
        return self._known[key]

    def any(self, mask: V) -> str:
        """A scalar i1: whether some lane is true."""
        if self.lanes == 1:
            return mask.name
        full = f"@llvm.vector.reduce.or.v{self.lanes}i1"
        self.declared[full] = f"declare i1 {full}({self.type('i1')})"
        return self.op(f"call i1 {full}({self.type('i1')} {mask.name})", "i1").name

    # -- memory -------------------------------------------------------------------------------
    def lane_mask(self, count: int) -> str:
        """The constant mask of the first ``count`` lanes."""
        bits = ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(self.lanes))
        return f"<{bits}>"

    def read(self, pointer: str, kind: str, count: int | None = None, filler: float = 1) -> V:
        """Consecutive elements from memory; lanes from ``count`` on are not touched."""
        of, name = self.type(kind), self.fresh("x")
        align = ALIGN[kind]
        if count is None or count == self.lanes:
            self.line(f"{name} = load {of}, ptr {pointer}, align {align}")
            return V(name, kind)
        full = f"@llvm.masked.load.v{self.lanes}{kind}.p0"
        mask = self.type("i1")
        self.declared[full] = f"declare {of} {full}(ptr, i32, {mask}, {of})"
        self.line(
            f"{name} = call {of} {full}(ptr {pointer}, i32 {align}, "
            f"{mask} {self.lane_mask(count)}, {of} {self.const(kind, filler).name})"
        )
        return V(name, kind)

    def write(self, value: V, pointer: str, count: int | None = None) -> None:
        """Consecutive elements into memory; lanes from ``count`` on are not touched."""
        of, align = self.type(value.kind), ALIGN[value.kind]
        if count is None or count == self.lanes:
            self.line(f"store {of} {value.name}, ptr {pointer}, align {align}")
            return
        full = f"@llvm.masked.store.v{self.lanes}{value.kind}.p0"
        mask = self.type("i1")
        self.declared[full] = f"declare void {full}({of}, ptr, i32, {mask})"
        self.line(
            f"call void {full}({of} {value.name}, ptr {pointer}, i32 {align}, "
            f"{mask} {self.lane_mask(count)})"
        )
