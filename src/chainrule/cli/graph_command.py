"""`chainrule graph SOURCE`: the computational graph, as SVG, DOT or a list."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.text import Text

import chainrule as cr
from chainrule.cli.command import CommandError
from chainrule.cli.explaining import write
from chainrule.cli.subject import add_subject, explained_errors, read_subject

NAME = "graph"
HELP = "Draw the computational graph of an expression or of a function."

_SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".txt": "text"}


def configure(parser: argparse.ArgumentParser) -> None:
    """What is drawn, and where it is written."""
    add_subject(parser, derivative=False)
    add = parser.add_argument
    add(
        "--level",
        choices=("tensor", "scalar"),
        default="tensor",
        help="one node an array, or an element (%(default)s)",
    )
    add(
        "--derivative",
        choices=("edges", "gradient"),
        default=None,
        help="write local Jacobians on the edges, or draw the backward pass as well",
    )
    add("-f", "--format", choices=("text", "svg", "dot"), default=None, help="text, or by --output")
    add("-o", "--output", metavar="FILE", type=Path, default=None, help="write to this file")
    parser.epilog = (
        "example: chainrule graph 'tanh(x @ w)' --shape x=1,2 --shape w=2,3 --level scalar "
        "--derivative edges --output graph.svg"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    """Trace, lay out and write."""
    form = args.format
    if form is None and args.output is not None:
        form = _SUFFIXES.get(args.output.suffix.lower())
        if form is None:
            raise CommandError(
                f"--output {args.output}: use the ending {', '.join(_SUFFIXES)}, or say --format"
            )
    subject = read_subject(args)
    with explained_errors(subject.title):
        graph = cr.graph(
            subject.function, level=args.level, derivative=args.derivative, **subject.shapes
        )
    text = {"svg": graph.svg, "dot": graph.dot}.get(form or "text", f"{graph}\n")
    if args.output is not None:
        write(args.output, text, console)
    else:
        console.print(Text(text.rstrip("\n")), soft_wrap=True)
