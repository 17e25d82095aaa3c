"""The statements of one emitted function: names for shared parts, lines that fit, no dead code."""

from __future__ import annotations

from dataclasses import dataclass, field

from .syntax import Expr, name, names_in, replaced, values_in, written

__all__ = ["WIDTH", "Body", "Line"]

WIDTH = 100
_LONG = 88


@dataclass
class Line:
    """``target = value`` or, without a target, ``value`` alone; and what is said about it."""

    target: str
    value: Expr
    comment: str = ""
    updates: str = ""  # the variable that a call changes in place

    @property
    def text(self) -> str:
        value = written(self.value)
        return f"{self.target} = {value}" if self.target else value


@dataclass
class Body:
    """Statements under construction; ``taken`` are the names that are in use."""

    taken: set[str]
    lines: list[Line] = field(default_factory=list)
    indent: int = 4

    def fresh(self, stem: str) -> str:
        """A name that is not in use yet."""
        text, number = stem, 1
        while text in self.taken:
            number += 1
            text = f"{stem}{number}"
        self.taken.add(text)
        return text

    def assign(self, target: str, value: Expr, comment: str = "") -> None:
        """``target = value``; parts of a value that is too long get names first."""
        value = self.shortened(value, len(target) + 3)
        self.lines.append(Line(target, value, comment))

    def renamed(self, old: str, new: str, comment: str) -> None:
        """A variable that was made to add into gets its own name."""
        for line in self.lines:
            line.value = replaced(line.value, name(old), name(new))
            if line.target == old:
                line.target, line.comment = new, comment
            if line.updates == old:
                line.updates = new

    def do(self, value: Expr, updates: str) -> None:
        """A call for its effect on a variable."""
        self.lines.append(Line("", self.shortened(value, 0), updates=updates))

    def temporary(self, value: Expr, stem: str = "t") -> Expr:
        """A name for a value."""
        target = self.fresh(stem)
        self.assign(target, value)
        return name(target)

    def shortened(self, value: Expr, before: int) -> Expr:
        """The value, with named parts where it does not fit a line."""
        while len(written(value)) + before + self.indent > _LONG:
            total = len(written(value))
            parts = [(abs(len(written(p)) - total / 2), p) for p in values_in(value)]
            parts = [(gap, p) for gap, p in parts if 12 < len(written(p)) < total]
            if not parts:
                break
            part = min(parts, key=lambda found: found[0])[1]
            value = replaced(value, part, self.temporary(part))
        return value

    def pruned(self, results: set[str]) -> None:
        """Drop assignments that nothing uses."""
        needed = set(results)
        kept: list[Line] = []
        for line in reversed(self.lines):
            if (line.target or line.updates) in needed:
                needed |= names_in(line.value)
                kept.append(line)
        self.lines = kept[::-1]

    def used(self) -> set[str]:
        """All names that the statements mention."""
        found: set[str] = set()
        for line in self.lines:
            found |= names_in(line.value)
        return found
