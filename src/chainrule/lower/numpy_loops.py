"""Programs inside a node as Python statements: a scan is a ``for`` loop in the flat function.

Around the rounds of a scan stands what they share: values that do not change, and a buffer for
every result of a round that NumPy can write into one (``out=``).  Rows of ``xs`` are read as views.
A carry has two buffers that change places; where its values are results of the scan too, it is
written straight into their rows, and so are other results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ..expr.bodies import Body
from .numpy_source import Names, StepSource, product_layout, rearranged, takes_out
from .plan import make_plan
from .steps import (
    CallStep,
    Contract,
    Elementwise,
    Place,
    Plan,
    Scale,
    ScatterAdd,
    Step,
    View,
    ViewOp,
)

__all__ = ["ProgramSource"]

# Values from so many bytes on are let go as soon as nothing reads them.
_LARGE = 1 << 12
# So many operations stand in one statement, more or less.
_NESTED = 4
_VIEWS = frozenset({"transpose", "index", "broadcast", "diagonal", "window"})


class ProgramSource(StepSource):
    """Source of a whole plan, programs inside its nodes included."""

    def __init__(self, plan: Plan, names: Names) -> None:
        super().__init__(plan, names)
        self.items: dict[int, set[int]] = {}  # the results of a call that are used
        for step in plan.steps:
            if isinstance(step, CallStep) and step.op == "item":
                self.items.setdefault(step.inputs[0], set()).add(step.index)

    def block(self, watch: Callable[[Step, Any], None] | None = None) -> list[str]:
        """Statements from the inputs to the outputs; ``watch`` is called after each step."""
        keep = {*self.plan.outputs, *self.plan.inputs}
        last: dict[int, int] = {}
        for number, step in enumerate(self.plan.steps):
            for value in (*step.inputs, step.target):
                last[value] = number
        dead: dict[int, list[str]] = {}
        for value, number in last.items():
            if value not in keep:
                dead.setdefault(number, []).append(self.name(value))
        lines = []
        steps = self.plan.steps
        depth = 0
        for number, step in enumerate(steps):
            made = self.lines(step)
            if (
                watch is None
                and depth < _NESTED
                and number + 1 < len(steps)
                and last.get(step.target) == number + 1
                and step.target not in keep
                and _takes_nested(step, steps[number + 1])
            ):  # half of Python's time to compile a long program goes into its statements
                (text,) = made
                text = text.partition(" = ")[2]
                number_like = self.plan.values[step.target].shape == ()  # operators, maybe
                self.nested[step.target] = f"({text})" if number_like else text
                dead.setdefault(number + 1, []).extend(dead.pop(number, ()))
                dead[number + 1].remove(self.prefix + str(step.target))
                depth += 1
                continue
            depth = 0
            lines += made
            if watch is not None:
                bound = f"{self.names.bind(watch)}({self.names.bind(step)}"
                lines.append(f"{bound}, {self.name(step.target)})")
            if dead.get(number):
                lines.append(f"del {', '.join(dead[number])}")
        return lines

    def _callstep(self, step: CallStep) -> str | list[str]:
        if step.op == "scan":
            return _Scan(self, step).lines()
        if step.op == "while":
            return self._while(step)
        if step.op == "cond":
            first, second = step.params
            return [
                f"if {self.name(step.inputs[0])}:",
                *_inside(self._inlined(first, step, step.inputs[1:])),
                "else:",
                *_inside(self._inlined(second, step, step.inputs[1:])),
            ]
        if step.op == "apply":
            return self._inlined(step.params[0], step, step.inputs)
        return super()._callstep(step)

    def _inlined(self, body: Body, step: CallStep, inputs: tuple[int, ...]) -> list[str]:
        """A body's statements; its results are the call's."""
        inner = ProgramSource(make_plan(body.outs), self.names)
        lines = [
            f"{inner.name(number)} = {self.name(inputs[leaf.slot])}"
            for leaf, number in zip(inner.plan.leaves, inner.plan.inputs, strict=True)
        ]
        results = [
            f"np.array({inner.name(v)})" if copied else inner.name(v)
            for v, copied in zip(inner.plan.outputs, inner.plan.copies, strict=True)
        ]
        names = sorted({inner.name(v) for v in (*inner.plan.inputs, *inner.plan.outputs)})
        ending = [f"del {', '.join(names)}"] if names else []
        return [*lines, *inner.block(), f"{self.name(step.target)} = {_tuple(results)}", *ending]

    def _while(self, step: CallStep) -> list[str]:
        test, body = step.params
        state = f"{self.name(step.target)}_state"
        count = len(body.outs)

        def bound(inner: ProgramSource) -> list[str]:
            return [
                f"{inner.name(number)} = "
                + (
                    f"{state}[{leaf.slot}]"
                    if leaf.slot < count
                    else self.name(step.inputs[leaf.slot])
                )
                for leaf, number in zip(inner.plan.leaves, inner.plan.inputs, strict=True)
            ]

        go_on = ProgramSource(make_plan(test.outs), self.names)
        turn = ProgramSource(make_plan(body.outs), self.names)
        lines = [
            *bound(go_on),
            *go_on.block(),
            f"if not {go_on.name(go_on.plan.outputs[0])}: break",
            *bound(turn),
            *turn.block(),
            f"{state} = {_tuple([turn.name(v) for v in turn.plan.outputs])}",
        ]
        results = [f"np.array({state}[{k}])" for k in range(count)]
        return [
            f"{state} = {_tuple([self.name(v) for v in step.inputs[:count]])}",
            "while True:",
            *_inside(lines),
            f"{self.name(step.target)} = {_tuple(results)}",
        ]


def _inside(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


class _Scan:
    """One scan: what stands before the loop, in it, at the end of a round, and after it."""

    def __init__(self, outer: ProgramSource, step: CallStep) -> None:
        body, self.length, self.count, self.rows, self.reverse = step.params
        self.outer = outer
        self.step = step
        self.used = outer.items.get(step.target, set())
        self.plan = make_plan(body.outs)
        self.source = ProgramSource(self.plan, outer.names)
        self.source.weak = set()
        self.before: list[str] = []
        self.inside: list[str] = []
        self.ending: list[str] = []
        self.results = ["None"] * len(body.outs)
        self.loops: list[tuple[str, str]] = []  # variables and what they run over
        self.leaf = {
            leaf.slot: number
            for leaf, number in zip(self.plan.leaves, self.plan.inputs, strict=True)
        }
        values = self.plan.values
        self.makers: dict[int, Step] = {}
        for s in self.plan.steps:
            self.makers.setdefault(s.target, s)
        self.roots = Counter(values[v].root for v in self.plan.outputs[: self.count])
        self._invariant: set[int] = set()
        self.fixed: set[int] = set()  # values that are the same in all rounds
        self.static: set[int] = set()  # variables that are bound before the loop alone
        self.direct: set[int] = set()  # values that are written into buffers of carries or results
        self.stacked: dict[int, str] = {}  # by value: the rows of a carry that hold it
        self.bound: list[str] = []  # variables that each round binds

    def name(self, value: int) -> str:
        return self.source.name(value)

    def lines(self) -> list[str]:
        """The statements, after which the step's variable holds the tuple of results."""
        self._inputs()
        self._carries()
        self._outputs()
        self._steps()
        self.inside += self.ending
        names = [name for name, _ in self.loops]
        over = [text for _, text in self.loops]
        if not names:
            header = f"for _ in range({self.length}):"
        elif len(names) == 1:
            header = f"for {names[0]} in {over[0]}:"
        else:
            header = f"for {', '.join(names)} in zip({', '.join(over)}):"
        result = f"{self.outer.name(self.step.target)} = {_tuple(self.results)}"
        inside = _inside(self.inside or ["pass"])
        return [*self.before, header, *inside, result, *self._let_go()]

    # -- what goes in -------------------------------------------------------------------------
    def _inputs(self) -> None:
        """Rows of xs, and what is the same in all rounds."""
        for slot, value in self.leaf.items():
            given = self.outer.name(self.step.inputs[slot])
            if self.count <= slot < self.count + self.rows:
                self.loops.append((self.name(value), f"{given}[::-1]" if self.reverse else given))
            elif slot >= self.count or self.plan.outputs[slot] == value:
                single = self.plan.values[value].shape == ()
                given = f"np.asarray({given})[()]" if single else given
                self.before.append(f"{self.name(value)} = {given}")
                self.fixed.add(value)
        self.static |= self.fixed

    def _made(self, value: int) -> bool:
        """Whether a value can be written into rows or buffers given from outside."""
        maker = self.makers.get(value)
        if maker is None or value in self._invariant or not takes_out(self.plan, maker):
            return False
        if isinstance(maker, Contract):
            computed, apart, axes = product_layout(maker)
            return computed == apart and axes == tuple(range(len(axes)))
        return True

    # -- carries and results ------------------------------------------------------------------
    def _carries(self) -> None:
        """Where carries live."""
        values, outs = self.plan.values, self.plan.outputs
        self._find_invariant()
        results = set(outs[self.count :])
        olds, news = [], []
        for k in range(self.count):
            value, old = outs[k], self.leaf.get(k)
            init = self.outer.name(self.step.inputs[k])
            known = values[value]
            shape, dtype = known.shape, f'"{known.dtype.str}"'
            if old == value:
                self.results[k] = f"np.array({init}, {dtype})"
                continue
            made = self._made(value) and value not in self.direct
            if made and (value in results or (old is not None and old in results)):
                self.direct.add(value)
                self._stack(k, value, old, init)
                continue
            passed = old is not None and values[old].root in self.roots
            if made and self.roots[value] == 1 and not passed:
                self.direct.add(value)
                if old is None:  # nothing reads it before it is written again
                    self.static.add(value)
                    self.before.append(f"{self.name(value)} = np.array({init}, {dtype})")
                    self.results[k] = self.name(value)
                    continue
                self.before.append(f"{self.name(old)} = np.array({init}, {dtype})")
                self.before.append(f"{self.name(value)} = np.empty({shape}, {dtype})")
                olds += [self.name(old), self.name(value)]
                news += [self.name(value), self.name(old)]
                self.results[k] = self.name(old)
                continue
            state = self.name(old) if old is not None else f"{self.source.prefix}s{k}"
            single = "[()]" if shape == () else ""
            self.before.append(f"{state} = np.array({init}, {dtype}){single}")
            olds.append(state)
            news.append(self.name(value))
            if k in self.used:
                self.results[k] = f"np.array({state})"
        if olds:
            self.ending.append(f"{', '.join(olds)} = {', '.join(news)}")

    def _stack(self, k: int, value: int, old: int | None, init: str) -> None:
        """A carry written into one row after the other, the first of which is where it begins."""
        known = self.plan.values[value]
        stack, n = f"{self.source.prefix}k{k}", self.length
        self.before.append(
            f'{stack} = np.empty(({n + 1}, {_axes(known.shape)}), "{known.dtype.str}")'
        )
        first, last = (n, 0) if self.reverse else (0, n)
        self.before.append(f"{stack}[{first}] = {init}")
        before, after = f"{stack}[:-1]", f"{stack}[1:]"
        if self.reverse:
            before, after = after, before
        turn = "[::-1]" if self.reverse else ""
        if old is not None:
            self.loops.append((self.name(old), f"{before}{turn}"))
            self.stacked[old] = before
        self.loops.append((self.name(value), f"{after}{turn}"))
        self.stacked[value] = after
        if k in self.used:
            self.results[k] = f"np.array({stack}[{last}])"

    def _outputs(self) -> None:
        """Where the stacked results live."""
        values, outs = self.plan.values, self.plan.outputs
        held: dict[int, str] = {}
        taken: set[str] = set()
        at = f"{self.source.prefix}t"
        indexed = False
        for k in range(self.count, len(outs)):
            value = outs[k]
            if k not in self.used:
                continue
            if value in held:
                self.results[k] = f"{held[value]}.copy()"
                continue
            if value in self.stacked:
                text = self.stacked[value]
                base = text[: text.index("[")]
                self.results[k] = f"{text}.copy()" if base in taken else text
                taken.add(base)
                held[value] = text
                continue
            known = values[value]
            stack = f"{self.source.prefix}y{k}"
            held[value] = self.results[k] = stack
            shape = f"({self.length}, {_axes(known.shape)})"
            self.before.append(f'{stack} = np.empty({shape}, "{known.dtype.str}")')
            if self._made(value) and value not in self.direct and value not in self.roots:
                self.direct.add(value)
                self.loops.append((self.name(value), f"{stack}[::-1]" if self.reverse else stack))
            else:
                indexed = True
                self.ending.insert(0, f"{stack}[{at}] = {self.name(value)}")
        if indexed:
            n = self.length
            self.loops.append((at, f"range({n - 1}, -1, -1)" if self.reverse else f"range({n})"))

    # -- the rounds ---------------------------------------------------------------------------
    def _find_invariant(self) -> None:
        values = self.plan.values
        self.changed = {
            values[s.inputs[0]].root for s in self.plan.steps if isinstance(s, Place | ScatterAdd)
        }
        self._invariant = set(self.fixed)
        for step in self.plan.steps:
            if values[step.target].root not in self.changed and self._invariant.issuperset(
                step.inputs
            ):
                self._invariant.add(step.target)

    def _steps(self) -> None:
        values, steps = self.plan.values, self.plan.steps
        last: dict[int, int] = {}
        final: dict[int, int] = {}
        for number, step in enumerate(steps):
            for value in (*step.inputs, step.target):
                last[values[value].root] = final[value] = number
        for value in self.plan.outputs:
            last[values[value].root] = len(steps)
        ends: dict[int, list[int]] = {}
        for root, number in last.items():
            ends.setdefault(number, []).append(root)
        free: dict[tuple[Any, ...], list[str]] = {}
        lent: dict[int, tuple[tuple[Any, ...], str]] = {}
        keep = {*self.plan.inputs, *self.plan.outputs}
        for number, step in enumerate(steps):
            value = step.target
            if value in self._invariant:
                self.before += self.source.lines(step)
                self.static.add(value)
            elif isinstance(step, Place | ScatterAdd):
                self.inside += self.source.lines(step)
            elif value in self.direct:
                self.inside += self.source.lines(step, self.name(value))
            elif self._constant_view(step):
                self.before += self.source.lines(step)
                self.static.add(value)
            elif (
                takes_out(self.plan, step)
                and values[value].root == value
                and value not in self.roots
            ):
                lent[value] = self._buffer(step, free)
                self.static.add(value)
                self.inside += self.source.lines(step, lent[value][1])
            else:
                self.inside += self.source.lines(step)
                self.bound.append(self.name(value))
            for root in ends.get(number, ()):
                if root in lent:
                    key, name = lent[root]
                    free.setdefault(key, []).append(name)
            let_go = [
                self.name(v)
                for v in dict.fromkeys((*step.inputs, value))
                if final[v] == number
                and v not in self.static
                and v not in self.direct
                and v not in keep
                and (values[v].nbytes >= _LARGE or values[v].dtype.kind == "O")
            ]
            if let_go and value not in self._invariant:
                self.inside.append(f"del {', '.join(let_go)}")
                self.bound = [name for name in self.bound if name not in let_go]

    def _constant_view(self, step: Step) -> bool:
        """Whether a view looks into a buffer that stays where it is."""
        return (
            isinstance(step, View)
            and step.inputs[0] in self.static
            and all(op.name in _VIEWS and not _element(op) for op in step.ops)
        )

    def _buffer(self, step: Step, free: dict[tuple[Any, ...], list[str]]) -> tuple[Any, str]:
        """A buffer for a step's result, and the result's variable over it."""
        known = self.plan.values[step.target]
        shape = product_layout(step)[0] if isinstance(step, Contract) else known.shape
        key = (shape, known.dtype.str)
        if free.get(key):
            buffer = free[key].pop()
        else:
            buffer = f"{self.source.prefix}b{step.target}"
            self.before.append(f'{buffer} = np.empty({shape}, "{known.dtype.str}")')
        view = rearranged(step, buffer) if isinstance(step, Contract) else buffer
        self.before.append(f"{self.name(step.target)} = {view}")
        return key, buffer

    def _let_go(self) -> list[str]:
        """Variables of the loop, which would hold its buffers."""
        prefix = self.source.prefix
        words = [line.split(" = ")[0] for line in self.before if " = " in line]
        names = [w for w in words if w.startswith(prefix) and w.isidentifier()]
        if self.length:
            names += [*(name for name, _ in self.loops), *self.bound]
        return [f"del {', '.join(dict.fromkeys(names))}"] if names else []


def _element(op: ViewOp) -> bool:
    """Whether one element is read: NumPy gives its value, no view."""
    return op.name == "index" and all(isinstance(i, int) for i in op.args)


def _axes(shape: tuple[int, ...]) -> str:
    return "".join(f"{n}, " for n in shape)


def _takes_nested(inner: Step, outer: Step) -> bool:
    """Whether an operation may stand as an operand of the next one, which alone reads it."""
    pure = Elementwise | Scale
    return (
        isinstance(inner, pure)
        and isinstance(outer, pure)
        and not (isinstance(inner, Elementwise) and inner.params)
        and not (isinstance(outer, Elementwise) and outer.params)
        and outer.inputs.count(inner.target) == 1
    )
