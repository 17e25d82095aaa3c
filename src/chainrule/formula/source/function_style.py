"""Modules of plain functions: forward, backward, jacobian, hessian."""

from __future__ import annotations

from collections.abc import Sequence

from .module import Module
from .program import Named
from .syntax import Expr, written
from .text import docstring, returned, returning

__all__ = ["FunctionModule"]


class FunctionModule(Module):
    """``style="function"``."""

    def functions(self, parts: Sequence[str]) -> str:
        program = self.program
        arguments = self.arguments()
        arriving = self.arriving()
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
        bodies = [(f, given, self.derived(named)) for f, given, named in derived]
        saved = list(dict.fromkeys(s for *_, b in bodies for s in b.saved))
        blocks = self._forward_functions(saved) if "forward" in parts or saved else []
        for function, given, found in bodies:
            optional = self._optional(found.saved, saved) if function == "backward" else None
            lines = self.head(function, [*given, f"{optional}=None"] if optional else given)
            lines += docstring(self.about(function, optional), "    ")
            lines += self._restored(found.saved, saved, arguments, optional)
            lines += self.statements(found.body, found.results, "    ")
            lines += self._returned(function, found.results)
            blocks.append(lines)
        return self.text(blocks)

    def _value_name(self) -> str | None:
        return self.variables.get(self.program.value.quantity)

    def _optional(self, needed: list[str], saved: list[str]) -> str | None:
        """The parameter by which backward takes what the forward pass has computed already."""
        if not needed:
            return None
        return needed[0] if saved == [self._value_name()] else "saved"

    def _returned(self, function: str, results: Sequence[Expr]) -> list[str]:
        texts = [written(r) for r in results]
        if function == "hessian":
            width = len(self.program.hessians)
            rows = [texts[i * width : (i + 1) * width] for i in range(width)]
            texts = [f"({', '.join(row)}{',' if width == 1 else ''})" for row in rows]
        return returned(texts, "    ")

    def _forward_functions(self, saved: list[str]) -> list[list[str]]:
        arguments = self.arguments()
        found = self.forward()
        lines = self.statements(found.body, found.results, "    ")
        (result,) = found.results
        text = written(result)
        about = docstring(self.value_about(), "    ")
        if not saved or saved == [self._value_name()]:
            return [[*self.head("forward", arguments), *about, *returning(lines, text, "    ")]]
        call = f"forward_saving({', '.join(arguments)})"
        return [
            [*self.head("forward", arguments), *about, f"    return {call}[0]"],
            [
                *self.head("forward_saving", arguments),
                *docstring("The value, and what the derivatives use of its computation.", "    "),
                *lines,
                *returned([text, f"({', '.join(saved)}{',' if len(saved) == 1 else ''})"], "    "),
            ],
        ]

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
