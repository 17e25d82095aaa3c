"""The command line: `chainrule SUBCOMMAND …` and `python -m chainrule SUBCOMMAND …`.

One module a subcommand, listed in `COMMANDS`; see `command.py` for what such a module holds.
"""

import argparse
import re
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from chainrule.cli import (
    check_command,
    companion_command,
    derive_command,
    explain_command,
    graph_command,
    plan_command,
    train,
)
from chainrule.cli.command import Command, CommandError

#: The subcommands, in the order in which the help shows them.
COMMANDS: tuple[Command, ...] = (
    derive_command,
    explain_command,
    plan_command,
    check_command,
    graph_command,
    companion_command,
    train,
)

_OPTIONS = ("-h", "-s", "-w", "-f", "-o")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="chainrule", description="Derivatives of tensor functions written in plain NumPy."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _positional(argument: str) -> str:
    """An expression such as ``-sum(x)`` is no option: a blank before it says so to argparse."""
    looks = re.match(r"-(?:[^\W\d]\w*[.(\[]|\(|\d[\d.]*[*/]|[^\W\d]$)", argument)
    return f" {argument}" if looks and argument not in _OPTIONS else argument


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 1 with a message on the error stream."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    args, rest = parser.parse_known_args([_positional(one) for one in arguments])
    if rest:
        several = [one for one in rest if "=" in one and not one.startswith("-")]
        hint = f"; say --shape before each: --shape {several[0]}" if several else ""
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    try:
        args.run(args, Console())
    except CommandError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
