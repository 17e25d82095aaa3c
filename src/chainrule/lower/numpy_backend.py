"""The NumPy backend: a plan becomes one flat Python function, whose source can be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .numpy_loops import ProgramSource
from .numpy_source import Names
from .steps import Plan, Step

__all__ = ["NumpyProgram"]

_serial = itertools.count()


class NumpyProgram:
    """A compiled plan: call it with the leaves' values in the order of ``plan.leaves``.

    ``watch`` is called with every step and its value.
    """

    def __init__(self, plan: Plan, watch: Callable[[Step, Any], None] | None = None) -> None:
        self.plan = plan
        names = Names()
        source = ProgramSource(plan, names)
        args = ", ".join(map(source.name, plan.inputs))
        results = [
            f"np.array({source.name(v)})[()]" if copied else f"{source.name(v)}[()]"
            for v, copied in zip(plan.outputs, plan.copies, strict=True)
        ]
        ending = f"return ({', '.join(results)}{',' if len(results) == 1 else ''})"
        lines = [f"    {line}" for line in (*source.block(watch), ending)]
        self.source = "\n".join([f"def program({args}):", *lines]) + "\n"
        code = compile(self.source, f"<chainrule program {next(_serial)}>", "exec")
        exec(code, names.bound)
        self.function: Callable[..., tuple[Any, ...]] = names.bound["program"]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        return self.function(*values)
