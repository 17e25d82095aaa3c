"""An explanation in the terminal: aligned lines, colours only where they are wanted."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from chainrule.formula.derivation import Definition, JacobianForm
from chainrule.formula.symbols import meanings
from chainrule.web import Explanation, stored

__all__ = ["print_code", "print_formulas", "print_text"]


def print_text(explanation: Explanation, console: Console) -> None:
    """Print everything that the explanation holds."""
    say = console.print
    say(Text(explanation.title, style="bold"), soft_wrap=True)
    say(Text(f"  {explanation.derivation.given}", style="dim"), soft_wrap=True)
    print_formulas(console, explanation.rows())
    if explanation.index:
        _heading(console, "In index notation")
        _aligned(console, [(_indexed(r), r.index, r.shape) for r in explanation.rows()])
    if explanation.jacobians:
        forms = explanation.derivation.jacobians
        _heading(console, "Jacobians")
        print_formulas(console, [*forms.parts, *forms.values()])
        _structures(console, forms.values())
    if explanation.hessians:
        second = explanation.derivation.hessians
        _heading(console, "Hessians")
        print_formulas(console, [*second.parts, *second.values()])
        _structures(console, second.values())
    if explanation.steps:
        _heading(console, "Steps")
        for number, step in enumerate(explanation.derivation.steps, 1):
            title, *lines = str(step).splitlines()
            say(Text(f"  {number}. {title}", style="bold cyan"), soft_wrap=True)
            for line in lines:
                say(Text(f"   {line}"), soft_wrap=True)
    if explanation.small is not None:
        sizes = ", ".join(f"{n} = {k}" for n, k in explanation.small.sizes.items())
        _heading(console, f"Element by element, for {sizes}" if sizes else "Element by element")
        for line in explanation.small.text.splitlines():
            style = "" if line.startswith(" ") else "cyan"
            say(Text(f"  {line}", style=style), soft_wrap=True)
    if explanation.plan is not None:
        sizes = ", ".join(f"{n} = {k}" for n, k in explanation.plan_sizes.items())
        _heading(console, f"Cost of the Jacobian, for {sizes}" if sizes else "Cost of the Jacobian")
        for line in str(explanation.plan).splitlines():
            say(Text(f"  {line}"), soft_wrap=True)
    for backend, source in explanation.code.items():
        _heading(console, f"Code: {backend}")
        print_code(console, source)
    for note in explanation.notes:
        say(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    if explanation.checked:
        mark = Text("✓", style="green")
        say(mark + Text(" each formula evaluated at random sizes and values"), soft_wrap=True)


def print_formulas(console: Console, rows: Sequence[Definition]) -> None:
    """`left = right   (shape)`, aligned, and what symbols in them mean."""
    _aligned(console, [(row.left(), row.text, row.shape) for row in rows])
    for meaning in meanings(rows):
        console.print(Text(f"  {meaning.text}", style="dim"), soft_wrap=True)


def print_code(console: Console, source: str) -> None:
    """Source text: highlighted in a terminal, as it is elsewhere."""
    if console.is_terminal and not console.no_color:
        console.print(Syntax(source.rstrip(), "python", background_color="default"))
    else:
        console.out(source.rstrip(), highlight=False)


def _indexed(row: Definition) -> str:
    """The left-hand side with its indices."""
    if not row.letters or "[" in row.left() or isinstance(row, JacobianForm):
        return row.left()
    return f"{row.left()}[{','.join(row.letters)}]"


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"), soft_wrap=True)


def _aligned(console: Console, rows: Iterable[tuple[str, str, tuple[str, ...]]]) -> None:
    rows = list(rows)
    lefts = max((cell_len(left) for left, _, _ in rows), default=0)
    rights = max((cell_len(right) for _, right, _ in rows if cell_len(right) <= 60), default=0)
    for left, right, shape in rows:
        line = Text("  ")
        line.append(left + " " * (lefts - cell_len(left)), style="bold")
        line.append(f" = {right}")
        if shape:
            line.append(" " * max(rights - cell_len(right), 0))
            line.append(f"   ({', '.join(shape)})", style="dim")
        console.print(line, soft_wrap=True)


def _structures(console: Console, forms: Iterable[JacobianForm]) -> None:
    rows = [(form.left().replace("vec(", "").replace(")", ""), form) for form in forms]
    width = max((cell_len(left) for left, _ in rows), default=0)
    for left, form in rows:
        text = f"  {left}{' ' * (width - cell_len(left))}   structure {form.structure}"
        console.print(Text(f"{text}   stored {stored(form)}", style="dim"), soft_wrap=True)
