"""Orders of vertex elimination: scalar multiplications of published problems, and tensor programs.

Counted as published: eliminating a vertex costs its predecessors times its successors, whatever the
edges hold. `traced` counts on the graph of the values of the program, where an expression written
twice is one value; `as written` on a graph with one vertex for every operation. Then what chainrule
itself takes: products with edges that are 1 or -1 cost nothing. Nothing here is timed but planning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from harness import Row, main
from problems.elimination import Published, black_scholes, heart_dipole, robot_arm

#: Products that the local search tries.
WORK = 2_000_000


class Written:
    """A scalar that records one vertex for every operation on it: nothing is shared."""

    def __init__(self, tape: list[set[int]], *operands: Any) -> None:
        self.tape = tape
        self.number = len(tape)
        tape.append({o.number for o in operands if isinstance(o, Written)})

    def _made(self, *operands: Any) -> Written:
        return Written(self.tape, self, *operands)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _made
    __truediv__ = __rtruediv__ = _made

    def __pow__(self, exponent: int) -> Written:
        return self._made()

    __neg__ = _made

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any) -> Written:
        return Written(self.tape, *operands)


def as_written(f: Callable[..., Any], arguments: list[float]) -> tuple[list[set[int]], set[int]]:
    """Predecessors of every vertex, and the inputs and outputs."""
    tape: list[set[int]] = []
    inputs = [Written(tape) for _ in arguments]
    outputs = f(*inputs)
    return tape, {v.number for v in (*inputs, *outputs)}


def linearized(f: Callable[..., Any], arguments: list[float]) -> Any:
    """chainrule's own graph."""
    from chainrule.chain.elimination import Linearized
    from chainrule.transforms.core import enter, level, outputs

    with level("bench") as (session, opened):
        inputs = enter(session, opened, arguments, "argument")
        return Linearized.of(outputs(f(*inputs.tree)).nodes, inputs.leaves)


def problems() -> Iterator[tuple[str, Callable[..., Any], list[float], Published]]:
    """Name, function, arguments, published counts."""
    import chainrule as cr

    greeks = cr.grad(black_scholes, argnums=(0, 1, 2, 3, 4))
    yield "HumanHeartDipole", heart_dipole, [0.15] * 8, Published(240, 172, 194, 148)
    yield "RobotArm_6DOF", robot_arm, [0.02] * 6, Published(397, 301, 288, 231)
    yield (
        "Black-Scholes Jacobian",
        greeks,
        [1.0, 1.1, 0.05, 0.3, 0.7],
        Published(545, 572, 350, 312),
    )


def chainrule() -> Iterator[Row]:
    """Our counts."""
    from chainrule.chain.orders import Counting, Problem, search

    for name, f, arguments, _ in problems():
        graph = linearized(f, arguments)
        graphs: dict[str, Any] = {}
        whole = [dict.fromkeys(row, True) for row in graph.into]
        graphs["traced"] = Problem(whole, graph.inner, Counting())
        if "Jacobian" not in name:  # whose operations are those of a derivative program
            tape, ends = as_written(f, arguments)
            inner = [v for v in range(len(tape)) if v not in ends]
            into = [dict.fromkeys(row, True) for row in tape]
            graphs["as written"] = Problem(into, inner, Counting())
        units = [
            {
                u: len(ps) > 1 or any(p.factors or abs(p.coef) != 1 for p in ps)
                for u, ps in row.items()
            }
            for row in graph.into
        ]
        graphs["units free"] = Problem(units, graph.inner, Counting(units_free=True))
        for kind, problem in graphs.items():
            found = search(problem, WORK)
            for method in Published._fields:
                row = Row(name, f"{method}, {kind}", found[method].cost, "mult.")
                row.details = {"vertices": len(problem.inner)}
                yield row
    yield from tensors()


def published() -> Iterator[Row]:
    """The counts in the literature."""
    for name, _, _, counts in problems():
        # the operations of a derivative program are another's own: there is our graph only
        for kind in ("traced",) if "Jacobian" in name else ("traced", "as written"):
            for method, count in counts._asdict().items():
                yield Row(name, f"{method}, {kind}", count, "mult.")


def tensors() -> Iterator[Row]:
    """Flops of the lowered programs of tensor functions by cr.plan, and the time it takes."""
    import chainrule as cr

    rng = np.random.default_rng(0)

    def layers(*sizes: int) -> tuple[Callable[[Any], Any], Any]:
        weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]

        def f(x: Any) -> Any:
            for w in weights:
                x = np.tanh(w @ x)
            return x

        return f, rng.normal(size=sizes[0])

    mixing = rng.normal(size=(50, 50)) / 7

    def residual(x: Any) -> Any:
        for _ in range(6):
            x = x + np.tanh(mixing @ x)
        return x

    cases = {
        "tanh layers 2-1000-1000-1000": layers(2, 1000, 1000, 1000),
        "tanh layers 1000-1000-1000-2": layers(1000, 1000, 1000, 2),
        "tanh layers 300-300-2-300-300-300": layers(300, 300, 2, 300, 300, 300),
        "six residual layers of 50": (residual, rng.normal(size=50)),
        "W x by W, 100 by 16384": (
            lambda w: w @ np.zeros(16384, np.float32),
            np.zeros((100, 16384), np.float32),
        ),
    }
    for name, (f, x) in cases.items():
        start = time.perf_counter()
        plan = cr.plan(f, x)
        yield Row(name, "planning", time.perf_counter() - start)
        for method in ("forward", "reverse", "best"):
            sweep = getattr(plan, method)
            row = Row(name, method, sweep.flops, "flops")
            row.details = {"bytes": sweep.bytes, "peak_bytes": sweep.peak_bytes}
            if method == "best":
                row.limit = min(plan.forward.flops, plan.reverse.flops)
            yield row
        yield Row(name, "product with a cotangent, dense", plan.dense_multiplications, "mult.")
        count = plan.structured_multiplications
        yield Row(name, "product with a cotangent, by structure", count, "mult.")


PEERS = {"chainrule": chainrule, "published": published}

if __name__ == "__main__":
    main(PEERS, __file__)
