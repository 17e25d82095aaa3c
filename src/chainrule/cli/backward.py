"""Shows the backward pass that was derived for a function."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chainrule.derive import Definition, derive


def print_backward(
    console: Console, f: Callable[..., Any], shapes: Mapping[str, Any], title: str
) -> None:
    """Print the closed form of f's gradients by its first parameter, for symbolic shapes.

    First the parts that the gradients share, then the gradients, each with its shape.
    """
    derivation = derive(f, shapes=shapes, wrt=next(iter(inspect.signature(f).parameters)))
    console.rule(title, align="left")
    given = ", ".join(
        f"{name} ({', '.join(shape)})" if shape else name for name, shape in derivation.arguments
    )
    console.print(Padding(Text(f"given {given}", style="dim"), (0, 0, 0, 2)))
    rows = [*map(_row, derivation.parts), (), *map(_row, derivation.gradients.values())]
    console.print(Padding(_table(rows), (0, 0, 0, 2)))
    console.print("[green]✓[/] each formula evaluated at random sizes and values")


def _row(part: Definition) -> tuple[Text | str, ...]:
    """Name, right-hand side and shape of one formula."""
    shape = f"({', '.join(part.shape)})" if part.shape else ""
    return Text(part.left(), style="bold"), "=", Text(part.text), Text(shape)


def _table(rows: Iterable[tuple[Text | str, ...]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, style="dim")
    for row in rows:
        table.add_row(*row)
    return table
