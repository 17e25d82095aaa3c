"""`chainrule check SOURCE`: formulas, Jacobians and emitted code against the derivative."""

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from chainrule.cli.command import CommandError
from chainrule.cli.explaining import BACKENDS
from chainrule.cli.subject import Subject, add_subject, explained_errors, read_subject
from chainrule.derive import Derivation

NAME = "check"
HELP = "Check formulas and emitted code at random sizes and values."


def configure(parser: argparse.ArgumentParser) -> None:
    """What is checked, and in which backends."""
    add_subject(parser)
    parser.add_argument(
        "--backend",
        choices=(*BACKENDS, "all"),
        action="append",
        default=None,
        help="whose code is run as well (default: those that are installed; repeat for several)",
    )
    parser.epilog = "example: chainrule check 'logsumexp(x)' --shape x=N --backend numpy"


def run(args: argparse.Namespace, console: Console) -> None:
    """Check one thing after the other; the first that is wrong ends it with status 1."""
    subject = read_subject(args)
    asked = list(BACKENDS) if "all" in (args.backend or ()) else args.backend
    backends = asked or [b for b in BACKENDS if importlib.util.find_spec(b) is not None]
    missing = [b for b in backends if importlib.util.find_spec(b) is None]
    if missing:
        raise CommandError(
            f"{missing[0]} is not installed; install it with: pip install 'chainrule[{missing[0]}]'"
        )
    derivation = subject.derive(check=False)
    _report(console, subject, "gradients", "formula, numbers", derivation.check)
    _report(console, subject, "Jacobians", "formula, numbers", lambda: derivation.jacobians)
    if derivation.arriving is None:
        _report(console, subject, "Hessians", "formula, numbers", lambda: derivation.hessians)
    for backend in backends:
        _report(console, subject, f"code for {backend}", "executed", _code(derivation, backend))


def _code(derivation: Derivation, backend: str) -> Callable[[], Any]:
    return lambda: derivation.check(backends=(backend,))


def _report(
    console: Console, subject: Subject, what: str, how: str, check: Callable[[], Any]
) -> None:
    with explained_errors(subject.title):
        check()
    console.print(Text("✓ ", style="green") + Text(f"{what}: {how}"), soft_wrap=True)
