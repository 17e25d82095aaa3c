"""JAX as a target of emitted code: NumPy's names, but for the few that differ."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from .numpy_target import NumpyTarget
from .syntax import Expr, call, literal, subscript, tuple_of

__all__ = ["JaxTarget"]


def _of_jax(table: Mapping[str, str]) -> dict[str, str]:
    return {op: re.sub(r"\bnp\.", "jnp.", text) for op, text in table.items()}


# functions of SciPy's that JAX has not
_LACKING = ("erfcinv", "exprel", "j0", "j1", "y0", "y1", "k0", "k1", "k0e", "k1e", "binom")


class JaxTarget(NumpyTarget):
    name = "jax"
    module = "jnp"
    imports: ClassVar[Mapping[str, str]] = {
        "jax": "import jax",
        "jnp": "import jax.numpy as jnp",
        "linalg": "from jax.scipy import linalg",
        "special": "from jax.scipy import special",
    }
    elementwise: ClassVar[Mapping[str, str]] = {
        **{op: t for op, t in _of_jax(NumpyTarget.elementwise).items() if op not in _LACKING},
        "log_expit": "jax.nn.log_sigmoid(a)",
    }
    # JAX symmetrizes what it takes to be symmetric; NumPy reads one triangle
    calls: ClassVar[Mapping[str, str]] = {
        **_of_jax(NumpyTarget.calls),
        "softmax": "jax.nn.softmax(a, axis=p)",
        "cholesky": "jnp.linalg.cholesky(a, symmetrize_input=False)",
        "eigh": "jnp.linalg.eigh(a, UPLO=p, symmetrize_input=False)",
        "eigvalsh": "jnp.linalg.eigvalsh(a, UPLO=p, symmetrize_input=False)",
        "argsort": "jnp.argsort(a, axis=-1)",
        "nonzero": "jnp.nonzero(a, size=p)",
    }
    helpers: ClassVar[Mapping[str, str]] = {
        **_of_jax(NumpyTarget.helpers),
        "recurrence": '''
def recurrence(a, b, reverse):
    """y[i] = a[i] y[i-1] + b[i] along the last axis; reversed y[i] = a[i+1] y[i+1] + b[i]."""
    factors = jnp.roll(a, -1, axis=-1) if reverse else a

    def step(y, at):
        y = at[0] * y + at[1]
        return y, y

    given = jnp.moveaxis(factors, -1, 0), jnp.moveaxis(b, -1, 0)
    _, y = jax.lax.scan(step, jnp.zeros_like(b[..., 0]), given, reverse=reverse)
    return jnp.moveaxis(y, 0, -1)
''',
    }

    def number(self) -> Callable[[Expr], Expr]:
        return lambda value: call("jnp.asarray", value, dtype=self.dtype())

    def scattered(
        self, shape: Sequence[Expr], index: Sequence[Expr], value: Expr
    ) -> tuple[Expr, Callable[[str], Expr] | None]:
        where = index[0] if len(index) == 1 else tuple_of(index)
        zeros = self.full(shape, literal(0))
        at = subscript(_attribute(zeros, "at"), [where])
        return call(_attribute(at, "add"), value), None


def _attribute(target: Expr, attribute: str) -> Expr:
    return ast.Attribute(target, attribute, ast.Load())
