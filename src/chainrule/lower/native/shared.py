"""Long elementwise functions written once in a program, and called: for programs with many of them.

Written where they are used they are faster, by a few nanoseconds a vector; each takes LLVM some
twenty milliseconds, though, and more in longer functions.
"""

from __future__ import annotations

from collections.abc import Iterable

from .code import Code, V
from .nest import Apply, Nest
from .scalar import LIBRARY, apply
from .vmath import VECTOR_FUNCTIONS

__all__ = ["LONG", "called", "many"]

#: Functions of many instructions, from and to numbers of one kind.
LONG = frozenset(
    {*VECTOR_FUNCTIONS, *LIBRARY, "power", "float_power", "logaddexp", "xlogy", "log_expit"}
)
#: Uses of such functions from which a program shares them.
MANY = 48


def many(nests: Iterable[Nest]) -> bool:
    """Whether nests use long functions so often that they should share them."""
    count = 0
    for nest in nests:
        count += sum(isinstance(node, Apply) and node.op in LONG for node in nest.nodes)
        if count > MANY:
            return True
    return False


def called(c: Code, op: str, args: list[V]) -> V:
    """``op`` of vectors by a call of its function, which is written if it is not there yet."""
    kind = args[0].kind
    of = c.type(kind)
    name = f"@{op}.{kind if c.lanes == 1 else f'v{c.lanes}{kind}'}"
    if name not in c.declared:
        inside = Code(c.target, c.lanes, c.declared)
        parameters = [V(f"%a{k}", kind) for k in range(len(args))]
        value = apply(inside, op, parameters)
        assert value.kind == kind, (op, value.kind)
        body = "\n".join([*inside.lines, f"  ret {of} {value.name}"])
        head = f"define internal {of} {name}({', '.join(f'{of} {p.name}' for p in parameters)})"
        c.declared[name] = f"{head} {{\nentry:\n{body}\n}}\n"
    return c.op(f"call {of} {name}({', '.join(f'{of} {a.name}' for a in args)})", kind)
