"""`chainrule derive SOURCE`: closed forms of the derivatives, checked."""

import argparse

from rich.console import Console

from chainrule.cli.explaining import add_options, deliver
from chainrule.cli.subject import read_subject

NAME = "derive"
HELP = "Print the derivative of an expression or of a function in closed form."


def configure(parser: argparse.ArgumentParser) -> None:
    """What is derived, what is shown, and where."""
    add_options(parser)
    add = parser.add_argument
    add("--jacobian", action="store_true", help="also the Jacobians, with their structure")
    add("--hessian", action="store_true", help="also the Hessians of a scalar function")
    add("--index", action="store_true", help="also in index notation")
    add("--steps", action="store_true", help="also how it comes about")
    parser.epilog = (
        "example: chainrule derive 'tanh(x @ w + b)' --shape x=N,D --shape w=D,M --shape b=M "
        "--wrt w"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    """Derive and print."""
    deliver(read_subject(args), args, console, everything=False)
