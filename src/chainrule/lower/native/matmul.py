"""Matrix products: small ones in registers, large ones by the BLAS that SciPy carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from .code import Code, Target, V
from .layout import Access, Array, Buffer

__all__ = ["Product", "emit_product"]

#: Multiplications from which BLAS is asked.  Up to here its threads gain little where cores are
#: free, and wait for milliseconds where they are not; registers alone reach two thirds of its speed
#: on one core at worst.
BLAS_FROM = 160**3


@dataclass(eq=False, slots=True)
class Product:
    """``c[b, i, j] = Σ_k a[b, i, k] · b[b, k, j]``; accesses hold strides (batch…, row, column)."""

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: Access
    b: Access
    c: Access

    @property
    def kind(self) -> str:
        return self.c.buffer.kind

    @property
    def accesses(self) -> list[Access]:
        return [self.a, self.b, self.c]

    @property
    def large(self) -> bool:
        return self.m * self.n * self.k >= BLAS_FROM

    @property
    def work(self) -> float:
        return 0.05 * prod(self.batch) * self.m * self.n * self.k


def blas_ready(a: Access, rows: int, columns: int) -> bool:
    """Whether BLAS can read a matrix of these strides."""
    row, column = a.strides[-2:]
    return (column == 1 and row >= max(columns, 1)) or (row == 1 and column >= max(rows, 1))


def merged(array: Array, groups: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """One stride for each group of axes; None where a group has none."""
    strides = []
    for group in groups:
        axes = [i for i in group if array.shape[i] != 1]
        for first, second in pairwise(axes):
            if array.strides[first] != array.shape[second] * array.strides[second]:
                return None
        strides.append(array.strides[axes[-1]] if axes else 0)
    return tuple(strides)


def emit_product(p: Product, name: str, target: Target, declared: dict[str, str], gemm: int) -> str:
    """``void name(ptr frame)``; ``gemm`` is the frame's slot that holds BLAS's function."""
    lanes = target.register // (8 if p.kind == "f64" else 4)
    while lanes > 1 and lanes // 2 >= p.n:
        lanes //= 2
    c = Code(target, lanes, declared)
    pointers: dict[Buffer, str] = {}
    for access in p.accesses:
        if access.buffer not in pointers:
            place, pointer = c.fresh("s"), c.fresh("b")
            c.line(f"{place} = getelementptr ptr, ptr %frame, i64 {access.buffer.slot}")
            c.line(f"{pointer} = load ptr, ptr {place}, align 8")
            pointers[access.buffer] = pointer
    bases = [(pointers[a.buffer], str(a.offset), a.strides) for a in p.accesses]
    _batches(c, p, bases, 0, gemm)
    c.line("ret void")
    body = "\n".join(c.lines)
    return f"define internal void @{name}(ptr %frame, i64 %lo, i64 %hi) {{\nentry:\n{body}\n}}\n"


Base = tuple[str, str, tuple[int, ...]]


def _loop(c: Code, count: int, step: int = 1) -> tuple[str, str, str, str]:
    """Open a loop from 0 to ``count``: (index, head, latch, done)."""
    head, latch, done = c.new_label("head"), c.new_label("latch"), c.new_label("done")
    before, index, following = c.block, c.fresh("i"), c.fresh("i")
    c.line(f"br label %{head}")
    c.label(head)
    c.line(f"{index} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
    return index, following, latch, done


def _close(c: Code, opened: tuple[str, str, str, str], head: str, count: int, step: int) -> None:
    index, following, latch, done = opened
    more = c.fresh()
    c.line(f"br label %{latch}")
    c.label(latch)
    c.line(f"{following} = add i64 {index}, {step}")
    c.line(f"{more} = icmp slt i64 {following}, {count}")
    c.line(f"br i1 {more}, label %{head}, label %{done}")
    c.label(done)


def _moved(c: Code, base: str, index: str, stride: int) -> str:
    if stride == 0 or index == "0":
        return base
    scaled, moved = c.fresh(), c.fresh()
    c.line(f"{scaled} = mul i64 {index}, {stride}")
    c.line(f"{moved} = add i64 {base}, {scaled}")
    return moved


def _batches(c: Code, p: Product, bases: list[Base], depth: int, gemm: int) -> None:
    if depth < len(p.batch):
        opened = _loop(c, p.batch[depth])
        head = c.block
        inner = [(b, _moved(c, at, opened[0], s[depth]), s) for b, at, s in bases]
        _batches(c, p, inner, depth + 1, gemm)
        _close(c, opened, head, p.batch[depth], 1)
        return
    scalar = {"f64": "double", "f32": "float"}[p.kind]
    pointers = []
    for base, at, _ in bases:
        pointer = c.fresh("p")
        c.line(f"{pointer} = getelementptr {scalar}, ptr {base}, i64 {at}")
        pointers.append(pointer)
    if p.large:
        _blas(c, p, pointers, gemm)
    else:
        _small(c, p, pointers)


def _blas(c: Code, p: Product, pointers: list[str], gemm: int) -> None:
    """Rows of C are columns for BLAS: it forms Cᵀ = Bᵀ Aᵀ."""
    scalar = {"f64": "double", "f32": "float"}[p.kind]
    a, b, to = pointers

    def spot(kind: str, value: str) -> str:
        name = c.fresh("v")
        c.line(f"{name} = alloca {kind}, align 8")
        c.line(f"store {kind} {value}, ptr {name}, align 8")
        return name

    def form(access: Access) -> tuple[str, int]:
        row, column = access.strides[-2:]
        return ("78", row) if column == 1 else ("84", column)  # 'N' or 'T'

    (letter_a, lead_a), (letter_b, lead_b) = form(p.a), form(p.b)
    # a matrix of one row (or column) has no stride of its own: BLAS asks for its length
    lead_a = max(lead_a, p.k if letter_a == "78" else p.m)
    lead_b = max(lead_b, p.n if letter_b == "78" else p.k)
    row_c = max(p.c.strides[-2], p.n)
    one, zero = "0x3FF0000000000000", "0x0000000000000000"
    arguments = [
        spot("i8", letter_b),
        spot("i8", letter_a),
        spot("i32", str(p.n)),
        spot("i32", str(p.m)),
        spot("i32", str(p.k)),
        spot(scalar, one),
        b,
        spot("i32", str(lead_b)),
        a,
        spot("i32", str(lead_a)),
        spot(scalar, zero),
        to,
        spot("i32", str(row_c)),
    ]
    place, function = c.fresh("s"), c.fresh("f")
    c.line(f"{place} = getelementptr ptr, ptr %frame, i64 {gemm}")
    c.line(f"{function} = load ptr, ptr {place}, align 8")
    c.line(f"call void {function}({', '.join('ptr ' + x for x in arguments)})")


def _small(c: Code, p: Product, pointers: list[str]) -> None:
    """Blocks of rows and vectors of columns in registers, over all of k."""
    vectors = -(-p.n // c.lanes)
    # three vectors are one block: a third by itself would go through all of A once more
    wide = min(vectors, (3 if vectors == 3 else 2) if c.target.register < 64 else 4)
    tall = 4 if wide > 1 else 6
    step = wide * c.lanes
    columns = [(None, p.n // step, step)] if p.n >= step else []
    rest = p.n % step
    for rows in ((p.m // tall, tall), (1 if p.m % tall else 0, p.m % tall)):
        count, height = rows
        if not count:
            continue
        first = 0 if height == tall else p.m - height
        opened = _loop(c, count)
        head = c.block
        row = c.fresh("r")
        c.line(f"{row} = mul i64 {opened[0]}, {tall}")
        top = c.fresh("r")
        c.line(f"{top} = add i64 {row}, {first}")
        for _, blocks, width in columns:
            inner = _loop(c, blocks)
            start = c.block
            left = c.fresh("c")
            c.line(f"{left} = mul i64 {inner[0]}, {width}")
            _tile(c, p, pointers, top, height, left, width)
            _close(c, inner, start, blocks, 1)
        if rest:
            _tile(c, p, pointers, top, height, str(p.n - rest), rest)
        _close(c, opened, head, count, 1)


def _tile(
    c: Code, p: Product, pointers: list[str], top: str, height: int, left: str, width: int
) -> None:
    kind = p.kind
    of, scalar = c.type(kind), {"f64": "double", "f32": "float"}[kind]
    align = 8 if kind == "f64" else 4
    (a_row, a_in), (b_in, _), (c_row, _) = (x.strides[-2:] for x in p.accesses)
    counts = [min(c.lanes, width - v * c.lanes) for v in range(-(-width // c.lanes))]
    base_a = _moved(c, "0", top, a_row)
    base_c = _moved(c, left, top, c_row)
    before = c.block
    head, done = c.new_label("k"), c.new_label("end")
    c.line(f"br label %{head}")
    c.label(head)
    index, following = c.fresh("k"), c.fresh("k")
    c.line(f"{index} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
    sums: list[tuple[str, str]] = []
    for _ in range(height * len(counts)):
        old, new = c.fresh("o"), c.fresh("n")
        c.line(
            f"{old} = phi {of} [ zeroinitializer, %{before} ], [ {new}, %{head} ]"
            if c.lanes > 1
            else f"{old} = phi {of} [ 0x0, %{before} ], [ {new}, %{head} ]"
        )
        sums.append((old, new))
    known = c.mark()
    at_b = _moved(c, left, index, b_in)
    vectors = []
    for v, count in enumerate(counts):
        pointer = _element(c, pointers[1], scalar, at_b, v * c.lanes)
        vectors.append(c.read(pointer, kind, count, 0).name)
    at_a = _moved(c, base_a, index, a_in)
    for r in range(height):
        pointer = _element(c, pointers[0], scalar, at_a, r * a_row)
        name = c.fresh("x")
        c.line(f"{name} = load {scalar}, ptr {pointer}, align {align}")
        factor = c.splat(name, kind)
        for v, vector in enumerate(vectors):
            old, new = sums[r * len(counts) + v]
            if c.target.fma:
                suffix = kind if c.lanes == 1 else f"v{c.lanes}{kind}"
                full = f"@llvm.fma.{suffix}"
                c.declared[full] = f"declare {of} {full}({of}, {of}, {of})"
                c.line(f"{new} = call {of} {full}({of} {factor.name}, {of} {vector}, {of} {old})")
            else:
                part = c.fresh()
                c.line(f"{part} = fmul {of} {factor.name}, {vector}")
                c.line(f"{new} = fadd {of} {part}, {old}")
    c.forget(known)
    more = c.fresh()
    c.line(f"{following} = add i64 {index}, 1")
    c.line(f"{more} = icmp slt i64 {following}, {p.k}")
    c.line(f"br i1 {more}, label %{head}, label %{done}")
    c.label(done)
    for r in range(height):
        for v, count in enumerate(counts):
            pointer = _element(c, pointers[2], scalar, base_c, r * c_row + v * c.lanes)
            c.write(V(sums[r * len(counts) + v][1], kind), pointer, count)


def _element(c: Code, pointer: str, scalar: str, at: str, shift: int) -> str:
    first, second = c.fresh("p"), c.fresh("p")
    c.line(f"{first} = getelementptr {scalar}, ptr {pointer}, i64 {at}")
    if not shift:
        return first
    c.line(f"{second} = getelementptr {scalar}, ptr {first}, i64 {shift}")
    return second
