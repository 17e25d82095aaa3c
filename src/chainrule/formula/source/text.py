"""Lines of code that fit: brackets broken, comments and docstrings wrapped as by ruff format."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from .body import WIDTH, Line

__all__ = ["broken", "call_lines", "commented", "data", "docstring", "returned", "returning"]


def commented(line: Line, indent: str) -> list[str]:
    """A statement with its comment: behind it where that fits, else above."""
    text = indent + line.text
    if not line.comment:
        return [text]
    if len(text) + 4 + len(line.comment) <= WIDTH:
        return [f"{text}  # {line.comment}"]
    room = WIDTH - len(indent) - 2
    return [*(f"{indent}# {part}" for part in wrap(line.comment, room)), text]


def docstring(text: str, indent: str) -> list[str]:
    """A docstring's lines."""
    if len(text) + len(indent) + 6 <= WIDTH:
        return [f'{indent}"""{text}"""']
    first, *rest = wrap(text, WIDTH - len(indent) - 6)
    return [f'{indent}"""{first}', *(indent + line for line in rest), f'{indent}"""']


def broken(one: str, head: str, items: Sequence[str], tail: str, indent: str) -> list[str]:
    """A bracket on one line, else its items on one line, else one a line."""
    if len(one) <= WIDTH:
        return [one]
    inner = f"{indent}    {', '.join(items)}"
    if len(inner) <= WIDTH:
        return [head, inner, f"{indent}{tail}"]
    return [head, *(f"{indent}    {item}," for item in items), f"{indent}{tail}"]


def call_lines(function: str, items: Sequence[str], indent: str) -> list[str]:
    """A call as a statement."""
    one = f"{indent}{function}({', '.join(items)})"
    return broken(one, f"{indent}{function}(", items, ")", indent)


def returned(texts: Sequence[str], indent: str) -> list[str]:
    """A return statement with a tuple."""
    joined = ", ".join(texts)
    one = f"{indent}return ({joined},)" if len(texts) == 1 else f"{indent}return {joined}"
    if len(one) <= WIDTH:
        return [one]
    return [f"{indent}return (", *(f"{indent}    {t}," for t in texts), f"{indent})"]


def returning(lines: Sequence[str], text: str, indent: str) -> list[str]:
    """The statements and what is returned; ``y = …`` at the end is what is returned."""
    head = f"{indent}{text} = "
    if not lines or not lines[-1].startswith(head):
        return [*lines, f"{indent}return {text}"]
    last = f"{indent}return {lines[-1][len(head) :]}"
    code, mark, comment = last.partition("  # ")
    if mark and len(last) > WIDTH:
        return [*lines[:-1], f"{indent}# {comment}", code]
    return [*lines[:-1], last]


def data(ident: str, value: Any) -> list[str]:
    """Nested lists, as many numbers a line as fit."""
    one = f"{ident} = {value!r}"
    if len(one) <= WIDTH:
        return [one]
    return ["# fmt: off", *wrap(one, WIDTH, break_long_words=False), "# fmt: on"]
