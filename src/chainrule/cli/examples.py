"""Finds the examples: in the installed package, or at the top of the checkout."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from chainrule.cli.command import CommandError

_PACKAGE = Path(__file__).resolve().parents[1]

#: A wheel carries the examples inside the package; an editable install leaves them where they are.
_PLACES = (_PACKAGE / "_examples", _PACKAGE.parents[1] / "examples")


def example_path(name: str) -> Path:
    """Where the file of the example `name` lies."""
    for place in _PLACES:
        path = place / f"{name}.py"
        if path.is_file():
            return path
    looked = ", ".join(str(place) for place in _PLACES)
    raise CommandError(f"the example {name!r} is in none of {looked}; reinstall chainrule")


def load_example(name: str) -> ModuleType:
    """The example `name` as a module, loaded once."""
    qualified = f"chainrule_example_{name}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    spec = importlib.util.spec_from_file_location(qualified, example_path(name))
    if spec is None or spec.loader is None:
        raise CommandError(f"the example {name!r} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[qualified]
        raise
    return module
