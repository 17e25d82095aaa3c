"""`chainrule plan SOURCE`: what the Jacobian costs forward, in reverse, and at best."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from chainrule.cli.command import CommandError
from chainrule.cli.explaining import plan_of, write
from chainrule.cli.rendering.data import plan_data
from chainrule.cli.subject import add_subject, read_subject, sizes

NAME = "plan"
HELP = "Count what a Jacobian costs forward, in reverse and in the best order."


def configure(parser: argparse.ArgumentParser) -> None:
    """What is planned, at which sizes."""
    add_subject(parser)
    add = parser.add_argument
    add("--size", metavar="SIZES", type=sizes, default=None, help="numbers for names: N=64,D=32")
    add("-f", "--format", choices=("text", "json"), default="text", help="%(default)s")
    add("-o", "--output", metavar="FILE", type=Path, default=None, help="write to this file")
    parser.epilog = "example: chainrule plan 'x @ w' --shape x=64,4096 --shape w=4096,4096"


def run(args: argparse.Namespace, console: Console) -> None:
    """Plan and print the table."""
    subject = read_subject(args)
    given = args.size or {}
    missing = [name for name in subject.names if name not in given]
    if missing:
        example = ",".join(f"{n}={k}" for n, k in zip(missing, (64, 32, 16) * 8, strict=False))
        raise CommandError(
            f"costs are counted for numbers: give {', '.join(missing)} by --size {example}, or "
            "numbers in --shape"
        )
    plan = plan_of(subject, given)
    if args.format == "json":
        text = json.dumps(plan_data(plan, given), ensure_ascii=False, indent=2)
    else:
        text = str(plan)
    if args.output is not None:
        write(args.output, text + "\n", console)
    else:
        console.print(Text(text), soft_wrap=True)
