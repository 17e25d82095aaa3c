"""`chainrule companion [CHAPTER …]`: the course notes, executed as they are shown."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from chainrule.cli.command import CommandError
from chainrule.cli.explaining import write
from chainrule.companion.chapters import Chapter, chapters, executed, markdown

NAME = "companion"
HELP = "Course notes on derivatives and backpropagation, every formula derived, run and checked."


def configure(parser: argparse.ArgumentParser) -> None:
    """Which chapters, and where they go."""
    names = "; ".join(chapter.title for chapter in chapters())
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"numbers (all): {names}")
    parser.add_argument(
        "-o", "--output", type=Path, help="write Markdown to this file, pictures beside it"
    )
    parser.add_argument("--list", action="store_true", help="list the chapters")


def run(args: argparse.Namespace, console: Console) -> None:
    """Execute and show."""
    if args.list:
        for chapter in chapters():
            console.print(chapter.title, highlight=False)
        return
    chosen = _chosen(args.chapters)
    if args.output is None:
        for chapter in chosen:
            _show(executed(chapter), console)
        return
    folder = args.output.parent / f"{args.output.stem}-figures"

    def place(name: str, drawing: Any) -> str:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.svg").write_text(drawing.svg, encoding="utf-8")
        return f"{folder.name}/{name}.svg"

    try:
        text = markdown([executed(chapter) for chapter in chosen], place)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror or error}") from None
    write(args.output, text, console)


def _chosen(names: list[str]) -> list[Chapter]:
    known = chapters()
    found = []
    for name in names:
        match = [c for c in known if c.name == name or c.name.split("-")[0] == name]
        if not match:
            raise CommandError(f"there is no chapter {name!r}; there are 1 to {len(known)}")
        found += match
    return found or list(known)


def _show(chapter: Chapter, console: Console) -> None:
    for cell in chapter.cells:
        if not cell.code:
            console.print(Markdown(cell.text))
            continue
        console.print(Syntax(cell.text, "python", background_color="default"))
        if cell.output:
            console.print(Panel(Text(cell.output), border_style="dim", expand=False))
        for name, _ in cell.figures:
            note = f"(the picture {name}: chainrule companion -o notes.md writes it)"
            console.print(note, style="dim", highlight=False)
        console.print()
