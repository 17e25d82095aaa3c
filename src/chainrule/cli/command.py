"""What a subcommand is, and how it fails."""

import argparse
import importlib.util
from collections.abc import Callable
from typing import Protocol

from rich.console import Console


class Command(Protocol):
    """A module of `chainrule.cli` with these four names is a subcommand."""

    NAME: str
    HELP: str

    @property
    def configure(self) -> Callable[[argparse.ArgumentParser], None]:
        """Add the subcommand's arguments to its parser."""
        ...

    @property
    def run(self) -> Callable[[argparse.Namespace, Console], None]:
        """Do it; raise `CommandError` for what the user can put right."""
        ...


class CommandError(Exception):
    """Something the user can put right; shown as one message, without a traceback."""


def require(module: str, *, extra: str, package: str, purpose: str) -> None:
    """Raise a `CommandError` that names the extra to install where `module` is missing."""
    if importlib.util.find_spec(module) is None:
        raise CommandError(
            f"{package} is not installed; {purpose} needs it. "
            f"Install it with: pip install 'chainrule[{extra}]'"
        )
