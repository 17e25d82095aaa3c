"""`chainrule explain SOURCE`: formula, Jacobians, steps, cost and code at once."""

import argparse

from rich.console import Console

from chainrule.cli.explaining import add_options, deliver
from chainrule.cli.subject import read_subject, sizes

NAME = "explain"
HELP = "Explain a derivative: formula, structure, steps, plan and code."


def configure(parser: argparse.ArgumentParser) -> None:
    """What is derived, and where it is written."""
    add_options(parser)
    parser.add_argument(
        "--size",
        metavar="SIZES",
        type=sizes,
        default=None,
        help="sizes at which the cost is counted, for example N=64,D=32 (else usual ones)",
    )
    parser.epilog = (
        "example: chainrule explain 'x @ w' --shape x=N,D --shape w=D,M --output linear.html"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    """Derive and print everything."""
    deliver(read_subject(args), args, console, everything=True)
