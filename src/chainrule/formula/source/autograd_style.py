"""Modules whose forward can be differentiated: ``jax.custom_vjp``, ``torch.autograd.Function``."""

from __future__ import annotations

from .identifiers import class_name, identifier, words
from .module import Module
from .program import Named
from .syntax import names_in, written
from .target import SourceError
from .text import call_lines, docstring, returned, returning

__all__ = ["AutogradModule"]


class AutogradModule(Module):
    """``style="autograd"``."""

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
        arguments, found = self.arguments(), self.derived(self.program.gradients)
        forward = self.forward()
        (value,) = forward.results
        lines = self.statements(forward.body, forward.results, "    ")
        used = found.body.used() | {n for e in found.results for n in names_in(e)}
        used |= {n for line in self.constants(set(used), "") for n in words(line)}
        used |= {n for line in self.sizes(used, "") for n in words(line)}
        kept = [a for a in arguments if a in used] + found.saved
        packed = f"({', '.join(kept)}{',' if len(kept) == 1 else ''})"
        arriving = self.arriving() or [self._spare("G")]
        results = found.results
        body = self.statements(found.body, results, "    ", guarded=False)
        texts = [written(r) for r in results]
        if self.program.arriving is None:
            texts = [f"{arriving[0]} * {t}" for t in texts]
        restored = []
        if kept:
            unpacked = ", ".join(kept) if len(kept) > 1 else f"({kept[0]},)"
            restored = [f"    {unpacked} = saved"]
        about = docstring(self.value_about(), "    ")
        blocks = [
            [
                "@jax.custom_vjp",
                *self.head("forward", arguments),
                *about,
                *returning(lines, written(value), "    "),
            ],
            [
                *self.head("forward_saving", arguments),
                *docstring("The value, and what the backward pass uses.", "    "),
                *lines,
                *returned([written(value), packed], "    "),
            ],
            [
                *self.head("backward", ["saved", *arriving]),
                *docstring(self.about("backward", None), "    "),
                *restored,
                *body,
                *returned(texts, "    "),
                "",
                "",
                "forward.defvjp(forward_saving, backward)",
            ],
        ]
        return self.text(blocks)

    def _spare(self, stem: str) -> str:
        return identifier(stem, set(self.taken))

    def _torch(self, have: dict[str | None, Named]) -> str:
        deep = 8 * " "
        arguments = self.arguments()
        found = self.derived(self.program.gradients, indent=8)
        forward = self.forward(indent=8)
        (value,) = forward.results
        used = found.body.used() | {n for e in found.results for n in names_in(e)}
        used |= {n for line in self.constants(set(used), "") for n in words(line)}
        used |= {n for line in self.sizes(used, "") for n in words(line)}
        kept = [a for a in arguments if a in used] + found.saved
        value_name = written(value)
        inner = [s for s in found.saved if s != value_name]
        arriving = self.arriving() or [self._spare("G")]
        texts = {g.like: written(r) for g, r in zip(have.values(), found.results, strict=True)}
        scale = f"{arriving[0]} * " if self.program.arriving is None else ""
        outcome = [scale + texts[s] if s in texts else "None" for s, _ in self.program.arguments]
        title = class_name(self.program.function)
        lines = [f"class {title}(torch.autograd.Function):"]
        lines += docstring(f"{self.value_about()[:-1]}, with its backward pass.", "    ")
        lines += ["", "    @staticmethod", *self.head("forward", ["ctx", *arguments], "    ")]
        lines += self.statements(forward.body, forward.results, deep)
        if kept:
            lines += call_lines("ctx.save_for_backward", kept, deep)
        lines += [f"{deep}return {value_name}", "", "    @staticmethod"]
        if inner:  # saved intermediates carry no graph: a second derivative would be wrong
            lines.append("    @torch.autograd.function.once_differentiable")
        lines += self.head("backward", ["ctx", *arriving], "    ")
        if kept:
            unpacked = ", ".join(kept) if len(kept) > 1 else f"({kept[0]},)"
            lines.append(f"{deep}{unpacked} = ctx.saved_tensors")
        lines += self.statements(found.body, found.results, deep, guarded=False)
        lines += returned(outcome, deep) if len(outcome) > 1 else [f"{deep}return {outcome[0]}"]
        call = [
            *self.head("forward", arguments),
            *docstring(self.value_about(), "    "),
            f"    return {title}.apply({', '.join(arguments)})",
        ]
        return self.text([lines, call])
