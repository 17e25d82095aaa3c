"""What `derive` and `explain` have in common: options, gathering, writing."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

import chainrule as cr
from chainrule.cli.command import CommandError
from chainrule.cli.rendering import SUFFIXES, print_text, render
from chainrule.cli.rendering.text import print_code
from chainrule.cli.subject import Subject, add_subject, explained_errors, sizes
from chainrule.derive import Derivation
from chainrule.transforms.planning import Plan
from chainrule.web import Explanation

__all__ = ["BACKENDS", "add_options", "code_of", "deliver", "explain", "plan_of"]

FORMATS = ("text", "latex", "markdown", "html", "json")
BACKENDS = ("numpy", "jax", "torch")
_USUAL = (64, 32, 16, 8, 4)  # sizes of names at which costs are counted where none are given


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the commands that print formulas."""
    add_subject(parser)
    add = parser.add_argument
    add("-f", "--format", choices=FORMATS, default=None, help="text, or by the ending of --output")
    add("-o", "--output", metavar="FILE", type=Path, default=None, help="write to this file")
    add("--no-check", dest="check", action="store_false", help="do not evaluate the formulas")
    add(
        "--small-case",
        metavar="SIZES",
        type=sizes,
        default=None,
        help="the same in explicit matrices, for example N=1,D=2,M=3",
    )
    add("--emit", choices=BACKENDS, default=None, help="print stand-alone code and nothing else")
    add(
        "--style",
        choices=("function", "autograd"),
        default="function",
        help="of the code: two functions, or a torch.autograd.Function or jax.custom_vjp "
        "(%(default)s)",
    )


def explain(subject: Subject, args: argparse.Namespace, everything: bool) -> Explanation:
    """Gather what was asked for."""
    derivation = subject.derive(args.check)
    page = _format(args) == "html"
    explanation = Explanation(
        subject.title,
        derivation,
        args.check,
        jacobians=everything or page or getattr(args, "jacobian", False),
        hessians=getattr(args, "hessian", False) or (everything and not derivation.arriving),
        steps=everything or page or getattr(args, "steps", False),
        index=everything or getattr(args, "index", False),
    )
    with explained_errors(subject.title):
        if explanation.hessians and derivation.arriving is not None:
            raise CommandError(
                f"--hessian needs a scalar function; this one has the shape "
                f"({', '.join(derivation.value.shape)}): sum it, or square and sum it"
            )
        if args.small_case is not None:
            explanation.small = derivation.small_case(**args.small_case)
    _prepared(explanation)
    if everything or page:
        given = getattr(args, "size", None) or {}
        explanation.plan_sizes = _all_sizes(subject, given)
        try:
            explanation.plan = plan_of(subject, explanation.plan_sizes)
        except CommandError as error:
            explanation.notes.append(f"no plan: {error}")
        for backend in BACKENDS:
            try:
                explanation.code[backend] = code_of(derivation, backend, args)
            except CommandError as error:
                explanation.notes.append(f"no code for {backend}: {error}")
    if page:
        _draw(subject, explanation)
    return explanation


def _prepared(explanation: Explanation) -> None:
    """Derive now what is derived when first asked for, so that errors come as notes here."""
    for name in ("jacobians", "hessians", "steps"):
        if getattr(explanation, name):
            try:
                with explained_errors(explanation.title):
                    getattr(explanation.derivation, name)
            except CommandError as error:
                setattr(explanation, name, False)
                explanation.notes.append(f"no {name}: {error}")


def _draw(subject: Subject, explanation: Explanation) -> None:
    """The computational graph, and pictures of the Jacobians at small sizes."""
    try:
        with explained_errors(subject.title):
            explanation.graph = cr.graph(subject.function, **subject.shapes)
    except CommandError as error:
        explanation.notes.append(f"no graph: {error}")
    small = dict(zip(subject.names, (3, 4, 2, 5) * 4, strict=False))
    names, function, arguments, argnums = _call(subject, small)
    try:
        with explained_errors(subject.title), np.errstate(all="ignore"):
            found = cr.jacobian(function, argnums)(*arguments)
    except CommandError as error:
        explanation.notes.append(f"no picture of the structure: {error}")
        return
    explanation.picture_sizes = small
    for k, jacobian in zip(argnums, found, strict=True):
        if isinstance(jacobian, cr.Jacobian):
            explanation.pictures[names[k]] = jacobian._repr_html_()


def code_of(derivation: Derivation, backend: str, args: argparse.Namespace) -> str:
    """Stand-alone code; what has no counterpart in the backend is a `CommandError`."""
    parts = ["forward", "backward"]
    parts += [name for name in ("jacobian", "hessian") if getattr(args, name, False)]
    # of all backends' code, NumPy's has the one style that it can have
    style = "function" if backend == "numpy" and args.emit is None else args.style
    with explained_errors(derivation.function):
        return derivation.source(backend=backend, style=style, parts=parts)


def _all_sizes(subject: Subject, given: dict[str, int]) -> dict[str, int]:
    """A number for every name: as given, or a usual one."""
    rest = [name for name in subject.names if name not in given]
    usual = dict(zip(rest, (*_USUAL, *[3] * len(rest)), strict=False))
    return {name: given.get(name, usual.get(name, 3)) for name in subject.names}


def plan_of(subject: Subject, given: dict[str, int]) -> Plan:
    """The plan at sizes of the names, by the arguments of ``wrt``."""
    unknown = [name for name in given if name not in subject.names]
    if unknown:
        known = ", ".join(subject.names) or "none"
        raise CommandError(f"--size {unknown[0]}=…: the names of sizes are {known}")
    _, function, arguments, argnums = _call(subject, given)
    with explained_errors(subject.title), np.errstate(all="ignore"):
        return cr.plan(function, *arguments, argnums=argnums)


def _call(
    subject: Subject, given: dict[str, int]
) -> tuple[list[str], Callable[..., Any], list[Any], tuple[int, ...]]:
    """Names, a function of positional arguments, their values, and those to differentiate by."""
    arguments = subject.arrays(given)
    names = list(arguments)
    wanted = [re.split(r"[.\[]", name)[0] for name in subject.wrt or names]
    for name in wanted:
        if name not in names:
            raise CommandError(f"--wrt {name!r}: the arguments are {', '.join(names)}")
    argnums = tuple(dict.fromkeys(names.index(name) for name in wanted))

    def call(*values: Any) -> Any:
        return subject.function(**dict(zip(names, values, strict=True)))

    call.__name__ = subject.title
    return names, call, list(arguments.values()), argnums


# -- writing --------------------------------------------------------------------------------------
def _format(args: argparse.Namespace) -> str:
    if args.format is not None:
        return str(args.format)
    if args.output is not None and not args.emit:
        form = SUFFIXES.get(args.output.suffix.lower())
        if form is None:
            endings = ", ".join(SUFFIXES)
            raise CommandError(
                f"--output {args.output}: no format has the ending {args.output.suffix!r}; use "
                f"{endings}, or say --format"
            )
        return form
    return "text"


def deliver(subject: Subject, args: argparse.Namespace, console: Console, everything: bool) -> None:
    """Print or write what a command was asked for."""
    if args.emit is not None:
        if args.format is not None:
            raise CommandError("--emit prints code alone; leave out --format")
        source = code_of(subject.derive(args.check), args.emit, args)
        if args.output is None:
            print_code(console, source)
        else:
            write(args.output, source, console)
        return
    if args.style == "autograd" and not everything:
        raise CommandError("--style is how code is written: add --emit jax or --emit torch")
    form = _format(args)
    explanation = explain(subject, args, everything)
    if args.output is not None:
        write(args.output, render(explanation, form), console)
    elif form == "text":
        print_text(explanation, console)
    else:
        console.out(render(explanation, form).rstrip("\n"), highlight=False)


def write(path: Path, text: str, console: Console) -> None:
    """Write a file and say so."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from error
    console.print(Text(f"wrote {path}"), soft_wrap=True)
