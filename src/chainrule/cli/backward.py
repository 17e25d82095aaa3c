"""Shows the backward pass that was derived for a function."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

import chainrule


def print_backward(
    console: Console, f: Callable[..., Any], shapes: Mapping[str, Any], title: str
) -> None:
    """Print the closed form of f's gradients for symbolic shapes, one line a parameter.

    Prints nothing while `chainrule.derive` does not exist.
    """
    derive = getattr(chainrule, "derive", None)
    if derive is None:
        return
    derivation = derive(f, shapes=shapes)
    console.rule(title, align="left")
    for name, gradient in derivation.gradients.items():
        console.print(f"  ∂L/∂{name} = {gradient.text}", markup=False, highlight=False)
