"""Errors that point at the place in the expression."""

import ast
import difflib
from collections.abc import Iterable

from chainrule.cli.command import CommandError

__all__ = ["ExpressionError", "suggestion"]


_WIDEST = 88  # columns of an expression that a message shows


class ExpressionError(CommandError):
    """Something in an expression is wrong; the message shows it with a caret."""

    def __init__(self, message: str, text: str, line: int, start: int, end: int) -> None:
        rows = text.splitlines() or [""]
        row = rows[min(line, len(rows)) - 1]
        if len(row) > _WIDEST:  # only the neighbourhood
            left = max(0, min(start - _WIDEST // 3, len(row) - _WIDEST))
            shown = row[left : left + _WIDEST]
            before, after = "…" * (left > 0), "…" * (left + _WIDEST < len(row))
            row, start, end = before + shown + after, start - left + len(before), end - left
        width = max(1, min(end, len(row)) - start)
        super().__init__(f"{message}\n  {row}\n  {' ' * start}{'^' * width}")

    @classmethod
    def at(cls, node: ast.AST, text: str, message: str) -> "ExpressionError":
        """An error at a node of the syntax tree."""
        line = getattr(node, "lineno", 1)
        rows = text.splitlines() or [""]
        row = rows[min(line, len(rows)) - 1].encode()
        start = len(row[: getattr(node, "col_offset", 0)].decode(errors="ignore"))
        last = getattr(node, "end_lineno", line)
        stop = getattr(node, "end_col_offset", None) if last == line else None
        end = len((row if stop is None else row[:stop]).decode(errors="ignore"))
        return cls(message, text, line, start, end)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'tanh'?`, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
