"""Shows the backward pass that was derived for a function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from chainrule.cli.rendering.text import print_formulas
from chainrule.derive import derive


def print_backward(
    console: Console, f: Callable[..., Any], shapes: Mapping[str, Any], title: str
) -> None:
    """Print the closed form of f's gradients by its first parameter, for symbolic shapes.

    First the parts that the gradients share, then the gradients, each with its shape.
    """
    derivation = derive(f, shapes=shapes, wrt=next(iter(inspect.signature(f).parameters)))
    console.rule(title, align="left")
    given = derivation.given
    console.print(Text(f"  given {given}", style="dim"), soft_wrap=True)
    print_formulas(console, [*derivation.parts, *derivation.gradients.values()])
    console.print("[green]✓[/] each formula evaluated at random sizes and values")
