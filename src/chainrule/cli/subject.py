"""What the commands are about: an expression or `file.py:function`, with shapes."""

import argparse
import ast
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from chainrule.cli.command import CommandError
from chainrule.cli.expression import ExpressionError, parse
from chainrule.cli.expression.errors import suggestion
from chainrule.derive import Derivation, derive
from chainrule.derive.signature import read_signature
from chainrule.formula.shapes import Dims, named_extents, rebuild, walk
from chainrule.formula.shapes import parse as parse_shape

__all__ = ["Subject", "add_subject", "explained_errors", "read_subject"]

_FUNCTION = re.compile(r"(?P<path>.+\.py):(?P<name>[^\W\d]\w*)", re.DOTALL)


def add_subject(parser: argparse.ArgumentParser, derivative: bool = True) -> None:
    """The arguments that say what is derived (or only drawn)."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="an expression, 'tanh(x @ w + b)', or file.py:function")
    add(
        "-s",
        "--shape",
        dest="shapes",
        metavar="NAME=SHAPE",
        type=_shape,
        action="append",
        default=[],
        help="the shape of an argument: x=N,D or x=64,4096, x= for a number; for a leaf of a "
        "dictionary params.w=D,M (repeat for each)",
    )
    parser.set_defaults(wrt=None, layout="numerator", convention="column", symmetric=())
    if not derivative:
        return
    add(
        "-w",
        "--wrt",
        metavar="NAMES",
        type=_names,
        default=None,
        help="the arguments to differentiate by, as in x,w (default: all)",
    )
    add(
        "--layout",
        choices=("numerator", "denominator"),
        default="numerator",
        help="which group of a Jacobian's axes comes first (%(default)s)",
    )
    add(
        "--convention",
        choices=("column", "row"),
        default="column",
        help="what vectors are in matrix notation (%(default)s)",
    )
    add(
        "--symmetric",
        metavar="NAMES",
        type=_names,
        default=(),
        help="the arguments that are symmetric matrices, as covariances are",
    )


def _shape(text: str) -> tuple[str, str]:
    name, sign, shape = text.partition("=")
    if not sign or not all(part.isidentifier() for part in name.strip().split(".")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape: write NAME=SHAPE, such as x=N,D or x=64,4096"
        )
    try:
        parse_shape(shape, name)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name.strip(), shape


def _names(text: str) -> list[str]:
    names = text.replace(",", " ").split()
    if not names:
        raise argparse.ArgumentTypeError("give at least one name, such as w")
    return names


def sizes(text: str) -> dict[str, int]:
    """`N=64,D=32` as a dictionary, for argparse."""
    found: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if not name.isidentifier() or not number.isdigit() or int(number) < 1:
            raise argparse.ArgumentTypeError(
                f"{part!r} is no size: write NAME=NUMBER, such as N=64,D=32"
            )
        found[name] = int(number)
    if not found:
        raise argparse.ArgumentTypeError("give at least one size, such as N=64")
    return found


@dataclass(frozen=True)
class Subject:
    """A function and the shapes of its arguments."""

    function: Callable[..., Any]
    title: str
    shapes: dict[str, Any]
    wrt: list[str] | None
    layout: Any
    convention: Any
    symmetric: Sequence[str] = ()

    def derive(self, check: bool) -> Derivation:
        """The derivation, errors as `CommandError`."""
        with explained_errors(self.title):
            return derive(
                self.function,
                shapes=self.shapes,
                check=check,
                wrt=self.wrt,
                layout=self.layout,
                convention=self.convention,
                symmetric=self.symmetric,
            )

    @property
    def leaves(self) -> list[tuple[str, Dims]]:
        """(path, shape) of all arrays among the arguments."""
        return [leaf for name, tree in self.shapes.items() for leaf in walk(tree, name)]

    @property
    def names(self) -> list[str]:
        """The names of sizes, in order of appearance."""
        return named_extents([dims for _, dims in self.leaves])

    def arrays(self, given: Mapping[str, int]) -> dict[str, Any]:
        """Arguments of these sizes by name, all ones, which take no memory."""
        shapes = (
            tuple(given[e] if isinstance(e, str) else e for e in dims) for _, dims in self.leaves
        )
        stream: Iterator[Any] = (np.broadcast_to(np.float64(1), shape) for shape in shapes)
        return {name: rebuild(tree, stream) for name, tree in self.shapes.items()}


def read_subject(args: argparse.Namespace) -> Subject:
    """The subject of a command line; raises `CommandError` with what to write instead."""
    shapes = _tree(args.shapes)
    match = _FUNCTION.fullmatch(args.source.strip())
    if match:
        function = _function(Path(match["path"]).expanduser(), match["name"])
        title = match["name"]
        _check_names(function, title, shapes)
        with explained_errors(title):
            shapes = read_signature(function, shapes).trees  # annotations are read as well
    else:
        _refuse_file(args.source)
        dotted = [name for name, _ in args.shapes if "." in name]
        if dotted:
            raise CommandError(
                f"--shape {dotted[0]}=…: an expression has plain names; paths are for file.py:f"
            )
        function = parse(args.source, shapes, _extents(shapes))
        title = function.__name__
        shapes = {name: shapes[name] for name in inspect.signature(function).parameters}
    return Subject(function, title, shapes, args.wrt, args.layout, args.convention, args.symmetric)


def _tree(given: list[tuple[str, str]]) -> dict[str, Any]:
    """Shapes by name; `params.w=D,M` stands for an entry of a dictionary."""
    tree: dict[str, Any] = {}
    for path, shape in given:
        *parents, last = path.split(".")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise CommandError(f"--shape {path}=…: {part!r} has a shape of its own")
        if last in place:
            raise CommandError(f"--shape {path}=… is given twice")
        place[last] = shape
    return tree


def _extents(shapes: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Names of sizes that an expression may use as numbers: the array and the axis."""
    found: dict[str, tuple[str, int]] = {}
    for name, shape in shapes.items():
        if isinstance(shape, str):
            for axis, extent in enumerate(parse_shape(shape, name)):
                if isinstance(extent, str) and extent not in shapes:
                    found.setdefault(extent, (name, axis))
    return found


# -- functions in files ---------------------------------------------------------------------------
def _refuse_file(source: str) -> None:
    """A file without a function is a likely slip."""
    text = source.strip()
    if text.endswith(".py") or re.fullmatch(r"\S+\.py:.*", text):
        path, _, name = text.partition(".py")
        path, name = path + ".py", name.lstrip(":")
        if not Path(path).is_file():
            raise CommandError(f"there is no file {path!r}")
        defined = ", ".join(_defined(Path(path))) or "none"
        why = f"{name!r} is not a function's name" if name else "which function"
        raise CommandError(f"{why}? write {path}:function; functions there: {defined}")


def _defined(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError, ValueError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _function(path: Path, name: str) -> Callable[..., Any]:
    if not path.is_file():
        raise CommandError(f"there is no file {str(path)!r}")
    module = _load(path)
    found = getattr(module, name, None)
    if not callable(found):
        defined = _defined(path)
        hint = suggestion(name, defined) or f"; functions there: {', '.join(defined) or 'none'}"
        raise CommandError(f"{path.name} has no function {name!r}{hint}")
    return found  # type: ignore[no-any-return]


def _load(path: Path) -> ModuleType:
    """Import the user's file, as Python does when it is run: its folder is on the path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CommandError(f"{path.name} cannot be imported: {_told(error, path)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
        if before is not None:
            sys.modules[path.stem] = before
    return module


def _told(error: BaseException, path: Path | None = None) -> str:
    """The error in one line, with the line of the user's file where it arose."""
    text = f"{type(error).__name__}: {error}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "chainrule" not in f.filename]
    own = [f for f in frames if path is not None and Path(f.filename).name == path.name]
    if own:
        text += f" ({path.name if path else ''}, line {own[-1].lineno})"
    return text


def _check_names(function: Callable[..., Any], title: str, shapes: Mapping[str, Any]) -> None:
    """Names of parameters, before derive says so in terms of Python."""
    parameters = inspect.signature(function).parameters
    for name in shapes:
        if name not in parameters:
            hint = suggestion(name, parameters) or f"; it has {', '.join(parameters)}"
            raise CommandError(f"--shape {name}=…: {title} has no parameter {name!r}{hint}")


@contextmanager
def explained_errors(title: str) -> Iterator[None]:
    """What tracing and deriving raise for the user to put right, as `CommandError`."""
    try:
        yield
    except (CommandError, ExpressionError):
        raise
    except (TypeError, ValueError, AssertionError, ArithmeticError, MemoryError) as error:
        message = str(error) or type(error).__name__
        message = re.sub(
            r"give the shape of '(\w+)', for example (\w+)='N D'",
            r"give the shape of \1, for example --shape \1=N,D",
            message,
        )
        message = "\n".join([message, *getattr(error, "__notes__", ())])
        message = message.replace("(the attribute partial of this error)", "(the closed form)")
        message = re.sub(r"^(wrt|symmetric)=('\w+')[;:] ", r"--\1 \2: ", message)
        raise CommandError(message) from error
    except (NameError, AttributeError, LookupError, ImportError, np.linalg.LinAlgError) as error:
        raise CommandError(f"{title} raised {_told(error)}") from error
