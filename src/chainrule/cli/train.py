"""`chainrule train EXAMPLE`: derive a backward pass, check it, and train with it."""

import argparse

from rich.console import Console

from chainrule.cli.arguments import directory, positive_float, positive_int, seed
from chainrule.cli.digits import Settings, train_digits

NAME = "train"
HELP = "Train an example network through its derived backward pass."

_OPTIMIZERS = ("adam", "sgd")
_DIGITS = "A fully connected classifier 64-64-10 for handwritten digits."


def configure(parser: argparse.ArgumentParser) -> None:
    """One nested command an example."""
    examples = parser.add_subparsers(dest="example", metavar="EXAMPLE", required=True)
    digits = examples.add_parser("digits", help=_DIGITS, description=_DIGITS)
    default = Settings()
    add = digits.add_argument
    add("--epochs", type=positive_int, default=default.epochs, help="passes (%(default)s)")
    add("--batch", type=positive_int, default=default.batch, help="images a step (%(default)s)")
    add("--optimizer", choices=_OPTIMIZERS, default=default.optimizer, help="%(default)s")
    add("--lr", type=positive_float, default=None, help="learning rate (adam 0.002, sgd 0.2)")
    add("--seed", type=seed, default=default.seed, help="of split and start (%(default)s)")
    add("--out", type=directory, default=default.out, help="for the pictures (%(default)s)")
    add("--no-plots", dest="plots", action="store_false", help="write no pictures")


def run(args: argparse.Namespace, console: Console) -> None:
    """Train the example that was asked for."""
    train_digits(
        Settings(
            epochs=args.epochs,
            batch=args.batch,
            optimizer=args.optimizer,
            rate=args.lr,
            seed=args.seed,
            out=args.out,
            plots=args.plots,
        ),
        console,
    )
